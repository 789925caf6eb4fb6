//! Two sets against each other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mtls_core::check::{
    CheckOptions, CheckRule, CheckSet, CheckSide, DevelopmentCa, Report, check_against,
};
use mtls_core::testing::{CaOptions, Issued, KeyKind, LeafOptions, TestCa};
use mtls_core::{Policy, Timestamp};

use crate::{options, rules};

fn set(issued: &Issued, bundle: &str) -> CheckSet {
    CheckSet::of_credentials(
        ("tls.crt", issued.chain_pem().as_bytes()),
        ("tls.key", issued.key_pem().as_bytes()),
    )
    .with_bundle("ca.crt", bundle.as_bytes())
}

fn against(one: &CheckSet, other: &CheckSet) -> Report {
    check_against(&CheckSide::new(one), &CheckSide::new(other), &options()).unwrap()
}

#[test]
fn two_sets_of_one_ca_agree_in_both_roles() {
    let ca = TestCa::new("example.org");
    let sets = [ca.issue("/web"), ca.intermediate().issue("/api")];
    let [web, api] = sets.map(|issued| set(&issued, &ca.root_pem()));
    let report = against(&web, &api);
    assert_eq!(report.findings(), []);
}

#[test]
fn a_peer_of_another_ca_is_refused_and_both_sides_say_by_whom_and_why() {
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let web = set(&ours.issue("/web"), &ours.root_pem());
    let api = set(&theirs.issue("/api"), &theirs.root_pem());
    let report = against(&web, &api);
    assert_eq!(rules(&report), [CheckRule::HandshakeRefused]);
    assert_eq!(report.findings().len(), 2);
    for finding in report.findings() {
        assert!(finding.found.contains("unknown_issuer"), "{finding}");
        assert!(finding.found.contains("spiffe://example.org/web"));
    }
}

#[test]
fn a_leaf_for_one_role_is_refused_in_the_other_alone() {
    let ca = TestCa::new("example.org");
    let server = ca.issue_with(LeafOptions::service("/api").server_only());
    let api = set(&server, &ca.root_pem());
    let web = set(&ca.issue("/web"), &ca.root_pem());
    let report = against(&web, &api);
    assert_eq!(report.findings().len(), 1, "{:#?}", report.findings());
    let found = &report.findings()[0].found;
    assert!(
        found.starts_with("client `spiffe://example.org/api`"),
        "{found}"
    );
    assert!(found.contains("may not be used by a client"), "{found}");
}

#[test]
fn who_the_other_sides_policy_does_not_let_in_is_named() {
    let ca = TestCa::new("example.org");
    let [web, api] = ["/web", "/api"].map(|path| set(&ca.issue(path), &ca.root_pem()));
    // The web's own policy does not let the API in; the API has none.
    let policy = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let web = CheckSide {
        set: &web,
        authorizer: Some(Arc::new(policy)),
    };
    let report = check_against(&web, &CheckSide::new(&api), &options()).unwrap();
    assert_eq!(rules(&report), [CheckRule::IdentityUnmatched]);
    let found = &report.findings()[0].found;
    assert!(
        found.starts_with("client `spiffe://example.org/api`"),
        "{found}"
    );
}

#[test]
fn handshakes_are_tried_as_of_the_time_that_is_asked_about() {
    const DAY: u64 = 24 * 60 * 60;
    let in_days = |days: i64| {
        let day = i64::try_from(DAY).unwrap();
        Timestamp::from_unix(Timestamp::now().as_unix() + days * day)
    };
    let root = CaOptions::new().expires_in(Duration::from_secs(400 * DAY));
    let ca = TestCa::with_options("example.org", root);
    let leaf = |path, days| {
        let life = Duration::from_secs(days * DAY);
        ca.issue_with(LeafOptions::service(path).expires_in(life))
    };
    let web = set(&leaf("/web", 30), &ca.root_pem());
    let api = set(&leaf("/api", 90), &ca.root_pem());
    let at = |now| {
        let options = CheckOptions::new(now).development_ca(DevelopmentCa::Allowed);
        check_against(&CheckSide::new(&web), &CheckSide::new(&api), &options).unwrap()
    };
    for good in [Timestamp::now(), in_days(20)] {
        assert_eq!(at(good).findings(), []);
    }
    // Whoever serves the web's credentials until then is refused, in either role, and by the other side.
    let late = at(in_days(40));
    assert_eq!(rules(&late), [CheckRule::HandshakeRefused]);
    let told: Vec<_> = late
        .findings()
        .iter()
        .map(|found| found.found.as_str())
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for text in &told {
        assert!(text.contains("refuses (expired)"), "{text}");
        assert!(text.contains("spiffe://example.org/web"), "{text}");
    }
    assert!(told.iter().any(|text| text.contains("the server refuses")));
    assert!(told.iter().any(|text| text.contains("the client refuses")));
    // What has expired by now was good once, and is loaded as of then; what begins later is loaded as of now.
    let now = SystemTime::now();
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let valid = |path, from, until| {
        let leaf = LeafOptions::service(path).validity(from, until);
        set(&ca.issue_with(leaf), &ca.root_pem())
    };
    let old = valid("/old", now - minutes(50), now - minutes(10));
    let new = valid("/new", now - minutes(5), now + minutes(60));
    let then = Timestamp::from_unix(Timestamp::now().as_unix() - 30 * 60);
    let options = CheckOptions::new(then).development_ca(DevelopmentCa::Allowed);
    let tried =
        |other| check_against(&CheckSide::new(&old), &CheckSide::new(other), &options).unwrap();
    assert_eq!(tried(&web).findings(), []);
    let early = tried(&new);
    assert_eq!(rules(&early), [CheckRule::HandshakeRefused]);
    for finding in early.findings() {
        assert!(
            finding.found.contains("refuses (not_yet_valid)"),
            "{finding}"
        );
    }
}

#[test]
fn one_key_in_two_sets_is_told_and_one_set_twice_is_not() {
    let ca = TestCa::new("example.org");
    // RSA leaves of one process share a key.
    let rsa = |path| LeafOptions::service(path).key(KeyKind::Rsa2048);
    let of = |leaf| set(&ca.issue_with(leaf), &ca.root_pem());
    let (web, api) = (of(rsa("/web")), of(rsa("/api")));
    let report = against(&web, &api);
    assert_eq!(rules(&report), [CheckRule::KeyReused]);
    let found = &report.findings()[0].found;
    for id in ["spiffe://example.org/web", "spiffe://example.org/api"] {
        assert!(found.contains(id), "{found}");
    }
    assert_eq!(against(&web, &web).findings(), []);
    let fresh = of(rsa("/api").fresh_key());
    assert_eq!(against(&web, &fresh).findings(), []);
}
