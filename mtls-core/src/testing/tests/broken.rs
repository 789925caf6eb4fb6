//! Each broken set is broken in the one way that it says.

use std::collections::HashSet;

use rustls_pki_types::pem::PemObject;

use super::*;
use crate::reason::Reason;
use crate::testing::{Broken, BrokenAt, MountedDir, TestCa};

#[test]
fn broken_names_are_unique_and_in_order() {
    let names: Vec<_> = Broken::ALL.iter().map(|b| b.name()).collect();
    assert!(names.is_sorted());
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

#[test]
fn path_validation_refuses_broken_chains_for_the_same_reason_or_does_not_look() {
    let root = TestCa::new("example.org");
    for ca in [&root, &root.intermediate()] {
        for broken in Broken::ALL.iter().filter(|b| b.at() != BrokenAt::Load) {
            let set = broken.make(ca);
            assert_eq!(set.bundle_pem, ca.bundle_pem().into_bytes(), "{broken}");
            let chain = certificates(&set.chain_pem);
            assert!(key_fits(&chain[0], &text(set.key_pem)), "{broken}");

            let role = if *broken == Broken::LeafClientOnly {
                webpki::KeyUsage::server_auth()
            } else {
                webpki::KeyUsage::client_auth()
            };
            let found = verify(&chain, &ca.root_der(), role).map_err(reason);
            let expected = if UNSEEN.contains(broken) {
                Ok(())
            } else {
                Err(broken.expected_reason())
            };
            assert_eq!(found, expected, "{broken}");
        }
    }
}

/// What path validation alone accepts, so that ours must look further.
const UNSEEN: &[Broken] = &[
    Broken::IntermediateMayNotSign,
    Broken::LeafMaySign,
    Broken::SanMissing,
    Broken::SpiffeIdInvalid,
    Broken::TrustDomainOther,
    Broken::UriSanUndecodable,
    Broken::UriSansTwo,
];

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other error fails the test"
)]
fn reason(error: webpki::Error) -> Reason {
    use webpki::Error;

    match error {
        Error::CaUsedAsEndEntity => Reason::NotEndEntity,
        Error::CertExpired { .. } => Reason::Expired,
        Error::CertNotValidYet { .. } => Reason::NotYetValid,
        Error::EndEntityUsedAsCa | Error::PathLenConstraintViolated => Reason::CaConstraint,
        Error::InvalidSignatureForPublicKey => Reason::UntrustedKey,
        Error::NameConstraintViolation => Reason::NameConstraint,
        Error::RequiredEkuNotFoundContext(_) => Reason::WrongUsage,
        Error::UnknownIssuer => Reason::UnknownIssuer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mismatched_key_is_a_sound_key_of_another_leaf() {
    let ca = TestCa::new("example.org");
    let fits = |broken: Broken| {
        let set = broken.make(&ca);
        key_fits(&certificates(&set.chain_pem)[0], &text(set.key_pem))
    };
    assert!(!fits(Broken::KeyMismatch));
    for bundle in Broken::ALL
        .iter()
        .filter(|b| b.name().starts_with("bundle_"))
    {
        assert!(fits(*bundle), "{bundle}");
    }
}

#[test]
fn what_is_truncated_ends_within_its_only_or_last_block() {
    let ca = TestCa::new("example.org").intermediate();
    for broken in [
        Broken::BundleTruncated,
        Broken::ChainTruncated,
        Broken::KeyTruncated,
    ] {
        let set = broken.make(&ca);
        let open = [set.chain_pem, set.key_pem, set.bundle_pem]
            .map(text)
            .map(|pem| pem.matches("-----BEGIN").count() - pem.matches("-----END").count());
        assert_eq!(open.iter().sum::<usize>(), 1, "{broken}");
    }
}

#[test]
fn an_unusable_anchor_has_issued_the_chain_that_it_comes_with() {
    let ca = TestCa::new("example.org");
    for broken in [
        Broken::BundleExpired,
        Broken::BundleMayNotSign,
        Broken::BundleNotYetValid,
    ] {
        // Path validation does not look at an anchor's own dates and usages, which is why ours does.
        let set = broken.make(&ca);
        let root = &certificates(&set.bundle_pem)[0];
        let chain = certificates(&set.chain_pem);
        verify(&chain, root, webpki::KeyUsage::client_auth()).unwrap();
    }
}

#[test]
fn writing_rotates_the_directory_to_what_is_broken() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    Broken::ChainEmpty.write(&ca, &dir);
    assert_eq!(std::fs::metadata(dir.chain_path()).unwrap().len(), 0);
    assert_ne!(std::fs::metadata(dir.key_path()).unwrap().len(), 0);
}

#[test]
fn an_undecodable_uri_is_one_that_readers_skip() {
    let set = Broken::UriSanUndecodable.make(&TestCa::new("example.org"));
    let chain = certificates(&set.chain_pem);
    let sans = sans(&parse(&chain[0]));
    assert_eq!(sans.len(), 2);
    assert!(sans[0].starts_with("Invalid(") && sans[1] == "URI(spiffe://example.org/web)");
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .map(Result::unwrap)
        .collect()
}

fn text(pem: Vec<u8>) -> String {
    String::from_utf8(pem).unwrap()
}
