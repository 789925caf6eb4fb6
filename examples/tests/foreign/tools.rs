//! The tools of others: whether they are here, and what they say.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Whether a test has to be left out because a tool is not here, which is said.
///
/// Tests assert on what the tools print, so another implementation under the same name (LibreSSL, a curl with another
/// TLS) counts as absent.
pub(crate) fn absent(tools: &[Tool]) -> bool {
    let Some(tool) = tools.iter().find(|tool| !tool.is_here()) else {
        used(tools);
        return false;
    };
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let said = format!("left out: {test}: no {tool:?} on this machine\n");
    assert!(
        std::env::var_os("MTLS_REQUIRE_FOREIGN").is_none_or(|required| required != "1"),
        "{said}"
    );
    // Not `eprintln!`: the harness keeps that to itself when a test passes.
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    true
}

/// Notes which tools a test uses in the file that `MTLS_FOREIGN_RAN` names, a line each, for whoever counts them.
fn used(tools: &[Tool]) {
    let Some(file) = std::env::var_os("MTLS_FOREIGN_RAN") else {
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "a file that CI counts")]
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file);
    // In one write, since tests append to it side by side.
    let lines: String = tools.iter().map(|tool| format!("{tool:?}\n")).collect();
    file.unwrap().write_all(lines.as_bytes()).unwrap();
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool {
    CurlWithOpenssl3AndHttp2,
    GnuTls,
    Go,
    Haproxy,
    Nginx,
    Openssl3,
    #[allow(dead_code, reason = "of the consumers' tests")]
    Postgresql,
    Python3WithOpenssl3,
}

impl Tool {
    fn is_here(self) -> bool {
        let (program, argument, wanted): (_, _, &[&str]) = match self {
            Self::CurlWithOpenssl3AndHttp2 => ("curl", "--version", &["OpenSSL/3", "HTTP2"]),
            Self::Go => ("go", "version", &["go version go1."]),
            Self::GnuTls => ("gnutls-cli", "--version", &["gnutls-cli 3."]),
            Self::Haproxy => ("haproxy", "-vv", &["HAProxy version", "OpenSSL 3"]),
            Self::Nginx => ("nginx", "-V", &["nginx/1.", "OpenSSL 3"]),
            Self::Openssl3 => ("openssl", "version", &["OpenSSL 3"]),
            Self::Postgresql => return postgresql().is_some(),
            Self::Python3WithOpenssl3 => (
                "python3",
                "-Icimport ssl; print(ssl.OPENSSL_VERSION)",
                &["OpenSSL 3"],
            ),
        };
        let version = std::process::Command::new(program).arg(argument).output();
        version.is_ok_and(|version| {
            // nginx tells it on stderr.
            let text = [version.stdout, version.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            wanted.iter().all(|wanted| text.contains(wanted))
        })
    }
}

/// Where PostgreSQL's server is: Debian keeps it off the path.
pub(crate) fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut programs = versions.map(|version| version.unwrap().path().join("bin"));
    programs.find(|bin| bin.join("postgres").exists())
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The one line of standard output or error that holds `text`.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) -> &str {
        let mut lines = self.stdout.lines().chain(self.stderr.lines());
        lines
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("no `{text}` in {self:#?}"))
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }
}

/// Runs a command to its end, with `stdin` and in `dir`.
pub(crate) async fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    dir: &Path,
    stdin: &str,
) -> Said {
    converse(program, arguments, dir, stdin, AtEnd::Close).await
}

/// What becomes of a command's standard input when all of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEnd {
    Close,
    /// It stays open until the command ends, for one that would hang up on the server at once.
    Hold,
}

pub(crate) async fn converse<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    dir: &Path,
    stdin: &str,
    at_end: AtEnd,
) -> Said {
    use tokio::io::AsyncWriteExt;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A tool that ends without reading it has said why.
    let _ = input.write_all(stdin.as_bytes()).await;
    let held = (at_end == AtEnd::Hold).then_some(input);
    let output = timeout(LIMIT, child.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("`{program}` has not ended"))
        .unwrap();
    drop(held);
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `openssl` in `dir` with arguments that are separated by spaces; it has to succeed.
#[track_caller]
pub(crate) fn openssl(dir: &Path, arguments: &str) -> impl Future<Output = Said> {
    let caller = std::panic::Location::caller();
    async move {
        let said = run("openssl", arguments.split_whitespace(), dir, "").await;
        assert!(
            said.code == Some(0),
            "{caller}: openssl {arguments}: {said:#?}"
        );
        said
    }
}

/// Nothing here takes a second; a loaded machine does.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
