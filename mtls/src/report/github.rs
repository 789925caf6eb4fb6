//! Workflow commands of GitHub Actions: `::error file=…,line=…,title=…::message`.

use std::io::{self, Write};

use mtls_core::check::Severity;

use super::{Named, counts, findings, on_disk, sentence};

pub(super) fn write(reports: &[Named], out: &mut impl Write) -> io::Result<()> {
    for (_, finding) in findings(reports) {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warn => "warning",
            Severity::Info => "notice",
        };
        let (file, line) = on_disk(&finding.place);
        let file = property(&file);
        let title = property(&format!("mtls {}", finding.rule));
        let message = data(&sentence(finding));
        writeln!(
            out,
            "::{command} file={file},line={line},title={title}::{message}"
        )?;
    }
    let [errors, warnings, _] = counts(reports);
    writeln!(out, "{errors} errors, {warnings} warnings")
}

/// What a message must not hold, or a file name in it could begin another command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_end_a_property_or_begin_a_command() {
        assert_eq!(
            property("a,line=1::x\n::error"),
            "a%2Cline=1%3A%3Ax%0A%3A%3Aerror"
        );
        assert_eq!(data("100% \r\n::error::x"), "100%25 %0D%0A::error::x");
    }
}
