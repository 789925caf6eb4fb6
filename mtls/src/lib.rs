//! The `mtls` command: `mtls check` finds what is wrong with certificates, keys, bundles and policies before they are
//! deployed; `mtls dev` makes them for development and for rehearsals; `mtls explain` says what an error means.
//!
//! ```console
//! $ mtls check deploy/tls --role server --server-name orders.example.org
//! $ mtls check deploy/*.yaml --at +30d --format github
//! $ mtls check deploy/web --against deploy/api
//! $ mtls dev example.org web api
//! $ mtls dev break expired /tmp/broken
//! $ mtls inspect deploy/tls
//! $ mtls policy test deploy/cases.toml
//! $ mtls probe orders.example.org:8443 --dir deploy/web --no-cert --stranger
//! $ mtls watch /var/run/secrets/tls
//! $ mtls explain 'received fatal alert: UnknownCA'
//! ```
//!
//! It exits with 0 if all is well, 1 if something was found, at or above `--fail-on` where there is one, and 2 if it could not
//! run. What `check` looks for is in `docs/check-rules.md`; the rules are `mtls_core::check`, which a service can ask too. What
//! `explain` knows is in `docs/runbook.md` and `docs/symptoms.md`. No command prints a byte of a key, whatever the format.
//!
//! # Manuals
//!
//! [`manual`] has the guides of the whole family: certificates in [Kubernetes](manual::kubernetes), [migration](manual::migration)
//! from plaintext, from a sidecar or from other TLS code, checks in a [pipeline](manual::ci), a [workshop](manual::workshop).
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider aws-lc-rs |
//! | `dev` | yes | `mtls dev` and `mtls policy` |
//! | `fips` | no | the FIPS 140-3 module of aws-lc-rs |
//! | `ring` | no | the crypto provider ring, used when aws-lc-rs is off |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
mod cli;
#[cfg(feature = "dev")]
mod dev;
mod explain;
mod inspect;
// Not for doctests: their code needs the other crates, and is compiled by the examples.
#[cfg(all(doc, not(doctest)))]
pub mod manual;
#[cfg(feature = "dev")]
mod policy;
mod probe;
mod provider;
mod report;
mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use provider::provider;

/// Runs the command with these arguments, the program's name first, and returns what it exits with.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * COULD_NOT_RUN);
        }
    };
    let stdout = io::stdout();
    let colours =
        stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let out = &mut stdout.lock();
    let result = match cli.command {
        Command::Check(arguments) => check::run(&arguments, colours, out),
        #[cfg(feature = "dev")]
        Command::Dev(arguments) => dev::run(&arguments, out),
        Command::Explain(arguments) => explain::run(&arguments, out),
        Command::Inspect(arguments) => inspect::run(&arguments, out),
        #[cfg(feature = "dev")]
        Command::Policy(arguments) => policy::run(&arguments, out),
        Command::Probe(arguments) => probe::run(&arguments, out),
        Command::Watch(arguments) => watch::run(&arguments, out),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FOUND),
        Err(failure) => {
            let _ = writeln!(io::stderr(), "mtls: {failure}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Why the command could not run.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

const FOUND: u8 = 1;
const COULD_NOT_RUN: u8 = 2;
