//! `mtls dev`: a development CA with mounted directories, and directories that are broken in one way each.

mod beyond;
mod mount;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use mtls_core::check::{CheckRule, Severity};
use mtls_core::testing::{CaOptions, LeafOptions, Rehearsal, TestCa};
use mtls_core::{SpiffeId, TrustDomain};

use crate::Failure;
use beyond::Beyond;

/// Without a subcommand: a development CA for a trust domain, and below `dev` a directory for each name, as a kubelet
/// mounts a Secret.
///
/// The CA's key is kept nowhere: to renew later, or to add a name, all of them are made anew; `--renew-every` renews while it runs. Nothing is installed, and
/// `mtls check` refuses these credentials unless it is told `--dev`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Sub>,
    /// The trust domain, such as `example.org`.
    #[arg(required = true)]
    domain: Option<String>,
    /// The names of the services; `web` gets the SPIFFE ID `spiffe://DOMAIN/web` and the DNS names `web` and `localhost`.
    #[arg(required = true)]
    names: Vec<String>,
    /// Where the directories are made.
    #[arg(long, value_name = "DIR", default_value = "dev")]
    out: PathBuf,
    /// For how many days.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Go on, and give each service a new certificate of the same CA this often, until interrupted: `10s`, `5m`, `1h`.
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    renew_every: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Fill a directory with what one rule of `mtls check` finds something wrong with: credentials, two sides, a policy, a
    /// manifest.
    Break {
        /// The rule, such as `expired`; `list` shows them all.
        rule: String,
        /// The directory. It is made if it is not there; what it holds of these names is replaced.
        dir: Option<PathBuf>,
        /// The trust domain of the credentials.
        #[arg(long, default_value = "example.org")]
        trust_domain: String,
    },
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    match &arguments.command {
        Some(Sub::Break {
            rule,
            dir,
            trust_domain,
        }) => {
            if rule == "list" {
                list(out)?;
            } else {
                let dir = dir
                    .as_deref()
                    .ok_or_else(|| Failure::new("name a directory"))?;
                broken(rule, dir, trust_domain, out)?;
            }
        }
        None => {
            let domain = arguments.domain.as_deref().unwrap_or_default();
            make(domain, &arguments.names, arguments, out)?;
        }
    }
    Ok(true)
}

fn list(out: &mut impl Write) -> Result<(), Failure> {
    for rule in CheckRule::ALL {
        let severity = rule.severity(mtls_core::check::Caller::Command);
        writeln!(out, "{severity:5} {rule:22} {}", rule.summary())?;
    }
    Ok(())
}

fn broken(rule: &str, dir: &Path, domain: &str, out: &mut impl Write) -> Result<(), Failure> {
    let domain: TrustDomain = trust_domain(domain)?;
    let rule: CheckRule = rule.parse().map_err(|error| {
        Failure::new(format!(
            "`{rule}`: {error}; `mtls dev break list` shows them"
        ))
    })?;
    let rehearsal = Rehearsal::of(rule, &TestCa::new(domain.as_str()));
    let beyond = Beyond::of(rule, &domain);
    std::fs::create_dir_all(dir)?;
    let of_a_set = ["tls.crt", "tls.key", "ca.crt", "ca.crl", "bundle-map.json"];
    for name in of_a_set.into_iter().chain(beyond::NAMES) {
        // What was broken before goes first, be it a directory in a file's place.
        let path = dir.join(name);
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_dir(&path);
    }
    let look = match (&rehearsal, &beyond) {
        (Some(rehearsal), _) => {
            rehearsal.write(dir)?;
            look(rehearsal, dir, &domain)
        }
        (None, Some(beyond)) => {
            beyond.write(dir)?;
            format!("mtls check {}", beyond.look(dir))
        }
        (None, None) => return Err(Failure::new(format!("`{rule}` cannot be rehearsed"))),
    };
    let severity: Severity = rule.severity(mtls_core::check::Caller::Command);
    writeln!(
        out,
        "{}: {severity} {rule}. {}",
        dir.display(),
        rule.summary()
    )?;
    writeln!(out, "see: {look}")?;
    Ok(())
}

