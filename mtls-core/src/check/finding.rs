//! What was found, and all of it together.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use super::options::CheckOptions;
use super::rule::CheckRule;
use super::who::{Caller, Severity, TlsStack};

/// One thing that is wrong. It holds names, dates and fingerprints, and never a byte of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The rule.
    pub rule: CheckRule,
    /// How bad it is for whoever asked.
    pub severity: Severity,
    /// Where it was found.
    pub place: CheckPlace,
    /// What was found.
    pub found: String,
    /// What should have been.
    pub expected: Cow<'static, str>,
    /// What to do, in one sentence.
    pub remedy: &'static str,
}

impl Finding {
    pub(super) fn new(rule: CheckRule, place: CheckPlace, found: impl Into<String>) -> Self {
        Self {
            rule,
            severity: rule.severity(Caller::Command),
            place,
            found: found.into(),
            expected: Cow::Borrowed(rule.expected()),
            remedy: rule.remedy(),
        }
    }

    pub(super) fn expected(mut self, expected: impl Into<Cow<'static, str>>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(super) fn remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = remedy;
        self
    }

    /// Which TLS stacks refuse it, or go wrong by it.
    #[must_use]
    pub fn minded_by(&self) -> &'static [TlsStack] {
        self.rule.minded_by()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            severity,
            place,
            found,
            ..
        } = self;
        write!(f, "{severity} {rule} {place}: {found}")
    }
}

/// A file, and what in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub struct CheckPlace {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Which certificate or list in it, from 1.
    pub block: Option<usize>,
    /// The line, from 1.
    pub line: Option<usize>,
}

impl CheckPlace {
    pub(super) fn file(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            block: None,
            line: None,
        }
    }

    pub(super) fn block(file: &Path, block: usize) -> Self {
        Self {
            file: file.to_owned(),
            block: Some(block),
            line: None,
        }
    }

    pub(super) fn line(file: &Path, line: usize) -> Self {
        Self {
            file: file.to_owned(),
            block: None,
            line: Some(line),
        }
    }
}

impl fmt::Display for CheckPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match (self.block, self.line) {
            (Some(block), _) => write!(f, " (block {block})"),
            (None, Some(line)) => write!(f, ":{line}"),
            (None, None) => Ok(()),
        }
    }
}

/// A finding that somebody has said is fine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allowed {
    /// What was found.
    pub finding: Finding,
    /// Why it is fine.
    pub reason: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
    allowed: Vec<Allowed>,
}

impl Report {
    /// What was found, the worst first, then by file and block.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What was found and had been allowed.
    #[must_use]
    pub fn allowed(&self) -> &[Allowed] {
        &self.allowed
    }

    /// The worst of it, if there is anything.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Adds what another check has found.
    pub fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.allowed.extend(other.allowed);
    }

    /// What is allowed is told apart, and the rest as bad as it is for whoever asks.
    pub(super) fn judged(findings: Vec<Finding>, options: &CheckOptions) -> Self {
        let mut report = Self::default();
        for mut finding in findings {
            finding.severity = finding.rule.severity(options.caller);
            match options.allow.get(&finding.rule) {
                Some(reason) => report.allowed.push(Allowed {
                    finding,
                    reason: reason.clone(),
                }),
                None => report.findings.push(finding),
            }
        }
        report.findings.sort_by(|one, other| {
            let worst_first = other.severity.cmp(&one.severity);
            worst_first.then_with(|| one.place.cmp(&other.place))
        });
        report
    }
}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Finding>);

impl Found {
    pub(super) fn add(&mut self, finding: Finding) {
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    pub(super) fn has_any(&self, rules: &[CheckRule]) -> bool {
        self.0.iter().any(|finding| rules.contains(&finding.rule))
    }

    /// Whether the loader would refuse for something that was found.
    pub(super) fn refuses(&self) -> bool {
        let at_startup = |finding: &Finding| finding.rule.severity(Caller::Startup);
        self.0
            .iter()
            .any(|finding| at_startup(finding) == Severity::Error)
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
