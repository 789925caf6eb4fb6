//! A router under axum's own `serve`, behind our listener.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get as on_get;
use common::{client, get, istio, plain, server, within};
use http::{HeaderMap, Request, StatusCode, Version};
use mtls_axum::{ConnectedPeer, Limits, Listener, Peer, authorize_requests, make_service, require};
use mtls_core::testing::TestCa;
use mtls_core::{
    AccessPolicy, Authorizer, ClientTls, CredentialSource, Denial, Effect, Fact, OwnChain,
    PeerIdentity, Rule, ServerTls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

const BOTH: [(&str, Version); 2] = [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)];
const HOUR: Duration = Duration::from_secs(3600);

async fn listener(tls: ServerTls) -> (Listener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let patient = Limits::default().handshake_timeout(HOUR).linger(HOUR);
    let listener = Listener::new(listener, tls).with_limits(patient);
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

macro_rules! start {
    ($tls:expr, $make:expr) => {{
        let (listener, addr) = listener($tls).await;
        tokio::spawn(axum::serve(listener, $make).into_future());
        addr
    }};
}

async fn whoami(Peer(peer): Peer) -> String {
    peer.to_string()
}

async fn address(ConnectInfo(addr): ConnectInfo<SocketAddr>) -> String {
    addr.ip().to_string()
}

async fn info(ConnectInfo(connected): ConnectInfo<ConnectedPeer>) -> String {
    format!("{} at {}", connected.client, connected.remote_addr.ip())
}

fn routes() -> Router {
    let shop = require("spiffe://example.org/ns/shop/sa/*").unwrap();
    let policy = AccessPolicy::builder()
        .allow(Rule::named("shop").is(Fact::Spiffe, ["spiffe://example.org/ns/shop/sa/*"]))
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap();
    Router::new()
        .route("/whoami", on_get(whoami))
        .route("/shop", on_get(whoami).route_layer(shop))
        .route(
            "/rules",
            on_get("ok").route_layer(authorize_requests(policy)),
        )
        .route("/address", on_get(address))
        .route("/info", on_get(info))
}

/// Both ways to say what is served.
async fn both_ways(ca: &TestCa) -> [SocketAddr; 2] {
    let with_info = routes().into_make_service_with_connect_info::<ConnectedPeer>();
    [
        start!(server(ca), make_service(routes())),
        start!(server(ca), with_info),
    ]
}

#[tokio::test]
async fn handlers_and_layers_know_the_peer_over_http_1_and_http_2() {
    let ca = TestCa::new("example.org");
    for addr in both_ways(&ca).await {
        for (alpn, version) in BOTH {
            let http = client(&ca, &istio(&ca), alpn);
            for path in ["/whoami", "/shop"] {
                let answer = get(&http, addr, path).await;
                assert_eq!(answer.version(), version);
                assert_eq!(answer.body(), "spiffe://example.org/ns/shop/sa/web");
            }
            assert_eq!(get(&http, addr, "/rules").await.status(), StatusCode::OK);
            let http = client(&ca, &plain(&ca), alpn);
            assert_eq!(get(&http, addr, "/whoami").await.body(), "web.example.org");
            for path in ["/shop", "/rules"] {
                assert_eq!(get(&http, addr, path).await.status(), StatusCode::FORBIDDEN);
            }
        }
    }
}

#[tokio::test]
async fn the_clients_address_is_connect_info() {
    let ca = TestCa::new("example.org");
    let [made, with_info] = both_ways(&ca).await;
    let http = client(&ca, &plain(&ca), "h2");
    assert_eq!(get(&http, made, "/address").await.body(), "127.0.0.1");
    let told = get(&http, with_info, "/info").await;
    assert_eq!(told.body(), "web.example.org at 127.0.0.1");
    // axum's `ListenerExt` changes nothing of it.
    let (listener, addr) = listener(server(&ca)).await;
    let tapped = axum::serve::ListenerExt::tap_io(listener, |_| {});
    tokio::spawn(axum::serve(tapped, make_service(routes())).into_future());
    assert_eq!(get(&http, addr, "/address").await.body(), "127.0.0.1");
    assert_eq!(get(&http, addr, "/whoami").await.body(), "web.example.org");
}

#[tokio::test]
async fn a_stranger_reaches_no_handler() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (_, source) = CredentialSource::builder()
        .own_chain(OwnChain::FromAnotherPki)
        .publish(other.issue("/web").material(), ca.trust_material())
        .unwrap();
    let tls = ClientTls::builder(&source).verify_server_name();
    let connector = mtls_tower::Connector::new(tls.alpn(["http/1.1"]).build().unwrap());
    for addr in both_ways(&ca).await {
        let uri = format!("https://{addr}/whoami").parse().unwrap();
        let error = within(connector.connect(&uri)).await.unwrap_err();
        let alert = mtls_core::Alert::find(&error).unwrap();
        assert_eq!(alert.to_string(), "unknown_ca");
    }
}

