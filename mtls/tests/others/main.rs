//! The check beside other people's programs: what they refuse where a rule says that they mind, and what they issue.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod go;
mod issued;
mod openssl;
#[path = "../tools/mod.rs"]
mod tools;

use std::path::Path;
use std::process::Command;

use mtls_core::check::CheckRule;
use mtls_core::testing::{Rehearsal, TestCa};

/// The files of a rehearsal, written to a directory, with the chain split as other programs want it.
struct Written {
    dir: tempfile::TempDir,
}

impl Written {
    fn rehearsal(rule: CheckRule, ca: &TestCa) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rehearsal = Rehearsal::of(rule, ca).unwrap();
        rehearsal.write(dir.path()).unwrap();
        Self::split(dir)
    }

    fn good(ca: &TestCa) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issued = ca.issue("/web");
        std::fs::write(dir.path().join("tls.crt"), issued.chain_pem()).unwrap();
        std::fs::write(dir.path().join("tls.key"), issued.key_pem()).unwrap();
        std::fs::write(dir.path().join("ca.crt"), issued.bundle_pem()).unwrap();
        Self::split(dir)
    }

    fn split(dir: tempfile::TempDir) -> Self {
        let chain = std::fs::read(dir.path().join("tls.crt")).unwrap();
        let chain = String::from_utf8_lossy(&chain);
        let end = "-----END CERTIFICATE-----\n";
        let mut blocks = chain.split_inclusive(end);
        let leaf = blocks.next().unwrap_or_default();
        let rest: String = blocks.collect();
        std::fs::write(dir.path().join("leaf.pem"), leaf).unwrap();
        // openssl wants one certificate at least; the leaf's own is no issuer of anything.
        let rest = if rest.is_empty() { leaf } else { &rest };
        std::fs::write(dir.path().join("rest.pem"), rest).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// What `mtls check` says of `leaf.pem`, `leaf.key` and `ca.pem` of a directory.
#[derive(Debug)]
struct Judged {
    code: i32,
    rules: Vec<String>,
    /// The words for each.
    found: Vec<String>,
}

/// By the command, as somebody would ask it.
fn judged(dir: &Path, more: &[&str]) -> Judged {
    let files = [
        "--chain", "leaf.pem", "--key", "leaf.key", "--bundle", "ca.pem",
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["check", "--format", "json"])
        .args(files)
        .args(more)
        .current_dir(dir)
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = said["sets"][0]["findings"].as_array().unwrap();
    let all = |field: &str| {
        let texts = findings.iter().map(|found| found[field].as_str().unwrap());
        texts.map(ToOwned::to_owned).collect()
    };
    Judged {
        code: output.status.code().unwrap(),
        rules: all("rule"),
        found: all("found"),
    }
}

#[track_caller]
fn nothing_is_wrong(dir: &Path, more: &[&str]) {
    let judged = judged(dir, more);
    assert_eq!(judged.code, 0, "{judged:?}");
    assert_eq!(judged.rules, [""; 0], "{judged:?}");
}

/// It lacks one usage, which the finding names, and nothing else is wrong with it.
#[track_caller]
fn it_lacks(usage: &str, dir: &Path, more: &[&str]) {
    let judged = judged(dir, more);
    assert_eq!(judged.code, 1, "{judged:?}");
    assert_eq!(judged.rules, ["eku-missing-role"], "{judged:?}");
    let words = format!("without {usage}");
    assert!(judged.found[0].contains(&words), "{judged:?}");
}
