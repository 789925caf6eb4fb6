//! What a server that has revocation lists says.

use mtls_core::rustls::pki_types::CertificateRevocationListDer;
use mtls_core::testing::{CaOptions, TestCa};

use crate::leads_to;
use crate::plain::{Own, Told, client, server_with, shake, verifier};

/// A client of `ca` comes to a server with these lists, who honours their dates.
fn judged(ca: &TestCa, own: Own, lists: Vec<CertificateRevocationListDer<'static>>) -> Told {
    let verifier = verifier(ca)
        .with_crls(lists)
        .enforce_revocation_expiration();
    shake(
        server_with(verifier, ca),
        client(ca, Some(own)).unwrap(),
        "localhost",
    )
}

#[test]
fn each_fault_of_a_list_leads_to_its_section() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let issued = ca.issue("/web");
    let own = || Own::of(&issued);
    let told = judged(&ca, own(), vec![ca.crl().der()]);
    assert!(told.server.is_none() && told.client.is_none(), "{told:?}");
    for (list, words, section) in [
        (ca.crl().revoke(&issued).der(), "Revoked", "revoked"),
        (
            other.crl().der(),
            "UnknownRevocationStatus",
            "revocation_unknown",
        ),
        (
            ca.crl().stale().der(),
            "revocation list expired",
            "crl_stale",
        ),
        (
            ca.crl().bad_signature().der(),
            "invalid certificate revocation list: BadSignature",
            "crl_unusable",
        ),
    ] {
        let told = judged(&ca, own(), vec![list]);
        assert!(told.server().contains(words), "{told:?}");
        leads_to(told.server(), section);
        leads_to(told.client(), "refused_by_peer");
    }
}

#[test]
fn a_list_of_a_ca_that_may_not_sign_lists_is_told_at_the_handshake() {
    let ca = TestCa::new("example.org");
    let below = ca.intermediate_with(CaOptions::new().without_crl_sign());
    let own = Own::of(&below.issue("/web"));
    let told = judged(&ca, own, vec![ca.crl().der(), below.crl().der()]);
    assert!(told.server().contains("IssuerInvalidForCrl"), "{told:?}");
    leads_to(told.server(), "crl_unusable");
    assert!(told.client().contains("HandshakeFailure"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

#[test]
fn what_is_no_list_is_refused_when_the_server_is_built() {
    let ca = TestCa::new("example.org");
    let no_list = CertificateRevocationListDer::from(ca.root_der().to_vec());
    let error = verifier(&ca).with_crls([no_list]).build().unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        leads_to(&text, "crl_unusable");
    }
}

#[test]
fn without_a_list_a_revoked_client_is_accepted_and_the_rule_for_it_leads_on() {
    let ca = TestCa::new("example.org");
    let told = judged(&ca, Own::of(&ca.issue("/web")), Vec::new());
    assert!(told.server.is_none(), "{told:?}");
    leads_to("crl-none", "crl_unusable");
}
