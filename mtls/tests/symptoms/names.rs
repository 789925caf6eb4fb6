//! Servers whose certificate does not have the name that was dialled.

use mtls_core::rustls::ServerConfig;
use mtls_core::testing::{LeafOptions, TestCa};

use crate::leads_to;
use crate::plain::{Own, client, provider, shake};

/// What a client says that dials `name`.
fn dialled(leaf: LeafOptions, name: &str) -> crate::plain::Told {
    let ca = TestCa::new("example.org");
    let own = Own::of(&ca.issue_with(leaf));
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain, own.key)
        .unwrap();
    shake(server, client(&ca, None).unwrap(), name)
}

#[test]
fn a_name_that_the_certificate_has_is_no_symptom() {
    let told = dialled(LeafOptions::new().dns("api.test"), "api.test");
    assert!(told.client.is_none(), "{told:?}");
}

#[test]
fn each_way_to_miss_a_name_leads_to_its_section() {
    let leaf = LeafOptions::new;
    for (leaf, name, words, section) in [
        (
            leaf().dns("api.test"),
            "api",
            r#"DnsName("api.test")"#,
            "name_mismatch",
        ),
        (
            leaf().common_name("api.test"),
            "api.test",
            "not valid for any names",
            "no_san",
        ),
        (
            leaf().dns("127.0.0.1"),
            "127.0.0.1",
            r#"DnsName("127.0.0.1")"#,
            "name_mismatch",
        ),
        (
            leaf().dns("*.localhost"),
            "x.localhost",
            r#"DnsName("*.localhost")"#,
            "name_mismatch",
        ),
        (
            leaf().uri("spiffe://example.org/api"),
            "api.test",
            "UniformResourceIdentifier",
            "name_mismatch",
        ),
    ] {
        let told = dialled(leaf, name);
        assert!(told.client().contains(words), "{told:?}");
        leads_to(told.client(), section);
        // rustls' alert for it.
        assert!(told.server().contains("BadCertificate"), "{told:?}");
        leads_to(told.server(), "refused_by_peer");
    }
}
