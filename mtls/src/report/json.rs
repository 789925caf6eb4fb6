//! One JSON object. Fields are added, never renamed; `version` counts what would break a reader.

use std::io::{self, Write};

use mtls_core::check::Finding;
use serde_json::{Value, json};

use super::{Named, counts};

pub(super) fn write(reports: &[Named], out: &mut impl Write) -> io::Result<()> {
    let [errors, warnings, infos] = counts(reports);
    let sets: Vec<_> = reports.iter().map(set).collect();
    let value = json!({
        "version": 1,
        "sets": sets,
        "summary": { "error": errors, "warn": warnings, "info": infos },
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn set(named: &Named) -> Value {
    let report = &named.report;
    let allowed = report.allowed().iter().map(|allowed| {
        let mut value = finding(&allowed.finding);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("allowed".into(), json!(allowed.reason));
        }
        value
    });
    json!({
        "name": named.name,
        "findings": report.findings().iter().map(finding).collect::<Vec<_>>(),
        "allowed": allowed.collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let minded: Vec<_> = finding
        .minded_by()
        .iter()
        .map(|stack| stack.as_str())
        .collect();
    json!({
        "rule": finding.rule.as_str(),
        "severity": finding.severity.as_str(),
        "file": finding.place.file.display().to_string(),
        "block": finding.place.block,
        "line": finding.place.line,
        "found": finding.found,
        "expected": finding.expected,
        "remedy": finding.remedy,
        "minded_by": minded,
        "docs": finding.rule.doc_anchor(),
    })
}
