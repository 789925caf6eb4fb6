//! What is counted and logged of requests that failed of a refusal: each once, by its reason; a flood of them in one line.

#![cfg(feature = "metrics")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a panic is how a test fails"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use common::{ANY, H1, Server, by_name, client, source};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use mtls_core::Policy;
use mtls_core::testing::TestCa;
use mtls_reqwest::{Client, Explanation, explain};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

/// 0 for a series that is not there: a counter that nobody has touched.
fn value(recorder: &PrometheusRecorder, series: &str) -> f64 {
    let text = recorder.handle().render();
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

fn handshakes(recorder: &PrometheusRecorder, outcome: &str, reason: &str) -> f64 {
    let labels = format!("side=\"client\",outcome=\"{outcome}\",reason=\"{reason}\"");
    value(recorder, &format!("mtls_handshakes_total{{{labels}}}"))
}

/// All that is counted of handshakes as a client.
fn counted(recorder: &PrometheusRecorder) -> f64 {
    let text = recorder.handle().render();
    let ours = text
        .lines()
        .filter(|line| line.starts_with("mtls_handshakes_total{side=\"client\""));
    let values = ours.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap());
    values.sum()
}

/// What this thread logs while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug, Clone)]
struct Entry {
    level: Level,
    fields: BTreeMap<String, String>,
}

impl Entry {
    fn get(&self, field: &str) -> &str {
        let value = self.fields.get(field);
        value.map_or("", |value| value.trim_matches('"'))
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is but one subscriber, tracing asks the current thread's whether a line is of interest, and keeps the
        // answer: the tests beside this one, which have none, would turn the line off for it.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Log::default()));
        LazyLock::force(&SECOND);
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// Of handshakes as a client, at this level.
    fn at(&self, level: Level) -> Vec<Entry> {
        let seen = self.0.lock().unwrap();
        let seen = seen.iter().filter(|entry| entry.level == level);
        seen.filter(|entry| entry.get("mtls.side") == "client")
            .cloned()
            .collect()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mtls")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        struct Fields(BTreeMap<String, String>);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0.insert(field.name().into(), format!("{value:?}"));
            }
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(Entry {
            level: *event.metadata().level(),
            fields: fields.0,
        });
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Until an alert was not lost, as hyper loses one now and then: then it is counted, and only then.
async fn refused_by_peer(http: &Client, url: &str) {
    for _ in 0..20 {
        let error = http.get(url).send().await.unwrap_err();
        match explain(&error) {
            Explanation::ClosedByPeer => {}
            Explanation::RefusedByPeer { .. } => return,
            other => panic!("{other}: {error:?}"),
        }
    }
    panic!("twenty alerts were lost");
}

#[tokio::test]
async fn each_refusal_is_counted_once_by_its_reason_and_what_is_no_refusal_is_not() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (_publisher, http) = client(&ca);

    // reqwest tells of no handshake that was done.
    let server = Server::start(&ca).await;
    assert!(http.get(server.url("/")).send().await.is_ok());
    assert!(http.get("https://localhost:1/").send().await.is_err());
    assert_eq!(counted(&recorder), 0.0);

    // We refuse the server.
    let other = Server::of(&stranger.issue("/orders"), &[&stranger], ANY).await;
    assert!(http.get(other.url("/")).send().await.is_err());
    assert_eq!(handshakes(&recorder, "refused", "unknown_issuer"), 1.0);
    assert_eq!(counted(&recorder), 1.0);

    // The server refuses us, for our CA and for who we are: its word is an alert of its own.
    let alerts = |alert: &str| {
        let labels = format!("side=\"client\",alert=\"{alert}\"");
        value(
            &recorder,
            &format!("mtls_alerts_received_total{{{labels}}}"),
        )
    };
    let (_stranger, source) = source(&stranger.issue("/web"), &[&stranger, &ca]);
    let unknown = Client::new(by_name(&source)).unwrap();
    let h1 = Server::of(&ca.issue("/orders"), &[&ca], H1).await;
    refused_by_peer(&unknown, &h1.url("/")).await;
    assert_eq!(handshakes(&recorder, "refused", "refused_by_peer"), 1.0);
    assert_eq!(alerts("unknown_ca"), 1.0);
    let policy = Policy::spiffe_id("spiffe://example.org/other").unwrap();
    let picky = Server::letting_in(policy, &ca.issue("/orders"), &[&ca], H1).await;
    refused_by_peer(&http, &picky.url("/")).await;
    assert_eq!(handshakes(&recorder, "refused", "refused_by_peer"), 2.0);
    assert_eq!(alerts("access_denied"), 1.0);
    assert_eq!(counted(&recorder), 3.0);

    // And one speaks no TLS.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", plain.local_addr().unwrap().port());
    let task = tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        tcp
    });
    assert!(http.get(&url).send().await.is_err());
    task.await.unwrap();
    assert_eq!(handshakes(&recorder, "failed", "plaintext_peer"), 1.0);
    assert_eq!(counted(&recorder), 4.0);
}

#[tokio::test]
async fn a_flood_of_refusals_is_one_warning_a_minute_for_each_reason_with_the_number_of_the_others()
{
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let server = Server::of(&stranger.issue("/orders"), &[&stranger], ANY).await;
    let (_publisher, http) = client(&ca);
    let (log, _guard) = Log::start();
    for _ in 0..25 {
        assert!(http.get(server.url("/")).send().await.is_err());
    }
    let warned = log.at(Level::WARN);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].get("mtls.reason"), "unknown_issuer");
    assert_eq!(warned[0].get("mtls.others"), "0");
    assert_eq!(warned[0].get("server.address"), "localhost");
    assert!(!warned[0].get("mtls.remedy").is_empty());
    // What nobody has proven is told as such.
    let presented = warned[0].get("mtls.presented");
    assert!(
        presented.contains("spiffe://example.org/orders"),
        "{warned:?}"
    );
    assert_eq!(warned[0].get("mtls.peer_id"), "");
    assert_eq!(log.at(Level::DEBUG).len(), 25);

    // Another reason is not hidden behind it.
    let policy = Policy::spiffe_id("spiffe://example.org/other").unwrap();
    let picky = Server::letting_in(policy, &ca.issue("/orders"), &[&ca], H1).await;
    refused_by_peer(&http, &picky.url("/")).await;
    let warned = log.at(Level::WARN);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert_eq!(warned[1].get("mtls.reason"), "refused_by_peer");

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert!(http.get(server.url("/")).send().await.is_err());
    let warned = log.at(Level::WARN);
    assert_eq!(warned.len(), 3, "{warned:?}");
    assert_eq!(warned[2].get("mtls.reason"), "unknown_issuer");
    assert_eq!(warned[2].get("mtls.others"), "24");
}
