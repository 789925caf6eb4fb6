//! New credentials and a narrower trust reach the next request.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{EACH, Event, H1, Server, by_name, client, credentials, source, trust};
use mtls_core::Reason;
use mtls_core::testing::TestCa;
use mtls_reqwest::{Client, Explanation, Retry, explain};

#[tokio::test]
async fn the_next_request_presents_the_new_credentials() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (publisher, http) = client(&ca);
    let before = http.get(server.url("/")).send().await.unwrap().text().await;
    let renewed = ca.issue("/web");
    publisher
        .publish_credentials(credentials(&renewed))
        .unwrap();
    let after = http.get(server.url("/")).send().await.unwrap().text().await;
    assert_eq!(after.unwrap(), renewed.serial());
    assert_ne!(before.unwrap(), renewed.serial());
}

#[tokio::test]
async fn a_request_that_was_begun_before_a_rotation_is_sent_after_it() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (publisher, http) = client(&ca);
    let begun = http.get(server.url("/"));
    let renewed = ca.issue("/web");
    publisher
        .publish_credentials(credentials(&renewed))
        .unwrap();
    assert_eq!(
        begun.send().await.unwrap().text().await.unwrap(),
        renewed.serial()
    );
}

#[tokio::test]
async fn a_request_in_flight_finishes_on_the_old_connection_which_then_closes() {
    for &alpn in EACH {
        let ca = TestCa::new("example.org");
        let mut server = Server::of(&ca.issue("/orders"), &[&ca], alpn).await;
        let (old, new) = (ca.issue("/web"), ca.issue("/web"));
        let (publisher, source) = source(&old, &[&ca]);
        let http = Client::new(by_name(&source)).unwrap();
        let held = tokio::spawn(http.get(server.url("/hold")).send());
        assert_eq!(server.requested().await, old.serial());
        publisher.publish_credentials(credentials(&new)).unwrap();
        let answer = http.get(server.url("/")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), new.serial());
        server.release();
        let answer = held.await.unwrap().unwrap();
        assert_eq!(answer.text().await.unwrap(), old.serial());
        assert_eq!(server.closed().await, old.serial());
    }
}

#[tokio::test]
async fn an_idle_connection_of_the_old_snapshot_is_closed() {
    for &alpn in EACH {
        let ca = TestCa::new("example.org");
        let mut server = Server::of(&ca.issue("/orders"), &[&ca], alpn).await;
        let (old, new) = (ca.issue("/web"), ca.issue("/web"));
        let (publisher, source) = source(&old, &[&ca]);
        let http = Client::new(by_name(&source)).unwrap();
        let answer = http.get(server.url("/")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), old.serial());
        publisher.publish_credentials(credentials(&new)).unwrap();
        http.get(server.url("/")).send().await.unwrap();
        assert_eq!(server.closed().await, old.serial());
    }
}

#[tokio::test]
async fn a_server_whose_ca_is_trusted_no_more_gets_no_request_on_a_pooled_connection() {
    for &alpn in EACH {
        let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("example.org"));
        let mut server = Server::of(&theirs.issue("/orders"), &[&ours, &theirs], alpn).await;
        let (publisher, source) = source(&ours.issue("/web"), &[&ours, &theirs]);
        let http = Client::new(by_name(&source)).unwrap();
        http.get(server.url("/"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        server.requested().await;
        publisher.publish_trust(trust(&[&ours])).unwrap();
        let refused = explain(&http.get(server.url("/")).send().await.unwrap_err());
        assert_eq!(refused.reason(), Some(Reason::UnknownIssuer), "{refused}");
        assert_eq!(refused.retry(), Retry::AfterReload);
        // The connection of before is closed, and no request came over it.
        assert!(matches!(server.noticed().await, Event::Closed(_)));
    }
}

#[tokio::test]
async fn a_request_that_lost_the_race_of_a_rotation_arrives_once_when_it_is_sent_again() {
    let (old, new) = (TestCa::new("example.org"), TestCa::new("example.org"));
    // The server has dropped the old CA, and the client has nothing yet of the new one.
    let mut server = Server::of(&new.issue("/orders"), &[&new], H1).await;
    let (publisher, source) = source(&old.issue("/web"), &[&old, &new]);
    let http = Client::new(by_name(&source)).unwrap();
    let mut reloads = http.tls().source().subscribe();
    let order = http.post(server.url("/")).body("one");
    let again = order.try_clone().unwrap();
    let mut refused = explain(&order.send().await.unwrap_err());
    // The alert is lost now and then. Nothing has come of such a request either, which the end of this test tells.
    for _ in 0..20 {
        if !matches!(refused, Explanation::ClosedByPeer) {
            break;
        }
        let order = again.try_clone().unwrap();
        refused = explain(&order.send().await.unwrap_err());
    }
    assert!(matches!(refused, Explanation::RefusedByPeer { .. }));
    assert_eq!(refused.retry(), Retry::AfterReload);
    let renewed = new.issue("/web");
    publisher
        .publish_credentials(credentials(&renewed))
        .unwrap();
    assert!(reloads.changed().await.is_some());
    assert!(again.send().await.unwrap().status().is_success());
    assert_eq!(server.requested().await, renewed.serial());
    assert!(
        server.events.try_recv().is_err(),
        "one request, and no more"
    );
}

#[tokio::test]
async fn many_requests_across_rotations_all_succeed() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (publisher, http) = client(&ca);
    for round in 0..5 {
        let requests: Vec<_> = (0..8)
            .map(|_| tokio::spawn(http.get(server.url("/")).send()))
            .collect();
        publisher
            .publish_credentials(credentials(&ca.issue("/web")))
            .unwrap();
        for request in requests {
            let answer = request.await.unwrap();
            assert!(answer.is_ok(), "round {round}: {answer:?}");
        }
    }
}
