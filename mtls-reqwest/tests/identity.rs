//! Who answered, and who asked.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{ANY, EACH, H2, Server, by_name, client, source};
use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{ClientTls, Policy};
use mtls_reqwest::{Client, ResponseExt};
use reqwest::Version;
use tower::{Service, ServiceExt};

#[tokio::test]
async fn both_sides_know_each_other_over_either_version_of_http() {
    let ca = TestCa::new("example.org");
    let (web, orders) = (ca.issue("/web"), ca.issue("/orders"));
    for &alpn in EACH {
        let server = Server::of(&orders, &[&ca], alpn).await;
        let (_publisher, source) = source(&web, &[&ca]);
        let http = Client::new(by_name(&source)).unwrap();
        let response = http.get(server.url("/")).send().await.unwrap();
        let http2 = response.version() == Version::HTTP_2;
        assert_eq!(http2, alpn == H2);
        let who = response.peer_identity().unwrap();
        assert_eq!(
            who.spiffe_id().unwrap().to_string(),
            "spiffe://example.org/orders"
        );
        assert_eq!(who.serial(), orders.serial());
        // The certificate that the server saw is ours, and not one that reqwest has made or left out.
        assert_eq!(response.text().await.unwrap(), web.serial());
    }
}

#[tokio::test]
async fn http1_only_is_kept_by_a_server_that_would_rather_speak_http2() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, source) = source(&ca.issue("/web"), &[&ca]);
    let http = Client::builder(by_name(&source))
        .http1_only()
        .build()
        .unwrap();
    let response = http.get(server.url("/")).send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
}

#[tokio::test]
async fn every_response_of_a_pooled_connection_has_the_identity() {
    let ca = TestCa::new("example.org");
    let mut server = Server::start(&ca).await;
    let (_publisher, http) = client(&ca);
    for _ in 0..3 {
        let response = http.get(server.url("/")).send().await.unwrap();
        assert!(response.peer_identity().is_some());
        server.requested().await;
    }
    drop(http);
    server.closed().await;
    assert!(
        server.events.try_recv().is_err(),
        "one connection, and no more"
    );
}

#[tokio::test]
async fn a_server_without_a_dns_name_is_known_by_its_spiffe_id() {
    let ca = TestCa::new("example.org");
    let nameless = ca.issue_with(LeafOptions::new().spiffe("/orders"));
    let server = Server::of(&nameless, &[&ca], ANY).await;
    let (_publisher, source) = source(&ca.issue("/web"), &[&ca]);
    let orders = "spiffe://example.org/orders";
    let tls = ClientTls::builder(&source).expect_server(orders.parse().unwrap());
    let http = Client::new(tls.unwrap().build().unwrap()).unwrap();
    let url = format!("https://{}/", server.addr);
    let response = http.get(url).send().await.unwrap();
    let who = response.peer_identity().unwrap();
    assert_eq!(who.spiffe_id().unwrap().to_string(), orders);
    assert!(who.dns_names().is_empty());
}

#[tokio::test]
async fn a_tower_service_tells_the_identity_too() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, mut http) = client(&ca);
    let request = |path| http.get(server.url(path)).build().unwrap();
    let (owned, borrowed) = (request("/"), request("/"));
    let response = (&http).call(borrowed).await.unwrap();
    assert!(response.peer_identity().is_some());
    let response = http.ready().await.unwrap().call(owned).await.unwrap();
    assert!(response.peer_identity().is_some());
}

#[tokio::test]
async fn a_response_that_did_not_come_through_the_client_has_no_identity() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, http) = client(&ca);
    let bare = http.current().unwrap();
    let response = bare.get(server.url("/")).send().await.unwrap();
    assert!(response.peer_identity().is_none());
}

#[tokio::test]
async fn what_a_request_says_arrives() {
    let ca = TestCa::new("example.org");
    let policy = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let server = Server::letting_in(policy, &ca.issue("/orders"), &[&ca], ANY).await;
    let (_publisher, http) = client(&ca);
    let request = http
        .post(server.url("/"))
        .header("x-one", "1")
        .bearer_auth("token")
        .body("body")
        .with(|request| request.header("x-two", "2"));
    let built = request.try_clone().unwrap().build().unwrap();
    assert_eq!(built.headers().len(), 3);
    assert_eq!(built.body().unwrap().as_bytes(), Some(&b"body"[..]));
    assert!(request.send().await.unwrap().status().is_success());
    assert!(http.get("no url").try_clone().is_none());
    assert!(http.get("no url").send().await.unwrap_err().is_builder());
}
