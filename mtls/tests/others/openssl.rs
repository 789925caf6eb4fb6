//! Where a rule says that OpenSSL minds, OpenSSL is asked; and where it says that it does not.

use mtls_core::check::{CheckRule, TlsStack};
use mtls_core::testing::{CaOptions, TestCa};

use crate::Written;
use crate::tools::{Said, Tool, absent, run};

/// `openssl verify` in one role, as a TLS server or client of OpenSSL's verifies its peer.
fn verify(written: &Written, purpose: &str, more: &[&str]) -> Said {
    let fixed = [
        "verify",
        "-no-CAstore",
        "-no-CApath",
        "-CAfile",
        "ca.crt",
        "-untrusted",
        "rest.pem",
        "-purpose",
        purpose,
    ];
    run(
        "openssl",
        &[&fixed[..], more, &["leaf.pem"]].concat(),
        written.path(),
    )
}

/// Rules of which OpenSSL's verification of a chain can tell, with a part of what it says.
const MINDED: &[(CheckRule, &str)] = &[
    (CheckRule::BcMissing, "invalid CA certificate"),
    (CheckRule::ChainIncomplete, "unable to get"),
    (CheckRule::CriticalUnknown, "critical extension"),
    (CheckRule::EkuAny, "unsuitable certificate purpose"),
    (CheckRule::EkuMissingRole, "unsuitable certificate purpose"),
    (CheckRule::EkuNoRole, "unsuitable certificate purpose"),
    (CheckRule::Expired, "has expired"),
    (CheckRule::IssuerOtherKey, ""),
    (CheckRule::KuCertSign, "invalid CA certificate"),
    (
        CheckRule::KuDigitalSignature,
        "unsuitable certificate purpose",
    ),
    (CheckRule::NameConstraint, "permitted subtree violation"),
    (CheckRule::NotYetValid, "not yet valid"),
    (CheckRule::Pathlen, "path length constraint exceeded"),
];

/// Files that it can make nothing of, so that it verifies nothing either.
const UNUSABLE: &[CheckRule] = &[
    CheckRule::BundleUnparsable,
    CheckRule::CertMalformed,
    CheckRule::FileEmpty,
    CheckRule::FileMissing,
    CheckRule::FileUnreadable,
    CheckRule::PemBase64,
    CheckRule::PemEscapedNewlines,
    CheckRule::PemIndented,
    CheckRule::PemNone,
    CheckRule::PemTruncated,
];

/// The key is not that of the first certificate, which is the one that it would present.
const UNPAIRED: &[CheckRule] = &[
    CheckRule::ChainOrder,
    CheckRule::KeyMismatch,
    CheckRule::KeyMissing,
];

/// What it says where it is told to look at the lists.
const LISTS: &[(CheckRule, &str)] = &[
    (CheckRule::CrlRevokesSelf, "certificate revoked"),
    (CheckRule::CrlSignature, "CRL signature failure"),
    (CheckRule::CrlStale, "CRL has expired"),
    (CheckRule::KuCrlSign, "CRL signing"),
];

/// Asked by tests of their own, below.
const ANCHORS_AND_NAMES: &[CheckRule] = &[
    CheckRule::BundleExpired,
    CheckRule::BundleIntermediate,
    CheckRule::BundleLeaf,
    CheckRule::BundleMayNotSign,
    CheckRule::BundleNotYetValid,
    CheckRule::SanServerName,
];

/// What it minds and cannot be asked of in a verification, and why.
const NOT_ASKED: &[(CheckRule, &str)] = &[
    (
        CheckRule::ChainTooLarge,
        "a limit of handshakes, which the program that uses it sets",
    ),
    (
        CheckRule::HintsLarge,
        "a limit of handshakes, which the program that uses it sets",
    ),
    (
        CheckRule::MountSubpath,
        "the file is good, and is never replaced",
    ),
];

/// Rules of which it could tell, and does not mind.
const NOT_MINDED: &[CheckRule] = &[
    CheckRule::BundlePublic,
    CheckRule::BundleSameName,
    CheckRule::ChainExtra,
    CheckRule::ChainRootIncluded,
    CheckRule::ChainTooDeep,
    CheckRule::DevCa,
    CheckRule::ExpiresSoon,
    CheckRule::LeafMaySign,
    CheckRule::LifetimeLong,
    CheckRule::PemBom,
    CheckRule::SkiAki,
    CheckRule::SpiffeCaPath,
    CheckRule::SpiffeCount,
    CheckRule::SpiffeMixed,
    CheckRule::SpiffeTrustDomain,
    CheckRule::SvidProfile,
];

#[test]
fn openssl_refuses_what_the_rules_say_it_minds_and_nothing_of_the_rest() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    for purpose in ["sslclient", "sslserver"] {
        let good = verify(&Written::good(&ca), purpose, &[]);
        assert!(good.success, "{good:?}");
    }
    let minds = |rule: &CheckRule| rule.minded_by().contains(&TlsStack::OpenSsl);
    for (rule, expected) in MINDED {
        assert!(minds(rule), "{rule} says that OpenSSL does not mind");
        let said = verify(&Written::rehearsal(*rule, &ca), "sslclient", &[]);
        assert!(
            !said.success && said.text.contains(expected),
            "{rule}: {said:?}"
        );
    }
    for rule in NOT_MINDED {
        assert!(!minds(rule), "{rule} says that OpenSSL minds");
        let said = verify(&Written::rehearsal(*rule, &ca), "sslclient", &[]);
        assert!(said.success, "{rule}: {said:?}");
    }
}

