//! The tools of others: whether they are here, and what they say.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Whether a test has to be left out because a tool is not here, which is said; where CI requires them, it fails.
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
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file);
    // In one write, since tests append to it side by side.
    let lines: String = tools.iter().map(|tool| format!("{tool:?}\n")).collect();
    file.unwrap().write_all(lines.as_bytes()).unwrap();
}

#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "no test needs all of them")]
pub(crate) enum Tool {
    Certtool,
    CurlWithOpenssl3,
    Go,
    Openssl3,
    Python3WithOpenssl3,
}

impl Tool {
    fn is_here(self) -> bool {
        let (program, argument, wanted) = match self {
            Self::Certtool => ("certtool", "--version", "certtool 3."),
            Self::CurlWithOpenssl3 => ("curl", "--version", "OpenSSL/3"),
            Self::Go => ("go", "version", "go version go1."),
            Self::Openssl3 => ("openssl", "version", "OpenSSL 3"),
            Self::Python3WithOpenssl3 => (
                "python3",
                "-Icimport ssl; print(ssl.OPENSSL_VERSION)",
                "OpenSSL 3",
            ),
        };
        let version = Command::new(program).arg(argument).output();
        version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains(wanted))
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) text: String,
}

pub(crate) fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[A],
    dir: &Path,
) -> Said {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        success: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Runs a command with arguments that are separated by spaces; it has to succeed.
#[track_caller]
pub(crate) fn must(program: &str, arguments: &str, dir: &Path) -> String {
    let split: Vec<_> = arguments.split_whitespace().collect();
    let said = run(program, &split, dir);
    assert!(said.success, "{program} {arguments}: {said:?}");
    said.text
}
