//! Tests that need limits, mounts or a user of their own: each is run once more, in a process and namespaces of its own,
//! so that neither privileges are needed nor anybody beside it is disturbed.

use std::future::Future;
use std::io::Write;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use tokio::time::timeout;

/// As whom a test is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// Root of a namespace, who may mount and has limits to set that hold there alone.
    Root,
    /// Somebody for whom the modes of files hold.
    Nobody,
}

impl As {
    fn unshare(self) -> Command {
        let mut command = Command::new("unshare");
        match self {
            Self::Root => command.args(["--user", "--map-root-user", "--mount"]),
            Self::Nobody => command.args(["--user", "--map-user=1000"]),
        };
        command
    }

    /// Not everywhere may everybody make namespaces, nor do much in them.
    fn is_possible(self) -> bool {
        let probe = match self {
            Self::Root => {
                "mount -t tmpfs none /tmp && echo 100 > /proc/sys/user/max_inotify_watches"
            }
            Self::Nobody => "true",
        };
        let probe = self.unshare().args(["sh", "-c", probe]).output();
        probe.is_ok_and(|probe| probe.status.success())
    }
}

/// Runs the test of this name, which has this body, as somebody else.
pub(crate) fn alone(name: &str, who: As, body: impl Future<Output = ()>) {
    const INSIDE: &str = "MTLS_TEST_ALONE";
    if env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ended = runtime.block_on(async { timeout(Duration::from_secs(60), body).await });
        return ended.expect("an end in time");
    }
    if !who.is_possible() {
        let said = format!("left out: {name}: no namespaces for {who:?} on this machine\n");
        // Not `eprintln!`: the harness keeps that to itself when a test passes.
        return std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    let outcome = who
        .unshare()
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&outcome.stdout);
    assert!(
        outcome.status.success() && shown.contains("1 passed"),
        "{shown}{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
}

/// Says how much of something processes of this namespace may have.
pub(crate) fn limit(what: &str, most: u32) {
    fs::write(format!("/proc/sys/user/{what}"), most.to_string()).unwrap();
}

/// Runs a command that has to succeed.
pub(crate) fn run(program: &str, args: &[&std::ffi::OsStr]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}
