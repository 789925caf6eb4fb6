//! A router behind an ingress.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::future::IntoFuture;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use common::{client, server, within};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use mtls_axum::{Forwarded, ForwardedFormat, ForwardedPeer, NoForwarded, Peer};
use mtls_core::Policy;
use mtls_core::testing::TestCa;
use tokio::net::TcpListener;

fn app() -> Router {
    let told = |Peer(peer): Peer, ForwardedPeer(client): ForwardedPeer| async move {
        format!("{} by {peer}", client.spiffe_id().unwrap())
    };
    let maybe = |client: Option<ForwardedPeer>| async move {
        client.map_or("nobody".into(), |client| client.to_string())
    };
    let refused = |client: Result<ForwardedPeer, NoForwarded>| async move {
        client.map_or_else(|refused| refused.to_string(), |client| client.to_string())
    };
    Router::new()
        .route("/told", get(told))
        .route("/maybe", get(maybe))
        .route("/refused", get(refused))
}

async fn start(ca: &TestCa) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let ingress = Policy::spiffe_id("spiffe://example.org/ingress").unwrap();
    let forwarded = Forwarded::accept_from(ingress, ForwardedFormat::Xfcc);
    let serve = mtls_axum::serve(listener, server(ca), app()).forwarded(forwarded);
    tokio::spawn(serve.into_future());
    addr
}

async fn ask(ca: &TestCa, addr: SocketAddr, from: &str, path: &str) -> (StatusCode, String) {
    let http = client(ca, &ca.issue(from), "h2");
    let request = Request::get(format!("https://{addr}{path}"))
        .header("X-Forwarded-Client-Cert", "URI=spiffe://example.org/web")
        .body(Body::empty())
        .unwrap();
    let answer = within(http.request(request)).await.unwrap();
    let status = answer.status();
    let body = within(answer.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_handler_behind_an_ingress_knows_both_the_client_and_who_says_so() {
    let ca = TestCa::new("example.org");
    let addr = start(&ca).await;
    let (status, text) = ask(&ca, addr, "/ingress", "/told").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        text,
        "spiffe://example.org/web by spiffe://example.org/ingress"
    );
    let (_, text) = ask(&ca, addr, "/ingress", "/maybe").await;
    assert_eq!(
        text,
        "spiffe://example.org/web (forwarded by spiffe://example.org/ingress)"
    );
}

#[tokio::test]
async fn a_peer_that_is_no_proxy_tells_of_nobody() {
    let ca = TestCa::new("example.org");
    let addr = start(&ca).await;
    let (status, text) = ask(&ca, addr, "/batch", "/told").await;
    assert_eq!((status, text.as_str()), (StatusCode::UNAUTHORIZED, ""));
    assert_eq!(ask(&ca, addr, "/batch", "/maybe").await.1, "nobody");
    let why = "no proxy that is believed has told who its client is";
    assert_eq!(ask(&ca, addr, "/batch", "/refused").await.1, why);
}
