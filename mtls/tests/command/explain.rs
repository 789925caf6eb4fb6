//! `mtls explain`.

use serde_json::{Value, json};

use crate::{mtls, mtls_with};

#[test]
fn an_error_from_a_terminal_leads_to_the_page() {
    let dir = tempfile::tempdir().unwrap();
    // As it is pasted: several words, or by a pipe with line breaks in it.
    let said = mtls(
        dir.path(),
        &["explain", "received", "fatal", "alert:", "UnknownCA"],
    );
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("alert `unknown_ca (48)`"), "{said:?}");
    assert!(said.out.contains("(docs/runbook.md#refused_by_peer)"));
    assert!(said.out.contains("(docs/runbook.md#unknown_issuer)"));
    assert!(said.out.contains("see also: crl_stale, revocation_unknown"));
    let piped = mtls_with(
        dir.path(),
        &["explain", "-"],
        b"invalid peer\n  certificate: CaUsedAsEndEntity\n",
    );
    assert_eq!(piped.code, 0, "{piped:?}");
    assert!(piped.out.contains("(docs/runbook.md#not_end_entity)"));
}

#[test]
fn what_nobody_knows_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    for what in ["the printer is out of paper", "--bogus", ""] {
        let said = mtls(dir.path(), &["explain", "--", what]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("nothing here tells of it"), "{said:?}");
    }
    assert_eq!(mtls(dir.path(), &["explain"]).code, 2);
}

#[test]
fn the_shape_of_its_json_is_this() {
    let dir = tempfile::tempdir().unwrap();
    let said = mtls(
        dir.path(),
        &["explain", "chain-incomplete", "--format", "json"],
    );
    let mut value: Value = serde_json::from_str(&said.out).unwrap();
    let text = value["sections"][0]["text"].take();
    assert!(text.as_str().unwrap().contains("**Do.**"), "{text}");
    assert_eq!(
        value,
        json!({
            "version": 1,
            "found": {
                "kind": "rule",
                "name": "chain-incomplete",
                "means": value["found"]["means"],
                "see": ["unknown_issuer"],
            },
            "sections": [{
                "name": "unknown_issuer",
                "docs": "docs/runbook.md#unknown_issuer",
                "text": null,
            }],
        })
    );
    let nothing = mtls(dir.path(), &["explain", "nothing", "--format", "json"]);
    assert_eq!(nothing.code, 1);
    let value: Value = serde_json::from_str(&nothing.out).unwrap();
    assert_eq!(
        value,
        json!({ "version": 1, "found": null, "sections": [] })
    );
}
