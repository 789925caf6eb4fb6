//! Each rule by itself.

use mtls_core::check::{Caller, CheckRule, CheckSet, DevelopmentCa, Severity, TlsStack, check};
use mtls_core::testing::{Broken, LeafOptions, MountedDir, Rehearsal, TestCa};
use mtls_core::{CredentialFiles, OwnChain, Timestamp};

use crate::{checked, mounted, options, rules};

/// Rules about more than the files of one set.
const NOT_OF_FILES: &[CheckRule] = &[
    CheckRule::HandshakeRefused,
    CheckRule::IdentityUnmatched,
    CheckRule::KeyReused,
    CheckRule::LayoutUnknown,
    CheckRule::MountEnv,
    CheckRule::MountSubpath,
    CheckRule::PolicyNeverAllows,
    CheckRule::PolicyNeverMatches,
    CheckRule::PolicyShadowed,
    CheckRule::PolicyUnreadable,
];

/// What comes with a fault, since it is the same fault.
const BESIDE: &[(CheckRule, CheckRule)] = &[
    // The root that has expired is why nothing is left.
    (CheckRule::BundleEmpty, CheckRule::BundleExpired),
    // What begins in the future is told of each certificate too.
    (CheckRule::ClockSuspect, CheckRule::BundleEmpty),
    (CheckRule::ClockSuspect, CheckRule::BundleNotYetValid),
    (CheckRule::ClockSuspect, CheckRule::NotYetValid),
    // A leaf is its own issuer only where it is in the bundle.
    (CheckRule::BundleMissingOwn, CheckRule::ChainRootIncluded),
    // What tells two keys of one name apart, where both sides say it.
    (CheckRule::IssuerOtherKey, CheckRule::SkiAki),
    (CheckRule::LeafSelfSigned, CheckRule::BundleMissingOwn),
];

