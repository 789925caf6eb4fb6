//! Two sets against each other.

use std::sync::Arc;

use mtls_core::Policy;
use mtls_core::check::{CheckRule, CheckSet, CheckSide, Report, check_against};
use mtls_core::testing::{Issued, LeafOptions, TestCa};

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
