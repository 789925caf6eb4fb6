//! Authorities and leaves.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::testing::{Broken, CaOptions, Issued, KeyKind, LeafOptions, TestCa};
use crate::{CredentialSource, Reason};

#[test]
fn a_leaf_is_an_x509_svid_for_both_roles() {
    let ca = TestCa::new("example.org");
    let web = ca.issue("/web");
    let chain = web.chain_der();
    let leaf = parse(&chain[0]);

    assert!(!leaf.is_ca() && basic_constraints_are_critical(&leaf));
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature());
    assert!(!usage.value.key_cert_sign() && !usage.value.crl_sign());
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    assert_eq!(
        sans(&leaf),
        [
            "URI(spiffe://example.org/web)",
            "DNSName(localhost)",
            "IPAddress(7f:00:00:01)",
            "IPAddress(00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01)",
        ]
    );
    // Ours is printed as whole bytes.
    let serial = format!("{:x}", leaf.serial);
    assert_eq!(serial, web.serial().trim_start_matches('0'));
    assert_eq!(web.bundle_pem(), ca.root_pem());
}

#[test]
fn a_ca_says_what_a_ca_must_say() {
    let ca = TestCa::new("example.org");
    for (ca, path_len) in [
        (&ca, None),
        (&ca.intermediate_with(CaOptions::new().path_len(3)), Some(3)),
    ] {
        let der = ca.certificate_der();
        let certificate = parse(&der);
        assert!(basic_constraints_are_critical(&certificate));
        let constraints = certificate.basic_constraints().unwrap().unwrap().value;
        assert!(constraints.ca);
        assert_eq!(constraints.path_len_constraint, path_len);
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        assert!(certificate.extended_key_usage().unwrap().is_none());
    }
}

#[test]
fn each_issuer_is_found_by_its_key_identifier() {
    let root = TestCa::new("example.org");
    let below = root.intermediate();
    let web = below.issue("/web").chain_der();
    let path = [web[0].clone(), web[1].clone(), root.root_der()];
    assert_eq!(web.len(), 2);
    for pair in path.windows(2) {
        let (issued, issuer) = (parse(&pair[0]), parse(&pair[1]));
        assert_eq!(issued.issuer(), issuer.subject());
        assert_eq!(authority_key_id(&issued), subject_key_id(&issuer));
    }
}

#[test]
fn no_two_certificates_share_a_subject_or_a_serial() {
    let ca = TestCa::new("example.org");
    let other = TestCa::new("example.org");
    let all = [
        ca.certificate_der(),
        other.certificate_der(),
        ca.intermediate().certificate_der(),
        ca.issue("/web").chain_der().remove(0),
        ca.issue("/web").chain_der().remove(0),
    ];
    let parsed: Vec<_> = all.iter().map(parse).collect();
    let subjects: HashSet<_> = parsed.iter().map(|c| c.subject().to_string()).collect();
    let serials: HashSet<_> = parsed.iter().map(|c| c.serial.clone()).collect();
    assert_eq!((subjects.len(), serials.len()), (all.len(), all.len()));
    for certificate in &parsed {
        let serial = certificate.raw_serial();
        assert!(serial.len() <= 16 && serial[0] < 0x80);
        assert!(
            certificate
                .subject()
                .to_string()
                .contains("O=not for production")
        );
    }
}

#[test]
fn a_ca_of_the_same_name_has_another_key() {
    let ca = TestCa::new("example.org").intermediate();
    let (real, impostor) = (
        ca.certificate_der(),
        ca.same_name_other_key().certificate_der(),
    );
    let (real, impostor) = (parse(&real), parse(&impostor));
    assert_eq!(real.subject(), impostor.subject());
    assert_ne!(real.public_key().raw, impostor.public_key().raw);
    assert_ne!(subject_key_id(&real), subject_key_id(&impostor));
    assert_ne!(real.serial, impostor.serial);
}

