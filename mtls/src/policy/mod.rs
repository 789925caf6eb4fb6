//! `mtls policy`: what a policy file decides of peers and requests that have not come yet.

mod candidates;
mod case;
mod cases;
mod peer;
mod who;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use mtls_core::{
    AccessPolicy, Effect, Explanation, PolicyDocument, PolicyFileError, RequestPolicy,
};
use serde_json::{Value, json};

use crate::Failure;
use case::{Case, Request};
use peer::Named;

/// Ask a policy file.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Decide the cases of a file, and tell which are decided otherwise than it says.
    ///
    /// Exits with 0 if all are decided as expected, 1 if one is not, 2 if it cannot run. See `docs/policy-cases.md`.
    Test {
        /// The cases, in TOML.
        cases: PathBuf,
        /// The policy. Default: what the file of cases names, from its own directory.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// What is printed.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Decide one case, and tell what decided. Exits with 0 for allow, 1 for deny.
    Explain {
        /// The policy.
        policy: PathBuf,
        /// The peer's SPIFFE ID.
        #[arg(long, value_name = "SPIFFE-ID")]
        peer: Option<String>,
        /// A DNS name of the peer.
        #[arg(long, value_name = "NAME")]
        dns: Vec<String>,
        /// The trust domain of who decides: names other than the SPIFFE ID count of its own peers alone. Default: the peer's.
        #[arg(long, value_name = "DOMAIN")]
        trust_domain: Option<String>,
        /// The request's method. Without a path, the connection is decided.
        #[arg(
            long,
            requires = "path",
            default_value_if("path", clap::builder::ArgPredicate::IsPresent, "GET")
        )]
        method: Option<String>,
        /// The request's path, as it is sent.
        #[arg(long)]
        path: Option<String>,
        /// The host that the request is for.
        #[arg(long, requires = "path")]
        host: Option<String>,
        /// It is a gRPC call.
        #[arg(long, requires = "path")]
        grpc: bool,
    },
    What(who::What),
    Who(who::Who),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON object; its shape is stable.
    Json,
}

/// Whether all was decided as expected, or the one case is allowed.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    match &arguments.command {
        Sub::Test {
            cases,
            policy,
            format,
        } => test(cases, policy.as_deref(), *format, out),
        Sub::Explain {
            policy,
            peer,
            dns,
            trust_domain,
            method,
            path,
            host,
            grpc,
        } => {
            let policies = Policies::read(policy)?;
            let request = path.as_ref().map(|path| Request {
                method: method.clone().unwrap_or_else(|| "GET".to_owned()),
                path: path.clone(),
                host: host.clone(),
                grpc: *grpc,
            });
            let named = Named {
                spiffe: peer.clone(),
                dns: dns.clone(),
                ..Named::default()
            };
            let case = Case {
                name: "the case".to_owned(),
                peer: (!named.is_nobody()).then_some(named),
                request,
                expected: Effect::Allow,
                rule: None,
            };
            let explanation = policies.decide(&case, trust_domain.as_deref())?;
            writeln!(out, "{explanation}")?;
            Ok(explanation.effect() == Effect::Allow)
        }
        Sub::What(what) => what.run(out),
        Sub::Who(who) => who.run(out),
    }
}

fn test(
    path: &Path,
    policy: Option<&Path>,
    format: Format,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let bytes = crate::check::read(path)?;
    let cases = cases::read(&bytes)
        .map_err(|what| Failure::new(format!("`{}`: {what}", path.display())))?;
    let beside = |named: &String| path.parent().unwrap_or(Path::new("")).join(named);
    let policy = policy.map(Path::to_owned);
    let policy = policy.or_else(|| cases.policy.as_ref().map(beside));
    let policy = policy.ok_or_else(|| {
        Failure::new("no policy: give `--policy FILE`, or `policy = \"FILE\"` in the file of cases")
    })?;
    let policies = Policies::read(&policy)?;
    let mut outcomes = Vec::new();
    for case in &cases.cases {
        let explanation = policies.decide(case, cases.trust_domain.as_deref())?;
        outcomes.push((case, explanation));
    }
    match format {
        Format::Human => human(&outcomes, out)?,
        Format::Json => as_json(&policy, &outcomes, out)?,
    }
    Ok(outcomes.iter().all(|(case, found)| case.is_met(found)))
}

/// A policy file, for connections where it can decide them, and for requests.
struct Policies {
    access: Result<AccessPolicy, PolicyFileError>,
    requests: RequestPolicy,
    trust_domain: Option<String>,
}

impl Policies {
    fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = crate::check::read(path)?;
        let json = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let document = match json {
            true => PolicyDocument::from_json(&bytes),
            false => PolicyDocument::from_toml(&bytes),
        };
        let failure = |error: PolicyFileError| {
            Failure::new(format!("`{}`: {error}; {}", path.display(), error.remedy()))
        };
        let document = document.map_err(failure)?;
        Ok(Self {
            access: document.access_policy(),
            requests: document.request_policy().map_err(failure)?,
            trust_domain: document.trust_domain().map(ToOwned::to_owned),
        })
    }

    /// The policy about connections, or why there is none.
    fn access(&self, otherwise: &str) -> Result<&AccessPolicy, Failure> {
        let access = self.access.as_ref();
        access.map_err(|_| Failure::new(otherwise))
    }

    /// The trust domain of who decides, as far as it is said.
    fn domain<'a>(&'a self, server: &'a who::Server) -> Option<&'a str> {
        let said = server.trust_domain.as_deref();
        said.or(self.trust_domain.as_deref())
    }

    fn decide(&self, case: &Case, domain: Option<&str>) -> Result<Explanation, Failure> {
        let told = |what: String| Failure::new(format!("case `{}`: {what}", case.name));
        let peer = match &case.peer {
            Some(named) => Some(named.verified(domain).map_err(told)?),
            None => None,
        };
        let identity = peer.as_ref().map(|peer| peer.identity());
        match (&case.request, &self.access) {
            (Some(request), _) => Ok(self.requests.explain(identity, &request.facts())),
            (None, Ok(access)) => Ok(access.explain(identity)),
            (None, Err(_)) => Err(told(
                "the policy asks for requests, and the case has none: give it a path".to_owned(),
            )),
        }
    }
}

fn human(outcomes: &[(&Case, Explanation)], out: &mut impl Write) -> io::Result<()> {
    let mut failed = 0;
    for (case, found) in outcomes {
        if case.is_met(found) {
            writeln!(out, "ok    {}: {found}", case.name)?;
        } else {
            failed += 1;
            writeln!(
                out,
                "FAIL  {}: {found}; expected {}",
                case.name,
                case.expectation()
            )?;
        }
    }
    writeln!(
        out,
        "{} decided as expected, {failed} not",
        outcomes.len() - failed
    )
}

/// Fields are added, never renamed.
fn as_json(
    policy: &Path,
    outcomes: &[(&Case, Explanation)],
    out: &mut impl Write,
) -> io::Result<()> {
    let cases = outcomes.iter().map(|(case, found)| {
        json!({
            "name": case.name,
            "passed": case.is_met(found),
            "expected": { "effect": word(case.expected), "rule": case.rule },
            "found": { "effect": word(found.effect()), "rule": found.rule(), "why": found.to_string() },
        })
    });
    let value: Value = json!({
        "version": 1,
        "policy": policy.display().to_string(),
        "cases": cases.collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}
