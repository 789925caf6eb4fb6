//! What the tests of axum share: peers of each kind, and a server to ask.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test binary uses its part of this; a panic is how a test fails"
)]

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{ClientTls, CredentialSource, Policy, ServerTls};
use mtls_tower::Connector;
use tokio::net::TcpListener;

pub type Http = Client<Connector, Body>;

/// Long enough for any machine that runs tests; nothing waits for it but a test that fails.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("done within half a minute")
}

/// A workload of Istio.
pub fn istio(ca: &TestCa) -> Issued {
    ca.issue_with(LeafOptions::new().spiffe("/ns/shop/sa/web"))
}

/// A workload of Linkerd.
pub fn linkerd(ca: &TestCa) -> Issued {
    ca.issue_dns("web.shop.serviceaccount.identity.linkerd.cluster.local")
}

/// A workload of no mesh.
pub fn plain(ca: &TestCa) -> Issued {
    ca.issue_dns("web.example.org")
}

pub fn server(ca: &TestCa) -> ServerTls {
    ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap()
}

/// Serves until the test's runtime ends.
pub async fn serving(ca: &TestCa, app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(mtls_axum::serve(listener, server(ca), app).into_future());
    addr
}

/// A client that speaks one protocol.
pub fn client(ca: &TestCa, issued: &Issued, alpn: &str) -> Http {
    let (_, source) = CredentialSource::builder()
        .trust_domain(ca.trust_domain().parse().unwrap())
        .publish(issued.material(), ca.trust_material())
        .unwrap();
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .alpn([alpn])
        .build()
        .unwrap();
    Client::builder(TokioExecutor::new()).build(Connector::new(tls))
}

pub async fn get(http: &Http, addr: SocketAddr, path: &str) -> Response<String> {
    let request = Request::get(format!("https://{addr}{path}"));
    let answer = within(http.request(request.body(Body::empty()).unwrap()));
    text(answer.await.unwrap()).await
}

/// What a router answers without any socket.
pub async fn ask(app: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(app.clone(), request).await;
    let answer = text(answer.unwrap()).await;
    (answer.status(), answer.into_body())
}

async fn text<B: axum::body::HttpBody<Error: std::fmt::Debug>>(
    answer: Response<B>,
) -> Response<String> {
    let (parts, body) = answer.into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
}
