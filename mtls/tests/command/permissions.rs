//! Files that belong to somebody else.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use mtls_core::testing::TestCa;

use crate::lay_out;

const STRANGER: u32 = 65_534;

/// As somebody who is nobody here. The program is a copy: the original may lie where only its owner gets.
fn check_as_a_stranger(dir: &Path) -> String {
    let output = Command::new(dir.join("mtls"))
        .args(["check", "tls", "--dev"])
        .current_dir(dir)
        .uid(STRANGER)
        .gid(STRANGER)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_file_that_may_not_be_read_is_told_with_its_mode_its_owner_and_our_user() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(dir.path(), 0o755);
    fs::copy(env!("CARGO_BIN_EXE_mtls"), dir.path().join("mtls")).unwrap();
    let tls = dir.path().join("tls");
    lay_out(&tls, &TestCa::new("example.org").issue("/web"));
    let key = tls.join("tls.key");
    if std::os::unix::fs::chown(&key, Some(0), Some(2000)).is_err() {
        // Not `eprintln!`: the harness keeps that to itself when a test passes.
        let _ = std::io::stderr().write_all(b"left out: a stranger's view: we are not root\n");
        return;
    }
    // Nobody may read what belongs to another: root alone ignores it, and a stranger is not root.
    open(&key, 0o440);
    let told = check_as_a_stranger(dir.path());
    let expected = "`tls/tls.key` has mode 0440 and belongs to 0:2000; this process is user 65534 in groups 65534";
    assert!(told.contains("file-unreadable"), "{told}");
    assert!(told.contains(expected), "{told}");
    // A directory that may not be entered is told instead of what is in it.
    open(&key, 0o444);
    open(&tls, 0o700);
    let told = check_as_a_stranger(dir.path());
    assert!(
        told.contains("`tls` has mode 0700 and belongs to 0:0; this process is user 65534"),
        "{told}"
    );
    // The control: open to all, there is nothing of the kind.
    open(&tls, 0o755);
    let told = check_as_a_stranger(dir.path());
    assert!(!told.contains("file-unreadable"), "{told}");
}
