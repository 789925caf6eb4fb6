//! What `mtls check` is told.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mtls_core::check::{CheckOptions, CheckRole, CheckRule, DevelopmentCa, Severity, TlsStack};
use mtls_core::{OwnChain, Timestamp, TrustDomain};

use super::moment;
use crate::Failure;
use crate::report::Format;

/// Exits with 0 if all is well, 1 if something was found at or above `--fail-on`, 2 if it could not run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Directories of credentials, or Kubernetes manifests (`.yaml`, `.yml`, `.json`, or `-` for stdin): Secrets, ConfigMaps,
    /// cert-manager's Certificates, and what pods mount.
    #[arg(value_name = "DIR|MANIFEST")]
    pub(super) paths: Vec<PathBuf>,
    /// The chain's file, where the names are nobody's: the leaf, then its intermediates.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) chain: Option<PathBuf>,
    /// The private key's file. It may be the chain's.
    #[arg(long, value_name = "FILE", requires = "chain")]
    pub(super) key: Option<PathBuf>,
    /// The trust bundle, where the directory or a manifest's Secret has none, or `--chain` names files; by itself it is
    /// checked by itself.
    #[arg(long, value_name = "FILE")]
    pub(super) bundle: Option<PathBuf>,
    /// A file or directory of revocation lists. May be given several times.
    #[arg(long, value_name = "PATH")]
    pub(super) crl: Vec<PathBuf>,
    /// A SPIFFE bundle map, `{"trust_domains": {…}}`; by itself it is checked by itself.
    #[arg(long, value_name = "FILE")]
    pub(super) bundle_map: Option<PathBuf>,
    /// The bundle of another trust domain, PEM or SPIFFE JSON; or a directory of them, `<trust-domain>.spiffe-trust-bundle.pem`
    /// each. May be given several times.
    #[arg(long, value_name = "DOMAIN=FILE|DIR")]
    pub(super) federated: Vec<String>,
    /// In which role the credentials will be presented.
    #[arg(long, value_enum, default_value_t = Role::Both)]
    pub(super) role: Role,
    /// Another directory: both sides' handshakes are tried, in both roles.
    #[arg(long, value_name = "DIR")]
    pub(super) against: Option<PathBuf>,
    /// A name that clients dial.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The local trust domain. Default: the leaf's.
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: Option<String>,
    /// Judge as of another time: RFC 3339, or from now (`+30d`, `+12h`, `-1h`).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Whose TLS stacks are at the other end: go, java, openssl, python, rustls.
    #[arg(long, value_name = "STACK", value_delimiter = ',')]
    peers: Vec<String>,
    /// A policy file, checked too; with `--against` it says whom this side lets in.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// With `--against`: whom the other side lets in.
    #[arg(long, value_name = "FILE", requires = "against")]
    pub(super) against_policy: Option<PathBuf>,
    /// The chain comes from another PKI than the peers' (a public certificate): it need not verify under the bundle.
    #[arg(long)]
    another_pki: bool,
    /// A development CA is fine here.
    #[arg(long)]
    dev: bool,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
    /// From which severity on a finding makes the command fail.
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
    /// What this rule finds is fine, and why: `expires-soon=renewed by hand on Friday`.
    #[arg(long, value_name = "RULE=REASON")]
    allow: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    Both,
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailOn {
    Error,
    Warn,
}

impl Arguments {
    pub(super) fn fail_on(&self) -> Severity {
        match self.fail_on {
            FailOn::Error => Severity::Error,
            FailOn::Warn => Severity::Warn,
        }
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = &Path> {
        let all = self.policy.iter().chain(&self.against_policy);
        all.map(PathBuf::as_path)
    }

    /// Refuses a bundle whose domain is none.
    pub(super) fn federated_are_named(&self) -> Result<(), Failure> {
        let named = self
            .federated
            .iter()
            .filter_map(|text| text.split_once('='));
        for (domain, path) in named {
            let parsed: Result<TrustDomain, _> = domain.parse();
            parsed
                .map_err(|error| Failure::new(format!("--federated `{domain}={path}`: {error}")))?;
        }
        Ok(())
    }

    pub(super) fn options(&self, now: Timestamp) -> Result<CheckOptions, Failure> {
        let at = match &self.at {
            Some(text) => moment::parse(text, now)?,
            None => now,
        };
        let mut options = CheckOptions::new(at).role(match self.role {
            Role::Both => CheckRole::Both,
            Role::Client => CheckRole::Client,
            Role::Server => CheckRole::Server,
        });
        if let Some(name) = &self.server_name {
            options = options.server_name(name);
        }
        if let Some(domain) = &self.trust_domain {
            let domain: TrustDomain = domain
                .parse()
                .map_err(|error| Failure::new(format!("--trust-domain `{domain}`: {error}")))?;
            options = options.trust_domain(domain);
        }
        for name in &self.peers {
            options = options.peers([stack(name)?]);
        }
        for text in &self.allow {
            let (rule, reason) = allowed(text)?;
            options = options.allow(rule, reason);
        }
        if self.another_pki {
            options = options.own_chain(OwnChain::FromAnotherPki);
        }
        if self.dev {
            options = options.development_ca(DevelopmentCa::Allowed);
        }
        Ok(options)
    }
}

fn stack(name: &str) -> Result<TlsStack, Failure> {
    let mut all = TlsStack::ALL.iter().copied();
    all.find(|stack| stack.as_str() == name).ok_or_else(|| {
        let known: Vec<_> = TlsStack::ALL.iter().map(|stack| stack.as_str()).collect();
        Failure::new(format!(
            "--peers `{name}`: expected one of {}",
            known.join(", ")
        ))
    })
}

/// A rule without a reason is not allowed: whoever reads the list later has to know whether it still holds.
fn allowed(text: &str) -> Result<(CheckRule, &str), Failure> {
    let (rule, reason) = match text.split_once('=') {
        Some((rule, reason)) if !reason.trim().is_empty() => (rule, reason.trim()),
        _ => {
            return Err(Failure::new(format!(
                "--allow `{text}`: expected RULE=REASON"
            )));
        }
    };
    let rule = rule
        .parse()
        .map_err(|error| Failure::new(format!("--allow `{rule}`: {error}")))?;
    Ok((rule, reason))
}
