//! Where a rule says that OpenSSL minds, OpenSSL is asked; and where it says that it does not.

use mtls_core::check::{CheckRule, TlsStack};
use mtls_core::testing::TestCa;

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
