//! Chains that a server refuses, and the alert that their client gets for it.

use mtls_core::check::CheckRule;
use mtls_core::rustls::pki_types::PrivateKeyDer;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::testing::{Broken, CaOptions, LeafOptions, Rehearsal, TestCa};

use crate::leads_to;
use crate::plain::{Own, certificates, client, server, shake};

/// A server that trusts `ca` refuses the chain: the words that it is known by, and the section. Its client hears of it.
#[track_caller]
fn is_refused(ca: &TestCa, own: Own, words: &str, section: &str) {
    let told = shake(server(ca), client(ca, Some(own)).unwrap(), "localhost");
    assert!(told.server().contains(words), "{told:?}");
    leads_to(told.server(), section);
    leads_to(told.client(), "refused_by_peer");
}

#[test]
fn a_chain_that_the_server_takes_leaves_nothing_to_explain() {
    let ca = TestCa::new("example.org");
    let own = Own::of(&ca.issue("/web"));
    let told = shake(server(&ca), client(&ca, Some(own)).unwrap(), "localhost");
    assert!(told.server.is_none() && told.client.is_none(), "{told:?}");
}

#[test]
fn broken_chains_are_refused_and_each_text_leads_to_its_section() {
    let ca = TestCa::new("example.org");
    for (broken, words, section) in [
        (Broken::IssuerUnknown, "UnknownIssuer", "unknown_issuer"),
        (
            Broken::IntermediateMissing,
            "UnknownIssuer",
            "unknown_issuer",
        ),
        (Broken::IssuerWithOtherKey, "BadSignature", "untrusted_key"),
        (Broken::LeafIsCa, "CaUsedAsEndEntity", "not_end_entity"),
        (
            Broken::IntermediateNotCa,
            "EndEntityUsedAsCa",
            "ca_constraint",
        ),
        (
            Broken::PathTooLong,
            "PathLenConstraintViolated",
            "ca_constraint",
        ),
        (
            Broken::NameConstraint,
            "NameConstraintViolation",
            "name_constraint",
        ),
        (Broken::LeafExpired, "certificate expired", "expired"),
        (
            Broken::IntermediateExpired,
            "certificate expired",
            "expired",
        ),
        (
            Broken::LeafNotYetValid,
            "certificate not valid yet",
            "not_yet_valid",
        ),
        (
            Broken::LeafServerOnly,
            "does not allow extended key usage for client authentication",
            "wrong_usage",
        ),
    ] {
        let own = Own::of_broken(&broken.make(&ca));
        is_refused(&ca, own, words, section);
    }
}

#[test]
fn a_chain_of_seven_intermediates_is_too_deep() {
    let ca = TestCa::new("example.org");
    let mut last = ca.intermediate();
    for _ in 0..6 {
        last = last.intermediate();
    }
    let own = Own::of(&last.issue("/web"));
    is_refused(&ca, own, "MaximumPathDepthExceeded", "ca_constraint");
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::service("/web").critical_extension(&[1, 3, 6, 1, 4, 1, 99999, 1]);
    let own = Own::of(&ca.issue_with(leaf));
    match client(&ca, Some(own)) {
        // Some versions of rustls refuse to present it.
        Err(error) => leads_to(&error.to_string(), "malformed_certificate"),
        Ok(client) => {
            let told = shake(server(&ca), client, "localhost");
            assert!(told.server().contains("UnsupportedCriticalExtension"));
            leads_to(told.server(), "malformed_certificate");
        }
    }
}

#[test]
fn any_purpose_is_no_purpose() {
    let ca = TestCa::new("example.org");
    let own = Own::of(&ca.issue_with(LeafOptions::service("/web").any_purpose()));
    is_refused(&ca, own, "2, 5, 29, 37, 0", "wrong_usage");
}

#[test]
fn of_two_faults_the_text_has_one() {
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let own = Own::of(&stranger.issue_with(LeafOptions::service("/web").expired()));
    let told = shake(server(&ca), client(&ca, Some(own)).unwrap(), "localhost");
    // Whichever it is, the other one is met next.
    let expired = told.server().contains("expired");
    leads_to(
        told.server(),
        if expired { "expired" } else { "unknown_issuer" },
    );
}

/// What the rehearsal of a rule holds.
fn rehearsed(rule: CheckRule, ca: &TestCa) -> Own {
    let rehearsal = Rehearsal::of(rule, ca).unwrap();
    let file = |wanted: &str| {
        let mut files = rehearsal.files();
        files.find(|(name, _)| *name == wanted).unwrap().1.to_vec()
    };
    Own {
        chain: certificates(&file("tls.crt")),
        key: PrivateKeyDer::from_pem_slice(&file("tls.key")).unwrap(),
    }
}

#[test]
fn a_certificate_of_version_1_is_refused_before_it_is_presented() {
    let ca = TestCa::new("example.org");
    let own = rehearsed(CheckRule::CertV1, &ca);
    let error = client(&ca, Some(own)).unwrap_err().to_string();
    assert!(error.contains("UnsupportedCertVersion"), "{error}");
    leads_to(&error, "malformed_certificate");
}

#[test]
fn bytes_that_are_no_certificate_are_badly_encoded() {
    let ca = TestCa::new("example.org");
    let own = Own::of_broken(&Broken::CertificateMalformed.make(&ca));
    let error = client(&ca, Some(own)).unwrap_err().to_string();
    assert!(error.contains("BadEncoding"), "{error}");
    leads_to(&error, "malformed_certificate");
}

#[test]
fn a_client_whose_bundle_is_empty_knows_no_issuer() {
    use mtls_core::rustls::{ClientConfig, RootCertStore};

    let ca = TestCa::new("example.org");
    // rustls takes the empty store, and says nothing until somebody is dialled.
    let client = ClientConfig::builder_with_provider(crate::plain::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let told = shake(server(&ca), client, "localhost");
    assert!(told.client().contains("UnknownIssuer"), "{told:?}");
    leads_to(told.client(), "unknown_issuer");
}

#[test]
fn an_intermediate_of_a_ca_with_a_path_length_is_not_too_deep() {
    // The twin of the refusals above: what is allowed is no symptom.
    let ca = TestCa::new("example.org");
    let last = ca.intermediate_with(CaOptions::new().path_len(0));
    let own = Own::of(&last.issue("/web"));
    let told = shake(server(&ca), client(&ca, Some(own)).unwrap(), "localhost");
    assert!(told.server.is_none(), "{told:?}");
}
