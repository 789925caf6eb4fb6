//! `mtls explain`: what a name or a pasted error text means, and the section of the runbook that says what to do. Offline.

mod alerts;
mod pages;
mod rules;
mod symptoms;

use std::io::{self, Read, Write};

use clap::{Args, ValueEnum};
use mtls_core::Reason;
use mtls_core::check::CheckRule;
use serde_json::json;

use crate::Failure;
use pages::Page;

/// Exits with 0 if it knows, 1 if it does not.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A rule, a reason, an alert by name or number, or an error's text, pasted; `-` reads the text from stdin.
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The pages, for people.
    Human,
    /// One JSON object; its shape is stable.
    Json,
}

/// What was asked about, in a few words, and where the runbook has more. The first section is the one to read first.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    kind: &'static str,
    name: String,
    means: String,
    sections: Vec<&'static str>,
}

/// Whether it is known.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let text = match arguments.what.as_slice() {
        [only] if only == "-" => stdin()?,
        words => words.join(" "),
    };
    let meaning = meaning(&text);
    match arguments.format {
        Format::Human => human(meaning.as_ref(), out)?,
        Format::Json => as_json(meaning.as_ref(), out)?,
    }
    Ok(meaning.is_some())
}

/// As the RFC writes it, or its number.
pub(crate) fn alert_name(code: u8) -> String {
    let known = alerts::ALERTS.iter().find(|alert| alert.code == code);
    known.map_or_else(|| code.to_string(), |alert| alert.name.to_owned())
}

/// What an alert means, and which stack means what by it.
pub(crate) fn alert_means(code: u8) -> Option<&'static str> {
    let known = alerts::ALERTS.iter().find(|alert| alert.code == code);
    known.map(|alert| alert.means)
}

fn stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST_READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// By name, if it is one; else by what the text holds, what says most first.
fn meaning(text: &str) -> Option<Meaning> {
    let text = text.trim();
    if let Ok(rule) = text.parse::<CheckRule>() {
        return Some(of_rule(rule));
    }
    if let Some(reason) = reason(text) {
        return Some(of_reason(reason));
    }
    if let Some(alert) = alerts::named(text) {
        return Some(of_alert(alert));
    }
    // What has no reason of ours has a name all the same.
    if let Some(page) = pages::of_name(text) {
        return Some(of_page(page));
    }
    // A log line of ours says its reason; there is nothing to guess.
    if let Some(reason) = logged(text) {
        return Some(of_reason(reason));
    }
    if let Some(symptom) = symptoms::find(text) {
        return Some(of_symptom(symptom));
    }
    if let Some(alert) = alerts::within(text) {
        return Some(of_alert(alert));
    }
    if let Some(meaning) = debugged(text) {
        return Some(meaning);
    }
    if let Some(symptom) = symptoms::find_vague(text) {
        return Some(of_symptom(symptom));
    }
    mentioned(text)
}

fn of_symptom(symptom: symptoms::Symptom) -> Meaning {
    Meaning {
        kind: "symptom",
        name: symptom.pattern.to_owned(),
        means: symptom.means.to_owned(),
        sections: symptom.sections(),
    }
}

fn of_rule(rule: CheckRule) -> Meaning {
    Meaning {
        kind: "rule",
        name: rule.to_string(),
        means: format!(
            "{} Expected: {}. To do: {}.",
            rule.summary(),
            rule.expected(),
            rule.remedy()
        ),
        sections: rules::section(rule).into_iter().collect(),
    }
}

fn of_reason(reason: Reason) -> Meaning {
    Meaning {
        kind: "reason",
        name: reason.to_string(),
        means: "One of the reasons that logs, metrics and errors tell.".to_owned(),
        sections: vec![reason.as_str()],
    }
}

fn of_page(page: Page) -> Meaning {
    Meaning {
        kind: "section",
        name: page.name.to_owned(),
        means: "It has no reason of ours: another stack fails so, or nothing does.".to_owned(),
        sections: vec![page.name],
    }
}

fn of_alert(alert: &alerts::Alert) -> Meaning {
    Meaning {
        kind: "alert",
        name: format!("{} ({})", alert.name, alert.code),
        means: format!("A TLS alert: {}.", alert.means),
        sections: alert.sections.to_vec(),
    }
}

fn reason(name: &str) -> Option<Reason> {
    let mut all = Reason::ALL.iter().copied();
    all.find(|reason| reason.as_str() == name)
}

/// The value of a field whose name ends in `reason`, in whatever way a log is written: `mtls.reason=expired`,
/// `"reason": "expired"`.
fn logged(text: &str) -> Option<Reason> {
    let mut parts = text.split("reason").skip(1);
    parts.find_map(|after| {
        let after = after.trim_start_matches(['"', '\'', ' ', '=', ':']);
        let end = after.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        reason(after.get(..end.unwrap_or(after.len()))?)
    })
}

