//! SARIF 2.1.0 (OASIS): what code scanning shows beside the files.

use std::io::{self, Write};

use mtls_core::check::{Caller, CheckRule, Finding, Severity};
use serde_json::{Value, json};

use super::{Named, findings, on_disk, sentence};

pub(super) fn write(reports: &[Named], out: &mut impl Write) -> io::Result<()> {
    let rules: Vec<_> = CheckRule::ALL.iter().map(|rule| describe(*rule)).collect();
    let results: Vec<_> = findings(reports).map(|(_, found)| result(found)).collect();
    let value = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mtls check",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn describe(rule: CheckRule) -> Value {
    json!({
        "id": rule.as_str(),
        "shortDescription": { "text": rule.summary() },
        "help": { "text": rule.remedy() },
        "helpUri": format!("{}/blob/main/{}", env!("CARGO_PKG_REPOSITORY"), rule.doc_anchor()),
        "defaultConfiguration": { "level": level(rule.severity(Caller::Command)) },
    })
}

fn result(finding: &Finding) -> Value {
    let (file, line) = on_disk(&finding.place);
    json!({
        "ruleId": finding.rule.as_str(),
        "level": level(finding.severity),
        "message": { "text": sentence(finding) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": file },
            "region": { "startLine": line },
        }}],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warn => "warning",
        Severity::Info => "note",
    }
}
