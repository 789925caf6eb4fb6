//! `mtls check` and `mtls dev` as somebody at a terminal, and a pipeline, meet them.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod arguments;
#[allow(dead_code, reason = "not all of it is of use here")]
#[path = "../symptoms/door.rs"]
mod door;
mod explain;
mod federation;
mod formats;
mod guides;
mod inspect;
mod manifests;
#[cfg(unix)]
mod permissions;
mod policy;
mod projected;
mod readme;
mod rehearsals;
#[allow(dead_code, reason = "not all of it is of use here")]
#[path = "../tools/mod.rs"]
mod tools;
mod watch;
mod who;
mod workloads;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use mtls_core::testing::Issued;

/// What the command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn mtls<A: AsRef<OsStr>>(dir: &Path, arguments: &[A]) -> Said {
    mtls_with(dir, arguments, b"")
}

fn mtls_with<A: AsRef<OsStr>>(dir: &Path, arguments: &[A], stdin: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory with a TLS Secret's names.
fn lay_out(dir: &Path, issued: &Issued) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("tls.crt"), issued.chain_pem()).unwrap();
    std::fs::write(dir.join("ca.crt"), issued.bundle_pem()).unwrap();
    write_key(&dir.join("tls.key"), issued.key_pem());
}

fn write_key(path: &Path, key: &str) {
    std::fs::write(path, key).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}
