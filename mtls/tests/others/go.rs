//! Go's crypto/x509, where a rule says that Go minds.

use mtls_core::check::{CheckRule, TlsStack};
use mtls_core::testing::{Broken, CaOptions, TestCa};

use crate::Written;
use crate::tools::{Said, Tool, absent, must, run};

/// Rules of which Go's verification of a chain can tell.
const MINDED: &[CheckRule] = &[
    CheckRule::BcMissing,
    CheckRule::ChainIncomplete,
    CheckRule::CriticalUnknown,
    CheckRule::EkuMissingRole,
    CheckRule::EkuNoRole,
    CheckRule::Expired,
    CheckRule::IssuerOtherKey,
    CheckRule::KuCertSign,
    CheckRule::NameConstraint,
    CheckRule::NotYetValid,
    CheckRule::Pathlen,
    CheckRule::SigWeak,
];

/// What `tls.LoadX509KeyPair` refuses.
const UNPAIRED: &[CheckRule] = &[
    CheckRule::CertMalformed,
    CheckRule::ChainOrder,
    CheckRule::FileEmpty,
    CheckRule::KeyMismatch,
    CheckRule::KeyMissing,
    CheckRule::PemBase64,
    CheckRule::PemBom,
    CheckRule::PemEscapedNewlines,
    CheckRule::PemIndented,
    CheckRule::PemNone,
    CheckRule::PemTruncated,
];

/// Bundles that cannot be read, by a program that looks at errors: `AppendCertsFromPEM` by itself passes over what it cannot
/// decode.
const UNREADABLE: &[CheckRule] = &[
    CheckRule::BundleUnparsable,
    CheckRule::FileMissing,
    CheckRule::FileUnreadable,
];

/// The one anchor there is, as it came with the chain that it issued.
const ANCHORS: &[(CheckRule, Broken)] = &[
    (CheckRule::BundleExpired, Broken::BundleExpired),
    (CheckRule::BundleMayNotSign, Broken::BundleMayNotSign),
    (CheckRule::BundleNotYetValid, Broken::BundleNotYetValid),
];

/// The certificate of a server that is dialled by a name.
const NAMES: &[CheckRule] = &[CheckRule::SanMissing, CheckRule::SanServerName];

/// What it minds and cannot be asked of in a verification, and why.
const NOT_ASKED: &[(CheckRule, &str)] = &[
    (
        CheckRule::HintsLarge,
        "a limit of handshakes, which the peer's program sets",
    ),
    (
        CheckRule::MountSubpath,
        "the file is good, and is never replaced",
    ),
];

/// Rules of which it could tell, and does not mind.
const NOT_MINDED: &[CheckRule] = &[
    CheckRule::ChainExtra,
    CheckRule::ChainTooDeep,
    CheckRule::DevCa,
    CheckRule::EkuAny,
    CheckRule::KuDigitalSignature,
    CheckRule::LifetimeLong,
    CheckRule::SkiAki,
    CheckRule::SpiffeCount,
    CheckRule::SvidProfile,
];

#[test]
fn every_rule_that_go_minds_is_asked_of_it_or_has_a_reason() {
    let anchors = ANCHORS.iter().map(|(rule, _)| *rule);
    let not_asked = NOT_ASKED.iter().map(|(rule, why)| {
        assert!(why.len() > 20, "{rule}");
        *rule
    });
    let mut covered = [MINDED, UNPAIRED, UNREADABLE, NAMES].concat();
    covered.extend(anchors.chain(not_asked));
    covered.push(CheckRule::BundleLeaf);
    covered.sort_unstable();
    let minds = |rule: &CheckRule| rule.minded_by().contains(&TlsStack::Go);
    let minded: Vec<_> = CheckRule::ALL.iter().copied().filter(minds).collect();
    assert_eq!(covered, minded, "each once");
}

#[test]
fn go_refuses_what_the_rules_say_it_minds_and_nothing_of_the_rest() {
    if absent(&[Tool::Go]) {
        return;
    }
    let built = tempfile::tempdir().unwrap();
    std::fs::write(built.path().join("main.go"), include_str!("go/main.go")).unwrap();
    std::fs::write(built.path().join("go.mod"), "module verify\n\ngo 1.19\n").unwrap();
    must("go", "build -o verify .", built.path());
    let verify = built.path().join("verify");
    let verify = verify.to_str().unwrap();
    let ask = |written: &Written| -> Said {
        run(verify, &["leaf.pem", "rest.pem", "ca.crt"], written.path())
    };
    let ca = TestCa::new("example.org");
    let good = ask(&Written::good(&ca));
    assert!(good.success, "{good:?}");
    for rule in MINDED {
        assert!(rule.minded_by().contains(&TlsStack::Go), "{rule}");
        let said = ask(&Written::rehearsal(*rule, &ca));
        assert!(!said.success, "{rule}: {said:?}");
    }
    for rule in NOT_MINDED {
        assert!(!rule.minded_by().contains(&TlsStack::Go), "{rule}");
        let said = ask(&Written::rehearsal(*rule, &ca));
        assert!(said.success, "{rule}: {said:?}");
    }
    for rule in UNREADABLE {
        let said = ask(&Written::rehearsal(*rule, &ca));
        assert!(!said.success, "{rule}: {said:?}");
    }
    let of = |chain: &[u8], bundle: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tls.crt"), chain).unwrap();
        std::fs::write(dir.path().join("ca.crt"), bundle).unwrap();
        Written::split(dir)
    };
    for (rule, broken) in ANCHORS {
        let set = broken.make(&ca);
        let said = ask(&of(&set.chain_pem, &set.bundle_pem));
        assert!(!said.success, "{rule}: {said:?}");
    }
    let no_ca = TestCa::with_options("example.org", CaOptions::new().ca_false());
    let chain = no_ca.issue("/web").chain_pem();
    let said = ask(&of(chain.as_bytes(), no_ca.root_pem().as_bytes()));
    assert!(!said.success, "{}: {said:?}", CheckRule::BundleLeaf);

    let pair = |written: &Written| run(verify, &["pair", "tls.crt", "tls.key"], written.path());
    let good = pair(&Written::good(&ca));
    assert!(good.success, "{good:?}");
    for rule in UNPAIRED {
        let said = pair(&Written::rehearsal(*rule, &ca));
        assert!(!said.success, "{rule}: {said:?}");
    }
    let dialled = |written: &Written, name: &str| {
        let arguments = ["leaf.pem", "rest.pem", "ca.crt", name];
        run(verify, &arguments, written.path())
    };
    let good = dialled(&Written::good(&ca), "localhost");
    assert!(good.success, "{good:?}");
    for rule in NAMES {
        let said = dialled(&Written::rehearsal(*rule, &ca), "orders.example.org");
        assert!(!said.success, "{rule}: {said:?}");
    }
}
