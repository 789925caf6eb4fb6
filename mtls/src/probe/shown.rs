//! The report, for people and for machines.

use std::io::{self, Write};

use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::Report;
use super::look::{End, Look};
use super::ours::Outcome;
use super::verdict::status;
use crate::explain::alert_name;
use crate::inspect::{certificate, harmless};

pub(super) fn human(report: &Report, out: &mut impl Write) -> io::Result<()> {
    match &report.reached {
        Ok(reached) => writeln!(
            out,
            "reach     {} in {} ms, one of {} addresses",
            reached.address,
            reached.took.as_millis(),
            reached.of
        )?,
        Err(error) => writeln!(out, "reach     {error}")?,
    }
    let look = &report.look;
    if let Some(version) = look.version {
        let suite = look.suite.as_deref().unwrap_or("unknown suite");
        let group = look.group.as_deref().unwrap_or("unknown group");
        let alpn = look.alpn.as_deref().unwrap_or("none");
        let line = format!("TLS {version}, {suite}, {group}, ALPN {alpn}");
        writeln!(out, "tls       {}", harmless(&line))?;
    }
    for der in &look.chain {
        writeln!(out, "presents  {}", one_line(der, report))?;
    }
    request(report, out)?;
    if let Some(answer) = answer(report).and_then(status) {
        writeln!(out, "http      status {answer}")?;
    }
    enforcement("no cert", look, out)?;
    if let Some(stranger) = &report.stranger {
        enforcement("stranger", stranger, out)?;
    }
    let verdict = &report.verdict;
    writeln!(
        out,
        "verdict   {}: {}",
        verdict.word,
        harmless(&verdict.says)
    )?;
    if let Some(remedy) = &verdict.remedy {
        writeln!(out, "remedy    {remedy}")?;
    }
    let explained = verdict.alert.map(alert_name);
    let explained = explained.or_else(|| verdict.reason.map(|reason| reason.to_string()));
    if let Some(name) = explained {
        writeln!(out, "see       mtls explain {name}")?;
    }
    writeln!(out, "by hand   {}", report.by_hand)
}

fn one_line(der: &[u8], report: &Report) -> String {
    let Some(item) = certificate(der, report.now) else {
        return "a certificate that cannot be decoded".to_owned();
    };
    let text = |name: &str| match item.get(name) {
        Some(Value::Array(values)) => {
            let texts: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            texts.join(", ")
        }
        Some(value) => value.as_str().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    let line = format!(
        "{}; {}; {} left; serial {}",
        text("subject"),
        text("names"),
        text("left"),
        text("serial")
    );
    harmless(&line)
}

fn request(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let look = &report.look;
    let Some(request) = &look.request else {
        if !look.chain.is_empty() {
            writeln!(out, "asks      for no client certificate")?;
        }
        return Ok(());
    };
    let word = match is_required(look) {
        true => "requires",
        false => "may have",
    };
    let names: Vec<_> = request.names.iter().map(|der| name(der)).collect();
    let from = match names.is_empty() {
        true => "any CA, by what it says".to_owned(),
        false => names.join(" | "),
    };
    writeln!(
        out,
        "asks      it {word} a client certificate, of {}",
        harmless(&from)
    )?;
    if fits(report) == Some(false) {
        writeln!(
            out,
            "          none of them has issued our chain: Go and others would send none; ours is sent"
        )?;
    }
    Ok(())
}

fn enforcement(who: &str, look: &Look, out: &mut impl Write) -> io::Result<()> {
    match (look.refusal(), &look.end) {
        (Some(how), _) => writeln!(out, "{who:9} refused {}", harmless(&how)),
        (None, Some(End::LetIn)) => writeln!(out, "{who:9} let in"),
        (None, Some(End::NoWord)) => writeln!(out, "{who:9} not refused, and not told anything"),
        (None, Some(End::Other(words))) => writeln!(out, "{who:9} not seen: {}", harmless(words)),
        (None, _) => Ok(()),
    }
}

fn is_required(look: &Look) -> bool {
    look.refusal().is_some()
}

/// Whether one of the names that the server sent is an issuer in our chain; `None` where that cannot be said.
fn fits(report: &Report) -> Option<bool> {
    let request = report.look.request.as_ref()?;
    if request.names.is_empty() || report.issuers.is_empty() {
        return None;
    }
    Some(
        report
            .issuers
            .iter()
            .any(|issuer| request.names.contains(issuer)),
    )
}

fn name(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok((_, name)) => name.to_string(),
        Err(_) => "a name that cannot be decoded".to_owned(),
    }
}

fn answer(report: &Report) -> Option<&str> {
    match &report.ours {
        Some(Outcome::Accepted { answer, .. }) => answer.as_deref(),
        Some(Outcome::Failed(_) | Outcome::TimedOut | Outcome::Unconfirmed { .. }) => None,
        None => report.look.answer.as_deref(),
    }
}

/// Fields are added, never renamed.
pub(super) fn as_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let look = &report.look;
    let chain = look.chain.iter();
    let chain = chain.map(|der| certificate(der, report.now).map(|item| item.as_json()));
    let request = look.request.as_ref().map(|request| {
        json!({
            "required": is_required(look),
            "ca_names": request.names.iter().map(|der| name(der)).collect::<Vec<_>>(),
            "schemes": request.schemes,
            "fits_ours": fits(report),
        })
    });
    let reached = report.reached.as_ref().ok().map(|reached| {
        json!({
            "address": reached.address.to_string(),
            "addresses": reached.of,
            "tcp_ms": u64::try_from(reached.took.as_millis()).unwrap_or(u64::MAX),
        })
    });
    let verdict = &report.verdict;
    let value = json!({
        "version": 1,
        "target": report.target,
        "reached": reached,
        "tls": look.version.map(|version| json!({
            "version": version,
            "suite": look.suite,
            "group": look.group,
            "alpn": look.alpn,
        })),
        "chain": chain.collect::<Vec<_>>(),
        "request": request,
        "http_status": answer(report).and_then(status),
        "without_certificate": client(Some(look)),
        "stranger": client(report.stranger.as_ref()),
        "verdict": {
            "word": verdict.word,
            "good": verdict.is_good(),
            "says": verdict.says,
            "reason": verdict.reason.map(mtls_core::Reason::as_str),
            "alert": verdict.alert.map(alert_name),
            "remedy": verdict.remedy,
        },
        "by_hand": report.by_hand,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

/// What became of a client that is nobody.
fn client(look: Option<&Look>) -> Value {
    let Some((look, end)) = look.and_then(|look| Some((look, look.end.as_ref()?))) else {
        return Value::Null;
    };
    match (look.refusal(), end) {
        (Some(how), _) => json!({ "let_in": false, "how": how }),
        (None, End::LetIn) => json!({ "let_in": true, "how": null }),
        (
            None,
            End::Alert(_)
            | End::Closed
            | End::NoWord
            | End::Other(_)
            | End::Plaintext
            | End::Silent,
        ) => json!({ "let_in": null, "how": null }),
    }
}
