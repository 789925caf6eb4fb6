//! Who has to answer at which host.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::SocketAddr;

use common::{ANY, EACH, Server, source};
use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{ClientTls, Reason};
use mtls_reqwest::{Client, Explanation, ResponseExt, Retry, explain};
use reqwest::StatusCode;

const ORDERS: &str = "spiffe://example.org/orders";
const BILLING: &str = "spiffe://example.org/billing";

/// A client whose hosts have to be these, each of them at its address.
fn http(ca: &TestCa, hosts: [(&'static str, &str, SocketAddr); 2]) -> Client {
    let (_publisher, source) = source(&ca.issue("/web"), &[ca]);
    let [(orders, orders_id, _), (billing, billing_id, _)] = hosts;
    let tls = ClientTls::builder(&source)
        .expect_server_at(orders, orders_id.parse().unwrap())
        .unwrap()
        .expect_server_at(billing, billing_id.parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let at = hosts.map(|(host, _, addr)| (host, addr));
    Client::builder(tls)
        .configure(move |builder| {
            let known = |builder: reqwest::ClientBuilder, (host, addr)| builder.resolve(host, addr);
            at.into_iter().fold(builder, known)
        })
        .build()
        .unwrap()
}

async fn start(ca: &TestCa, path: &str, alpn: &[&str]) -> Server {
    let leaf = ca.issue_with(LeafOptions::new().spiffe(path));
    Server::of(&leaf, &[ca], alpn).await
}

fn url(host: &str, server: &Server, path: &str) -> String {
    format!("https://{host}:{}{path}", server.addr.port())
}

#[tokio::test]
async fn each_host_is_answered_by_its_own_server_and_no_other() {
    let ca = TestCa::new("example.org");
    for &alpn in EACH {
        let orders = start(&ca, "/orders", alpn).await;
        let mut impostor = start(&ca, "/orders", alpn).await;
        let http = http(
            &ca,
            [
                ("orders.test", ORDERS, orders.addr),
                ("billing.test", BILLING, impostor.addr),
            ],
        );
        let response = http.get(url("orders.test", &orders, "/")).send().await;
        let who = response.unwrap().peer_identity().unwrap().to_string();
        assert_eq!(who, ORDERS);
        let refused = http.get(url("billing.test", &impostor, "/")).send().await;
        let refused = explain(&refused.unwrap_err());
        assert!(matches!(refused, Explanation::PeerNotTrusted { .. }));
        assert_eq!(refused.reason(), Some(Reason::NameMismatch));
        assert_eq!(refused.retry(), Retry::No);
        let text = refused.to_string();
        for part in [BILLING, "billing.test", ORDERS] {
            assert!(text.contains(part), "{text}");
        }
        // Also by its address, a destination that has no entry.
        let bare = format!("https://{}/", orders.addr);
        let refused = explain(&http.get(bare).send().await.unwrap_err());
        assert_eq!(refused.reason(), Some(Reason::NameMismatch), "{refused}");
        assert!(impostor.events.try_recv().is_err(), "no request arrived");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_the_callers_to_follow_and_judged_by_that_host() {
    let ca = TestCa::new("example.org");
    let orders = start(&ca, "/orders", ANY).await;
    let billing = start(&ca, "/billing", ANY).await;
    let mut impostor = start(&ca, "/orders", ANY).await;
    for (answering, refused) in [(&billing, false), (&impostor, true)] {
        let http = http(
            &ca,
            [
                ("orders.test", ORDERS, orders.addr),
                ("billing.test", BILLING, answering.addr),
            ],
        );
        let there = url("billing.test", answering, "/");
        let to = url("orders.test", &orders, &format!("/to?{there}"));
        let response = http.get(to).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(response.peer_identity().unwrap().to_string(), ORDERS);
        let followed = http.get(there).send().await;
        if refused {
            let refused = explain(&followed.unwrap_err());
            assert_eq!(refused.reason(), Some(Reason::NameMismatch), "{refused}");
        } else {
            let who = followed.unwrap().peer_identity().unwrap().to_string();
            assert_eq!(who, BILLING);
        }
    }
    assert!(impostor.events.try_recv().is_err(), "no request arrived");
}
