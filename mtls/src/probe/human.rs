//! The report, for people: a line for each thing.

use std::io::{self, Write};

use mtls_core::check::Severity;
use serde_json::Value;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::look::{End, Look};
use super::verdict::status;
use super::{Report, drift};
use crate::explain::alert_name;
use crate::inspect::{certificate, harmless};

pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    match &report.reached {
        Ok(reached) => writeln!(
            out,
            "reach     {} in {} ms, one of {} addresses",
            reached.address,
            reached.took.as_millis(),
            reached.all.len()
        )?,
        Err(error) => writeln!(out, "reach     {error}")?,
    }
    tls(report, out)?;
    for der in &report.look.chain {
        writeln!(out, "presents  {}", one_line(der, report))?;
    }
    faults(report, out)?;
    request(report, out)?;
    if let Some(status) = report.answer().and_then(|answer| status(&answer.text)) {
        writeln!(out, "http      status {status}")?;
    }
    enforcement("no cert", "", &report.look, out)?;
    if let Some(stranger) = &report.stranger {
        enforcement("stranger", "", stranger, out)?;
    }
    if let Some(namesake) = &report.namesake {
        let by = format!(", in the name of {}", name(&namesake.issuer));
        enforcement("namesake", &by, &namesake.look, out)?;
    }
    drifts(report, out)?;
    verdict(report, out)?;
    writeln!(out, "by hand   {}", harmless(&report.by_hand))
}

fn tls(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let look = &report.look;
    let Some(version) = look.version else {
        return Ok(());
    };
    let suite = look.suite.as_deref().unwrap_or("unknown suite");
    let group = look.group.as_deref().unwrap_or("unknown group");
    let alpn = look.alpn.as_deref().unwrap_or("none");
    let mut line = format!("TLS {version}, {suite}, {group}, ALPN {alpn}");
    if let Some(took) = look.took {
        line += &format!(", in {} ms", took.as_millis());
    }
    line += match report.resumes() {
        Some(true) => ", sessions offered",
        Some(false) => ", no sessions offered",
        None => "",
    };
    line += match look.ocsp {
        true => ", OCSP response stapled",
        false => ", no OCSP response",
    };
    writeln!(out, "tls       {}", harmless(&line))
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
    // A time that there is; or, in words, that there is none.
    let mut left = text("left");
    if left.starts_with(|c: char| c.is_ascii_digit()) {
        left += " left";
    }
    let told = [
        text("subject"),
        text("names"),
        left,
        format!("serial {}", text("serial")),
    ];
    let told: Vec<_> = told.into_iter().filter(|part| !part.is_empty()).collect();
    harmless(&told.join("; "))
}

fn faults(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let faults = report.faults.iter().flat_map(|faults| &faults.all);
    for fault in faults {
        let word = match fault.severity() {
            Severity::Error => "fault",
            Severity::Info | Severity::Warn => "note",
        };
        let line = format!("{word:9} {}: {}; {}", fault.rule, fault.found, fault.remedy);
        writeln!(out, "{}", harmless(&line))?;
    }
    Ok(())
}

fn request(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let look = &report.look;
    let Some(request) = &look.request else {
        if !look.chain.is_empty() {
            writeln!(out, "asks      for no client certificate")?;
        }
        return Ok(());
    };
    let word = match look.refusal().is_some() {
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
    let Some(fit) = report.fit else {
        return Ok(());
    };
    if fit.by_name == Some(false) {
        writeln!(
            out,
            "          none of them has issued our chain: Go and others would send none; ours is sent"
        )?;
    }
    if fit.by_scheme == Some(false) {
        writeln!(
            out,
            "          no signature that it takes is one of our key: no client sends a certificate then"
        )?;
    }
    Ok(())
}

fn enforcement(who: &str, by: &str, look: &Look, out: &mut impl Write) -> io::Result<()> {
    let by = harmless(by);
    match (look.refusal(), &look.end) {
        (Some(how), _) => writeln!(out, "{who:9} refused {}{by}", harmless(&how)),
        (None, Some(End::LetIn)) => writeln!(out, "{who:9} let in{by}"),
        (None, Some(End::NoWord)) => {
            writeln!(out, "{who:9} not refused, and not told anything{by}")
        }
        (None, Some(End::Other(words))) => {
            writeln!(out, "{who:9} not seen: {}{by}", harmless(words))
        }
        (None, _) => Ok(()),
    }
}

fn drifts(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let drift = &report.drift;
    if let Some(clock) = drift.clock {
        writeln!(out, "clock     {:+} s from ours, by its Date", clock.ahead)?;
    }
    if let Some(disk) = &drift.disk {
        let serial = disk.serial.as_deref().unwrap_or("unknown");
        let word = match disk.same {
            true => "is what is served",
            false => "is not what is served",
        };
        writeln!(out, "on disk   serial {serial}, which {word}")?;
    }
    for other in &drift.others {
        let serial = other.serial.as_deref().unwrap_or("none");
        let word = match other.same {
            true => "the same",
            false => "another",
        };
        writeln!(out, "also at   {}: serial {serial}, {word}", other.address)?;
    }
    if drift.unasked > 0 {
        let most = drift::MOST_OTHERS;
        writeln!(
            out,
            "          {} more were not asked: it is {most} at most",
            drift.unasked
        )?;
    }
    Ok(())
}

fn verdict(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let verdict = &report.verdict;
    let says = harmless(&verdict.says);
    writeln!(out, "verdict   {}: {says}", verdict.word)?;
    if let Some(means) = verdict.means() {
        writeln!(out, "means     {means}")?;
    }
    if let Some(remedy) = &verdict.remedy {
        writeln!(out, "remedy    {remedy}")?;
    }
    let explained = verdict.alert.map(alert_name);
    let explained = explained.or_else(|| verdict.reason.map(|reason| reason.to_string()));
    match explained {
        Some(name) => writeln!(out, "see       mtls explain {name}"),
        None => Ok(()),
    }
}

/// A distinguished name, as a server sends it.
pub(super) fn name(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok((_, name)) => name.to_string(),
        Err(_) => "a name that cannot be decoded".to_owned(),
    }
}
