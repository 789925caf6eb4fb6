//! `mtls probe` against servers of others, and against ports that are none.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod faults;
#[cfg(unix)]
mod foreign;
mod ports;
mod server;
mod shape;
mod tls;
mod told;

use std::path::{Path, PathBuf};
use std::process::Command;

use mtls_core::testing::{Issued, TestCa};
use serde_json::Value;
use tempfile::TempDir;

/// Two services of one CA, and one of another, as directories.
struct World {
    dir: TempDir,
    ca: TestCa,
}

impl World {
    fn new() -> Self {
        let (dir, ca) = (TempDir::new().unwrap(), TestCa::new("example.org"));
        let stranger = TestCa::new("example.org");
        lay_out(&dir.path().join("server"), &ca.issue("/server"));
        lay_out(&dir.path().join("web"), &ca.issue("/web"));
        // It trusts the server, and is trusted by nobody.
        let foreign = dir.path().join("stranger");
        lay_out(&foreign, &stranger.issue("/web"));
        let both = ca.bundle_pem() + &stranger.bundle_pem();
        std::fs::write(foreign.join("ca.crt"), both).unwrap();
        Self { dir, ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

fn lay_out(dir: &Path, issued: &Issued) {
    std::fs::create_dir_all(dir).unwrap();
    for (name, text) in [
        ("tls.crt", issued.chain_pem()),
        ("tls.key", issued.key_pem().to_owned()),
        ("ca.crt", issued.bundle_pem().to_owned()),
        ("both.pem", issued.chain_pem() + issued.key_pem()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// What a probe of this port of localhost says, and how it ends.
fn probe(port: u16, arguments: &[&str]) -> (i32, Value) {
    let target = format!("localhost:{port}");
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["probe", &target, "--format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), value)
}

#[track_caller]
fn assert_verdict((code, report): &(i32, Value), word: &str) {
    assert_eq!(report["verdict"]["word"], word, "{report:#}");
    let good = matches!(word, "accepted" | "looked");
    assert_eq!(*code, i32::from(!good), "{report:#}");
}
