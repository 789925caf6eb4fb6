//! Go's crypto/x509, where a rule says that Go minds.

use mtls_core::check::{CheckRule, TlsStack};
use mtls_core::testing::TestCa;

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
}
