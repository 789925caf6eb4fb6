//! What `configure` can set, and what it cannot undo.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{H1, Server, by_name, credentials, source};
use mtls_core::Reason;
use mtls_core::testing::{Issued, TestCa};
use mtls_reqwest::{Client, Error, Explanation, RedirectRule, ResponseExt, explain};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Proxy, StatusCode};
use tokio::net::TcpListener;

fn configured(
    ca: &TestCa,
    web: &Issued,
    configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
) -> Client {
    let (_publisher, source) = source(web, &[ca]);
    Client::builder(by_name(&source))
        .configure(configure)
        .build()
        .unwrap()
}

#[tokio::test]
async fn what_it_sets_reaches_the_client_of_each_snapshot() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (publisher, source) = source(&ca.issue("/web"), &[&ca]);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let http = Client::builder(by_name(&source))
        .configure(move |builder| {
            counted.fetch_add(1, Ordering::Relaxed);
            builder.user_agent("orders/1")
        })
        .build()
        .unwrap();
    http.get(server.url("/")).send().await.unwrap();
    http.get(server.url("/")).send().await.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    publisher
        .publish_credentials(credentials(&ca.issue("/web")))
        .unwrap();
    http.get(server.url("/")).send().await.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn our_tls_config_stays() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (web, other) = (ca.issue("/web"), ca.issue("/other"));
    let (_publisher, theirs) = source(&other, &[&ca]);
    let theirs = by_name(&theirs);
    let http = configured(&ca, &web, move |builder| {
        let config = (*theirs.handshake().config()).clone();
        builder
            .tls_backend_rustls()
            .tls_backend_preconfigured(config)
    });
    let seen = http.get(server.url("/")).send().await.unwrap().text().await;
    assert_eq!(seen.unwrap(), web.serial());
}

#[tokio::test]
async fn the_verifier_stays() {
    let ca = TestCa::new("example.org");
    let stranger = TestCa::new("example.org");
    let server = Server::of(&stranger.issue("/orders"), &[&stranger], H1).await;
    let http = configured(&ca, &ca.issue("/web"), |builder| {
        builder
            .tls_danger_accept_invalid_certs(true)
            .tls_danger_accept_invalid_hostnames(true)
    });
    let refused = explain(&http.get(server.url("/")).send().await.unwrap_err());
    assert_eq!(refused.reason(), Some(Reason::UnknownIssuer), "{refused}");
}

#[tokio::test]
async fn http_urls_stay_refused() {
    let ca = TestCa::new("example.org");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let http = configured(&ca, &ca.issue("/web"), |builder| builder.https_only(false));
    let refused = http.get(url).timeout(Duration::from_secs(5)).send().await;
    let refused = explain(&refused.unwrap_err());
    assert!(matches!(refused, Explanation::Setup { .. }), "{refused}");
}

#[tokio::test]
async fn proxies_stay_off() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let http = configured(&ca, &ca.issue("/web"), move |builder| {
        builder.proxy(Proxy::all(&proxy_url).unwrap())
    });
    tokio::select! {
        _ = proxy.accept() => panic!("the proxy was asked"),
        response = http.get(server.url("/")).send() => assert!(response.unwrap().status().is_success()),
    }
}

#[tokio::test]
async fn the_identity_stays_known() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let http = configured(&ca, &ca.issue("/web"), |builder| builder.tls_info(false));
    let response = http.get(server.url("/")).send().await.unwrap();
    assert!(response.peer_identity().is_some());
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_returned_and_not_followed() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let mut elsewhere = Server::start(&ca).await;
    let http = configured(&ca, &ca.issue("/web"), |builder| {
        builder.redirect(Redirects::limited(5))
    });
    let port = server.addr.port();
    let away = [
        elsewhere.url("/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
    ];
    for location in away {
        let response = http
            .get(server.url(&format!("/to?{location}")))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::FOUND, "{location}");
        assert!(response.peer_identity().is_some());
    }
    assert!(elsewhere.events.try_recv().is_err());
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let http = configured(&ca, &ca.issue("/web"), |builder| {
        builder.redirect(Redirects::none())
    });
    for location in ["/", &server.url("/")] {
        let response = http
            .get(server.url(&format!("/to?{location}")))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{location}");
        assert_eq!(response.url().path(), "/");
        assert!(response.peer_identity().is_some());
    }
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let http = configured(&ca, &ca.issue("/web"), |builder| builder);
    let error = http.get(server.url("/loop")).send().await.unwrap_err();
    assert!(error.is_redirect(), "{error:?}");
}

#[tokio::test]
async fn redirects_can_be_off() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, source) = source(&ca.issue("/web"), &[&ca]);
    let builder = Client::builder(by_name(&source)).redirects(RedirectRule::None);
    let http = builder.build().unwrap();
    let response = http.get(server.url("/to?/")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_client_that_cannot_be_built_is_an_error_and_never_the_old_one() {
    let ca = TestCa::new("example.org");
    let mut server = Server::start(&ca).await;
    let old = ca.issue("/web");
    let (publisher, source) = source(&old, &[&ca]);
    let runs = AtomicUsize::new(0);
    let builder = Client::builder(by_name(&source)).configure(move |builder| {
        match runs.fetch_add(1, Ordering::Relaxed) {
            1 | 2 => builder.user_agent("two\nlines"),
            _ => builder,
        }
    });
    let http = builder.build().unwrap();
    http.get(server.url("/")).send().await.unwrap();
    publisher
        .publish_credentials(credentials(&ca.issue("/web")))
        .unwrap();
    let error = http.get(server.url("/")).send().await.unwrap_err();
    assert!(
        matches!(explain(&error), Explanation::Setup { .. }),
        "{error:?}"
    );
    // The old idle connection is gone, and nothing was sent on it.
    assert_eq!(server.closed().await, old.serial());
    assert!(http.current().is_err());
    assert!(http.get(server.url("/")).send().await.is_ok());
}

#[tokio::test]
async fn what_reqwest_does_not_take_is_an_error_when_the_client_is_built() {
    let ca = TestCa::new("example.org");
    let (_publisher, source) = source(&ca.issue("/web"), &[&ca]);
    let builder = Client::builder(by_name(&source));
    let error = builder
        .configure(|b| b.user_agent("two\nlines"))
        .build()
        .unwrap_err();
    assert!(matches!(error, Error::Build { .. }), "{error}");
}

#[test]
fn the_linked_reqwest_takes_our_config() {
    let ca = TestCa::new("example.org");
    let (_publisher, source) = source(&ca.issue("/web"), &[&ca]);
    // Were its rustls another one, this would be `Error::UnsupportedReqwest`.
    Client::new(by_name(&source)).unwrap();
}
