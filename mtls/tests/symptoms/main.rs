//! What people meet is produced here for real, and `mtls explain` has to lead from the printed text to the right section.
//!
//! The peers are plain rustls and what rests on it, since theirs are the texts that say the least. Which symptom is met
//! where is in `docs/symptoms.md`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod alerts;
mod build;
mod chains;
mod door;
mod foreign;
mod go;
mod grpc;
mod issued;
mod names;
mod ours;
mod plain;
mod providers;
mod renewed;
mod revocation;
mod sockets;
mod table;
#[path = "../tools/mod.rs"]
mod tools;

use std::path::Path;
use std::process::Command;

/// The sections that the command leads to, the first one first; none if it knows nothing.
fn explained(text: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["explain", "--format", "json", "--", text])
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sections = said["found"]["see"].as_array().into_iter().flatten();
    let sections: Vec<_> = sections
        .map(|section| section.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(output.status.success(), !sections.is_empty(), "{text}");
    sections
}

#[track_caller]
fn leads_to(text: &str, section: &str) {
    let sections = explained(text);
    let first = sections.first().map(String::as_str);
    assert_eq!(first, Some(section), "{text}");
}

/// Where a text has several causes, and this is one of the two whose pages are printed.
#[track_caller]
fn shows(text: &str, section: &str) {
    let sections = explained(text);
    let shown = sections.iter().take(2).any(|shown| shown == section);
    assert!(shown, "{sections:?} of {text}");
}

/// The rules that `mtls check` names of a directory, whose CA may be anybody's.
fn checked(dir: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["check", "--dev", "--format", "json"])
        .arg(dir)
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = said["sets"][0]["findings"].as_array().unwrap();
    let rules = findings.iter().map(|found| found["rule"].as_str().unwrap());
    rules.map(ToOwned::to_owned).collect()
}

/// What it prints of it for people.
fn printed(dir: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["check", "--dev"])
        .arg(dir)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}
