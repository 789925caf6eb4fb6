//! `mtls policy who` and `mtls policy what`: a policy asked where one half is known, and about candidates one by one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use mtls_core::{AccessPolicy, Effect, OpenCondition, PolicySurvey, RequestPolicy};
use serde_json::{Value, json};

use super::candidates::{self, Candidate, Somebody};
use super::case::Request;
use super::{Format, Policies, word};
use crate::Failure;

/// Tell who may make a request, or connect, and of each candidate whether it may.
///
/// Which rules let whom in, which keep whom out, and what the default does with everybody else. Exits with 0 once it has answered, 2 if it cannot.
#[derive(Debug, Args)]
pub(super) struct Who {
    /// The policy.
    policy: PathBuf,
    /// The request: a method and a path, or a path alone (`GET`, or `POST` with `--grpc`). Default: the connection is asked
    /// about, of a policy about peers.
    #[arg(long, value_name = "'METHOD PATH'")]
    request: Option<String>,
    /// The host that the request is for.
    #[arg(long, requires = "request")]
    host: Option<String>,
    /// It is a gRPC call.
    #[arg(long, requires = "request")]
    grpc: bool,
    /// A candidate: a SPIFFE ID, `nobody`, or a certificate's file, with `--bundle`. May be given several times.
    #[arg(long, value_name = "SPIFFE-ID|FILE")]
    peer: Vec<String>,
    /// A directory of candidates: certificates, directories of credentials, and `.txt` files of SPIFFE IDs, one a line. May be
    /// given several times.
    #[arg(long, value_name = "DIR")]
    peers_from: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Tell what a peer may ask for.
///
/// Which rules are about it, and which requests they let through or not. Exits with 0 once it has answered, 1 if the peer would not get past the handshake, 2 if it cannot answer.
#[derive(Debug, Args)]
pub(super) struct What {
    /// The policy.
    policy: PathBuf,
    /// The peer: a SPIFFE ID, `nobody`, or a certificate's file, with `--bundle`.
    #[arg(long, value_name = "SPIFFE-ID|FILE")]
    peer: String,
    #[command(flatten)]
    server: Server,
}

/// Who is asked, and how it answers.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// The server's trust bundle, by which certificates are verified.
    #[arg(long, value_name = "FILE")]
    pub(super) bundle: Option<PathBuf>,
    /// The server's trust domain. Default: the policy's, else the peer's own.
    #[arg(long, value_name = "DOMAIN")]
    pub(super) trust_domain: Option<String>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Who {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<bool, Failure> {
        let policies = Policies::read(&self.policy)?;
        let question = match &self.request {
            Some(text) => Question::Request(&policies.requests, self.asked(text)?),
            None => Question::Connection(policies.access(REQUEST_IS_MISSING)?),
        };
        let domain = policies.domain(&self.server);
        let all = candidates::all(&self.peer, &self.peers_from, &self.server, domain)?;
        let answers = all.iter().map(|candidate| question.answer(candidate));
        let answers: Vec<_> = answers.collect();
        let survey = question.survey();
        match self.server.format {
            Format::Human => question.human(&survey, &answers, out)?,
            Format::Json => question.json(&self.policy, &survey, &answers, out)?,
        }
        Ok(true)
    }

    fn asked(&self, text: &str) -> Result<Request, Failure> {
        let text = text.trim();
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) => (method, path.trim_start()),
            None if self.grpc => ("POST", text),
            None => ("GET", text),
        };
        if !path.starts_with('/') || path.contains(' ') || method.is_empty() {
            let what =
                format!("--request `{text}`: expected a method and a path, as in `POST /orders`");
            return Err(Failure::new(what));
        }
        Ok(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            host: self.host.clone(),
            grpc: self.grpc,
        })
    }
}

impl What {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<bool, Failure> {
        let policies = Policies::read(&self.policy)?;
        let domain = policies.domain(&self.server);
        let candidate = candidates::one(&self.peer, &self.server, domain)?;
        let survey = match &candidate.who {
            Somebody::Nobody => policies.requests.what_may(None),
            Somebody::Named(peer) => policies.requests.what_may(Some(peer.identity())),
            Somebody::Verified(chain) => chain.what_may(&policies.requests),
            Somebody::Refused { why, reason } => {
                match self.server.format {
                    Format::Human => writeln!(out, "{}\n{REFUSED}: {why}", candidate.name)?,
                    Format::Json => {
                        let refused = json!({ "reason": reason, "why": why });
                        let value = json!({
                            "version": 1,
                            "policy": self.policy.display().to_string(),
                            "peer": candidate.name,
                            "refused": refused,
                        });
                        print(&value, out)?;
                    }
                }
                return Ok(false);
            }
        };
        match self.server.format {
            Format::Human => write!(out, "{}\n{survey}", candidate.name)?,
            Format::Json => {
                let value = json!({
                    "version": 1,
                    "policy": self.policy.display().to_string(),
                    "peer": candidate.name,
                    "refused": null,
                    "dry_run": survey.is_dry_run(),
                    "rules": rules(&survey),
                    "otherwise": survey.otherwise().map(word),
                });
                print(&value, out)?;
            }
        }
        Ok(true)
    }
}

