//! The report, for machines. Fields are added, never renamed.

use std::io::{self, Write};
use std::time::Duration;

use mtls_core::check::TlsStack;
use serde_json::{Value, json};

use super::Report;
use super::human::name;
use super::look::{End, Look};
use super::request::Fit;
use super::verdict::status;
use crate::explain::alert_name;
use crate::inspect::certificate;

pub(super) fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let look = &report.look;
    let chain = look.chain.iter();
    let chain = chain.map(|der| certificate(der, report.now).map(|item| item.as_json()));
    let reached = report.reached.as_ref().ok().map(|reached| {
        let all = reached.all.iter().map(ToString::to_string);
        json!({
            "address": reached.address.to_string(),
            "addresses": reached.all.len(),
            "resolved": all.collect::<Vec<_>>(),
            "tcp_ms": milliseconds(reached.took),
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
            "handshake_ms": look.took.map(milliseconds),
            "ocsp_stapled": look.ocsp,
            "resumption": report.resumes(),
        })),
        "chain": chain.collect::<Vec<_>>(),
        "faults": faults(report),
        "name_matches": report.faults.as_ref().map(|faults| faults.name_matches),
        "request": request(report),
        "http_status": report.answer().and_then(|answer| status(&answer.text)),
        "without_certificate": client(Some(look)),
        "stranger": client(report.stranger.as_ref()),
        "namesake": namesake(report),
        "drift": drift(report),
        "verdict": {
            "word": verdict.word,
            "good": verdict.is_good(),
            "says": verdict.says,
            "reason": verdict.reason.map(mtls_core::Reason::as_str),
            "alert": verdict.alert.map(alert_name),
            "means": verdict.means(),
            "remedy": verdict.remedy,
        },
        "by_hand": report.by_hand,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn faults(report: &Report) -> Value {
    let Some(faults) = &report.faults else {
        return Value::Null;
    };
    let all = faults.all.iter().map(|fault| {
        let minded_by = fault.rule.minded_by().iter();
        json!({
            "rule": fault.rule.as_str(),
            "severity": fault.severity().as_str(),
            "found": fault.found,
            "remedy": fault.remedy,
            "minded_by": minded_by.map(|stack| TlsStack::as_str(*stack)).collect::<Vec<_>>(),
        })
    });
    all.collect()
}

fn request(report: &Report) -> Value {
    let Some(request) = &report.look.request else {
        return Value::Null;
    };
    let schemes = request.schemes.iter();
    json!({
        "required": report.look.refusal().is_some(),
        "ca_names": request.names.iter().map(|der| name(der)).collect::<Vec<_>>(),
        "schemes": schemes.map(|scheme| format!("{scheme:?}")).collect::<Vec<_>>(),
        "fits_ours": report.fit.and_then(|fit| fit.by_name),
        "scheme_fits_ours": report.fit.and_then(|fit| fit.by_scheme),
        "go_would_send": report.fit.and_then(Fit::go_sends),
    })
}

fn namesake(report: &Report) -> Value {
    let Some(namesake) = &report.namesake else {
        return Value::Null;
    };
    let mut value = client(Some(&namesake.look));
    if let Value::Object(object) = &mut value {
        object.insert("of".to_owned(), name(&namesake.issuer).into());
    }
    value
}

fn drift(report: &Report) -> Value {
    let drift = &report.drift;
    let others = drift.others.iter().map(|other| {
        json!({
            "address": other.address.to_string(),
            "serial": other.serial,
            "same": other.same,
        })
    });
    json!({
        "clock_ahead_s": drift.clock.map(|clock| clock.ahead),
        "on_disk": drift.disk.as_ref().map(|disk| json!({
            "same": disk.same,
            "serial": disk.serial,
        })),
        "other_addresses": others.collect::<Vec<_>>(),
        "addresses_not_asked": drift.unasked,
    })
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
            | End::Plaintext(_)
            | End::Silent,
        ) => json!({ "let_in": null, "how": null }),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
