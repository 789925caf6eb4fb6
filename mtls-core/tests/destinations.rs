//! Who a server has to be at the destination that was dialled.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::{ClientConnection, ServerConnection};
use mtls_core::testing::{LeafOptions, TestCa, handshake};
use mtls_core::{
    ClientTls, ClientTlsBuilder, ConfigError, CredentialSource, Expectation, HandshakeError,
    NeedsExpectation, PeerInfo, Policy, Reason, ServerTls,
};

const ORDERS: &str = "spiffe://example.org/ns/shop/sa/orders";
const BILLING: &str = "spiffe://example.org/ns/shop/sa/billing";

type Builder = ClientTlsBuilder<Expectation>;

/// A server that has this SPIFFE ID and no name besides.
fn server(ca: &TestCa, path: &str) -> ServerTls {
    serving(&ca.source(&ca.issue_with(LeafOptions::new().spiffe(path))))
}

fn serving(source: &CredentialSource) -> ServerTls {
    ServerTls::builder(source)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap()
}

fn builder(ca: &TestCa) -> ClientTlsBuilder<NeedsExpectation> {
    ClientTls::builder(&ca.source(&ca.issue("/web")))
}

fn shop(ca: &TestCa) -> Builder {
    builder(ca)
        .expect_server_at("orders.shop.svc", ORDERS.parse().unwrap())
        .unwrap()
        .expect_server_at("billing.shop.svc", BILLING.parse().unwrap())
        .unwrap()
}

fn dial(server: &ServerTls, client: &ClientTls, name: &str) -> Result<PeerInfo, HandshakeError> {
    handshake(server, client, name).client
}

