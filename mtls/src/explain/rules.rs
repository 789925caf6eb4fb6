//! Which section of the runbook a rule of `mtls check` belongs to: the one whose **Check.** line has its anchor, which is what
//! `CheckRule::doc_anchor` names.

use mtls_core::check::CheckRule;

use super::pages;

/// A rule that has a reason's name stands in that reason's section.
pub(super) fn section(rule: CheckRule) -> Option<&'static str> {
    let anchor = format!("<a id=\"{rule}\">");
    let page = pages::all().find(|page| page.name == rule.as_str() || page.text.contains(&anchor));
    page.map(|page| page.name)
}
