//! `mtls watch`: a directory as a service would see it. The source is a service's own, and nothing is served.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mtls_core::{
    Chained, CredentialFiles, CredentialSource, Health, LeafSummary, LoadError, Status, Timestamp,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::Failure;

/// Prints what would be served and what would not, at first and whenever it changes, until it is interrupted. With `--for` it
/// exits with 0 if all is well at the end, else with 1.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory of credentials and trust bundle.
    dir: PathBuf,
    /// A file or directory of revocation lists. May be given several times.
    #[arg(long, value_name = "PATH")]
    crl: Vec<PathBuf>,
    /// For how many seconds. Default: until it is interrupted.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A paragraph for each change, for people.
    Human,
    /// One JSON object a line; its shape is stable.
    Json,
}

/// Whether what was on disk last would be served, and is good.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(arguments, out))
}

async fn watch(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let end = arguments
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut last = String::new();
    let source = loop {
        match load(arguments).await {
            Ok(source) => break source,
            Err(error) => {
                let text = at_any_time(&error);
                if text != last {
                    refused(&error, arguments.format, out)?;
                    last = text;
                }
                if !wait(end).await {
                    return Ok(false);
                }
            }
        }
    };
    let mut last = String::new();
    loop {
        let status = source.status();
        let now = what_changes(&status);
        if now != last {
            served(&status, arguments.format, out)?;
            last = now;
        }
        if !wait(end).await {
            return Ok(status.health == Health::Healthy);
        }
    }
}

async fn load(arguments: &Arguments) -> Result<CredentialSource, LoadError> {
    let files = CredentialFiles::detect(&arguments.dir)?;
    let lists = arguments.crl.iter();
    let files = lists.fold(files, CredentialFiles::revocation_lists);
    CredentialSource::builder()
        .poll_interval(POLL)
        .watch(files)
        .await
}

/// Whether there is more to see.
async fn wait(end: Option<Instant>) -> bool {
    match end {
        Some(end) => timeout_at(end, sleep(LOOK)).await.is_ok(),
        None => {
            sleep(LOOK).await;
            true
        }
    }
}

/// All of a status but the time of its last look, and how often a fault was met.
fn what_changes(status: &Status) -> String {
    let error = status.last_error.as_ref();
    let error = error.map(|failure| at_any_time(&failure.error));
    let not_served = status.not_served.as_ref();
    let not_served = not_served.map(|found| (&found.leaf, found.since, found.faults.len()));
    format!(
        "{:?}",
        (
            status.generation,
            status.health,
            error,
            not_served,
            status.late_renewal.is_some(),
            status.revocation_lists.len(),
            status.own_revoked.is_some(),
        )
    )
}

/// What an error prints, without the time that it was judged at: what has expired would otherwise be another fault every second.
fn at_any_time(error: &LoadError) -> String {
    let text = Chained(error).to_string();
    let mut parts = text.split(JUDGED_AT);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit() || "-:TZ".contains(c)));
    }
    kept
}

fn refused(error: &LoadError, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    let now = Timestamp::now();
    match format {
        Format::Human => writeln!(
            out,
            "{now} nothing would be served\n  failing: {}; remedy: {}\n  see: mtls explain {}\n",
            Chained(error),
            error.remedy(),
            error.reason()
        )?,
        Format::Json => line(
            &json!({
                "version": 1,
                "at": now.to_string(),
                "health": null,
                "generation": null,
                "served": null,
                "not_served": null,
                "error": fault(error),
            }),
            out,
        )?,
    }
    Ok(out.flush()?)
}

fn served(status: &Status, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    let now = Timestamp::now();
    match format {
        Format::Human => {
            writeln!(out, "{now} would be served")?;
            for line in status.to_string().lines() {
                writeln!(out, "  {line}")?;
            }
            if let Some(failure) = &status.last_error {
                writeln!(out, "  see: mtls explain {}", failure.reason())?;
            }
            writeln!(out)?;
        }
        Format::Json => {
            let not_served = status.not_served.as_ref();
            let not_served = not_served.and_then(|found| found.leaf.as_ref()).map(leaf);
            let error = status.last_error.as_ref();
            line(
                &json!({
                    "version": 1,
                    "at": now.to_string(),
                    "health": status.health.to_string(),
                    "generation": status.generation,
                    "served": leaf(&status.leaf),
                    "not_served": not_served,
                    "error": error.map(|failure| fault(&failure.error)),
                }),
                out,
            )?;
        }
    }
    Ok(out.flush()?)
}

fn leaf(leaf: &LeafSummary) -> Value {
    json!({
        "serial": leaf.serial,
        "sha256": leaf.fingerprint,
        "not_before": leaf.validity.not_before.to_string(),
        "not_after": leaf.validity.not_after.to_string(),
    })
}

fn fault(error: &LoadError) -> Value {
    json!({
        "reason": error.reason().as_str(),
        "found": Chained(error).to_string(),
        "remedy": error.remedy(),
    })
}

fn line(value: &Value, out: &mut impl Write) -> Result<(), Failure> {
    Ok(writeln!(out, "{value}")?)
}

/// After which such an error has the time.
const JUDGED_AT: &str = ", it is ";

/// Somebody is looking on.
const LOOK: Duration = Duration::from_millis(100);

/// More often than a service needs, since whoever watches waits for it.
const POLL: Duration = Duration::from_secs(1);
