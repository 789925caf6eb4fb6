//! What is counted of connections and requests: each once, on either side, by the reason that the log has too.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{Foreign, HOUR, connect, https, listen, patient, until, within};
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, CredentialSource, Policy, Publisher, ServerTls, TrustMaterial};
use mtls_tower::{AuthorizeLayer, Connector, Limits, Permissive, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{Layer, service_fn};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

/// 0 for a series that is not there: a counter that nobody has touched.
fn value(recorder: &PrometheusRecorder, series: &str) -> f64 {
    let text = recorder.handle().render();
    let found = text.lines().find_map(|line| line.strip_prefix(series));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

fn handshakes(recorder: &PrometheusRecorder, side: &str, outcome: &str, reason: &str) -> f64 {
    let labels = format!("side=\"{side}\",outcome=\"{outcome}\",reason=\"{reason}\"");
    value(recorder, &format!("mtls_handshakes_total{{{labels}}}"))
}

/// A server that trusts both CAs, and answers everything but `/orders`, which is for `/orders`.
fn start(
    both: [&TestCa; 2],
    limits: Limits,
    lost_peer_deadline: Duration,
) -> (SocketAddr, Publisher) {
    let anchors = both.iter().map(|ca| ca.root_der()).collect();
    let (publisher, source) = CredentialSource::builder()
        .name("server")
        .publish(
            both[0].issue("/api").material(),
            TrustMaterial::new(anchors),
        )
        .unwrap();
    let tls = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let ok = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
    };
    let orders = Policy::spiffe_id("spiffe://example.org/orders").unwrap();
    let app = AuthorizeLayer::new(orders).layer(service_fn(ok));
    let app = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move {
            match request.uri().path() {
                "/orders" => tower::ServiceExt::oneshot(app, request).await,
                _ => ok(request).await,
            }
        }
    });
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let server = serve(listener, tls, app)
        .limits(limits)
        .lost_peer_deadline(lost_peer_deadline);
    tokio::spawn(server.into_future());
    (addr, publisher)
}

fn connector(ca: &TestCa, trusts: &TestCa) -> Connector {
    let trust = TrustMaterial::new(vec![ca.root_der(), trusts.root_der()]);
    let (_publisher, source) = CredentialSource::builder()
        .name("client")
        .publish(ca.issue("/web").material(), trust)
        .unwrap();
    let tls = ClientTls::builder(&source)
        .expect_server("spiffe://example.org/api".parse().unwrap())
        .unwrap();
    Connector::new(tls.build().unwrap())
}

#[tokio::test]
async fn each_handshake_is_counted_once_on_each_side_with_its_outcome_and_reason() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (addr, _publisher) = start([&ca, &ca], patient(), HOUR);

    let stream = connector(&ca, &ca).connect(&https(addr)).await.unwrap();
    until("both are done", || {
        ["client", "server"]
            .iter()
            .all(|side| handshakes(&recorder, side, "ok", "none") == 1.0)
    })
    .await;
    for side in ["client", "server"] {
        let series = format!("mtls_handshake_duration_seconds_count{{side=\"{side}\"}}");
        assert_eq!(value(&recorder, &series), 1.0);
    }
    drop(stream);

    within(connector(&other, &ca).connect(&https(addr)))
        .await
        .unwrap_err();
    assert_eq!(
        handshakes(&recorder, "server", "refused", "unknown_issuer"),
        1.0
    );
    let alerts = "mtls_alerts_received_total{side=\"client\",alert=\"unknown_ca\"}";
    assert_eq!(value(&recorder, alerts), 1.0);
    let heard = handshakes(&recorder, "client", "refused", "refused_by_peer");
    assert_eq!(heard, 1.0);

    // Who does not wait for the server's word hears of it when it reads.
    let hasty = connector(&other, &ca).confirm_timeout(Duration::ZERO);
    let mut refused = hasty.connect(&https(addr)).await.unwrap();
    within(refused.read_u8()).await.unwrap_err();
    assert_eq!(value(&recorder, alerts), 2.0);
    assert_eq!(handshakes(&recorder, "client", "ok", "none"), 2.0);

    // The other way round: the client refuses, and the server hears.
    let stranger = connector(&other, &other);
    within(stranger.connect(&https(addr))).await.unwrap_err();
    assert_eq!(
        handshakes(&recorder, "client", "refused", "unknown_issuer"),
        1.0
    );
    until("the server has heard", || {
        handshakes(&recorder, "server", "refused", "refused_by_peer") == 1.0
    })
    .await;

    drop(TcpStream::connect(addr).await.unwrap());
    until("a probe is a failure and no refusal", || {
        handshakes(&recorder, "server", "failed", "peer_closed") == 1.0
    })
    .await;
    assert_eq!(handshakes(&recorder, "server", "ok", "none"), 1.0);
}

