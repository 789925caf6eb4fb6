//! Policy files: what cannot be read, and rules that decide nothing.

use std::path::Path;

use super::finding::{CheckPlace, Finding, Found, Report};
use super::options::CheckOptions;
use super::rule::CheckRule;
use crate::error::Chained;
use crate::policy::{PolicyDocument, PolicyFileError, PolicyFinding};

/// Looks at a policy file, JSON if its name ends in `.json` and else TOML, and tells what is wrong with it.
///
/// The policy is built as one about requests, which one about peers alone is too.
#[must_use]
pub fn check_policy(path: &Path, bytes: &[u8], options: &CheckOptions) -> Report {
    let mut found = Found::default();
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let document = match is_json {
        true => PolicyDocument::from_json(bytes),
        false => PolicyDocument::from_toml(bytes),
    };
    match document.and_then(|document| document.request_policy()) {
        Ok(policy) => {
            for finding in policy.findings() {
                let rule = match finding {
                    PolicyFinding::NeverMatches { .. } => CheckRule::PolicyNeverMatches,
                    PolicyFinding::NeverAllows { .. } => CheckRule::PolicyNeverAllows,
                    PolicyFinding::Shadowed { .. } => CheckRule::PolicyShadowed,
                };
                let told = Finding::new(rule, CheckPlace::file(path), finding.to_string());
                found.add(told.remedy(finding.remedy()));
            }
        }
        Err(error) => found.add(unreadable(path, &error)),
    }
    Report::judged(found.into_vec(), options)
}

fn unreadable(path: &Path, error: &PolicyFileError) -> Finding {
    let place = match error.line() {
        Some(line) => CheckPlace::line(path, line),
        None => CheckPlace::file(path),
    };
    let text = Chained(error).to_string();
    Finding::new(CheckRule::PolicyUnreadable, place, text).remedy(error.remedy())
}