#[tokio::test]
async fn clients_that_say_nothing_delay_nobody() {
    let ca = TestCa::new("example.org");
    for addr in both_ways(&ca).await {
        let mut silent = Vec::new();
        for _ in 0..32 {
            silent.push(within(TcpStream::connect(addr)).await.unwrap());
        }
        let http = client(&ca, &istio(&ca), "h2");
        assert_eq!(get(&http, addr, "/rules").await.status(), StatusCode::OK);
        for stream in &silent {
            let read = stream.try_read(&mut [0]).unwrap_err();
            assert_eq!(
                read.kind(),
                std::io::ErrorKind::WouldBlock,
                "it waits still"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_falls_silent_after_its_handshake_is_closed() {
    let ca = TestCa::new("example.org");
    let (listener, addr) = listener(server(&ca)).await;
    let listener = listener.first_bytes_timeout(Duration::from_millis(50));
    tokio::spawn(axum::serve(listener, make_service(routes())).into_future());
    let tls = ClientTls::builder(&ca.source(&ca.issue("/web"))).verify_server_name();
    let connector = mtls_tower::Connector::new(tls.alpn(["h2"]).build().unwrap());
    let uri = format!("https://{addr}/").parse().unwrap();
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut stream = within(connector.connect(&uri)).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    let http = client(&ca, &istio(&ca), "h2");
    assert_eq!(get(&http, addr, "/rules").await.status(), StatusCode::OK);
}

/// Lets in everybody, until it lets in nobody.
#[derive(Debug)]
struct Switch(watch::Sender<u64>);

impl Switch {
    fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    fn ban_all(&self) {
        self.0.send_replace(1);
    }
}

impl Authorizer for Switch {
    fn authorize(&self, _: &PeerIdentity) -> Result<(), Denial> {
        match self.version() {
            0 => Ok(()),
            _ => Err(Denial::expected("nobody")),
        }
    }

    fn version(&self) -> u64 {
        *self.0.borrow()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.0.subscribe())
    }
}

fn switched(ca: &TestCa, switch: &Arc<Switch>) -> ServerTls {
    ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Arc::clone(switch))
        .build()
        .unwrap()
}

/// Answers when it is told to.
fn holding() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, told) = (Arc::clone(&begun), Arc::clone(&go_on));
    let hold = move || async move {
        tell.notify_one();
        told.notified().await;
        "held"
    };
    (routes().route("/hold", on_get(hold)), begun, go_on)
}

#[tokio::test]
async fn a_lost_clients_next_request_is_refused_and_the_one_in_flight_finishes() {
    let ca = TestCa::new("example.org");
    for (alpn, version) in BOTH {
        let (switch, (app, begun, go_on)) = (Switch::new(), holding());
        let make = make_service(app).lost_peer_deadline(HOUR);
        let addr = start!(switched(&ca, &switch), make);
        let http = client(&ca, &istio(&ca), alpn);
        let asking = tokio::spawn({
            let http = http.clone();
            async move { get(&http, addr, "/hold").await }
        });
        within(begun.notified()).await;
        switch.ban_all();
        if version == Version::HTTP_2 {
            // By the connection that is there: a new one would not be let in.
            let refused = get(&http, addr, "/whoami").await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            assert_eq!(refused.body(), "");
        }
        go_on.notify_one();
        assert_eq!(within(asking).await.unwrap().body(), "held");
        let request = Request::get(format!("https://{addr}/whoami"));
        let next = within(http.request(request.body(Body::empty()).unwrap())).await;
        // Over HTTP/1.1 the response before may have said that it was the last.
        assert!(next.is_err() || next.unwrap().status() == StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn a_lost_clients_connection_is_cut() {
    let ca = TestCa::new("example.org");
    for (alpn, _) in BOTH {
        for by_make_service in [true, false] {
            let (switch, (app, begun, _)) = (Switch::new(), holding());
            let tls = switched(&ca, &switch);
            let addr = if by_make_service {
                let make = make_service(app).lost_peer_deadline(Duration::from_millis(50));
                start!(tls, make)
            } else {
                start!(
                    tls,
                    app.into_make_service_with_connect_info::<ConnectedPeer>()
                )
            };
            let http = client(&ca, &istio(&ca), alpn);
            let request = Request::get(format!("https://{addr}/hold"));
            let asking = http.request(request.body(Body::empty()).unwrap());
            let asking = tokio::spawn(asking);
            within(begun.notified()).await;
            switch.ban_all();
            assert!(within(asking).await.unwrap().is_err());
        }
    }
}

#[tokio::test]
async fn what_a_request_says_of_a_client_behind_its_peer_reaches_no_handler() {
    let ca = TestCa::new("example.org");
    let seen = |headers: HeaderMap| async move {
        headers.contains_key("x-forwarded-client-cert").to_string()
    };
    let app = Router::new().route("/", on_get(seen));
    let addr = start!(server(&ca), make_service(app));
    let http = client(&ca, &istio(&ca), "h2");
    let request = Request::get(format!("https://{addr}/"))
        .header("x-forwarded-client-cert", "URI=spiffe://example.org/admin")
        .body(Body::empty());
    let answer = within(http.request(request.unwrap())).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body());
    assert_eq!(within(body).await.unwrap().to_bytes(), "false");
}
