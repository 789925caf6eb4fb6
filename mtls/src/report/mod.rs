//! What was found, for people and for machines.

mod github;
mod human;
mod json;
mod junit;
mod sarif;

use std::io::{self, Write};

use clap::ValueEnum;
use mtls_core::check::{CheckPlace, Finding, Report, Severity};

/// A report, and the set that it is about.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) report: Report,
}

impl Named {
    pub(crate) fn new(name: String, report: Report) -> Self {
        Self { name, report }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Workflow commands of GitHub Actions, which become annotations.
    Github,
    /// For people.
    Human,
    /// One JSON object; its shape is stable.
    Json,
    /// JUnit's XML, for CI systems that show tests.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

pub(crate) fn write(
    reports: &[Named],
    format: Format,
    colours: bool,
    fail_on: Severity,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Github => github::write(reports, out),
        Format::Human => human::write(reports, colours, out),
        Format::Json => json::write(reports, out),
        Format::Junit => junit::write(reports, fail_on, out),
        Format::Sarif => sarif::write(reports, out),
    }
}

/// Every finding, with the name of the set that it is about.
fn findings(reports: &[Named]) -> impl Iterator<Item = (&str, &Finding)> {
    reports.iter().flat_map(|named| {
        let findings = named.report.findings().iter();
        findings.map(|finding| (named.name.as_str(), finding))
    })
}

/// How many findings there are of each severity: errors, warnings, and the rest.
fn counts(reports: &[Named]) -> [usize; 3] {
    let of = |severity| {
        findings(reports)
            .filter(|(_, finding)| finding.severity == severity)
            .count()
    };
    [of(Severity::Error), of(Severity::Warn), of(Severity::Info)]
}

/// The file on disk and the line in it. What follows a `#` is an object in a manifest and an entry of it, whose lines are
/// not the file's.
fn on_disk(place: &CheckPlace) -> (String, usize) {
    let shown = place.file.display().to_string();
    match shown.split_once('#') {
        Some((file, _)) => (file.to_owned(), 1),
        None => (shown, place.line.unwrap_or(1)),
    }
}

/// What there is to say in one paragraph.
fn sentence(finding: &Finding) -> String {
    format!(
        "{}: {}; expected {}. {}",
        finding.place, finding.found, finding.expected, finding.remedy
    )
}
