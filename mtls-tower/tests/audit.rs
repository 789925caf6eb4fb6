//! Every allow and every deny is told, once, with all that is known of it.

#![allow(
    clippy::large_futures,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Foreign, Log, connect, https, listen, patient, within};
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::rustls::ClientConfig;
use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{
    AuditEvent, AuditOutcome, AuditStage, AuditSubject, Authorizer, ClientTls, CredentialSource,
    Denial, Forwarded, ForwardedFormat, Observer, PeerIdentity, Policy, ServerTls,
};
use mtls_tower::{Acceptor, AuthorizeLayer, Connector, Limits, MtlsListener, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::{Layer, service_fn};
use tracing::Level;

/// What was told, kept.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    stage: AuditStage,
    outcome: AuditOutcome,
    connection: u64,
    remote: Option<SocketAddr>,
    /// `peer`, `presented` or `nobody`, and the name.
    who: String,
    forwarded: Option<String>,
    reason: Option<&'static str>,
    rule: Option<String>,
    judged: Option<(u64, u64)>,
    request: Option<String>,
}

struct Tell(UnboundedSender<Told>);

impl Observer for Tell {
    fn observe(&self, event: &AuditEvent<'_>) {
        let who = match event.who {
            AuditSubject::Peer(peer) => format!("peer {peer}"),
            AuditSubject::Presented(presented) => format!("presented {}", presented.name),
            _ => "nobody".into(),
        };
        let denied = event.outcome == AuditOutcome::Deny;
        assert_eq!(event.reason.is_some(), denied);
        assert!(denied || event.cause.is_none());
        let _ = self.0.send(Told {
            stage: event.stage,
            outcome: event.outcome,
            connection: event.connection.get(),
            remote: event.remote_addr,
            who,
            forwarded: event.forwarded.map(ToString::to_string),
            reason: event.reason.map(|reason| reason.as_str()),
            rule: event.rule.map(ToOwned::to_owned),
            judged: event.generation.zip(event.policy_version),
            request: event.request.map(|r| format!("{} {}", r.method, r.path)),
        });
    }
}

struct Heard(UnboundedReceiver<Told>);

impl Heard {
    async fn next(&mut self) -> Told {
        within(self.0.recv()).await.unwrap()
    }

    /// Whatever has been decided was told when its answer came.
    fn nothing_more(&mut self) {
        assert_eq!(self.0.try_recv().ok(), None);
    }
}

fn observed(source: &CredentialSource, policy: impl Authorizer) -> (ServerTls, Heard) {
    let (tell, heard) = unbounded_channel();
    let tls = ServerTls::builder(source)
        .authorize(policy)
        .audit(Tell(tell))
        .build()
        .unwrap();
    (tls, Heard(heard))
}

fn web_only() -> Policy {
    Policy::spiffe_id("spiffe://example.org/web").unwrap()
}

/// A listener that goes on accepting, and keeps what it has accepted.
fn accept(tls: ServerTls, limits: Limits) -> SocketAddr {
    let mut listener = MtlsListener::new(listen(), tls).with_limits(limits);
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut accepted = Vec::new();
        loop {
            accepted.push(listener.accept().await);
        }
    });
    addr
}

/// A client with this config knocks, and hears what there is to hear. Returns its own address.
async fn knock(addr: SocketAddr, config: Arc<ClientConfig>) -> SocketAddr {
    let tcp = within(TcpStream::connect(addr)).await.unwrap();
    let own = tcp.local_addr().unwrap();
    if let Ok(mut tls) = connect(config, tcp).await {
        let _ = tls.shutdown().await;
    }
    own
}

#[tokio::test]
async fn each_handshake_is_told_of_once_with_who_and_why() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (tls, mut heard) = observed(&ca.source(&ca.issue("/api")), web_only());
    let addr = accept(tls, patient());
    let web = ca.issue("/web");
    let clients = [
        (
            Foreign::presenting(&web),
            "peer spiffe://example.org/web",
            None,
        ),
        (
            Foreign::presenting(&ca.issue("/batch")),
            "peer spiffe://example.org/batch",
            Some("not_authorized"),
        ),
        (
            Foreign::presenting(&other.issue("/web")),
            "presented spiffe://example.org/web",
            Some("unknown_issuer"),
        ),
        (
            Foreign::presenting(&ca.issue_with(LeafOptions::new().spiffe("/web").expired())),
            "presented spiffe://example.org/web",
            Some("expired"),
        ),
        // Somebody's public chain, without the key: never that somebody.
        (
            Foreign::replaying(
                &web,
                &ca.issue_with(LeafOptions::new().spiffe("/x").fresh_key()),
            ),
            "presented spiffe://example.org/web",
            Some("no_proof_of_possession"),
        ),
        (Foreign::nobody(), "nobody", Some("no_peer_certificate")),
    ];
    let mut last = 0;
    for (client, who, reason) in clients {
        let from = knock(addr, client.config(&ca)).await;
        let told = heard.next().await;
        assert_eq!((told.who.as_str(), told.reason), (who, reason));
        let outcome = if reason.is_none() {
            AuditOutcome::Allow
        } else {
            AuditOutcome::Deny
        };
        assert_eq!((told.stage, told.outcome), (AuditStage::Handshake, outcome));
        assert_eq!(told.remote, Some(from));
        assert_eq!(told.judged, Some((1, 0)));
        assert_eq!((told.request, told.forwarded), (None, None));
        let by_rule = reason == Some("not_authorized");
        assert_eq!(told.rule.is_some_and(|rule| rule.contains("/web")), by_rule);
        assert!(told.connection > last, "each has a number of its own");
        last = told.connection;
    }
    let mut plain = within(TcpStream::connect(addr)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(heard.next().await.reason, Some("plaintext_peer"));
    drop(within(TcpStream::connect(addr)).await.unwrap());
    assert_eq!(heard.next().await.reason, Some("peer_closed"));
    heard.nothing_more();
}

