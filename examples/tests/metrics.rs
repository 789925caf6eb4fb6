//! What a scraper sees of a server that something is wrong with: each fault raises the series that the alert rules name.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the files are the project's own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mtls_core::metrics::METRICS;
use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::{ClientConfig, RootCertStore, crypto};
use mtls_core::testing::{Broken, Issued, LeafOptions, MountedDir, TestCa};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// The rules, by the name of the alert.
fn rules() -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/alerts.yaml");
    let text = fs::read_to_string(file).unwrap();
    let rules = text.split("- alert: ").skip(1).map(|rule| {
        let (name, rest) = rule.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("expr: ").unwrap();
        // Up to the next key, which is indented as `expr` is.
        let expr = rest.lines().take_while(|line| {
            let key = line.trim_start().split(' ').next().unwrap_or_default();
            !["for:", "labels:"].contains(&key)
        });
        let expr: Vec<_> = expr.map(str::trim).collect();
        (name.to_owned(), expr.join(" "))
    });
    rules.collect()
}

/// The metrics that an expression asks for.
fn metrics_of(expr: &str) -> Vec<&str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("mtls_")).collect()
}

/// The program `prometheus`, as a process.
struct Server {
    _process: Child,
    https: String,
    http: String,
}

impl Server {
    async fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_prometheus"))
            .args(arguments)
            .args(["127.0.0.1:0", "--plain", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = within(lines.next_line()).await.unwrap().unwrap();
        let at = ready.strip_prefix("listening on https://").unwrap();
        let (https, http) = at.split_once(" and http://").unwrap();
        Self {
            _process: process,
            https: https.to_owned(),
            http: http.to_owned(),
        }
    }

    async fn get(&self, path: &str) -> (String, String) {
        let mut tcp = within(TcpStream::connect(&self.http)).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        within(tcp.write_all(request.as_bytes())).await.unwrap();
        let mut answer = String::new();
        within(tcp.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn scrape(&self) -> Scrape {
        let (head, body) = self.get("/metrics").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Scrape::parse(&body)
    }

    /// Scrapes until it is so.
    async fn until(&self, what: &str, holds: impl Fn(&Scrape) -> bool) -> Scrape {
        let wait = async {
            loop {
                let scrape = self.scrape().await;
                if holds(&scrape) {
                    return scrape;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let scraped = timeout(Duration::from_secs(60), wait).await;
        scraped.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// A handshake of somebody who presents this, whatever the server makes of it.
    async fn knock(&self, issued: &Issued, ca: &TestCa) {
        let mut roots = RootCertStore::empty();
        roots.add(ca.root_der()).unwrap();
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(issued.chain_der(), issued.key_der())
            .unwrap();
        let tcp = within(TcpStream::connect(&self.https)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await;
        let mut tls = tls.unwrap();
        // A request on a path that is not there: answered with 404, or the alert.
        let _ = within(
            tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        )
        .await;
        let _ = within(tls.read_to_end(&mut Vec::new())).await;
    }
}

/// Prometheus' text format, parsed.
#[derive(Debug)]
struct Scrape {
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Fails on what is not the format: a sample without a type, a value that is no number.
    fn parse(text: &str) -> Self {
        let (mut kinds, mut series) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let (keyword, rest) = comment.split_once(' ').unwrap();
                assert!(["HELP", "TYPE"].contains(&keyword), "{line}");
                let (name, kind) = rest.split_once(' ').unwrap();
                if keyword == "TYPE" {
                    kinds.insert(name.to_owned(), kind.to_owned());
                }
                continue;
            }
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = key.split('{').next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().any(|part| {
                let base = name.strip_suffix(part);
                base.is_some_and(|base| kinds.get(base).is_some_and(|kind| kind == "histogram"))
            });
            assert!(of_histogram || kinds.contains_key(name), "no type: {line}");
            series.insert(key.to_owned(), value.parse().unwrap());
        }
        Self { kinds, series }
    }

    fn get(&self, series: &str) -> Option<f64> {
        self.series.get(series).copied()
    }

    fn source(&self, metric: &str) -> f64 {
        let series = format!("{metric}{{name=\"default\"}}");
        self.get(&series).unwrap_or_else(|| panic!("{series}"))
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.unwrap()
}

fn unix_now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

const EXPIRED: &str =
    "mtls_handshakes_total{side=\"server\",outcome=\"refused\",reason=\"expired\"}";
const OK: &str = "mtls_handshakes_total{side=\"server\",outcome=\"ok\",reason=\"none\"}";

#[tokio::test]
async fn what_the_alert_rules_ask_for_is_exported_and_quiet_while_all_is_well() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let list = tempfile::NamedTempFile::new().unwrap();
    fs::write(list.path(), ca.crl().pem()).unwrap();
    let (dir, list) = (dir.path().to_str().unwrap(), list.path().to_str().unwrap());
    let server = Server::start(&[dir, "--crl", list]).await;
    server.knock(&ca.issue("/web"), &ca).await;
    let scrape = server.until("it is in", |it| it.get(OK) == Some(1.0)).await;

    let rules = rules();
    assert!(rules.len() > 10, "{rules:?}");
    for (alert, expr) in &rules {
        let asked = metrics_of(expr);
        assert!(!asked.is_empty(), "{alert}: {expr}");
        for metric in asked {
            let listed = METRICS.iter().find(|it| it.name == metric);
            let listed = listed.unwrap_or_else(|| panic!("{alert}: no metric {metric}"));
            let kind = scrape.kinds.get(metric).map(String::as_str);
            assert_eq!(kind, Some(listed.kind.as_str()), "{alert}: {metric}");
        }
    }
    for alert in [
        "MtlsCredentialsExpired",
        "MtlsCredentialsRevoked",
        "MtlsCrlStale",
        "MtlsFileNeverReplaced",
        "MtlsOldTrustLingers",
        "MtlsPeersExpired",
        "MtlsRenewalLate",
        "MtlsSourceStuck",
    ] {
        assert!(!holds(alert, &Scrape::parse(""), &scrape), "{alert}");
    }
    assert!((scrape.source("mtls_clock_timestamp_seconds") - unix_now()).abs() < 180.0);
    assert_eq!(scrape.get(EXPIRED), None);
    let took = scrape.get("mtls_handshake_duration_seconds_count{side=\"server\"}");
    assert_eq!(took, Some(1.0));
    let (head, _) = server.get("/readyz").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

/// Whether an alert's condition holds of a scrape, as Prometheus would see it. Of rules it knows what those for one metric
/// are made of: a comparison with a number or with the present, and what a counter has grown by since the scrape before.
fn holds(alert: &str, before: &Scrape, now: &Scrape) -> bool {
    let rules = rules();
    let expr = rules.get(alert).unwrap_or_else(|| panic!("no {alert}"));
    let [left, comparison, right] = expr.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{alert}: {expr}");
    };
    let right = match right {
        "time()" => unix_now(),
        number => number.parse().unwrap(),
    };
    let grows = left.strip_prefix("increase(");
    let grows = grows.and_then(|left| left.strip_suffix("[10m])"));
    let selected = now.select(grows.unwrap_or(left));
    let mut selected = selected.map(|(series, value)| match grows {
        Some(_) => value - before.get(series).unwrap_or(0.0),
        None => value,
    });
    selected.any(|left| match comparison {
        "==" => left == right,
        "<" => left < right,
        ">" => left > right,
        other => panic!("{alert}: {other}"),
    })
}

impl Scrape {
    /// The series of a metric that have these labels: `metric{label="value",..}`.
    fn select(&self, selector: &str) -> impl Iterator<Item = (&str, f64)> {
        let (metric, labels) = selector.split_once('{').unwrap_or((selector, ""));
        let labels: Vec<_> = labels.trim_end_matches('}').split(',').collect();
        let labels: Vec<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        let metric = metric.to_owned();
        self.series.iter().filter_map(move |(series, value)| {
            let (name, has) = series.split_once('{').unwrap_or((series, ""));
            let has: Vec<_> = has.trim_end_matches('}').split(',').collect();
            let is_it = name == metric
                && labels
                    .iter()
                    .all(|label| label.is_empty() || has.contains(&label.as_str()));
            is_it.then_some((series.as_str(), *value))
        })
    }
}

#[test]
fn what_holds_of_a_scrape_is_what_the_rule_says() {
    let scrape = |text: &str| Scrape::parse(&format!("# TYPE mtls_source_up gauge\n{text}"));
    let (up, down) = (
        "mtls_source_up{name=\"a\"} 1\n",
        "mtls_source_up{name=\"b\"} 0\n",
    );
    let fine = scrape(up);
    let one_is_down = scrape(&format!("{up}{down}"));
    assert!(!holds("MtlsSourceStuck", &fine, &fine));
    assert!(holds("MtlsSourceStuck", &fine, &one_is_down));
    let counted = |outcome: &str, count: u8| {
        let labels = format!("side=\"server\",outcome=\"{outcome}\",reason=\"expired\"");
        let kind = "# TYPE mtls_handshakes_total counter\n";
        Scrape::parse(&format!(
            "{kind}mtls_handshakes_total{{{labels}}} {count}\n"
        ))
    };
    let (two, three) = (counted("refused", 2), counted("refused", 3));
    assert!(holds("MtlsPeersExpired", &two, &three));
    assert!(!holds("MtlsPeersExpired", &three, &three));
    assert!(!holds("MtlsPeersExpired", &two, &counted("failed", 3)));
}

/// Waits until what an alert is written over says so, which it does not before.
async fn raises(server: &Server, alert: &str, before: &Scrape) -> Scrape {
    server.until(alert, |now| holds(alert, before, now)).await
}

async fn quiet(server: &Server, alert: &str) -> Scrape {
    let scrape = server.scrape().await;
    assert!(!holds(alert, &scrape, &scrape), "{alert}: {scrape:?}");
    scrape
}

#[tokio::test]
async fn a_broken_mount_raises_its_series_until_it_is_mended() {
    let alert = "MtlsSourceStuck";
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(&[dir.path().to_str().unwrap()]).await;
    // A rotation that holds is no fault.
    dir.rotate(&ca.issue("/api"));
    let generation = |it: &Scrape| it.source("mtls_snapshot_generation");
    server.until("rotated", |it| generation(it) == 2.0).await;
    let before = quiet(&server, alert).await;

    Broken::KeyMismatch.write(&ca, &dir);
    let scrape = raises(&server, alert, &before).await;
    let rejected =
        "mtls_reloads_total{name=\"default\",outcome=\"rejected\",reason=\"key_mismatch\"}";
    assert_eq!(before.get(rejected), None);
    assert!(scrape.get(rejected) >= Some(1.0));
    // What was served before is served on.
    assert_eq!(generation(&scrape), 2.0);
    let (head, body) = server.get("/readyz?verbose").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.contains("[+]source stuck"), "{body}");

    dir.rotate(&ca.issue("/api"));
    let mended = |it: &Scrape| !holds(alert, &scrape, it);
    server.until("mended", mended).await;
}

#[tokio::test]
async fn a_list_that_becomes_stale_raises_its_series_until_its_successor_is_here() {
    let alert = "MtlsCrlStale";
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let list = tempfile::NamedTempFile::new().unwrap();
    let due = SystemTime::now() + Duration::from_secs(10);
    fs::write(list.path(), ca.crl().next_update(due).pem()).unwrap();
    let (dir, path) = (dir.path().to_str().unwrap(), list.path().to_str().unwrap());
    let server = Server::start(&[dir, "--crl", path]).await;
    server.knock(&ca.issue("/web"), &ca).await;
    let scrape = server.until("it is in", |it| it.get(OK) == Some(1.0)).await;
    assert!(
        !holds(alert, &scrape, &scrape),
        "it took ten seconds to get here"
    );

    let scrape = raises(&server, alert, &scrape).await;
    let refused = "mtls_handshakes_total{side=\"server\",outcome=\"refused\",reason=\"crl_stale\"}";
    assert_eq!(scrape.get(refused), None);
    // Whole seconds: the last one that it is good for may not be over.
    let refusing = async {
        while server.scrape().await.get(refused).is_none() {
            server.knock(&ca.issue("/web"), &ca).await;
        }
    };
    within(refusing).await;
    let let_in = server.scrape().await.get(OK).unwrap();

    fs::write(list.path(), ca.crl().number(2).pem()).unwrap();
    let mended = |it: &Scrape| !holds(alert, &scrape, it);
    server.until("mended", mended).await;
    server.knock(&ca.issue("/web"), &ca).await;
    server
        .until("it is in again", |it| it.get(OK) > Some(let_in))
        .await;
}

#[tokio::test]
async fn a_stuck_renewer_raises_its_series_before_anything_fails() {
    let alert = "MtlsRenewalLate";
    let ca = TestCa::new("example.org");
    let (now, hour) = (SystemTime::now(), Duration::from_secs(60 * 60));
    let dir = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(&[dir.path().to_str().unwrap()]).await;
    let before = quiet(&server, alert).await;

    let old = LeafOptions::service("/api").validity(now - 95 * hour, now + 5 * hour);
    dir.rotate(&ca.issue_with(old));
    let scrape = raises(&server, alert, &before).await;
    assert_eq!(scrape.source("mtls_source_up"), 1.0);
    let (head, body) = server.get("/readyz?verbose").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.contains("[+]credentials due for renewal"), "{body}");

    dir.rotate(&ca.issue("/api"));
    let mended = |it: &Scrape| !holds(alert, &scrape, it);
    server.until("renewed", mended).await;
}

#[tokio::test]
async fn an_expired_peer_raises_its_series() {
    let alert = "MtlsPeersExpired";
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(&[dir.path().to_str().unwrap()]).await;
    // One that is let in does not, nor one that is refused for something else.
    server.knock(&ca.issue("/web"), &ca).await;
    server
        .knock(&TestCa::new("example.org").issue("/web"), &ca)
        .await;
    let unknown =
        "mtls_handshakes_total{side=\"server\",outcome=\"refused\",reason=\"unknown_issuer\"}";
    let before = server
        .until("both are judged", |it| {
            it.get(OK) == Some(1.0) && it.get(unknown) == Some(1.0)
        })
        .await;
    let nothing = Scrape::parse("");
    assert!(!holds(alert, &nothing, &before), "{before:?}");

    let expired = ca.issue_with(LeafOptions::service("/web").expired());
    server.knock(&expired, &ca).await;
    let scrape = raises(&server, alert, &before).await;
    assert_eq!(scrape.get(EXPIRED), Some(1.0));
    assert_eq!(scrape.get(OK), Some(1.0));
}
