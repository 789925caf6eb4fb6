//! JUnit's XML: a suite for each set, a test case for each finding, and one that passes where there is none.

use std::io::{self, Write};

use mtls_core::check::{Finding, Severity};

use super::{Named, sentence};

pub(super) fn write(reports: &[Named], fail_on: Severity, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"mtls check\">")?;
    for Named { name, report } in reports {
        let findings = report.findings();
        let failures = findings
            .iter()
            .filter(|finding| finding.severity >= fail_on);
        let (tests, failures) = (findings.len().max(1), failures.count());
        let name = escaped(name);
        writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\">"
        )?;
        if findings.is_empty() {
            writeln!(
                out,
                "    <testcase classname=\"{name}\" name=\"no findings\"/>"
            )?;
        }
        for finding in findings {
            case(&name, finding, fail_on, out)?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn case(set: &str, finding: &Finding, fail_on: Severity, out: &mut impl Write) -> io::Result<()> {
    let rule = finding.rule;
    let text = escaped(&sentence(finding));
    let place = escaped(&finding.place.to_string());
    writeln!(
        out,
        "    <testcase classname=\"{set}\" name=\"{rule} {place}\">"
    )?;
    if finding.severity >= fail_on {
        let found = escaped(&finding.found);
        writeln!(
            out,
            "      <failure type=\"{rule}\" message=\"{found}\">{text}</failure>"
        )?;
    } else {
        writeln!(out, "      <system-out>{text}</system-out>")?;
    }
    writeln!(out, "    </testcase>")
}

/// XML 1.0 §2.4; characters that it does not allow at all (§2.2) are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_an_attribute_or_begin_an_element() {
        assert_eq!(
            escaped("\"/><x>&\u{1b}[0m\n"),
            "&quot;/&gt;&lt;x&gt;&amp;[0m "
        );
    }
}
