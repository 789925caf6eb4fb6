//! Policies of rules, over peers that came from a handshake.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::{IpAddr, Ipv4Addr};

use mtls_core::testing::{LeafOptions, TestCa, handshake};
use mtls_core::{AccessPolicy, ClientTls, Effect, Fact, PeerInfo, Reason, Rule, ServerTls};

/// Whether a policy whose one rule asks for this lets the peer in.
fn lets_in(peer: &PeerInfo, fact: Fact, value: impl Into<String>) -> bool {
    decides(peer, Rule::named("rule").is(fact, [value]))
}

fn decides(peer: &PeerInfo, rule: Rule) -> bool {
    let policy = AccessPolicy::builder()
        .trust_domain("example.org")
        .allow(rule)
        .otherwise(Effect::Deny)
        .build()
        .unwrap();
    policy.decide(Some(peer.identity())).is_ok()
}

fn peer(options: LeafOptions) -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue_with(options))
}

#[test]
fn a_peer_is_known_by_each_kind_of_name_that_it_has() {
    let address: IpAddr = Ipv4Addr::new(192, 0, 2, 7).into();
    let options = LeafOptions::new()
        .spiffe("/ns/shop/sa/web")
        .dns("web.test")
        .ip(address);
    let peer = peer(options);
    for (fact, own, other) in [
        (
            Fact::Spiffe,
            "spiffe://example.org/ns/shop/sa/*",
            "spiffe://example.org/ns/x/**",
        ),
        (Fact::TrustDomain, "example.org", "example.com"),
        (Fact::Namespace, "shop", "x"),
        (Fact::ServiceAccount, "shop/web", "shop/api"),
        (Fact::Dns, "WEB.test", "api.test"),
        (Fact::Ip, "192.0.2.7", "192.0.2.8"),
    ] {
        assert!(lets_in(&peer, fact, own), "{fact}");
        assert!(!lets_in(&peer, fact, other), "{fact}");
    }
    let fingerprint = peer.identity().fingerprint();
    assert!(lets_in(&peer, Fact::Fingerprint, &fingerprint));
    assert!(!lets_in(
        &peer,
        Fact::Fingerprint,
        fingerprint.chars().rev().collect::<String>()
    ));
}

#[test]
fn a_common_name_counts_for_a_rule_that_asks_for_it_and_a_peer_that_has_no_spiffe_id() {
    let legacy = peer(LeafOptions::new().dns("x.test").common_name("web"));
    assert!(lets_in(&legacy, Fact::LegacyCommonName, "web"));
    assert!(!lets_in(&legacy, Fact::LegacyCommonName, "api"));
    assert!(!lets_in(&legacy, Fact::Dns, "web"));
    assert!(!lets_in(&legacy, Fact::LegacyOrganizationalUnit, "web"));
    assert!(decides(
        &legacy,
        Rule::named("not").is_not(Fact::LegacyCommonName, ["api"])
    ));
    let known = peer(LeafOptions::new().spiffe("/web").common_name("web"));
    assert!(!lets_in(&known, Fact::LegacyCommonName, "web"));
    assert!(!decides(
        &known,
        Rule::named("not").is_not(Fact::LegacyCommonName, ["api"])
    ));
}

#[test]
fn a_policy_of_rules_decides_at_the_handshake() {
    let ca = TestCa::new("example.org");
    let policy = AccessPolicy::builder()
        .deny(Rule::named("no batch jobs").is(Fact::Spiffe, ["spiffe://example.org/batch/**"]))
        .allow(Rule::named("domain").is(Fact::TrustDomain, ["example.org"]))
        .otherwise(Effect::Deny)
        .build()
        .unwrap();
    let server = ServerTls::builder(&ca.source(&ca.issue("/api"))).authorize(policy);
    let server = server.build().unwrap();
    let dial = |path| {
        let client = ClientTls::builder(&ca.source(&ca.issue(path)));
        handshake(
            &server,
            &client.verify_server_name().build().unwrap(),
            "localhost",
        )
        .server
    };
    assert_eq!(
        dial("/web").unwrap().to_string(),
        "spiffe://example.org/web"
    );
    let refused = dial("/batch/nightly").unwrap_err();
    assert_eq!(refused.reason(), Reason::NotAuthorized);
    assert!(refused.to_string().contains("`no batch jobs`"), "{refused}");
}
