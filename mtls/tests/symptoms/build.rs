//! What fails before anybody is dialled: files that cannot be read, and pairs that do not fit.

use std::sync::Arc;

use mtls_core::check::CheckRule;
use mtls_core::rustls::RootCertStore;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::testing::{Broken, PlainDir, Rehearsal, TestCa};

use crate::plain::{Own, client, provider, roots_of};
use crate::{checked, leads_to, printed};

fn key_error(broken: Broken) -> mtls_core::rustls::pki_types::pem::Error {
    let set = broken.make(&TestCa::new("example.org"));
    PrivateKeyDer::from_pem_slice(&set.key_pem).unwrap_err()
}

#[test]
fn an_encrypted_key_is_no_key_or_no_base64() {
    let error = key_error(Broken::KeyEncrypted);
    for text in [error.to_string(), format!("{error:?}")] {
        leads_to(&text, "key_encrypted");
    }
    let error = key_error(Broken::KeyEncryptedLegacy);
    assert!(format!("{error:?}").contains("InvalidCharacter(45)"));
    leads_to(&format!("{error:?}"), "key_encrypted");
}

#[test]
fn a_kind_of_key_that_the_provider_lacks_is_said_to_be_unreadable() {
    let ca = TestCa::new("example.org");
    let rehearsal = Rehearsal::of(CheckRule::KeyUnsupported, &ca).unwrap();
    let (_, pem) = rehearsal
        .files()
        .find(|(name, _)| *name == "tls.key")
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    let loaded = provider().key_provider.load_private_key(key);
    let error = loaded.unwrap_err().to_string();
    assert!(error.contains("failed to parse private key"), "{error}");
    leads_to(&error, "key_unusable");
}

#[test]
fn a_key_of_another_leaf_is_inconsistent() {
    let ca = TestCa::new("example.org");
    let own = Own::of_broken(&Broken::KeyMismatch.make(&ca));
    let error = client(&ca, Some(own)).unwrap_err().to_string();
    assert!(error.contains("KeyMismatch"), "{error}");
    leads_to(&error, "key_mismatch");
}

#[test]
fn a_bundle_that_parses_to_nothing_has_no_anchors() {
    for broken in [
        Broken::BundleEmpty,
        Broken::BundleTrustedCertificate,
        Broken::BundlePkcs7,
    ] {
        let set = broken.make(&TestCa::new("example.org"));
        let mut found = CertificateDer::pem_slice_iter(&set.bundle_pem);
        assert!(found.next().is_none(), "{broken:?}");
    }
    let empty = Arc::new(RootCertStore::empty());
    let builder = WebPkiClientVerifier::builder_with_provider(empty, provider());
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("no root trust anchors"), "{error}");
    leads_to(&error, "empty_bundle");
}

/// What cert-manager writes where its issuer knows no CA, mounted: by what the check prints, and by what plain rustls says.
#[test]
fn a_secret_whose_bundle_is_empty_or_absent_is_told_by_the_check() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    assert_eq!(checked(dir.path()), [""; 0]);
    dir.truncate("ca.crt");
    let found = printed(dir.path());
    assert!(found.contains("error file-empty"), "{found}");
    leads_to(&found, "empty_bundle");
    let anchors = CertificateDer::pem_slice_iter(&std::fs::read(dir.file("ca.crt")).unwrap())
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    let builder = WebPkiClientVerifier::builder_with_provider(roots_of(anchors), provider());
    leads_to(&builder.build().unwrap_err().to_string(), "empty_bundle");
    dir.remove("ca.crt");
    leads_to(&printed(dir.path()), "file_missing");
}

#[test]
fn a_cut_file_lacks_its_end_and_one_without_line_breaks_its_begin() {
    let ca = TestCa::new("example.org");
    for (broken, words) in [
        (Broken::ChainTruncated, "missing section end marker"),
        (Broken::ChainEscapedNewlines, "illegal section start"),
    ] {
        let set = broken.make(&ca);
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&set.chain_pem).collect();
        let error = read.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        leads_to(&error, "malformed_file");
    }
}

#[test]
fn a_server_name_with_a_port_is_invalid() {
    let error = ServerName::try_from("api.test:8443").unwrap_err();
    leads_to(&error.to_string(), "invalid_server_name");
}

#[test]
fn what_fails_without_a_word_has_a_rule_that_leads_on() {
    for (rule, section) in [
        ("bundle-empty", "empty_bundle"),
        ("bundle-same-name", "untrusted_key"),
        ("crl-none", "crl_unusable"),
        ("mount-subpath", "expired"),
    ] {
        leads_to(rule, section);
    }
}