/// What is asked about, and by which policy.
enum Question<'a> {
    Connection(&'a AccessPolicy),
    Request(&'a RequestPolicy, Request),
}

/// What is decided of one candidate.
struct Answer<'a> {
    name: &'a str,
    /// `None`: the handshake fails, and no rule is asked.
    effect: Option<Effect>,
    rule: Option<String>,
    why: String,
}

impl Question<'_> {
    fn survey(&self) -> PolicySurvey {
        match self {
            Self::Connection(policy) => policy.who_may(),
            Self::Request(policy, request) => policy.who_may(&request.facts()),
        }
    }

    /// By the code that decides.
    fn answer<'a>(&self, candidate: &'a Candidate) -> Answer<'a> {
        let peer = match &candidate.who {
            Somebody::Nobody => None,
            Somebody::Named(peer) => Some(peer.identity()),
            Somebody::Verified(chain) => {
                let found = match self {
                    Self::Connection(policy) => chain.explain_connection(policy),
                    Self::Request(policy, request) => chain.explain(policy, &request.facts()),
                };
                return Answer::of(candidate, &found);
            }
            Somebody::Refused { why, .. } => {
                return Answer {
                    name: &candidate.name,
                    effect: None,
                    rule: None,
                    why: format!("{REFUSED}: {why}"),
                };
            }
        };
        let found = match self {
            Self::Connection(policy) => policy.explain(peer),
            Self::Request(policy, request) => policy.explain(peer, &request.facts()),
        };
        Answer::of(candidate, &found)
    }

    fn human(
        &self,
        survey: &PolicySurvey,
        answers: &[Answer<'_>],
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self::Connection(_) => writeln!(out, "connections")?,
            Self::Request(_, request) => {
                let host = request.host.as_deref();
                let host = host.map(|host| format!(" at {host}")).unwrap_or_default();
                let call = if request.grpc { " (gRPC)" } else { "" };
                writeln!(out, "{} {}{host}{call}", request.method, request.path)?;
            }
        }
        write!(out, "{survey}")?;
        for answer in answers {
            let word = answer.word();
            writeln!(out, "{word:3} {}: {}", answer.name, answer.why)?;
        }
        Ok(())
    }

    /// Fields are added, never renamed.
    fn json(
        &self,
        policy: &Path,
        survey: &PolicySurvey,
        answers: &[Answer<'_>],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let request = match self {
            Self::Connection(_) => Value::Null,
            Self::Request(_, request) => json!({
                "method": request.method,
                "path": request.path,
                "host": request.host,
                "grpc": request.grpc,
            }),
        };
        let peers = answers.iter().map(|answer| {
            json!({
                "peer": answer.name,
                "may": answer.word() == "yes",
                "effect": answer.effect.map(word),
                "rule": answer.rule,
                "why": answer.why,
            })
        });
        let value = json!({
            "version": 1,
            "policy": policy.display().to_string(),
            "request": request,
            "dry_run": survey.is_dry_run(),
            "host_fault": survey.host_fault().map(|fault| fault.to_string()),
            "rules": rules(survey),
            "otherwise": survey.otherwise().map(word),
            "peers": peers.collect::<Vec<_>>(),
        });
        print(&value, out)
    }
}

impl<'a> Answer<'a> {
    fn of(candidate: &'a Candidate, found: &mtls_core::Explanation) -> Self {
        Self {
            name: &candidate.name,
            effect: Some(found.effect()),
            rule: found.rule().map(ToOwned::to_owned),
            why: found.to_string(),
        }
    }

    fn word(&self) -> &'static str {
        match self.effect {
            Some(Effect::Allow) => "yes",
            Some(Effect::Deny) | None => "no",
        }
    }
}

fn rules(survey: &PolicySurvey) -> Vec<Value> {
    let condition = |condition: &OpenCondition| {
        json!({
            "fact": condition.fact().as_str(),
            "negated": condition.is_negated(),
            "values": condition.values(),
        })
    };
    let rules = survey.rules().iter().map(|rule| {
        json!({
            "rule": rule.name(),
            "effect": word(rule.effect()),
            "who": rule.who().as_str(),
            "unreadable": rule.unreadable().map(|what| what.to_string()),
            "conditions": rule.conditions().iter().map(condition).collect::<Vec<_>>(),
        })
    });
    rules.collect()
}

fn print(value: &Value, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

const REFUSED: &str = "refused in the handshake";
const REQUEST_IS_MISSING: &str =
    "the policy asks for requests: say which, as in `--request 'POST /orders'`";