#[tokio::test]
async fn a_handshake_that_is_given_up_is_counted_by_whoever_gave_it_up() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let (addr, _publisher) = start([&ca, &ca], patient().pending_handshakes(1), HOUR);
    let _silent = TcpStream::connect(addr).await.unwrap();
    let _newer = TcpStream::connect(addr).await.unwrap();
    until("the older is shed", || {
        handshakes(&recorder, "server", "failed", "shed") == 1.0
    })
    .await;
    let silent = Limits::default().handshake_timeout(Duration::from_millis(50));
    let (addr, _publisher) = start([&ca, &ca], silent, HOUR);
    let _silent = TcpStream::connect(addr).await.unwrap();
    until("its time is over", || {
        handshakes(&recorder, "server", "failed", "timeout") == 1.0
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_that_are_refused_and_connections_that_are_drained_and_cut() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (ca, leaving) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (addr, publisher) = start([&ca, &leaving], patient(), Duration::from_millis(100));
    let http =
        Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector(&leaving, &ca));
    let get = |path: &str| http.get(format!("https://{addr}{path}").parse().unwrap());
    let refused = |reason: &str| {
        let series = format!("mtls_requests_refused_total{{reason=\"{reason}\"}}");
        value(&recorder, &series)
    };
    assert_eq!(within(get("/")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(refused("not_authorized"), 0.0);
    let denied = within(get("/orders")).await.unwrap();
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    assert_eq!(refused("not_authorized"), 1.0);

    // One that takes no part, so that it has to be cut.
    let foreign = Foreign::presenting(&leaving.issue("/web")).config(&ca);
    let idle = connect(foreign, TcpStream::connect(addr).await.unwrap());
    let _idle = idle.await.unwrap();
    let open = |trust: &str| {
        let labels = format!("name=\"server\",side=\"server\",trust=\"{trust}\"");
        value(&recorder, &format!("mtls_connections{{{labels}}}"))
    };
    until("both are open", || open("current") == 2.0).await;

    publisher.publish_trust(ca.trust_material()).unwrap();
    let ended = |metric: &str, reason: &str| {
        let labels = format!("side=\"server\",cause=\"lost\",reason=\"{reason}\"");
        value(&recorder, &format!("{metric}{{{labels}}}"))
    };
    until("both are drained", || {
        ended("mtls_connections_drained_total", "unknown_issuer") == 2.0
    })
    .await;
    until("nobody of the old trust is left", || {
        open("older") == 0.0 && open("current") == 0.0
    })
    .await;
}

#[tokio::test]
async fn clients_in_plaintext_are_counted_while_they_are_taken_and_are_a_failure_after() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let (listener, permissive) = (listen(), Permissive::without_end());
    let addr = listener.local_addr().unwrap();
    let app = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
    });
    let server = serve(listener, tls, app).permissive(permissive.clone());
    tokio::spawn(server.limits(patient()).into_future());
    let plain = || async {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        within(tcp.write_all(request)).await.unwrap();
        tcp
    };
    let open = || value(&recorder, "mtls_connections_plaintext");
    let first = plain().await;
    until("it is taken", || open() == 1.0).await;
    drop(first);
    until("it is gone", || open() == 0.0).await;
    permissive.go_strict();
    let _late = plain().await;
    until("it is refused", || {
        handshakes(&recorder, "server", "failed", "plaintext_peer") == 1.0
    })
    .await;
    assert_eq!(value(&recorder, "mtls_plaintext_connections_total"), 1.0);
    assert_eq!(handshakes(&recorder, "server", "ok", "none"), 0.0);
}
