//! For people, with colours where a terminal shows them.

use std::io::{self, Write};

use mtls_core::check::{Finding, Severity};

use super::{Named, counts};

pub(super) fn write(reports: &[Named], colours: bool, out: &mut impl Write) -> io::Result<()> {
    let paint = Paint { colours };
    for named in reports {
        let Named { name, report } = named;
        if report.findings().is_empty() {
            writeln!(out, "{} {name}", paint.good("ok"))?;
        } else {
            writeln!(out, "{}", paint.bold(name))?;
        }
        for finding in report.findings() {
            one(finding, &paint, out)?;
        }
        for allowed in report.allowed() {
            let rule = allowed.finding.rule;
            writeln!(out, "  allowed {rule} ({})", allowed.reason)?;
        }
    }
    let [errors, warnings, infos] = counts(reports);
    writeln!(
        out,
        "{}, {}, {}",
        plural(errors, "error"),
        plural(warnings, "warning"),
        plural(infos, "note")
    )
}

fn one(finding: &Finding, paint: &Paint, out: &mut impl Write) -> io::Result<()> {
    let word = paint.severity(finding.severity);
    writeln!(
        out,
        "  {word} {} {}",
        paint.bold(finding.rule.as_str()),
        finding.place
    )?;
    writeln!(out, "    found     {}", finding.found)?;
    writeln!(out, "    expected  {}", finding.expected)?;
    writeln!(out, "    remedy    {}", finding.remedy)?;
    let minded: Vec<_> = finding
        .minded_by()
        .iter()
        .map(|stack| stack.as_str())
        .collect();
    if !minded.is_empty() {
        writeln!(out, "    minded by {}", minded.join(", "))?;
    }
    writeln!(out, "    see       {}", finding.rule.doc_anchor())
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

struct Paint {
    colours: bool,
}

impl Paint {
    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    fn severity(&self, severity: Severity) -> String {
        match severity {
            Severity::Error => self.paint("1;31", "error"),
            Severity::Warn => self.paint("33", "warn"),
            Severity::Info => self.paint("36", "info"),
        }
    }

    /// ECMA-48's select graphic rendition.
    fn paint(&self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}
