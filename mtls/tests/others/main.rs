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
mod tools;

use std::path::Path;

use mtls_core::check::{CheckRule, CheckSet, Report, check};
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

fn rules(report: &Report) -> Vec<CheckRule> {
    let mut rules: Vec<_> = report.findings().iter().map(|found| found.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// What the check finds in `leaf.pem`, `leaf.key` and `ca.pem` of a directory.
fn checked(dir: &Path) -> Report {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let set = CheckSet::of_credentials(
        ("leaf.pem", &read("leaf.pem")),
        ("leaf.key", &read("leaf.key")),
    );
    let set = set.with_bundle("ca.pem", &read("ca.pem"));
    let options = mtls_core::check::CheckOptions::new(mtls_core::Timestamp::now());
    check(&set, &options).unwrap()
}