#[track_caller]
fn refused(result: Result<PeerInfo, HandshakeError>, expected: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.reason(), Reason::NameMismatch);
    let text = error.to_string();
    for part in expected {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn each_destination_lets_in_its_own_server_and_no_other() {
    let ca = TestCa::new("example.org");
    let client = shop(&ca).build().unwrap();
    let (orders, billing) = (
        server(&ca, "/ns/shop/sa/orders"),
        server(&ca, "/ns/shop/sa/billing"),
    );
    // Twice: what is remembered of a server, and the sessions made with it, count at their own destination alone.
    for _ in 0..2 {
        let met = dial(&orders, &client, "orders.shop.svc").unwrap();
        assert_eq!(met.to_string(), ORDERS);
        let met = dial(&billing, &client, "billing.shop.svc").unwrap();
        assert_eq!(met.to_string(), BILLING);
        refused(
            dial(&billing, &client, "orders.shop.svc"),
            &[ORDERS, "at orders.shop.svc`", BILLING],
        );
        refused(
            dial(&orders, &client, "billing.shop.svc"),
            &[BILLING, "at billing.shop.svc`", ORDERS],
        );
    }
}

#[test]
fn a_destination_without_an_entry_is_refused_where_nothing_is_said_of_it() {
    let ca = TestCa::new("example.org");
    let client = shop(&ca).build().unwrap();
    // It has the ID of one that is listed, and the name that is dialled.
    let leaf = LeafOptions::new()
        .spiffe("/ns/shop/sa/orders")
        .dns("mail.shop.svc");
    let orders = serving(&ca.source(&ca.issue_with(leaf)));
    assert!(dial(&orders, &client, "orders.shop.svc").is_ok());
    for other in ["mail.shop.svc", "shop.svc", "a.orders.shop.svc", "10.0.0.1"] {
        refused(
            dial(&orders, &client, other),
            &[&format!("nobody at {other},"), ORDERS],
        );
    }
}

#[test]
fn a_destination_without_an_entry_is_judged_by_what_is_expected_elsewhere() {
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::new()
        .spiffe("/ns/shop/sa/mail")
        .dns("mail.shop.svc");
    let mail = serving(&ca.source(&ca.issue_with(leaf)));
    let at_orders = |builder: Builder| {
        builder
            .expect_server_at("orders.shop.svc", ORDERS.parse().unwrap())
            .unwrap()
            .build()
            .unwrap()
    };
    let by_name = at_orders(builder(&ca).verify_server_name());
    assert!(dial(&mail, &by_name, "mail.shop.svc").is_ok());
    refused(
        dial(&mail, &by_name, "news.shop.svc"),
        &["news.shop.svc", "mail.shop.svc"],
    );
    let billing = server(&ca, "/ns/shop/sa/billing");
    let by_id = builder(&ca).expect_server(BILLING.parse().unwrap());
    let by_id = at_orders(by_id.unwrap());
    assert!(dial(&billing, &by_id, "any.shop.svc").is_ok());
    // What holds elsewhere, and was remembered there, is no way in where there is an entry.
    refused(
        dial(&billing, &by_id, "orders.shop.svc"),
        &[ORDERS, BILLING],
    );
}

#[test]
fn where_there_is_an_entry_the_name_of_the_certificate_counts_for_nothing() {
    let ca = TestCa::new("example.org");
    let client = builder(&ca)
        .verify_server_name()
        .expect_server_at("orders.shop.svc", ORDERS.parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let named = |leaf: LeafOptions| {
        let leaf = leaf.dns("orders.shop.svc");
        serving(&ca.source(&ca.issue_with(leaf)))
    };
    let impostor = named(LeafOptions::new().spiffe("/ns/shop/sa/billing"));
    refused(
        dial(&impostor, &client, "orders.shop.svc"),
        &[ORDERS, BILLING],
    );
    let nobody = named(LeafOptions::new());
    refused(dial(&nobody, &client, "orders.shop.svc"), &[ORDERS]);
    assert!(
        dial(
            &server(&ca, "/ns/shop/sa/orders"),
            &client,
            "orders.shop.svc"
        )
        .is_ok()
    );
}

#[test]
fn another_spelling_of_a_destination_is_the_same_one() {
    let ca = TestCa::new("example.org");
    let client = builder(&ca)
        .verify_server_name()
        .expect_server_at("Orders.shop.svc", ORDERS.parse().unwrap())
        .unwrap()
        .expect_server_at("10.0.0.1", ORDERS.parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let orders = server(&ca, "/ns/shop/sa/orders");
    // By name alone each of them would let it in.
    let leaf = LeafOptions::new().spiffe("/ns/shop/sa/billing");
    let leaf = leaf.dns("orders.shop.svc").ip([10, 0, 0, 1]);
    let impostor = serving(&ca.source(&ca.issue_with(leaf)));
    for name in [
        "orders.shop.svc",
        "ORDERS.SHOP.SVC",
        "orders.shop.svc.",
        "10.0.0.1",
    ] {
        assert!(dial(&orders, &client, name).is_ok(), "{name}");
        refused(dial(&impostor, &client, name), &[ORDERS, BILLING]);
    }
}

#[test]
fn a_second_entry_of_a_host_is_one_more_that_may_answer_there() {
    let ca = TestCa::new("example.org");
    let next = "spiffe://example.org/ns/shop-next/sa/*";
    let client = shop(&ca)
        .expect_server_at("ORDERS.shop.svc.", next.parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let moved = server(&ca, "/ns/shop-next/sa/orders");
    assert!(dial(&moved, &client, "orders.shop.svc").is_ok());
    let orders = server(&ca, "/ns/shop/sa/orders");
    assert!(dial(&orders, &client, "orders.shop.svc").is_ok());
    refused(dial(&moved, &client, "billing.shop.svc"), &[BILLING]);
    let billing = server(&ca, "/ns/shop/sa/billing");
    refused(
        dial(&billing, &client, "orders.shop.svc"),
        &[ORDERS, " or ", next, BILLING],
    );
}

#[test]
fn an_entry_that_is_too_wide_or_of_no_host_is_refused() {
    let ca = TestCa::new("example.org");
    let wide = || "spiffe://example.org/**".parse().unwrap();
    for refused in [
        builder(&ca).expect_server_at("orders.shop.svc", wide()),
        shop(&ca).expect_server_at("orders.shop.svc", wide()),
    ] {
        assert!(matches!(
            refused,
            Err(ConfigError::ServerPatternTooWide { .. })
        ));
    }
    for host in ["orders.shop.svc:8443", "*.shop.svc"] {
        let error = shop(&ca)
            .expect_server_at(host, ORDERS.parse().unwrap())
            .unwrap_err();
        assert!(matches!(error, ConfigError::InvalidDestination { .. }));
        let text = error.to_string();
        assert!(text.contains(host) && text.contains("DNS name"), "{text}");
    }
}

#[test]
fn a_chain_that_was_verified_at_one_destination_is_not_established_at_another() {
    let ca = TestCa::new("example.org");
    let client = shop(&ca).build().unwrap();
    let (orders, handshake) = (server(&ca, "/ns/shop/sa/orders"), client.handshake());
    let name = |name: &'static str| ServerName::try_from(name).unwrap();
    let dialled = name("orders.shop.svc");
    let mut here = ClientConnection::new(handshake.config(), dialled.clone()).unwrap();
    let mut there = ServerConnection::new(orders.handshake().config()).unwrap();
    while here.is_handshaking() || there.is_handshaking() {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        here.write_tls(&mut up).unwrap();
        there.read_tls(&mut up.as_slice()).unwrap();
        there.process_new_packets().unwrap();
        there.write_tls(&mut down).unwrap();
        here.read_tls(&mut down.as_slice()).unwrap();
        here.process_new_packets().unwrap();
    }
    assert!(handshake.established(&here, &dialled).is_ok());
    refused(
        handshake.established(&here, &name("billing.shop.svc")),
        &[BILLING, ORDERS],
    );
    refused(
        handshake.established(&here, &name("mail.shop.svc")),
        &["nobody", ORDERS],
    );
}

#[test]
fn an_open_connection_is_judged_again_by_its_own_destination() {
    let (ca, next) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ca.publish(&ca.issue("/web"));
    let client = ClientTls::builder(&source)
        .verify_server_name()
        .expect_server_at("orders.shop.svc", ORDERS.parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let leaf = LeafOptions::new()
        .spiffe("/ns/shop/sa/mail")
        .dns("mail.shop.svc");
    let mail = serving(&ca.source(&ca.issue_with(leaf)));
    let orders = dial(
        &server(&ca, "/ns/shop/sa/orders"),
        &client,
        "orders.shop.svc",
    )
    .unwrap();
    let mail = dial(&mail, &client, "mail.shop.svc").unwrap();
    // A root more: either would be let in where it was dialled, and neither where the other was.
    let both = vec![ca.root_der(), next.root_der()];
    let both = mtls_core::TrustMaterial::new(both);
    publisher.publish_trust(both).unwrap();
    assert!(orders.check().is_ok() && mail.check().is_ok());
    publisher
        .publish(next.issue("/web").material(), next.trust_material())
        .unwrap();
    for gone in [orders, mail] {
        assert_eq!(gone.check().unwrap_err().reason(), Reason::UnknownIssuer);
    }
}