/// The section of an error of ours in the form that Rust prints for programmers, which is what `main` returns: the innermost variant
/// is the cause. One that is an English word as well counts where it is the `fault`.
fn debugged(text: &str) -> Option<Meaning> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut is_fault = false;
    let mut found = None;
    for word in text.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
        let name = in_snake_case(word);
        let is_variant = word.starts_with(|c: char| c.is_ascii_uppercase());
        if is_variant && (is_fault || name.contains('_')) {
            let mut named = VARIANTS.iter();
            let named = named.find(|(_, variants)| variants.contains(&word));
            let named = named.map_or(name.as_str(), |(section, _)| section);
            found = reason(named).or(found);
        }
        is_fault = word == "fault";
    }
    found.map(of_reason)
}

fn in_snake_case(word: &str) -> String {
    let mut name = String::new();
    for (index, c) in word.char_indices() {
        if c.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// A name of ours among the words. One that is an English word as well is not taken for a name.
fn mentioned(text: &str) -> Option<Meaning> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut words = text
        .split(|c| !is_part(c))
        .filter(|word| word.contains(['_', '-']));
    words.find_map(|word| {
        let rule = word.parse().ok().map(of_rule);
        rule.or_else(|| reason(word).map(of_reason))
    })
}

fn human(meaning: Option<&Meaning>, out: &mut impl Write) -> io::Result<()> {
    let Some(meaning) = meaning else {
        return writeln!(
            out,
            "nothing here tells of it: look for an alert's name or number in the text, or at the log of the other side"
        );
    };
    writeln!(out, "{} `{}`", meaning.kind, meaning.name)?;
    writeln!(out, "{}", meaning.means)?;
    for (index, page) in pages(meaning).enumerate() {
        if index == MOST_SHOWN {
            let more = meaning.sections.iter().skip(MOST_SHOWN);
            let more: Vec<_> = more.copied().collect();
            writeln!(out, "\nsee also: {}", more.join(", "))?;
            break;
        }
        writeln!(out, "\n{}\n\n{}", page.name, page.shown())?;
        writeln!(out, "\n({})", page.place())?;
    }
    Ok(())
}

fn as_json(meaning: Option<&Meaning>, out: &mut impl Write) -> io::Result<()> {
    let found = meaning.map(|meaning| {
        json!({
            "kind": meaning.kind,
            "name": meaning.name,
            "means": meaning.means,
            "see": meaning.sections,
        })
    });
    let sections = meaning
        .into_iter()
        .flat_map(pages)
        .map(|page| json!({ "name": page.name, "docs": page.place(), "text": page.shown() }));
    let value = json!({
        "version": 1,
        "found": found,
        "sections": sections.collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn pages(meaning: &Meaning) -> impl Iterator<Item = Page> {
    meaning
        .sections
        .iter()
        .filter_map(|name| pages::of_name(name))
}

/// Variants of our errors that have not the name of their reason.
const VARIANTS: &[(&str, &[&str])] = &[
    (
        "crl_unusable",
        &["CrlMissing", "CrlRefused", "CrlUnexpected", "CrlsEmpty"],
    ),
    ("empty_bundle", &["AnchorsUnusable", "BundleEmpty"]),
    (
        "file_unreadable",
        &["FileLinkLoop", "FileNotRegular", "FileTooLarge"],
    ),
    (
        "invalid_identity",
        &["InvalidSpiffeId", "SpiffeIdWithoutPath", "UndecodableUri"],
    ),
    (
        "key_unusable",
        &["KeyMissing", "KeySeveral", "KeyUnsupported"],
    ),
    (
        "malformed_certificate",
        &["CertificateMalformed", "Malformed", "TooLarge"],
    ),
    (
        "malformed_file",
        &[
            "BundleMisnamed",
            "BundleNotNamed",
            "BundleTwice",
            "ChainEmpty",
            "DerTruncated",
            "DirectoryAmbiguous",
            "DirectoryCrowded",
            "DirectoryUnrecognized",
            "FileEmpty",
            "JsonNotSupported",
            "KeyInBundle",
            "PemMalformed",
            "PemTruncated",
            "SpiffeBundleMalformed",
            "WrongFormat",
        ],
    ),
];

/// More than anybody pastes on purpose.
const MOST_READ: u64 = 64 * 1024;

/// As many pages as somebody reads at a terminal.
const MOST_SHOWN: usize = 2;

#[cfg(test)]
mod tests;
