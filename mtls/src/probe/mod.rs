//! `mtls probe`: what a server that is up makes of us, asked from outside. It dials once to look, once with our credentials, and
//! once more as a stranger if told to; nothing is tried twice.

mod dial;
mod look;
mod ours;
mod shown;
mod verdict;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mtls_core::Timestamp;
use mtls_core::rustls::pki_types::ServerName;

use crate::Failure;
use look::{Look, Presents, Target};
use ours::{Ours, Outcome};
use verdict::Verdict;

/// Exits with 0 if the server takes us and refuses whom it should, 1 if not, 2 if it could not be asked.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server, as `HOST:PORT`.
    #[arg(value_name = "HOST:PORT")]
    target: String,
    /// The directory of our credentials and our trust bundle. Without it the server is looked at, and judged by nobody.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The SPIFFE ID that the server has to have, or a pattern. Default: it has to have the name that is dialled.
    #[arg(long = "as", value_name = "SPIFFE-ID", requires = "dir")]
    expected: Option<String>,
    /// The name to ask for and to verify, where it is not the host.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// A client without a certificate has to be refused.
    #[arg(long)]
    no_cert: bool,
    /// A client with a certificate of a CA that nobody knows has to be refused.
    #[cfg(feature = "dev")]
    #[arg(long)]
    stranger: bool,
    /// Ask for this path too, by HTTP/1.1: some servers, such as nginx, refuse in HTTP and not in TLS.
    #[arg(long, value_name = "PATH")]
    http: Option<String>,
    /// How long to wait for the server, in seconds, at each step.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON object; its shape is stable.
    Json,
}

/// All that was found.
struct Report {
    target: String,
    reached: Result<dial::Reached, String>,
    look: Look,
    ours: Option<Outcome>,
    /// The issuers in our own chain, in DER.
    issuers: Vec<Vec<u8>>,
    stranger: Option<Look>,
    verdict: Verdict,
    by_hand: String,
    now: Timestamp,
}

/// Whether the verdict is a good one.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let host = host(&arguments.target)?;
    let named = arguments.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(named.to_owned())
        .map_err(|error| Failure::new(format!("`{named}`: {error}")))?;
    if arguments.http.as_deref().is_some_and(|path| !is_path(path)) {
        return Err(Failure::new("--http takes a path, such as `/health`"));
    }
    let http = arguments.http.as_deref();
    // Before anybody is dialled: files that cannot be loaded are no verdict on the server.
    let ours = match &arguments.dir {
        Some(dir) => Some(Ours::load(
            dir,
            arguments.expected.as_deref(),
            http.is_some(),
        )?),
        None => None,
    };
    let limit = Duration::from_secs(arguments.timeout);
    let mut report = Report {
        target: arguments.target.clone(),
        reached: dial::reach(&arguments.target, limit).map_err(|error| error.to_string()),
        look: Look::default(),
        ours: None,
        issuers: Vec::new(),
        stranger: None,
        verdict: Verdict::unreachable(),
        by_hand: by_hand(arguments, named),
        now: Timestamp::now(),
    };
    if let Ok(reached) = &report.reached {
        let target = Target {
            address: reached.address,
            name: &name,
            host: named,
            http,
            limit,
        };
        report.look = look::look(&target, Presents::Nothing)?;
        if report.look.speaks_tls() {
            if let Some(ours) = &ours {
                report.issuers = verdict::issuers(&ours.chain());
                report.ours = Some(ours.dial(&target));
            }
            #[cfg(feature = "dev")]
            if arguments.stranger {
                report.stranger = Some(look::look(&target, Presents::Stranger)?);
            }
        }
        report.verdict = verdict::of(
            &report.look,
            report.ours.as_ref(),
            arguments.no_cert,
            report.stranger.as_ref(),
        );
    }
    match arguments.format {
        Format::Human => shown::human(&report, out)?,
        Format::Json => shown::as_json(&report, out)?,
    }
    Ok(report.verdict.is_good())
}

/// Without its port, and an address without its brackets.
fn host(target: &str) -> Result<&str, Failure> {
    let split = target.rsplit_once(':');
    let port_is_one = |port: &str| port.parse::<u16>().is_ok();
    match split {
        Some((host, port)) if !host.is_empty() && port_is_one(port) => {
            Ok(host.trim_start_matches('[').trim_end_matches(']'))
        }
        Some(_) | None => Err(Failure::new(format!("`{target}` is not HOST:PORT"))),
    }
}

/// A target of a request, and no more than one line of it.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The same, for whoever has to be shown it.
fn by_hand(arguments: &Arguments, name: &str) -> String {
    let mut line = format!(
        "openssl s_client -connect {} -servername {name}",
        arguments.target
    );
    if let Some(dir) = &arguments.dir
        && let Ok(files) = mtls_core::CredentialFiles::detect(dir)
    {
        line.push_str(&format!(
            " -CAfile {} -cert {} -cert_chain {} -key {}",
            files.bundle_path().display(),
            files.chain_path().display(),
            files.chain_path().display(),
            files.key_path().display()
        ));
    }
    line
}
