use std::collections::BTreeSet;

use mtls_core::Reason;
use mtls_core::check::CheckRule;

use super::{Meaning, alerts, meaning, pages, rules, symptoms};

fn main_section(text: &str) -> Option<&'static str> {
    meaning(text).and_then(|meaning| meaning.sections.first().copied())
}

#[test]
fn every_reason_has_its_section_and_every_section_its_reason() {
    for reason in Reason::ALL {
        let page = pages::of_name(reason.as_str());
        assert!(page.is_some(), "{reason}");
    }
    let mut names = BTreeSet::new();
    for page in pages::all() {
        assert!(names.insert(page.name), "{} stands twice", page.name);
        assert!(page.shown().contains("**Do.**"), "{}", page.name);
        let is_reason = Reason::ALL
            .iter()
            .any(|reason| reason.as_str() == page.name);
        let in_runbook = page.place().starts_with("docs/runbook.md");
        assert_eq!(is_reason, in_runbook, "{}", page.name);
    }
}

#[test]
fn whatever_is_pointed_at_is_there() {
    let is_there = |name: &str| pages::of_name(name).is_some();
    for symptom in symptoms::all() {
        for section in symptom.sections() {
            assert!(is_there(section), "{symptom:?}: {section}");
        }
        assert_eq!(symptom.pattern, symptom.pattern.to_lowercase());
        assert!(symptom.means.ends_with('.'), "{symptom:?}");
    }
    for alert in alerts::ALERTS {
        for section in alert.sections {
            assert!(is_there(section), "{}: {section}", alert.name);
        }
    }
}

#[test]
fn every_rule_is_in_the_section_that_its_anchor_is_in() {
    for rule in CheckRule::ALL {
        assert!(rules::section(*rule).is_some(), "{rule}");
    }
    for (rule, section) in [
        (CheckRule::Expired, "expired"),
        (CheckRule::EkuMissingRole, "wrong_usage"),
        (CheckRule::ChainExtra, "unknown_issuer"),
    ] {
        assert_eq!(rules::section(rule), Some(section));
    }
}

#[test]
fn every_symptom_is_found_by_what_it_looks_for() {
    for symptom in symptoms::all() {
        let text = symptom.pattern.replace(" + ", " ... ");
        let found = symptoms::find(&text).or_else(|| symptoms::find_vague(&text));
        let found = found.unwrap();
        assert_eq!(found.sections(), symptom.sections(), "{text}: {found:?}");
    }
}

#[test]
fn an_alert_is_known_by_every_stacks_name_for_it() {
    for (text, name) in [
        ("unknown_ca", "unknown_ca (48)"),
        ("UnknownCA", "unknown_ca (48)"),
        ("48", "unknown_ca (48)"),
        ("alert number 48", "unknown_ca (48)"),
        ("received fatal alert: UnknownCA", "unknown_ca (48)"),
        (
            "the peer refused us by the alert unknown_ca",
            "unknown_ca (48)",
        ),
        (
            "error:0A000418:SSL routines::tlsv1 alert unknown ca",
            "unknown_ca (48)",
        ),
        (
            "remote error: tls: unknown certificate authority",
            "unknown_ca (48)",
        ),
        ("*** Received alert [48]: CA is unknown", "unknown_ca (48)"),
        ("SSL alert number 116", "certificate_required (116)"),
        (
            "remote error: tls: expired certificate",
            "certificate_expired (45)",
        ),
        ("received fatal alert: DecryptError", "decrypt_error (51)"),
        (
            "received fatal alert: UnrecognisedName",
            "unrecognized_name (112)",
        ),
        ("remote error: tls: bad certificate", "bad_certificate (42)"),
    ] {
        let found = meaning(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((found.kind, found.name.as_str()), ("alert", name), "{text}");
        assert_eq!(main_section(text), Some("refused_by_peer"), "{text}");
    }
    let mut codes: Vec<_> = alerts::ALERTS.iter().map(|alert| alert.code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), alerts::ALERTS.len());
}

#[test]
fn names_of_ours_are_known_alone_and_in_a_log() {
    for (text, kind, section) in [
        ("expired", "rule", "expired"),
        ("not_authorized", "reason", "not_authorized"),
        ("eku-missing-role", "rule", "wrong_usage"),
        (
            "WARN handshake refused mtls.reason=unknown_issuer mtls.remedy=\"x\"",
            "reason",
            "unknown_issuer",
        ),
        (r#"{"mtls.reason":"revoked"}"#, "reason", "revoked"),
        ("  error chain-incomplete tls.crt", "rule", "unknown_issuer"),
        ("refused_by_peer was counted", "reason", "refused_by_peer"),
    ] {
        let found = meaning(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(found.kind, kind, "{text}");
        assert_eq!(found.sections.first(), Some(&section), "{text}");
    }
}

#[test]
fn what_says_more_counts_more_and_line_breaks_count_nothing() {
    // It says "certificate expired" and has the alert's name too.
    assert_eq!(
        main_section("invalid peer\n   certificate: certificate expired: verification time 5"),
        Some("expired")
    );
    assert_eq!(
        main_section("certificate has expired or is not yet valid"),
        Some("expired")
    );
    assert_eq!(
        main_section(r#"valid for name "x"; certificate is not valid for any names"#),
        Some("no_san")
    );
}

#[test]
fn what_tells_a_cause_counts_more_than_what_was_lost_by_it() {
    // As tonic and reqwest print it: what failed, and why, in one line.
    for (text, section) in [
        (
            "transport error: invalid peer certificate: UnknownIssuer",
            "unknown_issuer",
        ),
        (
            "error sending request: client error (SendRequest): certificate expired: verification time 5",
            "expired",
        ),
        ("transport error: operation was canceled", "refused_by_peer"),
        (
            "error sending request for url (https://localhost:8443/)",
            "no_cause",
        ),
        (
            "error sending request for url (https://localhost:8443/): connection refused",
            "unreachable",
        ),
    ] {
        assert_eq!(main_section(text), Some(section), "{text}");
    }
    let alert = meaning("transport error: received fatal alert: UnknownCA").unwrap();
    assert_eq!(alert.kind, "alert");
    assert!(alert.sections.contains(&"unknown_issuer"));
}

#[test]
fn an_error_of_ours_is_known_as_main_prints_it() {
    for (text, section) in [
        (
            r#"Error: ChainNotTrusted { source: ChainError { role: Server, fault: Expired { not_after: Timestamp(1) } } }"#,
            "expired",
        ),
        (
            r#"InvalidCertificate(Other(OtherError(Chain { source: ChainError { fault: UntrustedKey { issuer: "CN=a" } } })))"#,
            "untrusted_key",
        ),
        (r#"Error: FileMissing { path: "dev/web" }"#, "file_missing"),
    ] {
        assert_eq!(main_section(text), Some(section), "{text}");
    }
    assert_eq!(meaning("Error: Expired or Revoked, nobody knows"), None);
}

#[test]
fn a_section_beside_the_runbook_is_known_by_its_name() {
    let found = meaning("resumed_session").unwrap();
    assert_eq!(
        (found.kind, found.sections),
        ("section", vec!["resumed_session"])
    );
}

#[test]
fn what_nobody_knows_is_not_guessed() {
    for text in [
        "",
        "the printer is out of paper",
        "alert",
        "999",
        "reason",
        "reason=unknown",
        "reason=ünknown",
    ] {
        assert_eq!(meaning(text), None::<Meaning>, "{text}");
    }
}
