//! Plaintext beside mutual TLS, at both doors into axum.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use common::{client, get, istio, server, within};
use mtls_axum::{
    Anonymous, ConnectedPeer, Limits, Listener, Peer, Permissive, make_service, require, serve,
};
use mtls_core::testing::TestCa;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HOUR: Duration = Duration::from_secs(3600);

async fn who(peer: Option<Peer>, client: Option<Anonymous>) -> String {
    match (peer, client) {
        (Some(Peer(peer)), None) => peer.to_string(),
        (None, Some(Anonymous(client))) => client.to_string(),
        (None, None) => "nobody".into(),
        (Some(_), Some(_)) => "both".into(),
    }
}

fn app() -> Router {
    let shop = require("spiffe://example.org/ns/shop/sa/*").unwrap();
    Router::new()
        .route("/who", on_get(who))
        .route("/peer", on_get(async |Peer(peer): Peer| peer.to_string()))
        .route("/shop", on_get("ok").route_layer(shop))
}

/// Every way to serve a router.
async fn doors(ca: &TestCa, permissive: &Permissive) -> [(SocketAddr, bool); 3] {
    let limits = Limits::default()
        .handshake_timeout(HOUR)
        .first_byte_timeout(HOUR);
    let bind = async || {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        (tcp, addr)
    };
    let (tcp, ours) = bind().await;
    let serve = serve(tcp, server(ca), app())
        .limits(limits)
        .lost_peer_deadline(HOUR)
        .permissive(permissive.clone());
    tokio::spawn(serve.into_future());
    let listener = async || {
        let (tcp, addr) = bind().await;
        let listener = Listener::new(tcp, server(ca))
            .with_limits(limits)
            .with_permissive(permissive.clone());
        (listener, addr)
    };
    let (listening, made) = listener().await;
    let make = make_service(app()).lost_peer_deadline(HOUR);
    tokio::spawn(axum::serve(listening, make).into_future());
    let (listening, with_info) = listener().await;
    let make = app().into_make_service_with_connect_info::<ConnectedPeer>();
    tokio::spawn(axum::serve(listening, make).into_future());
    // Without a guard nobody answers a connection that has to end: it is cut.
    [(ours, true), (made, true), (with_info, false)]
}

/// The status and the body, in plaintext; none if the connection is closed.
async fn ask(tcp: &mut TcpStream, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(tcp.read_u8()).await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split_once("content-length: ").unwrap().1;
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    within(tcp.read_exact(&mut body)).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, String::from_utf8(body).unwrap()))
}

#[tokio::test]
async fn a_plaintext_client_is_anonymous_at_every_door_and_a_peer_a_peer() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    for (addr, _) in doors(&ca, &permissive).await {
        let mut old = TcpStream::connect(addr).await.unwrap();
        let said = ask(&mut old, "/who").await.unwrap();
        assert_eq!(said, (200, "an anonymous client in plaintext".into()));
        for path in ["/peer", "/shop"] {
            assert_eq!(ask(&mut old, path).await.unwrap().0, 401, "{path}");
        }
        let http = client(&ca, &istio(&ca), "http/1.1");
        for path in ["/who", "/peer"] {
            let said = get(&http, addr, path).await.into_body();
            assert_eq!(said, "spiffe://example.org/ns/shop/sa/web");
        }
        assert_eq!(get(&http, addr, "/shop").await.status(), 200);
    }
}

#[tokio::test]
async fn going_strict_ends_plaintext_at_every_door() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let mut open = Vec::new();
    let http = client(&ca, &istio(&ca), "h2");
    for (addr, answers) in doors(&ca, &permissive).await {
        let mut old = TcpStream::connect(addr).await.unwrap();
        assert_eq!(ask(&mut old, "/who").await.unwrap().0, 200);
        get(&http, addr, "/who").await;
        open.push((old, addr, answers));
    }
    permissive.go_strict();
    for (mut old, addr, answers) in open {
        let answer = ask(&mut old, "/who").await;
        assert_eq!(answer.map(|(status, _)| status), answers.then_some(401));
        let mut new = TcpStream::connect(addr).await.unwrap();
        assert_eq!(ask(&mut new, "/who").await, None);
        assert_eq!(get(&http, addr, "/shop").await.status(), 200);
    }
}
