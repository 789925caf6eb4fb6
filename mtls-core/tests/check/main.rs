//! What the check finds, and that the loader does what the table of rules says of it.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod against;
mod candidates;
mod federated;
mod layouts;
mod loader;
mod policies;
mod rules;
mod secrets;
mod table;

use mtls_core::CredentialFiles;
use mtls_core::check::{CheckOptions, CheckRule, CheckSet, DevelopmentCa, Report, check};
use mtls_core::testing::{MountedDir, Rehearsal};

/// A mounted directory with the files of a rehearsal.
fn mounted(rehearsal: &Rehearsal) -> MountedDir {
    let dir = MountedDir::empty();
    let files: Vec<_> = rehearsal.files().collect();
    dir.rotate_files(&files);
    rehearsal.finish(dir.path()).unwrap();
    dir
}

fn checked(files: &CredentialFiles, options: &CheckOptions) -> Report {
    check(&CheckSet::read(files).unwrap(), options).unwrap()
}

/// Now, where a test CA is fine.
fn options() -> CheckOptions {
    CheckOptions::new(mtls_core::Timestamp::now()).development_ca(DevelopmentCa::Allowed)
}

fn rules(report: &Report) -> Vec<CheckRule> {
    let mut rules: Vec<_> = report.findings().iter().map(|found| found.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}