#[test]
fn every_rule_that_openssl_minds_is_asked_of_it_or_has_a_reason() {
    let asked = MINDED.iter().chain(LISTS).map(|(rule, _)| *rule);
    let more = [UNUSABLE, UNPAIRED, ANCHORS_AND_NAMES].concat();
    let not_asked = NOT_ASKED.iter().map(|(rule, why)| {
        assert!(why.len() > 20, "{rule}");
        *rule
    });
    let mut covered: Vec<_> = asked.chain(more).chain(not_asked).collect();
    covered.sort_unstable();
    let minds = |rule: &CheckRule| rule.minded_by().contains(&TlsStack::OpenSsl);
    let minded: Vec<_> = CheckRule::ALL.iter().copied().filter(minds).collect();
    assert_eq!(covered, minded, "each once");
}

#[test]
fn openssl_makes_nothing_of_files_that_the_rules_say_it_cannot_use() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    for rule in UNUSABLE {
        let said = verify(&Written::rehearsal(*rule, &ca), "sslclient", &[]);
        assert!(!said.success, "{rule}: {said:?}");
    }
    // As SSL_CTX_use_certificate_chain_file and SSL_CTX_check_private_key have it.
    let is_paired = |written: &Written| {
        let public = |arguments: &[&str]| run("openssl", arguments, written.path());
        let of_leaf = public(&["x509", "-in", "tls.crt", "-noout", "-pubkey"]);
        let of_key = public(&["pkey", "-in", "tls.key", "-pubout"]);
        of_leaf.success && of_key.success && of_leaf.text == of_key.text
    };
    assert!(is_paired(&Written::good(&ca)));
    for rule in UNPAIRED {
        assert!(!is_paired(&Written::rehearsal(*rule, &ca)), "{rule}");
    }
}

#[test]
fn openssl_minds_what_lists_say_where_it_is_told_to_look_at_them() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let look = |written: &Written| {
        let lists = ["-crl_check", "-CRLfile", "ca.crl"];
        verify(written, "sslclient", &lists)
    };
    let good = Written::good(&ca);
    std::fs::write(good.path().join("ca.crl"), ca.crl().pem()).unwrap();
    let said = look(&good);
    assert!(said.success, "{said:?}");
    for (rule, expected) in LISTS {
        let said = look(&Written::rehearsal(*rule, &ca));
        assert!(
            !said.success && said.text.contains(expected),
            "{rule}: {said:?}"
        );
    }
}

#[test]
fn openssl_minds_a_name_that_is_not_among_the_sans() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let written = Written::rehearsal(CheckRule::SanServerName, &ca);
    let dialled = |name| verify(&written, "sslserver", &["-verify_hostname", name]);
    let good = dialled("web.example.org");
    assert!(good.success, "{good:?}");
    let said = dialled("orders.example.org");
    assert!(
        !said.success && said.text.contains("ostname mismatch"),
        "{said:?}"
    );
}

#[test]
fn openssl_minds_an_anchor_that_is_no_root_or_no_ca() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let below = ca.intermediate();
    let no_ca = TestCa::with_options("example.org", CaOptions::new().ca_false());
    let leaf = |chain: String| {
        let end = "-----END CERTIFICATE-----\n";
        chain.split_inclusive(end).next().unwrap().to_owned()
    };
    for (rule, chain, bundle, expected) in [
        (
            CheckRule::BundleIntermediate,
            leaf(below.issue("/web").chain_pem()),
            below.certificate_pem(),
            "unable to get issuer certificate",
        ),
        (
            CheckRule::BundleLeaf,
            leaf(no_ca.issue("/web").chain_pem()),
            no_ca.root_pem(),
            "invalid CA certificate",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tls.crt"), chain).unwrap();
        std::fs::write(dir.path().join("ca.crt"), bundle).unwrap();
        let said = verify(&Written::split(dir), "sslclient", &[]);
        assert!(
            !said.success && said.text.contains(expected),
            "{rule}: {said:?}"
        );
    }
}

/// Which is what Python does by default from 3.13 on.
#[test]
fn strict_openssl_minds_missing_key_identifiers() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let strict = |written: &Written| verify(written, "sslclient", &["-x509_strict"]);
    let good = strict(&Written::good(&ca));
    assert!(good.success, "{good:?}");
    let said = strict(&Written::rehearsal(CheckRule::SkiAki, &ca));
    assert!(
        !said.success && said.text.contains("Authority Key Identifier"),
        "{said:?}"
    );
}

#[test]
fn openssl_minds_anchors_that_plain_rustls_takes() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    // The one anchor there is, as it came with the chain that it issued.
    for (broken, rule, expected) in [
        (
            mtls_core::testing::Broken::BundleExpired,
            CheckRule::BundleExpired,
            "has expired",
        ),
        (
            mtls_core::testing::Broken::BundleMayNotSign,
            CheckRule::BundleMayNotSign,
            "invalid CA certificate",
        ),
        (
            mtls_core::testing::Broken::BundleNotYetValid,
            CheckRule::BundleNotYetValid,
            "not yet valid",
        ),
    ] {
        let set = broken.make(&ca);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tls.crt"), set.chain_pem).unwrap();
        std::fs::write(dir.path().join("ca.crt"), set.bundle_pem).unwrap();
        let said = verify(&Written::split(dir), "sslclient", &[]);
        assert!(
            !said.success && said.text.contains(expected),
            "{rule}: {said:?}"
        );
        assert!(rule.minded_by().contains(&TlsStack::OpenSsl), "{rule}");
    }
}
