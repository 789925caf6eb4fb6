//! What the programs of `src/bin` share and nobody needs to copy: their arguments, their log, and how they end.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use mtls_core::{Chained, LoadError, Policy, PolicyError};
use tracing_subscriber::EnvFilter;

/// Runs a program: its log is on standard error, and so is what it ends with if that is an error, and what to do about it.
pub async fn run<F>(usage: &'static str, program: impl FnOnce(Arguments) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error>>>,
{
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,mtls_core=debug,mtls_tower=debug".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .init();
    let arguments = Arguments {
        usage,
        left: std::env::args().skip(1).collect(),
    };
    let Err(error) = program(arguments).await else {
        return ExitCode::SUCCESS;
    };
    let remedy = error.downcast_ref().map(LoadError::remedy);
    tracing::error!(mtls.remedy = remedy, error = %Chained(&*error), "stopped");
    ExitCode::FAILURE
}

/// Says where a server listens, for whoever waits for it.
///
/// # Errors
///
/// Nobody reads standard output any more.
pub fn listening(at: impl Display) -> io::Result<()> {
    say(format_args!("listening on {at}"))
}

/// Writes a line to standard output.
///
/// # Errors
///
/// Nobody reads it any more.
pub fn say(line: impl Display) -> io::Result<()> {
    writeln!(stdout(), "{line}")
}

/// What a program was called with. Options first, then the rest in its order.
#[derive(Debug)]
pub struct Arguments {
    usage: &'static str,
    left: Vec<String>,
}

impl Arguments {
    /// Whether this option is there.
    pub fn has(&mut self, option: &str) -> bool {
        let before = self.left.len();
        self.left.retain(|argument| argument != option);
        self.left.len() < before
    }

    /// The values of an option, as often as it is there.
    ///
    /// # Errors
    ///
    /// The usage, if one has no value.
    pub fn values(&mut self, option: &str) -> Result<Vec<String>, Box<dyn Error>> {
        let mut values = Vec::new();
        while let Some(at) = self.left.iter().position(|argument| argument == option) {
            let mut taken = self.left.drain(at..self.left.len().min(at + 2));
            values.push(taken.nth(1).ok_or(self.usage)?);
        }
        Ok(values)
    }

    /// Whom `--allow PATTERN` names, or else every peer that verifies.
    ///
    /// # Errors
    ///
    /// What is no pattern.
    pub fn allowed(&mut self) -> Result<Policy, Box<dyn Error>> {
        let patterns = self.values("--allow")?;
        if patterns.is_empty() {
            return Ok(Policy::any_verified_peer());
        }
        let each: Result<Vec<Policy>, PolicyError> =
            patterns.into_iter().map(Policy::try_from).collect();
        Ok(Policy::any(each?)?)
    }

    /// The next argument.
    ///
    /// # Errors
    ///
    /// The usage, if there is none, or if it is an option that nobody knows.
    pub fn take(&mut self) -> Result<String, Box<dyn Error>> {
        if self.left.first().is_none_or(|next| next.starts_with('-')) {
            return Err(self.usage.into());
        }
        Ok(self.left.remove(0))
    }

    /// The last argument, if there is one, or this.
    ///
    /// # Errors
    ///
    /// The usage, if there are more, or if it is an option that nobody knows.
    pub fn last_or(&mut self, default: &str) -> Result<String, Box<dyn Error>> {
        let last = match self.left.is_empty() {
            true => default.to_owned(),
            false => self.take()?,
        };
        match self.left.is_empty() {
            true => Ok(last),
            false => Err(self.usage.into()),
        }
    }
}

/// What README shows, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// What the guides show, compiled.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/ci.md")]
    struct Ci;
    #[doc = include_str!("../../docs/migration.md")]
    struct Migration;
}
