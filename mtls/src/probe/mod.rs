//! `mtls probe`: what a server that is up makes of us, asked from outside. It dials once to look, once with our credentials, twice
//! more as a stranger if told to, and to each further address if told to; nothing is tried again.

mod by_hand;
mod dial;
mod drift;
mod faults;
mod human;
mod json;
mod look;
mod ours;
mod request;
#[cfg(feature = "dev")]
mod stranger;
mod verdict;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mtls_core::Timestamp;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName};

use crate::Failure;
use dial::Reached;
use drift::{Clock, Disk, Drift};
use faults::Faults;
use look::{Answer, Look, Target};
use ours::{Ours, Outcome};
use request::Fit;
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
    /// A client has to be refused whose certificate is of a CA that nobody knows, and one that is so under the name of a CA that
    /// the server asks for.
    #[cfg(feature = "dev")]
    #[arg(long)]
    stranger: bool,
    /// Ask for this path too, by HTTP/1.1: some servers, such as nginx, refuse in HTTP and not in TLS.
    #[arg(long, value_name = "PATH")]
    http: Option<String>,
    /// The server's own directory: what it serves has to be what is there. Its key is not read.
    #[arg(long, value_name = "DIR")]
    served: Option<PathBuf>,
    /// Every address that the name has, up to four, has to serve the same certificate.
    #[arg(long)]
    every_address: bool,
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
    reached: Result<Reached, String>,
    look: Look,
    ours: Option<Outcome>,
    /// What is wrong with the server's chain; `None` without a bundle to judge it by.
    faults: Option<Faults>,
    fit: Option<Fit>,
    stranger: Option<Look>,
    namesake: Option<Namesake>,
    drift: Drift,
    verdict: Verdict,
    by_hand: String,
    now: Timestamp,
}

/// What became of a client of another CA of this name, which is in DER.
struct Namesake {
    look: Look,
    issuer: Vec<u8>,
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
    let expected = arguments.expected.as_deref();
    let ours = arguments.dir.as_deref();
    let ours = ours.map(|dir| Ours::load(dir, expected, http.is_some()));
    let ours = ours.transpose()?;
    let on_disk = arguments.served.as_deref().map(Disk::read).transpose()?;
    let limit = Duration::from_secs(arguments.timeout);
    let mut report = Report {
        target: arguments.target.clone(),
        reached: dial::reach(&arguments.target, limit).map_err(|error| error.to_string()),
        look: Look::default(),
        ours: None,
        faults: None,
        fit: None,
        stranger: None,
        namesake: None,
        drift: Drift::default(),
        verdict: Verdict::unreachable(),
        by_hand: by_hand::line(arguments, &name),
        now: Timestamp::now(),
    };
    if let Ok(reached) = &mut report.reached {
        let target = Target {
            address: reached.address,
            name: &name,
            host: named,
            http,
            limit,
        };
        let (tcp, all) = (reached.tcp.take(), reached.all.clone());
        report.look = look::look(&target, tcp, None)?;
        if report.look.speaks_tls() {
            report.as_us(&target, ours.as_ref())?;
            #[cfg(feature = "dev")]
            if arguments.stranger {
                report.as_strangers(&target, ours.as_ref())?;
            }
            let all = arguments.every_address.then_some(all);
            report.compare(&target, on_disk.as_deref(), &all.unwrap_or_default())?;
        }
        report.verdict = verdict::of(&report, arguments.no_cert);
    }
    match arguments.format {
        Format::Human => human::print(&report, out)?,
        Format::Json => json::print(&report, out)?,
    }
    Ok(report.verdict.is_good())
}

impl Report {
    fn as_us(&mut self, target: &Target<'_>, ours: Option<&Ours>) -> Result<(), Failure> {
        let Some(ours) = ours else {
            return Ok(());
        };
        let look = &self.look;
        let request = look.request.as_ref();
        self.fit = request.and_then(|request| Fit::of(request, &ours.chain(), look.version));
        if !look.chain.is_empty() {
            let faults = Faults::of(&look.chain, ours, target.name, self.now)?;
            self.faults = Some(faults);
        }
        self.ours = Some(ours.dial(target));
        Ok(())
    }

    #[cfg(feature = "dev")]
    fn as_strangers(&mut self, target: &Target<'_>, ours: Option<&Ours>) -> Result<(), Failure> {
        let nobody = stranger::of_nobody(ours)?;
        self.stranger = Some(look::look(target, None, Some(nobody))?);
        if let Some(issuer) = stranger::known_ca(self.look.request.as_ref(), ours) {
            let namesake = stranger::in_the_name_of(&issuer, ours)?;
            let look = look::look(target, None, Some(namesake))?;
            self.namesake = Some(Namesake { look, issuer });
        }
        Ok(())
    }

    fn compare(
        &mut self,
        target: &Target<'_>,
        on_disk: Option<&[CertificateDer<'static>]>,
        all: &[SocketAddr],
    ) -> Result<(), Failure> {
        self.drift.clock = self.answer().and_then(Clock::of);
        if let Some(served) = self.look.chain.first() {
            self.drift.disk = on_disk.map(|on_disk| Disk::of(served, on_disk));
            self.drift.ask(target, all, served)?;
        }
        Ok(())
    }

    /// To us, or to whoever looked if we have not asked.
    fn answer(&self) -> Option<&Answer> {
        match &self.ours {
            Some(Outcome::Accepted { answer, .. }) => answer.as_ref(),
            Some(Outcome::Failed(_) | Outcome::TimedOut | Outcome::Unconfirmed { .. }) => None,
            None => self.look.answer.as_ref(),
        }
    }

    fn resumes(&self) -> Option<bool> {
        match &self.ours {
            Some(Outcome::Accepted { resumes, .. }) => resumes.or(self.look.resumes),
            Some(Outcome::Failed(_) | Outcome::TimedOut | Outcome::Unconfirmed { .. }) | None => {
                self.look.resumes
            }
        }
    }
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
