//! Connections that did not end in time, by whatever cause: each is counted as cut once, and none that has ended by itself.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{HOUR, listen, patient, until, within};
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, CredentialSource, Policy, Publisher, ServerTls, TrustMaterial};
use mtls_tower::{ConnectionLimits, Connector, serve};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::{Service, service_fn};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

/// 0 for a series that is not there: a counter that nobody has touched.
fn cut(recorder: &PrometheusRecorder, side: &str, cause: &str, reason: &str) -> f64 {
    let labels = format!("side=\"{side}\",cause=\"{cause}\",reason=\"{reason}\"");
    let series = format!("mtls_connections_cut_total{{{labels}}}");
    let text = recorder.handle().render();
    let found = text.lines().find_map(|line| line.strip_prefix(&series));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// In all, by whatever cause.
fn cut_in_all(recorder: &PrometheusRecorder) -> f64 {
    let text = recorder.handle().render();
    let all = text.lines();
    let all = all.filter(|line| line.starts_with("mtls_connections_cut_total{"));
    let values = all.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap());
    values.sum()
}

/// Never answers a request for `/hold`, and counts them.
fn holding(
    held: &Arc<AtomicUsize>,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let held = Arc::clone(held);
    service_fn(move |request: Request<Incoming>| {
        let held = Arc::clone(&held);
        async move {
            if request.uri().path() == "/hold" {
                held.fetch_add(1, Ordering::SeqCst);
                pending::<()>().await;
            }
            Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    })
}

fn tls(own: &TestCa, anchors: &[&TestCa]) -> (Publisher, ServerTls) {
    let (publisher, source) = source(own, "/api", anchors);
    let tls = ServerTls::builder(&source).authorize(Policy::any_verified_peer());
    (publisher, tls.build().unwrap())
}

fn source(own: &TestCa, path: &str, anchors: &[&TestCa]) -> (Publisher, CredentialSource) {
    let anchors = anchors.iter().map(|ca| ca.root_der()).collect();
    let material = own.issue(path).material();
    let builder = CredentialSource::builder();
    builder
        .publish(material, TrustMaterial::new(anchors))
        .unwrap()
}

type Http = Client<Connector, Empty<Bytes>>;

/// A client `/web` of this CA, which trusts the servers of the other.
fn client(own: &TestCa, trusts: &TestCa) -> (Publisher, Http) {
    let (publisher, source) = source(own, "/web", &[own, trusts]);
    let tls = ClientTls::builder(&source).verify_server_name();
    let connector = Connector::new(tls.build().unwrap());
    (
        publisher,
        Client::builder(TokioExecutor::new()).build(connector),
    )
}

type Asked = JoinHandle<Result<Response<Incoming>, Error>>;

fn ask(http: &Http, addr: SocketAddr, path: &str) -> Asked {
    let uri = format!("https://localhost:{}{path}", addr.port());
    tokio::spawn(http.get(uri.parse().unwrap()))
}

async fn ok(asked: Asked) -> bool {
    let answer = within(asked).await.unwrap();
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test]
async fn a_lost_peer_with_a_request_that_never_ends_is_cut_and_nobody_else() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (ca, leaving) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, tls) = tls(&ca, &[&ca, &leaving]);
    let (listener, held) = (listen(), Arc::default());
    let addr = listener.local_addr().unwrap();
    let server = serve(listener, tls, holding(&held)).limits(patient());
    let server = server.lost_peer_deadline(Duration::from_millis(200));
    tokio::spawn(server.into_future());

    let (_staying, stays) = client(&ca, &ca);
    let (_leaving, leaves) = client(&leaving, &ca);
    // One that ends when it is told to is drained and not cut.
    let (_idle, idles) = client(&leaving, &ca);
    assert!(ok(ask(&idles, addr, "/")).await);
    let (staying, lost) = (ask(&stays, addr, "/hold"), ask(&leaves, addr, "/hold"));
    until("both are held", || held.load(Ordering::SeqCst) == 2).await;
    assert_eq!(cut_in_all(&recorder), 0.0);

    publisher.publish_trust(ca.trust_material()).unwrap();
    assert!(!ok(lost).await);
    until("it is counted", || {
        cut(&recorder, "server", "lost", "unknown_issuer") == 1.0
    })
    .await;
    assert!(!staying.is_finished());
    assert_eq!(cut_in_all(&recorder), 1.0);
}