#[tokio::test]
async fn handshakes_that_never_end_are_told_of_too() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let (tls, mut heard) = observed(&source, web_only());
    let addr = accept(tls, patient().pending_handshakes(1));
    let oldest = within(TcpStream::connect(addr)).await.unwrap();
    let _newer = within(TcpStream::connect(addr)).await.unwrap();
    let told = heard.next().await;
    assert_eq!((told.who.as_str(), told.reason), ("nobody", Some("shed")));
    assert_eq!(told.remote, Some(oldest.local_addr().unwrap()));
    assert_eq!(told.judged, None);
    heard.nothing_more();

    let (tls, mut heard) = observed(&source, web_only());
    let limits = Limits::default().handshake_timeout(Duration::from_millis(20));
    let addr = accept(tls, limits);
    let _silent = within(TcpStream::connect(addr)).await.unwrap();
    let told = heard.next().await;
    assert_eq!((told.reason, told.judged), (Some("timeout"), None));
    heard.nothing_more();
}

#[tokio::test]
async fn an_authorizer_that_panics_lets_nobody_in_and_that_is_told() {
    #[derive(Debug)]
    struct Panics;
    impl Authorizer for Panics {
        fn authorize(&self, _: &PeerIdentity) -> Result<(), Denial> {
            panic!("of this test");
        }
    }
    let ca = TestCa::new("example.org");
    let (tls, mut heard) = observed(&ca.source(&ca.issue("/api")), Panics);
    let addr = accept(tls, patient());
    let from = knock(addr, Foreign::presenting(&ca.issue("/web")).config(&ca)).await;
    let told = heard.next().await;
    assert_eq!(
        (told.outcome, told.remote),
        (AuditOutcome::Deny, Some(from))
    );
    assert_eq!(
        (told.who.as_str(), told.reason),
        ("nobody", Some("handshake_panicked"))
    );
    heard.nothing_more();
}

#[tokio::test]
async fn one_handshake_in_a_loop_of_ones_own_is_told_of_with_the_address_that_was_said() {
    let ca = TestCa::new("example.org");
    let (tls, mut heard) = observed(&ca.source(&ca.issue("/api")), web_only());
    let acceptor = Acceptor::new(tls);
    let addr: SocketAddr = ([192, 0, 2, 7], 1234).into();
    for from in [None, Some(addr)] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let config = Foreign::presenting(&ca.issue("/web")).config(&ca);
        let name = "localhost".try_into().unwrap();
        let client = tokio_rustls::TlsConnector::from(config).connect(name, near);
        let server = async {
            match from {
                None => acceptor.accept(far).await,
                Some(addr) => acceptor.accept_from(far, addr).await,
            }
        };
        let (_client, stream) = within(async { tokio::join!(client, server) }).await;
        let (told, stream) = (heard.next().await, stream.unwrap());
        assert_eq!(told.remote, from);
        assert_eq!(stream.peer().unwrap().remote_addr(), from);
        assert_eq!(
            told.connection,
            stream.peer().unwrap().connection_id().get()
        );
    }
    heard.nothing_more();
}

type Http = Client<Connector, Empty<Bytes>>;

fn client(ca: &TestCa, path: &str, alpn: &str) -> Http {
    let tls = ClientTls::builder(&ca.source(&ca.issue(path)))
        .verify_server_name()
        .alpn([alpn])
        .build()
        .unwrap();
    Client::builder(TokioExecutor::new()).build(Connector::new(tls))
}