fn look(rehearsal: &Rehearsal, dir: &Path, domain: &TrustDomain) -> String {
    let rule = rehearsal.rule();
    let mut look = format!("mtls check {}", dir.display());
    if rule != CheckRule::DevCa {
        look.push_str(" --dev");
    }
    for (of, more) in [
        (
            CheckRule::SanServerName,
            " --server-name orders.example.org",
        ),
        (CheckRule::KeyInterop, " --peers java"),
    ] {
        if rule == of {
            look.push_str(more);
        }
    }
    if rule == CheckRule::SpiffeTrustDomain {
        look.push_str(&format!(" --trust-domain {domain}"));
    }
    for (option, beside) in [("--crl", "ca.crl"), ("--bundle-map", "bundle-map.json")] {
        if rehearsal.files().any(|(name, _)| name == beside) {
            look.push_str(&format!(" {option} {}", dir.join(beside).display()));
        }
    }
    look
}

fn make<W: Write>(
    domain: &str,
    names: &[String],
    arguments: &Arguments,
    out: &mut W,
) -> Result<(), Failure> {
    let domain = trust_domain(domain)?;
    let life = Duration::from_secs(u64::from(arguments.days) * 24 * 60 * 60);
    let ca = CaOptions::new()
        .common_name(format!("mtls development CA of {domain}"))
        .expires_in(life);
    let ca = TestCa::with_options(domain.as_str(), ca);
    let issue = |out: &mut W, word: &str| -> Result<(), Failure> {
        for name in names {
            one(&ca, &domain, name, life, arguments, word, out)?;
        }
        Ok(())
    };
    issue(out, "created")?;
    writeln!(
        out,
        "the CA's key is kept nowhere; `mtls check` refuses these credentials without `--dev`"
    )?;
    while let Some(every) = arguments.renew_every {
        out.flush()?;
        std::thread::sleep(every);
        issue(out, "renewed")?;
    }
    Ok(())
}

fn one(
    ca: &TestCa,
    domain: &TrustDomain,
    name: &str,
    life: Duration,
    arguments: &Arguments,
    word: &str,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let id: SpiffeId = format!("spiffe://{domain}/{name}")
        .parse()
        .map_err(|error| Failure::new(format!("`{name}` makes no SPIFFE ID: {error}")))?;
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.len() > MAX_LABEL || !name.chars().all(is_label) {
        return Err(Failure::new(format!("`{name}` is no DNS label")));
    }
    let leaf = LeafOptions::service(id.path()).dns(name).expires_in(life);
    let issued = ca.issue_with(leaf);
    let dir = arguments.out.join(name);
    mount::write(
        &dir,
        &[
            ("tls.crt", issued.chain_pem().as_bytes()),
            ("tls.key", issued.key_pem().as_bytes()),
            ("ca.crt", issued.bundle_pem().as_bytes()),
        ],
    )?;
    writeln!(
        out,
        "{word} {} {{tls.crt,tls.key,ca.crt}}  {id}  DNS {name}, localhost, 127.0.0.1, ::1  {} d",
        dir.display(),
        arguments.days
    )?;
    Ok(())
}

/// A number and a unit.
fn interval(text: &str) -> Result<Duration, String> {
    let expected =
        || format!("`{text}`: expected a number and a unit, such as `10s`, `5m` or `1h`");
    let unit = text.chars().last().ok_or_else(expected)?;
    let number: u64 = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok())
        .filter(|number| *number > 0)
        .ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(expected)
}

fn trust_domain(text: &str) -> Result<TrustDomain, Failure> {
    text.parse()
        .map_err(|error| Failure::new(format!("`{text}` is no trust domain: {error}")))
}

/// RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;
