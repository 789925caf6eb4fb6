//! What each format looks like. JSON and SARIF are read by programs: what is here is a promise.

use mtls_core::testing::{LeafOptions, TestCa};
use serde_json::{Value, json};

use crate::{Said, lay_out, mtls};

/// A leaf for servers alone, in a directory of a name that has to be escaped everywhere.
fn said(format: &str) -> Said {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let leaf = LeafOptions::service("/web")
        .common_name("a<b>&\"c")
        .server_only();
    lay_out(&dir.path().join("a,b&c"), &ca.issue_with(leaf));
    let said = mtls(dir.path(), &["check", "a,b&c", "--dev", "--format", format]);
    assert_eq!(said.code, 1, "{said:?}");
    said
}

const FOUND: &str = "`CN=a<b>&\"c, O=not for production` has an extended key usage without clientAuth, so that it cannot be used by a client";

#[test]
fn json_has_the_shape_that_programs_read() {
    let found: Value = serde_json::from_str(&said("json").out).unwrap();
    let expected = json!({
        "version": 1,
        "sets": [{
            "name": "a,b&c",
            "findings": [{
                "rule": "eku-missing-role",
                "severity": "error",
                "file": "a,b&c/tls.crt",
                "block": 1,
                "line": null,
                "found": FOUND,
                "expected": "extended key usages for each role, or none",
                "remedy": "reissue with extended key usages clientAuth and serverAuth; public CAs no longer issue clientAuth: use a private one",
                "minded_by": ["ours", "rustls", "openssl", "go"],
                "docs": "docs/runbook.md#eku-missing-role",
            }],
            "allowed": [],
        }],
        "summary": { "error": 1, "warn": 0, "info": 0 },
    });
    assert_eq!(found, expected);
}

#[test]
fn what_is_allowed_stands_apart_in_json() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &ca.issue("/web"));
    let said = mtls(
        dir.path(),
        &["check", ".", "--format", "json", "--allow", "dev-ca=a test"],
    );
    assert_eq!(said.code, 0);
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["sets"][0]["findings"], json!([]));
    assert_eq!(found["sets"][0]["allowed"][0]["rule"], "dev-ca");
    assert_eq!(found["sets"][0]["allowed"][0]["allowed"], "a test");
}

#[test]
fn sarif_describes_each_rule_and_places_each_finding() {
    let found: Value = serde_json::from_str(&said("sarif").out).unwrap();
    assert_eq!(found["version"], "2.1.0");
    let run = &found["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), mtls_core::check::CheckRule::ALL.len());
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "eku-missing-role");
    assert_eq!(result["level"], "error");
    assert!(result["message"]["text"].as_str().unwrap().contains(FOUND));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a,b&c/tls.crt");
    assert_eq!(place["region"]["startLine"], 1);
}

#[test]
fn github_gets_one_command_for_each_finding() {
    let said = said("github");
    let begin = "::error file=a%2Cb&c/tls.crt,line=1,title=mtls eku-missing-role::a,b&c/tls.crt (block 1): ";
    assert!(said.out.starts_with(begin), "{said:?}");
    assert_eq!(said.out.lines().count(), 2);
    assert!(said.out.ends_with("1 errors, 0 warnings\n"), "{said:?}");
}

#[test]
fn junit_is_well_formed_and_has_a_case_for_each_finding() {
    let said = said("junit");
    let expected = "<testsuite name=\"a,b&amp;c\" tests=\"1\" failures=\"1\">";
    assert!(said.out.contains(expected), "{said:?}");
    let case =
        "<testcase classname=\"a,b&amp;c\" name=\"eku-missing-role a,b&amp;c/tls.crt (block 1)\">";
    assert!(said.out.contains(case), "{said:?}");
    assert!(
        said.out
            .contains("<failure type=\"eku-missing-role\" message=\"`CN=a&lt;b&gt;&amp;&quot;c")
    );
    for element in ["testsuites", "testsuite", "testcase", "failure"] {
        let begin = said.out.matches(&format!("<{element}")).count();
        let end = said.out.matches(&format!("</{element}>")).count();
        // `<testsuite` begins `<testsuites` too.
        let both = usize::from(element == "testsuite");
        assert_eq!(begin, end + both, "{element}: {said:?}");
    }
}

#[test]
fn a_good_set_passes_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &TestCa::new("example.org").issue("/web"));
    for format in ["github", "human", "json", "junit", "sarif"] {
        let said = mtls(dir.path(), &["check", ".", "--dev", "--format", format]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!said.out.is_empty() && said.err.is_empty(), "{said:?}");
        assert!(!said.out.contains("failure type"), "{said:?}");
    }
}