#[tokio::test]
async fn what_is_open_at_the_end_of_a_shutdown_is_cut() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let (_publisher, tls) = tls(&ca, &[&ca]);
    let (listener, held) = (listen(), Arc::default());
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(listener, tls, holding(&held))
        .limits(patient())
        .drain_deadline(Duration::from_millis(200))
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        });
    let server = tokio::spawn(server.into_future());
    let (_one, one) = client(&ca, &ca);
    let (_other, other) = client(&ca, &ca);
    assert!(ok(ask(&other, addr, "/")).await);
    let asked = ask(&one, addr, "/hold");
    until("it is held", || held.load(Ordering::SeqCst) == 1).await;
    assert_eq!(cut_in_all(&recorder), 0.0);
    stop.send(()).unwrap();
    within(server).await.unwrap().unwrap();
    assert!(!ok(asked).await);
    assert_eq!(cut(&recorder, "server", "shutdown", "none"), 1.0);
    assert_eq!(cut_in_all(&recorder), 1.0);
}

#[tokio::test]
async fn a_connection_that_is_too_old_and_does_not_end_is_cut() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let (_publisher, tls) = tls(&ca, &[&ca]);
    let (listener, held) = (listen(), Arc::default());
    let addr = listener.local_addr().unwrap();
    let server = serve(listener, tls, holding(&held))
        .limits(patient())
        .max_age(Duration::from_millis(500))
        .lost_peer_deadline(Duration::from_millis(200));
    tokio::spawn(server.into_future());
    let (_publisher, http) = client(&ca, &ca);
    assert!(!ok(ask(&http, addr, "/hold")).await);
    until("it is counted", || {
        cut(&recorder, "server", "age", "none") == 1.0
    })
    .await;
    assert_eq!(cut_in_all(&recorder), 1.0);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_cut() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let (_publisher, tls) = tls(&ca, &[&ca]);
    let (listener, held) = (listen(), Arc::default());
    let addr = listener.local_addr().unwrap();
    let server = serve(listener, tls, holding(&held))
        .limits(patient())
        .connection_limits(ConnectionLimits::new().per_peer(1));
    tokio::spawn(server.into_future());
    let (_one, one) = client(&ca, &ca);
    let (_other, other) = client(&ca, &ca);
    let _asked = ask(&one, addr, "/hold");
    until("it is held", || held.load(Ordering::SeqCst) == 1).await;
    assert_eq!(cut_in_all(&recorder), 0.0);
    assert!(!ok(ask(&other, addr, "/")).await);
    // Its client may have tried again.
    let limit = cut(&recorder, "server", "limit", "none");
    assert!(limit >= 1.0, "{limit}");
    assert_eq!(cut_in_all(&recorder), limit);
}

#[tokio::test]
async fn a_client_cuts_its_connection_to_a_server_that_it_would_trust_no_more() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (ca, ours) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (_publisher, tls) = tls(&ca, &[&ca, &ours]);
    let (listener, held) = (listen(), Arc::default());
    let addr = listener.local_addr().unwrap();
    let server = serve(listener, tls, holding(&held)).limits(patient());
    tokio::spawn(server.lost_peer_deadline(HOUR).into_future());
    let (publisher, http) = client(&ours, &ca);
    let asked = ask(&http, addr, "/hold");
    until("it is held", || held.load(Ordering::SeqCst) == 1).await;
    assert_eq!(cut_in_all(&recorder), 0.0);
    publisher.publish_trust(ours.trust_material()).unwrap();
    assert!(!ok(asked).await);
    until("it is counted", || {
        cut(&recorder, "client", "lost", "unknown_issuer") == 1.0
    })
    .await;
    assert_eq!(cut_in_all(&recorder), 1.0);
}
