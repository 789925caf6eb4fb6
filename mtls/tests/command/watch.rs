//! `mtls watch`, and `mtls dev` that renews: both go on until somebody ends them.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mtls_core::testing::{Broken, LeafOptions, MountedDir, TestCa};
use serde_json::Value;

use crate::mtls;

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mtls"))
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn object(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_would_be_served_is_told_as_it_changes() {
    let ca = TestCa::new("example.org");
    let first = ca.issue("/web");
    let dir = MountedDir::new(&first);
    let path = dir.path().to_str().unwrap();
    // It ends by itself if something never comes.
    let arguments = ["watch", path, "--format", "json", "--for", "60"];
    let mut watch = Running::start(dir.path(), &arguments);
    let served = watch.object();
    assert_eq!(served["served"]["serial"], first.serial(), "{served}");
    assert_eq!(served["health"], "healthy", "{served}");

    let second = ca.issue("/web");
    dir.rotate(&second);
    let rotated = watch.object();
    assert_eq!(rotated["served"]["serial"], second.serial(), "{rotated}");

    Broken::KeyMismatch.write(&ca, &dir);
    let mut kept = watch.object();
    // That files do not fit may be told before it is told whose they are.
    while kept["error"].is_null() {
        kept = watch.object();
    }
    assert_eq!(kept["served"]["serial"], second.serial(), "{kept}");
    assert_eq!(kept["error"]["reason"], "key_mismatch", "{kept}");
    let keys: Vec<_> = kept.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys.join(" "),
        "at error generation health not_served served version"
    );

    dir.rotate(&ca.issue("/web"));
    while !watch.object()["error"].is_null() {}
}

#[test]
fn how_it_ends_is_how_the_directory_is() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let path = dir.path().to_str().unwrap().to_owned();
    let good = mtls(dir.path(), &["watch", &path, "--for", "0"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert!(
        good.out.contains("would be served\n  health: healthy"),
        "{good:?}"
    );
    Broken::IssuerUnknown.write(&ca, &dir);
    let bad = mtls(dir.path(), &["watch", &path, "--for", "0"]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.out.contains("nothing would be served"), "{bad:?}");
    assert!(
        bad.out.contains("see: mtls explain unknown_issuer"),
        "{bad:?}"
    );
}

/// Its error has the time in it, and that is no change.
#[test]
fn what_has_expired_is_told_once() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue_with(LeafOptions::service("/web").expired()));
    let path = dir.path().to_str().unwrap().to_owned();
    let arguments = ["watch", &path, "--format", "json", "--for", "3"];
    let bad = mtls(dir.path(), &arguments);
    assert_eq!(bad.out.lines().count(), 1, "{bad:?}");
    assert!(bad.out.contains(r#""reason":"expired""#), "{bad:?}");

    dir.rotate(&ca.issue("/web"));
    let mut watch = Running::start(dir.path(), &arguments);
    assert!(watch.object()["error"].is_null());
    Broken::LeafExpired.write(&ca, &dir);
    let told: Vec<_> = watch.lines.by_ref().map(Result::unwrap).collect();
    // Who it is that is not served may be told after what is wrong with it.
    assert!((1..=2).contains(&told.len()), "{told:#?}");
}

#[test]
fn a_directory_that_is_not_there_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["watch", "tls", "--format", "json", "--for", "60"];
    let mut watch = Running::start(dir.path(), &arguments);
    let nothing = watch.object();
    assert!(nothing["served"].is_null(), "{nothing}");
    let issued = TestCa::new("example.org").issue("/web");
    crate::lay_out(&dir.path().join("tls"), &issued);
    let mut now = watch.object();
    // Files that are written one by one may be met on the way.
    while now["served"].is_null() {
        now = watch.object();
    }
    assert_eq!(now["served"]["serial"], issued.serial(), "{now}");
}

#[test]
fn dev_renews_with_the_same_ca_for_whoever_watches() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = Running::start(
        dir.path(),
        &["dev", "example.org", "web", "--renew-every", "1s"],
    );
    assert!(dev.line().starts_with("created dev/web"));
    dev.line();
    let bundle = std::fs::read(dir.path().join("dev/web/ca.crt")).unwrap();
    let arguments = ["watch", "dev/web", "--format", "json", "--for", "60"];
    let mut watch = Running::start(dir.path(), &arguments);
    let first = watch.object();
    assert!(dev.line().starts_with("renewed dev/web"));
    let mut second = watch.object();
    while second["served"]["serial"] == first["served"]["serial"] {
        second = watch.object();
    }
    assert!(second["error"].is_null(), "{second}");
    assert_eq!(
        std::fs::read(dir.path().join("dev/web/ca.crt")).unwrap(),
        bundle
    );
}

#[test]
fn an_interval_without_a_unit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for interval in ["10", "0s", "s", "", "10y", "1ü", "99999999999999999999h"] {
        let said = mtls(
            dir.path(),
            &["dev", "example.org", "web", "--renew-every", interval],
        );
        assert_eq!(said.code, 2, "{interval}: {said:?}");
        assert!(!dir.path().join("dev").exists());
    }
}