#[test]
fn a_leaf_in_the_name_of_another_ca_has_its_issuers_name_and_not_its_signature() {
    let ca = TestCa::new("example.org");
    let named = |by: &TestCa, kind| {
        let options = LeafOptions::service("/web").key(kind);
        by.issue_in_the_name_of(&ca.subject_der(), options)
    };
    let trusted = |leaf: &Issued, by: &TestCa| {
        let builder = CredentialSource::builder();
        let loaded = builder.publish(leaf.material(), by.trust_material());
        loaded.map(drop).map_err(|error| error.reason())
    };
    for kind in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let namesake = ca.same_name_other_key();
        let leaf = named(&namesake, kind);
        let chain = leaf.chain_der();
        assert_eq!(chain.len(), 1);
        let ours = ca.certificate_der();
        assert_eq!(parse(&chain[0]).issuer(), parse(&ours).subject());
        // Whoever has that name and the key has signed it, and nobody else.
        assert_eq!(trusted(&leaf, &namesake), Ok(()));
        assert_eq!(trusted(&leaf, &ca), Err(Reason::UntrustedKey));
        let stranger = TestCa::new("example.org");
        let leaf = named(&stranger, kind);
        assert_eq!(trusted(&leaf, &ca), Err(Reason::UntrustedKey));
        assert_eq!(trusted(&leaf, &stranger), Err(Reason::UnknownIssuer));
    }
}

#[test]
fn validity_is_what_was_asked_for() {
    let ca = TestCa::new("example.org");
    let hour = Duration::from_secs(3600);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let today = seconds(now());
    let ends = |options: LeafOptions| {
        let chain = ca.issue_with(options).chain_der();
        let validity = parse(&chain[0]).validity().clone();
        (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        )
    };
    let near = |found: i64, expected: i64| (found - expected).abs() < 60;

    let (from, until) = ends(LeafOptions::new());
    assert!(near(from, today - 3600) && near(until, today + 24 * 3600));
    let (from, until) = ends(LeafOptions::new().expires_in(2 * hour));
    assert!(near(from, today - 3600) && near(until, today + 7200));
    let (_, until) = ends(LeafOptions::new().expired());
    assert!(near(until, today - 3600));
    let (from, _) = ends(LeafOptions::new().not_yet_valid());
    assert!(near(from, today + 3600));
    assert_eq!(
        ends(LeafOptions::new().validity(at(86_400), at(4_000_000_000))),
        (86_400, 4_000_000_000)
    );
}

#[test]
fn names_are_what_was_asked_for() {
    let ca = TestCa::new("example.org");
    let sans_of = |options: LeafOptions| {
        let chain = ca.issue_with(options).chain_der();
        sans(&parse(&chain[0]))
    };
    let several = LeafOptions::new()
        .uri("https://a")
        .spiffe("/b")
        .email("c@example.org");
    assert_eq!(
        sans_of(several),
        [
            "URI(https://a)",
            "URI(spiffe://example.org/b)",
            "RFC822Name(c@example.org)"
        ]
    );
    assert!(sans_of(LeafOptions::service("/web").no_san()).is_empty());
    assert_eq!(
        sans_of(LeafOptions::service("/web").raw_san(*b"\x30\x03\x82\x01x")),
        ["DNSName(x)"]
    );

    let dns = ca.issue_dns("api.shop.svc").chain_der();
    assert_eq!(sans(&parse(&dns[0])), ["DNSName(api.shop.svc)"]);
    let named = ca
        .issue_with(LeafOptions::new().common_name("web"))
        .chain_der();
    let subject = parse(&named[0]).subject().to_string();
    assert_eq!(subject, "CN=web, O=not for production");
}

#[test]
fn usages_are_what_was_asked_for() {
    let ca = TestCa::new("example.org");
    let issue = |options: LeafOptions| ca.issue_with(options).chain_der().remove(0);
    let bare = issue(LeafOptions::new().no_key_usage().no_extended_key_usage());
    let bare = parse(&bare);
    assert!(bare.key_usage().unwrap().is_none() && bare.extended_key_usage().unwrap().is_none());
    let signer = issue(
        LeafOptions::new()
            .key_usage_cert_sign()
            .key_usage_crl_sign(),
    );
    let usage = parse(&signer).key_usage().unwrap().unwrap().value.flags;
    assert_eq!(usage, 0b110_0001);
    assert!(parse(&issue(LeafOptions::new().ca_true())).is_ca());

    let crl_only = TestCa::with_options("x", CaOptions::new().without_key_cert_sign());
    let crl_only = crl_only.certificate_der();
    assert!(
        !parse(&crl_only)
            .key_usage()
            .unwrap()
            .unwrap()
            .value
            .key_cert_sign()
    );
    let silent = TestCa::with_options("x", CaOptions::new().without_key_usage()).certificate_der();
    assert!(parse(&silent).key_usage().unwrap().is_none());
}