/// Serves to `/web` what only `/web` may have, and to nobody else.
fn run(tls: ServerTls) -> SocketAddr {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let handler = service_fn(|_: Request<hyper::body::Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let proxy = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let forwarded = Forwarded::accept_from(proxy, ForwardedFormat::Xfcc);
    let service = AuthorizeLayer::new(web_only()).layer(handler);
    let serve = serve(listener, tls, service)
        .limits(patient())
        .lost_peer_deadline(Duration::from_millis(50))
        .forwarded(forwarded);
    tokio::spawn(serve.into_future());
    addr
}

async fn get(http: &Http, addr: SocketAddr, xfcc: Option<&str>) -> StatusCode {
    let mut request = Request::get(format!("{}orders?token=secret", https(addr)));
    if let Some(xfcc) = xfcc {
        request = request.header("x-forwarded-client-cert", xfcc);
    }
    let request = request.body(Empty::new()).unwrap();
    within(http.request(request)).await.unwrap().status()
}

#[tokio::test]
async fn each_request_is_told_of_once_with_its_path_and_without_its_query() {
    let ca = TestCa::new("example.org");
    for alpn in ["http/1.1", "h2"] {
        let policy = Policy::trust_domain("example.org").unwrap();
        let (tls, mut heard) = observed(&ca.source(&ca.issue("/api")), policy);
        let addr = run(tls);
        let web = client(&ca, "/web", alpn);
        assert_eq!(get(&web, addr, None).await, StatusCode::OK);
        let handshake = heard.next().await;
        assert_eq!(handshake.stage, AuditStage::Handshake);
        let allowed = heard.next().await;
        let expected = Told {
            stage: AuditStage::Request,
            outcome: AuditOutcome::Allow,
            request: Some("GET /orders".into()),
            ..handshake.clone()
        };
        assert_eq!(allowed, expected);
        heard.nothing_more();

        // For somebody behind the proxy.
        assert_eq!(
            get(&web, addr, Some("URI=spiffe://example.org/c")).await,
            StatusCode::OK
        );
        let client_of_web = "spiffe://example.org/c (forwarded by spiffe://example.org/web)";
        let expected = Told {
            forwarded: Some(client_of_web.into()),
            ..expected
        };
        assert_eq!(heard.next().await, expected);
        assert_eq!(get(&web, addr, Some("\"")).await, StatusCode::BAD_REQUEST);
        let malformed = Told {
            outcome: AuditOutcome::Deny,
            reason: Some("malformed_forwarded"),
            forwarded: None,
            ..expected
        };
        assert_eq!(heard.next().await, malformed);
        heard.nothing_more();

        let batch = client(&ca, "/batch", alpn);
        assert_eq!(get(&batch, addr, None).await, StatusCode::FORBIDDEN);
        let handshake = heard.next().await;
        assert_eq!(handshake.outcome, AuditOutcome::Allow);
        let denied = heard.next().await;
        assert!(
            denied
                .rule
                .as_ref()
                .unwrap()
                .contains("spiffe://example.org/web")
        );
        let expected = Told {
            stage: AuditStage::Request,
            outcome: AuditOutcome::Deny,
            reason: Some("not_authorized"),
            rule: denied.rule.clone(),
            request: Some("GET /orders".into()),
            ..handshake
        };
        assert_eq!(denied, expected);
        heard.nothing_more();
    }
}

#[tokio::test]
async fn a_peer_that_is_let_in_no_more_is_told_of_where_its_connection_ends() {
    let (ca, next) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ca.publish(&ca.issue("/api"));
    let (tls, mut heard) = observed(&source, Policy::trust_domain("example.org").unwrap());
    let addr = run(tls);
    let web = client(&ca, "/web", "h2");
    assert_eq!(get(&web, addr, None).await, StatusCode::OK);
    let handshake = heard.next().await;
    assert_eq!(heard.next().await.stage, AuditStage::Request);
    let (chain, trust) = (next.issue("/api").material(), next.trust_material());
    publisher.publish(chain, trust).unwrap();
    let ended = loop {
        let told = heard.next().await;
        if told.stage == AuditStage::Connection {
            break told;
        }
    };
    assert_eq!(ended.outcome, AuditOutcome::Deny);
    assert_eq!(
        (&ended.who, ended.connection),
        (&handshake.who, handshake.connection)
    );
    assert_eq!(
        (ended.remote, ended.judged),
        (handshake.remote, Some((2, 0)))
    );
    assert_eq!(ended.reason, Some("unknown_issuer"));
    heard.nothing_more();
}

#[tokio::test]
async fn an_observer_that_panics_takes_nothing_down() {
    struct Panics;
    impl Observer for Panics {
        fn observe(&self, _: &AuditEvent<'_>) {
            panic!("of this test");
        }
    }
    let ca = TestCa::new("example.org");
    let log = Log::start();
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(web_only())
        .audit(Panics)
        .build()
        .unwrap();
    let addr = run(tls);
    let web = client(&ca, "/web", "http/1.1");
    for _ in 0..3 {
        assert_eq!(get(&web, addr, None).await, StatusCode::OK);
    }
    knock(addr, Foreign::nobody().config(&ca)).await;
    // Nor is the log at the mercy of whoever connects: four panics of five at most, one line each time they double.
    let errors = log.at(Level::ERROR);
    assert!((2..=3).contains(&errors.len()), "{errors:?}");
    assert!(
        errors
            .iter()
            .all(|entry| entry.message().contains("observer panicked"))
    );
    // It still refuses.
    let mut tls = {
        let tcp = within(TcpStream::connect(addr)).await.unwrap();
        connect(Foreign::nobody().config(&ca), tcp).await.unwrap()
    };
    assert!(within(tls.read_u8()).await.is_err());
}