#[test]
fn every_rule_has_files_that_trigger_it_and_no_other() {
    let ca = TestCa::new("example.org");
    let mut wrong = Vec::new();
    for rule in CheckRule::ALL.iter().copied() {
        let Some(rehearsal) = Rehearsal::of(rule, &ca) else {
            assert!(NOT_OF_FILES.contains(&rule), "{rule} has no rehearsal");
            continue;
        };
        assert!(!NOT_OF_FILES.contains(&rule), "{rule} has one");
        let dir = mounted(&rehearsal);
        let report = checked(
            &rehearsal.credential_files(dir.path()),
            &rehearsal.options(),
        );
        let found: Vec<_> = rules(&report)
            .into_iter()
            .filter(|other| !BESIDE.contains(&(rule, *other)))
            .collect();
        if found != [rule] {
            wrong.push(format!("{rule}: {:#?}", report.findings()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_files_yield_nothing() {
    let ca = TestCa::new("example.org");
    let below = ca.intermediate();
    let list = ca.crl().pem();
    let lists = format!("{list}{}", below.crl().pem());
    for issued in [
        ca.issue("/web"),
        below.issue("/web"),
        ca.issue_with(LeafOptions::new().dns("web.example.org")),
        ca.issue_with(LeafOptions::service("/web").no_extended_key_usage()),
    ] {
        let dir = MountedDir::new(&issued);
        let report = checked(&CredentialFiles::kubernetes(dir.path()), &options());
        assert_eq!(report.findings(), []);
        dir.rotate_files(&[
            ("tls.crt", issued.chain_pem().as_bytes()),
            ("tls.key", issued.key_pem().as_bytes()),
            ("ca.crt", issued.bundle_pem().as_bytes()),
            ("ca.crl", lists.as_bytes()),
        ]);
        let files = CredentialFiles::kubernetes(dir.path());
        let files = files.revocation_lists(dir.path().join("ca.crl"));
        assert_eq!(checked(&files, &options()).findings(), []);
    }
}

#[test]
fn all_that_is_wrong_is_told_and_not_the_first_of_it() {
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::service("/web")
        .expired()
        .server_only()
        .key_usage_key_encipherment_only()
        .spiffe("/second");
    let issued = ca.intermediate().issue_with(leaf);
    let chain = issued.chain_pem();
    let end = "-----END CERTIFICATE-----\n";
    let leaf_alone = chain.split_inclusive(end).next().unwrap();
    let bundle = format!("{}{leaf_alone}", issued.bundle_pem());
    let set = CheckSet::of_credentials(
        ("tls.crt", leaf_alone.as_bytes()),
        ("tls.key", issued.key_pem().as_bytes()),
    )
    .with_bundle("ca.crt", bundle.as_bytes());
    let found = rules(&check(&set, &options()).unwrap());
    let expected = [
        CheckRule::BundleLeaf,
        CheckRule::ChainIncomplete,
        CheckRule::EkuMissingRole,
        CheckRule::Expired,
        CheckRule::KuDigitalSignature,
        CheckRule::SpiffeCount,
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_missing_client_auth_is_named_and_matters_to_clients_alone() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue_with(LeafOptions::service("/web").server_only()));
    let files = CredentialFiles::kubernetes(dir.path());
    use mtls_core::check::CheckRole;
    for role in [CheckRole::Both, CheckRole::Client] {
        let report = checked(&files, &options().role(role));
        assert_eq!(rules(&report), [CheckRule::EkuMissingRole]);
        let finding = &report.findings()[0];
        assert!(finding.found.contains("without clientAuth"), "{finding}");
        assert!(finding.remedy.contains("private"), "{}", finding.remedy);
        assert_eq!(finding.place.block, Some(1));
    }
    assert_eq!(
        checked(&files, &options().role(CheckRole::Server)).findings(),
        []
    );
}

#[test]
fn another_time_finds_what_will_have_expired() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let files = CredentialFiles::kubernetes(dir.path());
    let in_two_days = Timestamp::from_unix(Timestamp::now().as_unix() + 2 * 24 * 60 * 60);
    let later =
        mtls_core::check::CheckOptions::new(in_two_days).development_ca(DevelopmentCa::Allowed);
    let found = rules(&checked(&files, &later));
    let expected = [
        CheckRule::BundleEmpty,
        CheckRule::BundleExpired,
        CheckRule::Expired,
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_allowed_is_told_apart_with_its_reason() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue_with(LeafOptions::service("/web").server_only()));
    let files = CredentialFiles::kubernetes(dir.path());
    let allowing = options().allow(CheckRule::EkuMissingRole, "a server alone");
    let report = checked(&files, &allowing);
    assert_eq!(report.findings(), []);
    assert_eq!(report.worst(), None);
    assert_eq!(report.allowed().len(), 1);
    assert_eq!(report.allowed()[0].reason, "a server alone");
    // Another rule's finding is not allowed by it.
    Broken::LeafExpired.write(&ca, &dir);
    assert_eq!(rules(&checked(&files, &allowing)), [CheckRule::Expired]);
}

#[test]
fn a_chain_from_another_pki_need_not_lead_to_the_bundle_if_that_is_said() {
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let web = ours.issue_with(LeafOptions::new().dns("web.example.org"));
    let set = |issued: &mtls_core::testing::Issued| {
        CheckSet::of_credentials(
            ("tls.crt", issued.chain_pem().as_bytes()),
            ("tls.key", issued.key_pem().as_bytes()),
        )
        .with_bundle("ca.crt", theirs.root_pem().as_bytes())
    };
    let elsewhere = options().own_chain(OwnChain::FromAnotherPki);
    assert_eq!(check(&set(&web), &elsewhere).unwrap().findings(), []);
    let found = rules(&check(&set(&web), &options()).unwrap());
    assert_eq!(found, [CheckRule::ChainIncomplete]);
    // It has to be in time all the same.
    let late = ours.issue_with(LeafOptions::new().dns("web.example.org").expired());
    let found = rules(&check(&set(&late), &elsewhere).unwrap());
    assert_eq!(found, [CheckRule::Expired]);
}

#[test]
fn the_worst_is_told_first() {
    let ca = TestCa::new("example.org");
    let soon = std::time::Duration::from_secs(600);
    let leaf = LeafOptions::service("/web").expires_in(soon).server_only();
    let dir = MountedDir::new(&ca.issue_with(leaf));
    let report = checked(&CredentialFiles::kubernetes(dir.path()), &options());
    let order: Vec<_> = report.findings().iter().map(|found| found.rule).collect();
    assert_eq!(order, [CheckRule::EkuMissingRole, CheckRule::ExpiresSoon]);
}

#[test]
fn a_set_without_a_bundle_and_a_bundle_alone_are_looked_at_by_themselves() {
    let ca = TestCa::new("example.org");
    let good = ca.issue("/web");
    let alone = CheckSet::of_credentials(
        ("tls.crt", good.chain_pem().as_bytes()),
        ("tls.key", good.key_pem().as_bytes()),
    );
    assert_eq!(check(&alone, &options()).unwrap().findings(), []);
    let bundle = CheckSet::of_bundle("ca.crt", ca.root_pem().as_bytes());
    assert_eq!(check(&bundle, &options()).unwrap().findings(), []);
    let bad = CheckSet::of_bundle("ca.crt", good.chain_pem().as_bytes());
    let found = rules(&check(&bad, &options()).unwrap());
    assert_eq!(found, [CheckRule::BundleEmpty, CheckRule::BundleLeaf]);
    let missing = alone.with_missing_bundle("ca.crt");
    let found = rules(&check(&missing, &options()).unwrap());
    assert_eq!(found, [CheckRule::FileMissing]);
}

#[test]
fn a_name_that_is_dialled_has_to_be_among_the_sans_and_the_text_says_why_it_is_not() {
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::new()
        .dns("*.example.org")
        .dns("10.0.0.1")
        .dns("dotted.test.");
    let dir = MountedDir::new(&ca.issue_with(leaf));
    let files = CredentialFiles::kubernetes(dir.path());
    let with = |name: &str| checked(&files, &options().server_name(name));
    assert_eq!(with("web.example.org").findings(), []);
    for (name, why) in [
        ("a.b.example.org", "a wildcard stands for one label"),
        ("10.0.0.1", "has to be an IP SAN"),
        ("elsewhere.test", "`*.example.org`"),
        ("no name", "neither a DNS name nor an IP address"),
    ] {
        let report = with(name);
        assert_eq!(rules(&report), [CheckRule::SanServerName], "{name}");
        let text = &report.findings()[0].found;
        assert!(text.contains(why), "{name}: {text}");
    }
}

#[test]
fn names_of_rules_are_unique_sorted_and_read_back() {
    let names: Vec<_> = CheckRule::ALL.iter().map(|rule| rule.as_str()).collect();
    for rule in CheckRule::ALL {
        assert_eq!(rule.as_str().parse(), Ok(*rule));
        assert_eq!(rule.doc_anchor(), format!("docs/runbook.md#{rule}"));
        assert!(!rule.remedy().is_empty() && !rule.expected().is_empty());
        // Nobody but the command takes a rule for worse than it does.
        for caller in [Caller::Startup, Caller::Reload] {
            assert!(rule.severity(caller) <= rule.severity(Caller::Command));
        }
    }
    assert!(names.is_sorted_by(|one, next| one < next));
    assert!("no-such-rule".parse::<CheckRule>().is_err());
}

#[test]
fn what_our_loader_refuses_our_stack_minds() {
    for rule in CheckRule::ALL {
        let ours = rule.minded_by().contains(&TlsStack::Ours);
        let refuses = rule.severity(Caller::Startup) == Severity::Error;
        // That a key was handed around is nobody's handshake.
        assert!(
            ours || !refuses || *rule == CheckRule::KeyInBundle,
            "{rule}"
        );
    }
}
