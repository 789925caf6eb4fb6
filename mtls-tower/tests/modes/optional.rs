//! Client certificates that are optional.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mtls_core::testing::TestCa;
use mtls_core::{
    AnonymousBy, AuditEvent, AuditOutcome, AuditSubject, ClientCertificates, Forwarded,
    ForwardedFormat, Observer, Policy, ServerTls,
};
use mtls_tower::{ConnectionLimits, serve};

use crate::common::{Accepting, Foreign, connect, listen, patient, refusal};
use crate::rig::{by_tls, service, tls};

fn start(tls: ServerTls) -> SocketAddr {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let believing = Forwarded::accept_from(Policy::any_verified_peer(), ForwardedFormat::Xfcc);
    let serve = serve(listener, tls, service())
        .limits(patient())
        .forwarded(believing);
    tokio::spawn(serve.into_future());
    addr
}

#[tokio::test]
async fn a_client_without_a_certificate_reaches_what_is_for_anybody_and_nothing_that_wants_a_peer()
{
    let ca = TestCa::new("example.org");
    let addr = start(tls(&ca, ClientCertificates::Optional));
    let mut nobody = by_tls(Foreign::nobody(), &ca, addr).await;
    assert_eq!(nobody.who().await, "anonymous tls_without_certificate");
    assert_eq!(nobody.get("/rules/open").await.status, 200);
    for path in ["/orders", "/rules/closed"] {
        let answer = nobody.get(path).await;
        assert_eq!(answer.status, 401, "{}", answer.head);
    }
    let mut web = by_tls(Foreign::presenting(&ca.issue("/web")), &ca, addr).await;
    assert_eq!(web.who().await, "peer spiffe://example.org/web");
    for path in ["/orders", "/rules/open", "/rules/closed"] {
        assert_eq!(web.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_is_anonymous() {
    let ca = TestCa::new("example.org");
    let addr = start(tls(&ca, ClientCertificates::default()));
    let nobody = Foreign::nobody().config(&ca);
    assert_eq!(refusal(nobody, addr).await, "certificate_required");
    let mut web = by_tls(Foreign::presenting(&ca.issue("/web")), &ca, addr).await;
    assert_eq!(web.get("/orders").await.status, 200);
}

#[tokio::test]
async fn a_bad_certificate_is_refused_by_its_alert_and_not_taken_for_none() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let addr = start(tls(&ca, ClientCertificates::Optional));
    let (web, thief) = (ca.issue("/web"), ca.issue("/thief"));
    for (client, alert) in [
        (Foreign::presenting(&other.issue("/web")), "unknown_ca"),
        (Foreign::replaying(&web, &thief), "decrypt_error"),
    ] {
        assert_eq!(refusal(client.config(&ca), addr).await, alert);
    }
}

#[tokio::test]
async fn what_an_anonymous_client_forwards_is_taken_out_and_believed_by_nobody() {
    let ca = TestCa::new("example.org");
    let addr = start(tls(&ca, ClientCertificates::Optional));
    let mut nobody = by_tls(Foreign::nobody(), &ca, addr).await;
    for value in ["URI=spiffe://example.org/admin", "=\"broken"] {
        let header = format!("x-forwarded-client-cert: {value}\r\n");
        let answer = nobody.get_with("/who", &header).await;
        assert_eq!(answer.body, "anonymous tls_without_certificate");
        assert_eq!(nobody.get_with("/orders", &header).await.status, 401);
    }
    // The twin: of a peer it is believed here.
    let mut web = by_tls(Foreign::presenting(&ca.issue("/web")), &ca, addr).await;
    let header = "x-forwarded-client-cert: URI=spiffe://example.org/admin\r\n";
    let answer = web.get_with("/who", header).await;
    assert_eq!(answer.body, "peer spiffe://example.org/web, claimed");
}

#[tokio::test]
async fn anonymous_clients_count_by_address_and_take_no_peers_place() {
    let ca = TestCa::new("example.org");
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let serve = serve(listener, tls(&ca, ClientCertificates::Optional), service())
        .limits(patient())
        .connection_limits(ConnectionLimits::new().per_peer(2));
    tokio::spawn(serve.into_future());
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut nobody = by_tls(Foreign::nobody(), &ca, addr).await;
        assert_eq!(nobody.get("/who").await.status, 200);
        open.push(nobody);
    }
    let mut third = by_tls(Foreign::nobody(), &ca, addr).await;
    let request = "GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert!(third.try_ask(request).await.is_none());
    let mut web = by_tls(Foreign::presenting(&ca.issue("/web")), &ca, addr).await;
    assert_eq!(web.get("/orders").await.status, 200);
    assert_eq!(open[0].get("/who").await.status, 200);
}

#[tokio::test]
async fn a_loop_of_ones_own_is_told_of_an_anonymous_client_by_type() {
    let ca = TestCa::new("example.org");
    let mut server = Accepting::start(tls(&ca, ClientCertificates::Optional), patient()).await;
    let _open = connect(Foreign::nobody().config(&ca), server.dial().await).await;
    let stream = server.next().await;
    assert!(stream.peer().is_none());
    let client = stream.client().anonymous().unwrap();
    assert_eq!(client.by(), AnonymousBy::TlsWithoutCertificate);
    assert_eq!(client.tls_version(), Some("1.3"));
    assert!(client.remote_addr().unwrap().ip().is_loopback());
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Observer for Kept {
    fn observe(&self, event: &AuditEvent<'_>) {
        let who = match event.who {
            AuditSubject::Anonymous(by) => by.as_str().to_owned(),
            AuditSubject::Peer(peer) => peer.to_string(),
            _ => "somebody else".into(),
        };
        assert_eq!(event.outcome == AuditOutcome::Deny, event.reason.is_some());
        let path = event.request.map_or("", |request| request.path);
        let reason = event.reason.map_or("", |reason| reason.as_str());
        let (stage, outcome) = (event.stage.as_str(), event.outcome.as_str());
        let mut kept = self.0.lock().unwrap();
        kept.push(format!("{stage} {path} {outcome} {reason} {who}"));
    }
}

#[tokio::test]
async fn the_audit_is_told_of_an_anonymous_client_at_its_handshake_and_at_each_decision() {
    let ca = TestCa::new("example.org");
    let kept = Kept::default();
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .client_certificates(ClientCertificates::Optional)
        .audit(kept.clone())
        .build()
        .unwrap();
    let addr = start(tls);
    let mut nobody = by_tls(Foreign::nobody(), &ca, addr).await;
    nobody.get("/rules/open").await;
    nobody.get("/orders").await;
    let anonymous = "tls_without_certificate";
    assert_eq!(
        *kept.0.lock().unwrap(),
        [
            format!("handshake  allow  {anonymous}"),
            format!("request /rules/open allow  {anonymous}"),
            format!("request /orders deny no_peer_certificate {anonymous}"),
        ]
    );
}
