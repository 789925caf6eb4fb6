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
mod foreign;
mod names;
mod plain;
mod revocation;
mod sockets;
mod table;

use std::process::Command;

/// The first section that the command leads to; none if it knows nothing.
fn explained(text: &str) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["explain", "--format", "json", "--", text])
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let section = said["found"]["see"][0].as_str().map(ToOwned::to_owned);
    assert_eq!(output.status.success(), section.is_some(), "{text}");
    section
}

#[track_caller]
fn leads_to(text: &str, section: &str) {
    assert_eq!(explained(text).as_deref(), Some(section), "{text}");
}
