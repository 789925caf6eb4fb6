//! `mtls policy`.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Said, mtls};

const POLICY: &str = r#"
trust_domain = "example.org"
otherwise = "deny"

[[deny]]
name = "nobody deletes"
peer = "anyone"
request = { method = "DELETE" }

[[allow]]
name = "the shop reads orders"
peer = { namespace = "shop" }
request = { method = "GET", path = ["/orders", "/orders/**"] }

[[allow]]
name = "billing by its name"
peer = { dns = "billing.example.org" }
request = { path = "/invoices/**" }
"#;

fn tested(dir: &Path, cases: &str) -> Said {
    std::fs::write(dir.join("policy.toml"), POLICY).unwrap();
    std::fs::write(dir.join("cases.toml"), cases).unwrap();
    mtls(
        dir,
        &["policy", "test", "cases.toml", "--policy", "policy.toml"],
    )
}

#[test]
fn cases_that_are_decided_as_expected_pass() {
    let dir = tempfile::tempdir().unwrap();
    let said = tested(
        dir.path(),
        r#"
[[case]]
name = "a read"
peer = "spiffe://example.org/ns/shop/sa/web"
path = "/orders/17"
expect = "allow"
rule = "the shop reads orders"

[[case]]
name = "a deletion"
peer = "spiffe://example.org/ns/shop/sa/web"
method = "DELETE"
path = "/orders/17"
expect = "deny"
rule = "nobody deletes"

[[case]]
name = "a path that is read in two ways"
peer = "spiffe://example.org/ns/shop/sa/web"
path = "/orders/%2e%2e/admin"
expect = "deny"

[[case]]
name = "nobody"
peer = "nobody"
path = "/orders/17"
expect = "deny"

[[case]]
name = "by a DNS name"
peer = { dns = "billing.example.org" }
path = "/invoices/1"
expect = "allow"
"#,
    );
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("5 decided as expected, 0 not"),
        "{said:?}"
    );
}

#[test]
fn a_case_that_is_decided_otherwise_fails_by_effect_or_by_rule() {
    let dir = tempfile::tempdir().unwrap();
    let said = tested(
        dir.path(),
        r#"
[[case]]
name = "another namespace"
peer = "spiffe://example.org/ns/batch/sa/web"
path = "/orders/17"
expect = "allow"

[[case]]
name = "the wrong rule"
peer = "spiffe://example.org/ns/shop/sa/web"
path = "/orders/17"
expect = "allow"
rule = "billing by its name"
"#,
    );
    assert_eq!(said.code, 1, "{said:?}");
    for line in [
        "FAIL  another namespace: denied by default: no rule matches; expected allow",
        "FAIL  the wrong rule: allowed by rule `the shop reads orders`; expected allow by rule `billing by its name`",
        "0 decided as expected, 2 not",
    ] {
        assert!(said.out.contains(line), "{line}: {said:?}");
    }
}

#[test]
fn a_name_of_another_trust_domains_peer_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    // The same names, of a peer of ours and of one that is federated with us.
    let case = |domain: &str, expected: &str| {
        format!(
            "trust_domain = \"example.org\"\n[[case]]\npath = \"/invoices/1\"\nexpect = \"{expected}\"\n\
             peer = {{ spiffe = \"spiffe://{domain}/billing\", dns = \"billing.example.org\" }}\n"
        )
    };
    let ours = tested(dir.path(), &case("example.org", "allow"));
    assert_eq!(ours.code, 0, "{ours:?}");
    let theirs = tested(dir.path(), &case("elsewhere.test", "deny"));
    assert_eq!(theirs.code, 0, "{theirs:?}");
}

#[test]
fn what_a_case_does_not_say_right_is_no_pass() {
    let dir = tempfile::tempdir().unwrap();
    for (cases, words) in [
        ("", "no `[[case]]`"),
        (
            "[[case]]\npath = \"/\"\nexpect = \"alow\"",
            "`allow` or `deny`",
        ),
        ("[[case]]\npath = \"/\"", "`expect` is missing"),
        (
            "[[case]]\nexpect = \"deny\"\nmethod = \"GET\"",
            "needs its `path`",
        ),
        (
            "[[case]]\nexpect = \"deny\"\nverb = \"GET\"",
            "`verb` is none of",
        ),
        (
            "[[case]]\nexpect = \"deny\"\npeer = \"web\"\npath = \"/\"",
            "`web`",
        ),
        (
            "[[case]]\nexpect = \"deny\"\npeer = {}\npath = \"/\"",
            "without a name",
        ),
        ("[[case]]\nexpect = \"deny\"", "asks for requests"),
        ("[[case]\n", "TOML"),
    ] {
        let said = tested(dir.path(), cases);
        assert_eq!(said.code, 2, "{cases}: {said:?}");
        assert!(said.err.contains(words), "{cases}: {said:?}");
    }
}

#[test]
fn the_shape_of_its_json_is_this() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("sub/policy.toml"), POLICY).unwrap();
    let cases = "policy = \"policy.toml\"\n[[case]]\nname = \"late\"\npath = \"/orders\"\nexpect = \"allow\"\n";
    std::fs::write(dir.path().join("sub/cases.toml"), cases).unwrap();
    let said = mtls(
        dir.path(),
        &["policy", "test", "sub/cases.toml", "--format", "json"],
    );
    assert_eq!(said.code, 1, "{said:?}");
    let value: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        value,
        json!({
            "version": 1,
            "policy": "sub/policy.toml",
            "cases": [{
                "name": "late",
                "passed": false,
                "expected": { "effect": "allow", "rule": null },
                "found": {
                    "effect": "deny",
                    "rule": null,
                    "why": "denied by default: no rule matches",
                },
            }],
        })
    );
}

#[test]
fn one_case_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("policy.toml"), POLICY).unwrap();
    let explain = |arguments: &[&str]| {
        let mut all = vec!["policy", "explain", "policy.toml"];
        all.extend(arguments);
        mtls(dir.path(), &all)
    };
    let peer = "spiffe://example.org/ns/shop/sa/web";
    let allowed = explain(&["--peer", peer, "--path", "/orders"]);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(
        allowed
            .out
            .contains("allowed by rule `the shop reads orders`")
    );
    let denied = explain(&["--peer", peer, "--path", "/orders", "--method", "DELETE"]);
    assert_eq!(denied.code, 1, "{denied:?}");
    assert!(denied.out.contains("denied by rule `nobody deletes`"));
    let unclear = explain(&["--peer", peer]);
    assert_eq!(unclear.code, 2, "{unclear:?}");
}
