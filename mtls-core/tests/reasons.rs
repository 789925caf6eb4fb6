//! Reasons are one list: metric label, log field, error, section of the runbook, and rule of the check. Each has all of them.

#![cfg(feature = "metrics")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the files are the project's own"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use metrics_exporter_prometheus::PrometheusBuilder;
use mtls_core::Reason;
use mtls_core::check::CheckRule;
use mtls_core::metrics::request_refused;

/// What no look at files finds: it is about a peer, a request, the program or the moment.
const NOT_ABOUT_FILES: &[Reason] = &[
    Reason::CrlRollback,
    Reason::HandshakePanicked,
    Reason::MalformedForwarded,
    Reason::Misdirected,
    Reason::NoCommonParameters,
    Reason::NoCommonProtocol,
    Reason::NoPeerCertificate,
    Reason::NoProofOfPossession,
    Reason::PeerClosed,
    Reason::PlaintextPeer,
    Reason::ReloadPanicked,
    Reason::Shed,
    Reason::SourceEnded,
    Reason::Timeout,
    Reason::TlsProtocol,
    Reason::UnknownServerName,
    Reason::UnstableFiles,
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The runbook, by section.
fn sections() -> BTreeMap<String, String> {
    let page = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let mut sections = BTreeMap::new();
    for section in page.split("\n## `").skip(1) {
        let (name, text) = section.split_once("`\n").unwrap();
        let again = sections.insert(name.to_owned(), text.to_owned());
        assert!(again.is_none(), "{name} has two sections");
    }
    sections
}

/// The words in backquotes of the paragraph that begins with this.
fn quoted(section: &str, paragraph: &str) -> Vec<String> {
    let Some((_, text)) = section.split_once(paragraph) else {
        return Vec::new();
    };
    let text = text.split("\n\n").next().unwrap();
    let words = text.split('`').skip(1).step_by(2);
    words.map(ToOwned::to_owned).collect()
}

/// The sources of the libraries, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let libraries = ["mtls-axum", "mtls-core", "mtls-reqwest", "mtls-tower"];
    let mut left: Vec<_> = libraries
        .iter()
        .map(|library| root().join(library).join("src"))
        .collect();
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\nmod tests {\n").next().unwrap();
                found.push((path, code.to_owned()));
            }
        }
    }
    assert!(found.len() > 100);
    found
}

#[test]
fn each_reason_is_a_label_of_the_metrics_by_its_name() {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        for reason in Reason::ALL {
            request_refused(*reason);
        }
    });
    let text = recorder.handle().render();
    for reason in Reason::ALL {
        let series = format!("mtls_requests_refused_total{{reason=\"{reason}\"}} 1\n");
        assert!(text.contains(&series), "{reason}");
    }
}

#[test]
fn each_reason_is_that_of_an_error() {
    let sources = sources();
    let errors = || {
        let is_list = |path: &Path| path.ends_with("reason.rs");
        sources.iter().filter(move |(path, _)| !is_list(path))
    };
    for reason in Reason::ALL {
        let yields = format!("Reason::{reason:?}");
        let found = errors().any(|(_, code)| {
            code.match_indices(&yields).any(|(at, _)| {
                let after = code.get(at + yields.len()..).unwrap_or_default();
                !after.starts_with(|next: char| next.is_alphanumeric())
            })
        });
        assert!(found, "nothing yields {reason}");
    }
}

/// So that none is written by hand, and differs.
#[test]
fn the_log_has_a_reason_by_its_name_alone() {
    let mut told = 0;
    for (path, code) in sources() {
        for line in code.lines().filter(|line| line.contains("mtls.reason =")) {
            assert!(line.contains("as_str"), "{}: {line}", path.display());
            told += 1;
        }
    }
    assert!(told > 10, "{told}");
}

#[test]
fn each_reason_has_a_section_of_the_runbook_and_each_section_a_reason() {
    let reasons: BTreeSet<_> = Reason::ALL
        .iter()
        .map(|it| it.as_str().to_owned())
        .collect();
    let sections = sections();
    let named: BTreeSet<_> = sections.keys().cloned().collect();
    assert_eq!(named, reasons);
    for (name, section) in &sections {
        for part in ["**Seen.**", "**Why.**", "**Do.**", "**Rehearse.**"] {
            assert!(section.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn a_reason_that_is_about_files_has_its_rules_and_each_rule_has_one_place() {
    let rules: BTreeMap<_, _> = CheckRule::ALL.iter().map(|it| (it.as_str(), *it)).collect();
    let mut placed = BTreeMap::new();
    for (name, section) in sections() {
        let reason = Reason::ALL.iter().find(|it| it.as_str() == name).unwrap();
        let found = quoted(&section, "**Check.**");
        let is_about_files = !NOT_ABOUT_FILES.contains(reason);
        assert_eq!(!found.is_empty(), is_about_files, "rules of {name}");
        for rule in found {
            assert!(rules.contains_key(rule.as_str()), "{name}: no rule {rule}");
            // What `CheckRule::doc_anchor` leads to.
            let anchor = format!("<a id=\"{rule}\"></a>");
            assert!(rule == name || section.contains(&anchor), "{rule}");
            let before = placed.insert(rule.clone(), name.clone());
            assert_eq!(before, None, "{rule} is in two places");
        }
        for command in quoted(&section, "**Rehearse.**") {
            let broken = command.strip_prefix("mtls dev break ");
            let Some(rule) = broken.map(|it| it.split(' ').next().unwrap()) else {
                continue;
            };
            assert!(rules.contains_key(rule), "{name}: no rule {rule}");
        }
    }
    let missing: Vec<_> = rules
        .keys()
        .filter(|rule| !placed.contains_key(**rule))
        .collect();
    assert!(missing.is_empty(), "in no section: {missing:?}");
}

/// They are what somebody searches a log by: added, never renamed.
#[test]
fn the_fields_of_the_log_are_those_of_the_documentation() {
    let mut found = BTreeSet::new();
    for (_, code) in sources() {
        let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let mut rest = code.as_str();
        for word in words {
            rest = rest.split_once(word).map_or(rest, |(_, rest)| rest);
            let is_field = [
                "mtls.",
                "network.peer.",
                "server.address",
                "tls.client.",
                "tls.protocol.",
            ]
            .iter()
            .any(|prefix| word.starts_with(prefix));
            if is_field && rest.starts_with(" = ") {
                found.insert(word.to_owned());
            }
        }
    }
    let page = fs::read_to_string(root().join("docs/logs.md")).unwrap();
    let listed = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed = listed.filter_map(|line| line.split('`').next());
    let listed: BTreeSet<_> = listed
        .filter(|field| field.contains('.'))
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(found, listed, "docs/logs.md");
}