#[test]
fn chains_of_any_depth_verify_in_both_roles_and_under_no_other_root() {
    let root = TestCa::new("example.org");
    let below = root.intermediate();
    let deepest = below.intermediate();
    let stranger = TestCa::new("example.org");
    for (depth, ca) in [&root, &below, &deepest].into_iter().enumerate() {
        let chain = ca.issue("/web").chain_der();
        assert_eq!(chain.len(), depth + 1);
        for role in [
            webpki::KeyUsage::client_auth(),
            webpki::KeyUsage::server_auth(),
        ] {
            verify(&chain, &root.root_der(), role).unwrap();
            let refused = verify(&chain, &stranger.root_der(), role).unwrap_err();
            assert_eq!(refused, webpki::Error::UnknownIssuer);
        }
    }
}

#[test]
fn keys_of_every_kind_sign_and_are_written_as_pkcs8() {
    for kind in KeyKind::ALL {
        if cfg!(not(feature = "aws-lc-rs")) && *kind == KeyKind::EcdsaP521 {
            continue; // ring cannot verify with it.
        }
        let ca = TestCa::with_options("example.org", CaOptions::new().key(*kind));
        let web = ca.issue_with(LeafOptions::service("/web").key(*kind));
        verify(
            &web.chain_der(),
            &ca.root_der(),
            webpki::KeyUsage::client_auth(),
        )
        .unwrap();
        assert!(matches!(web.key_der(), PrivateKeyDer::Pkcs8(_)));
        assert!(key_fits(&web.chain_der()[0], web.key_pem()), "{kind:?}");
    }
}

#[test]
fn rsa_leaves_share_a_key_unless_told_otherwise() {
    let ca = TestCa::new("example.org");
    let rsa = || LeafOptions::service("/web").key(KeyKind::Rsa2048);
    let shared = ca.issue_with(rsa());
    assert_eq!(ca.issue_with(rsa()).key_pem(), shared.key_pem());
    assert_ne!(ca.issue_with(rsa().fresh_key()).key_pem(), shared.key_pem());
    assert_ne!(ca.issue("/web").key_pem(), ca.issue("/web").key_pem());
}

#[test]
fn debug_shows_no_key() {
    let ca = TestCa::new("example.org");
    let web = ca.issue("/web");
    let secret = web.key_pem().lines().nth(1).unwrap();
    let set = Broken::LeafExpired.make(&ca);
    let set_secret = String::from_utf8(set.key_pem.clone()).unwrap();
    let set_secret = set_secret.lines().nth(1).unwrap();
    assert!(!format!("{web:?}").contains(secret) && !format!("{set:?}").contains(set_secret));
    assert!(!format!("{ca:?}").contains("PRIVATE") && !format!("{set:?}").contains("PRIVATE"));
}

fn basic_constraints_are_critical(certificate: &X509Certificate<'_>) -> bool {
    certificate.basic_constraints().unwrap().unwrap().critical
}

fn subject_key_id<'a>(certificate: &'a X509Certificate<'_>) -> &'a [u8] {
    let mut extensions = certificate.iter_extensions();
    let found = extensions.find_map(|extension| {
        if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
            Some(id.0)
        } else {
            None
        }
    });
    found.unwrap()
}

fn authority_key_id<'a>(certificate: &'a X509Certificate<'_>) -> &'a [u8] {
    let mut extensions = certificate.iter_extensions();
    let found = extensions.find_map(|extension| {
        if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
            id.key_identifier.as_ref().map(|id| id.0)
        } else {
            None
        }
    });
    found.unwrap()
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
