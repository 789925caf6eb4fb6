//! The subcommands. Each has a file of its own, with its arguments and what it does.

use clap::{Parser, Subcommand};

/// Mutual TLS, checked before it is deployed and explained in production.
#[derive(Debug, Parser)]
#[command(name = "mtls", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find everything that is wrong with certificates, keys, bundles, revocation lists and policies.
    Check(crate::check::Arguments),
    /// Make a development CA with mounted directories, or a directory that is broken in one way.
    #[cfg(feature = "dev")]
    Dev(crate::dev::Arguments),
    /// Tell what a rule, a reason, an alert or an error's text means, and what to do about it.
    Explain(crate::explain::Arguments),
    /// Show what is in files: certificates, keys, revocation lists, bundles, policies; never a byte of a key.
    Inspect(crate::inspect::Arguments),
    /// Ask a policy file what it decides, and test it with a file of cases.
    #[cfg(feature = "dev")]
    Policy(crate::policy::Arguments),
    /// Ask a server that is up: what it presents, what it asks for, whether it accepts us and refuses others.
    Probe(crate::probe::Arguments),
    /// Show what a service would make of a directory, as it changes.
    Watch(crate::watch::Arguments),
}
