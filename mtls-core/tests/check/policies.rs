//! Policy files.

use std::path::Path;

use mtls_core::check::{CheckRule, check_policy};

use crate::{options, rules};

const SHADOWED: &[u8] = br#"
trust_domain = "example.org"
otherwise = "deny"

[[deny]]
name = "nobody of the shop"
peer = { namespace = "shop" }

[[allow]]
name = "the shop's web"
peer = { namespace = "shop", service_account = "shop/web" }

[[allow]]
name = "everybody of billing"
peer = { namespace = "billing" }

[[allow]]
name = "billing's web"
peer = { namespace = "billing", service_account = "billing/web" }

[[allow]]
name = "nobody at all"
peer = { namespace = "mail" }
not_peer = { namespace = "mail" }
"#;

#[test]
fn rules_that_decide_nothing_are_told_by_name() {
    let report = check_policy(Path::new("policy.toml"), SHADOWED, &options());
    let expected = [
        CheckRule::PolicyNeverAllows,
        CheckRule::PolicyNeverMatches,
        CheckRule::PolicyShadowed,
    ];
    assert_eq!(rules(&report), expected, "{:#?}", report.findings());
    let about = |rule, name: &str| {
        let mut findings = report.findings().iter();
        findings.any(|finding| finding.rule == rule && finding.found.contains(name))
    };
    assert!(about(CheckRule::PolicyNeverAllows, "the shop's web"));
    assert!(about(CheckRule::PolicyShadowed, "billing's web"));
    assert!(about(CheckRule::PolicyNeverMatches, "nobody at all"));
}

#[test]
fn a_policy_whose_rules_all_decide_something_yields_nothing() {
    let good = br#"
trust_domain = "example.org"
otherwise = "deny"

[[allow]]
name = "the shop reads orders"
peer = { namespace = "shop" }
request = { method = "GET", path = ["/orders", "/orders/**"] }
"#;
    let report = check_policy(Path::new("policy.toml"), good, &options());
    assert_eq!(report.findings(), []);
}

#[test]
fn a_policy_file_that_does_not_hold_is_told_with_its_line() {
    let bad = b"otherwise = \"deny\"\n\n[[alow]]\nname = \"x\"\n";
    let report = check_policy(Path::new("policy.toml"), bad, &options());
    assert_eq!(rules(&report), [CheckRule::PolicyUnreadable]);
    assert_eq!(report.findings()[0].place.line, Some(3));
    let json = check_policy(Path::new("policy.json"), b"{", &options());
    assert_eq!(rules(&json), [CheckRule::PolicyUnreadable]);
}
