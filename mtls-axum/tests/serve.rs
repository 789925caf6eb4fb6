//! A router by mutual TLS, asked over sockets.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::future::IntoFuture;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get as on_get;
use common::{client, get, istio, linkerd, plain, server, serving, within};
use http::{StatusCode, Version};
use mtls_axum::{Denied, Peer, ServiceAccount, as_peer, require};
use mtls_core::testing::TestCa;
use mtls_core::{PeerInfo, Policy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

const BOTH: [(&str, Version); 2] = [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)];

async fn whoami(Peer(peer): Peer) -> String {
    peer.to_string()
}

#[tokio::test]
async fn a_handler_knows_its_peer_over_http_1_and_http_2() {
    let ca = TestCa::new("example.org");
    let account =
        |ServiceAccount(account): ServiceAccount| async move { account.name().to_owned() };
    let app = Router::new()
        .route("/whoami", on_get(whoami))
        .route("/account", on_get(account));
    let addr = serving(&ca, app).await;
    for (alpn, version) in BOTH {
        for (issued, name, account) in [
            (
                istio(&ca),
                "spiffe://example.org/ns/shop/sa/web",
                StatusCode::OK,
            ),
            (
                linkerd(&ca),
                "web.shop.serviceaccount.identity.linkerd.cluster.local",
                StatusCode::OK,
            ),
            (plain(&ca), "web.example.org", StatusCode::FORBIDDEN),
        ] {
            let http = client(&ca, &issued, alpn);
            let answer = get(&http, addr, "/whoami").await;
            assert_eq!(answer.version(), version);
            assert_eq!(answer.body(), name);
            let server: &PeerInfo = answer.extensions().get().unwrap();
            assert_eq!(server.to_string(), "spiffe://example.org/api");
            assert_eq!(get(&http, addr, "/account").await.status(), account);
        }
    }
}

#[tokio::test]
async fn a_stranger_reaches_no_handler() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let addr = serving(&ca, Router::new().route("/whoami", on_get(whoami))).await;
    let (_, source) = mtls_core::CredentialSource::builder()
        .own_chain(mtls_core::OwnChain::FromAnotherPki)
        .publish(other.issue("/web").material(), ca.trust_material())
        .unwrap();
    let tls = mtls_core::ClientTls::builder(&source);
    let tls = tls.verify_server_name().alpn(["http/1.1"]).build().unwrap();
    let uri = format!("https://{addr}/whoami").parse().unwrap();
    let connector = mtls_tower::Connector::new(tls);
    let error = within(connector.connect(&uri)).await.unwrap_err();
    let alert = mtls_core::Alert::find(&error).unwrap();
    assert_eq!(alert.to_string(), "unknown_ca");
}

#[tokio::test]
async fn a_route_lets_in_whom_it_requires_and_an_unknown_path_is_no_secret() {
    let ca = TestCa::new("example.org");
    let shop = require("spiffe://example.org/ns/shop/sa/*").unwrap();
    let by_name = require(Policy::dns_name("web.example.org").unwrap()).unwrap();
    let app = Router::new()
        .route("/orders", on_get(whoami).route_layer(shop.clone()))
        .route("/backup", on_get(whoami).route_layer(by_name))
        .route("/open", on_get(whoami));
    let addr = serving(&ca, app).await;
    for (alpn, _) in BOTH {
        let http = client(&ca, &istio(&ca), alpn);
        assert_eq!(get(&http, addr, "/orders").await.status(), StatusCode::OK);
        let refused = get(&http, addr, "/backup").await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.body(), "");
        assert_eq!(get(&http, addr, "/open").await.status(), StatusCode::OK);
        assert_eq!(
            get(&http, addr, "/nowhere").await.status(),
            StatusCode::NOT_FOUND
        );

        let http = client(&ca, &plain(&ca), alpn);
        assert_eq!(
            get(&http, addr, "/orders").await.status(),
            StatusCode::FORBIDDEN
        );
        assert_eq!(get(&http, addr, "/backup").await.status(), StatusCode::OK);
    }

    // For a whole router: `route_layer` keeps an unknown path 404, `layer` refuses it too.
    let routes = Router::new().route("/orders", on_get(whoami));
    let stranger = ca.peer(&plain(&ca));
    let matched = as_peer(routes.clone().route_layer(shop.clone()), stranger.clone());
    assert_eq!(
        common::ask(&matched, "/orders").await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        common::ask(&matched, "/nowhere").await.0,
        StatusCode::NOT_FOUND
    );
    let all = as_peer(routes.clone().layer(shop.clone()), stranger);
    assert_eq!(common::ask(&all, "/nowhere").await.0, StatusCode::FORBIDDEN);
    // Where no mutual TLS is, nobody is let in.
    let bare = routes.route_layer(shop);
    assert_eq!(
        common::ask(&bare, "/orders").await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn an_access_log_in_front_learns_who_was_denied() {
    let ca = TestCa::new("example.org");
    let note = |mut answer: axum::response::Response| async move {
        if let Some(Denied::NotAuthorized { peer, .. }) = answer.extensions().get() {
            let peer = peer.to_string().parse().unwrap();
            answer.headers_mut().insert("x-denied", peer);
        }
        answer
    };
    let app = Router::new()
        .route("/", on_get(whoami))
        .route_layer(require("spiffe://example.org/ns/shop/sa/*").unwrap())
        .layer(axum::middleware::map_response(note));
    let addr = serving(&ca, app).await;
    let answer = get(&client(&ca, &plain(&ca), "h2"), addr, "/").await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()["x-denied"], "web.example.org");
    let answer = get(&client(&ca, &istio(&ca), "h2"), addr, "/").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().get("x-denied").is_none());
}

#[test]
fn a_requirement_that_is_no_policy_is_an_error_when_it_is_written() {
    for text in [
        "",
        "example.org",
        "spiffe://example.org/a*",
        "https://example.org/a",
    ] {
        assert!(require(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn the_clients_address_is_connect_info() {
    let ca = TestCa::new("example.org");
    let remote = |ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { addr.ip().to_string() };
    let addr = serving(&ca, Router::new().route("/", on_get(remote))).await;
    for (alpn, _) in BOTH {
        let answer = get(&client(&ca, &istio(&ca), alpn), addr, "/").await;
        assert_eq!(answer.body(), "127.0.0.1");
    }
}

#[tokio::test]
async fn at_shutdown_the_request_in_flight_finishes() {
    let ca = TestCa::new("example.org");
    let (stop, stopped) = oneshot::channel::<()>();
    let (begun, go_on) = (Notify::new(), Notify::new());
    let shared = std::sync::Arc::new((begun, go_on));
    let in_handler = std::sync::Arc::clone(&shared);
    let slow = move || async move {
        in_handler.0.notify_one();
        in_handler.1.notified().await;
        "done"
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/", on_get(slow));
    let serve = mtls_axum::serve(listener, server(&ca), app);
    let serve = serve.with_graceful_shutdown(async { stopped.await.unwrap() });
    let serving = tokio::spawn(serve.into_future());
    let http = client(&ca, &istio(&ca), "h2");
    let asking = tokio::spawn(async move { get(&http, addr, "/").await });
    within(shared.0.notified()).await;
    stop.send(()).unwrap();
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    shared.1.notify_one();
    assert_eq!(within(asking).await.unwrap().body(), "done");
    within(serving).await.unwrap().unwrap();
}
