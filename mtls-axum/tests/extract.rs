//! The peer in a handler's arguments, for peers of each kind.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use axum::routing::get;
use axum::{Extension, Router};
use common::{ask, istio, linkerd, plain};
use http::StatusCode;
use mtls_axum::{Anonymous, NoPeer, Peer, PeerSpiffeId, ServiceAccount, as_peer};
use mtls_core::ConnectionFacts;
use mtls_core::testing::{Issued, TestCa};

fn app() -> Router {
    Router::new()
        .route(
            "/peer",
            get(|Peer(peer): Peer| async move { peer.to_string() }),
        )
        .route(
            "/peer/serial",
            get(|peer: Peer| async move { peer.identity().serial().to_owned() }),
        )
        .route(
            "/spiffe",
            get(|PeerSpiffeId(id): PeerSpiffeId| async move { id.to_string() }),
        )
        .route("/account", get(account))
        .route(
            "/anonymous",
            get(|Anonymous(client): Anonymous| async move { client.to_string() }),
        )
        .route(
            "/maybe/anonymous",
            get(|client: Option<Anonymous>| async move { said(client.map(|c| c.to_string())) }),
        )
        .route(
            "/maybe/peer",
            get(|peer: Option<Peer>| async move { said(peer.map(|p| p.to_string())) }),
        )
        .route(
            "/maybe/spiffe",
            get(|id: Option<PeerSpiffeId>| async move { said(id.map(|id| id.to_string())) }),
        )
        .route(
            "/maybe/account",
            get(|account: Option<ServiceAccount>| async move {
                said(account.map(|a| a.name().to_owned()))
            }),
        )
        .route(
            "/refused",
            get(|refused: Result<ServiceAccount, NoPeer>| async move {
                refused.unwrap_err().to_string()
            }),
        )
}

async fn account(ServiceAccount(account): ServiceAccount) -> String {
    format!(
        "{}/{} of {}",
        account.namespace(),
        account.name(),
        account.domain()
    )
}

fn said(what: Option<String>) -> String {
    what.unwrap_or_else(|| "nobody".into())
}

fn ok(text: &str) -> (StatusCode, String) {
    (StatusCode::OK, text.into())
}

fn refused(status: StatusCode) -> (StatusCode, String) {
    (status, String::new())
}

fn asked_by(peer: fn(&TestCa) -> Issued) -> Router {
    let ca = TestCa::new("example.org");
    as_peer(app(), ca.peer(&peer(&ca)))
}

#[tokio::test]
async fn a_peer_in_istios_form_has_a_spiffe_id_and_a_service_account() {
    let app = asked_by(istio);
    let id = "spiffe://example.org/ns/shop/sa/web";
    assert_eq!(ask(&app, "/peer").await, ok(id));
    assert_eq!(ask(&app, "/spiffe").await, ok(id));
    assert_eq!(ask(&app, "/account").await, ok("shop/web of example.org"));
    assert_eq!(ask(&app, "/maybe/peer").await, ok(id));
    assert_eq!(ask(&app, "/maybe/spiffe").await, ok(id));
    assert_eq!(ask(&app, "/maybe/account").await, ok("web"));
}

#[tokio::test]
async fn a_peer_in_linkerds_form_has_a_service_account_and_no_spiffe_id() {
    let app = asked_by(linkerd);
    assert_eq!(
        ask(&app, "/peer").await,
        ok("web.shop.serviceaccount.identity.linkerd.cluster.local")
    );
    assert_eq!(ask(&app, "/spiffe").await, refused(StatusCode::FORBIDDEN));
    assert_eq!(ask(&app, "/account").await, ok("shop/web of cluster.local"));
    assert_eq!(ask(&app, "/maybe/spiffe").await, ok("nobody"));
    assert_eq!(ask(&app, "/maybe/account").await, ok("web"));
}

#[tokio::test]
async fn a_peer_with_a_plain_name_is_a_peer_and_nothing_else() {
    let app = asked_by(plain);
    assert_eq!(ask(&app, "/peer").await, ok("web.example.org"));
    assert_eq!(ask(&app, "/spiffe").await, refused(StatusCode::FORBIDDEN));
    assert_eq!(ask(&app, "/account").await, refused(StatusCode::FORBIDDEN));
    assert_eq!(ask(&app, "/maybe/peer").await, ok("web.example.org"));
    assert_eq!(ask(&app, "/maybe/spiffe").await, ok("nobody"));
    assert_eq!(ask(&app, "/maybe/account").await, ok("nobody"));
    let why = "the peer has no Kubernetes service account";
    assert_eq!(ask(&app, "/refused").await, ok(why));
}

#[tokio::test]
async fn without_mutual_tls_there_is_no_peer() {
    let app = app();
    for path in ["/peer", "/peer/serial", "/spiffe", "/account"] {
        assert_eq!(ask(&app, path).await, refused(StatusCode::UNAUTHORIZED));
    }
    for path in ["/maybe/peer", "/maybe/spiffe", "/maybe/account"] {
        assert_eq!(ask(&app, path).await, ok("nobody"));
    }
    let why = "the request did not come by mutual TLS";
    assert_eq!(ask(&app, "/refused").await, ok(why));
}

#[tokio::test]
async fn an_anonymous_client_is_no_peer_and_tells_how_it_came() {
    let ca = TestCa::new("example.org");
    let client = common::server(&ca).plaintext_client(ConnectionFacts::new(None));
    let anonymous = app().layer(Extension(client));
    for path in ["/peer", "/peer/serial", "/spiffe", "/account"] {
        let answer = ask(&anonymous, path).await;
        assert_eq!(answer, refused(StatusCode::UNAUTHORIZED));
    }
    assert_eq!(ask(&anonymous, "/maybe/peer").await, ok("nobody"));
    let how = "an anonymous client in plaintext";
    assert_eq!(ask(&anonymous, "/anonymous").await, ok(how));
    assert_eq!(ask(&anonymous, "/maybe/anonymous").await, ok(how));
    let why = "the client has presented no certificate";
    assert_eq!(ask(&anonymous, "/refused").await, ok(why));
}

#[tokio::test]
async fn a_peer_is_not_anonymous() {
    let app = asked_by(istio);
    assert_eq!(
        ask(&app, "/anonymous").await,
        refused(StatusCode::FORBIDDEN)
    );
    assert_eq!(ask(&app, "/maybe/anonymous").await, ok("nobody"));
}

#[tokio::test]
async fn a_handler_is_tested_with_a_peer_that_was_verified_in_memory() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/web");
    let app = as_peer(app(), ca.peer(&issued));
    assert_eq!(ask(&app, "/peer/serial").await, ok(&issued.serial()));
}
