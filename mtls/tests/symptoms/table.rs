//! `docs/symptoms.md`: each row has a section that is there, and a test that is there or a reason why it has none.

use std::fs;
use std::path::Path;

const ROWS: usize = 89;

fn repository(path: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).ok()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn fault(row: &str, number: usize, pages: &str) -> Option<&'static str> {
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    let ["", said, symptom, section, test, why, ""] = cells[..] else {
        return Some("it has not five cells");
    };
    let section = quoted(section);
    let [section] = section[..] else {
        return Some("it names no section");
    };
    if said != number.to_string() || symptom.is_empty() {
        return Some("it is out of order, or has no symptom");
    }
    if !pages.contains(&format!("\n## `{section}`")) {
        return Some("there is no such section");
    }
    match quoted(test)[..] {
        [] if why.is_empty() => Some("it has neither a test nor a reason"),
        [] => None,
        [file, test] => {
            let source = repository(file).unwrap_or_default();
            let is_there = source.contains(&format!("fn {test}("));
            (!is_there).then_some("its test is not there")
        }
        _ => Some("its test is not a file and a name"),
    }
}

#[test]
fn each_symptom_has_its_section_and_a_test_or_a_reason() {
    let pages =
        ["docs/runbook.md", "mtls/src/explain/beside.md"].map(|path| repository(path).unwrap());
    let pages = pages.concat();
    let table = repository("docs/symptoms.md").unwrap();
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .collect();
    assert_eq!(rows.len(), ROWS);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(fault(row, index + 1, &pages), None, "{row}");
    }
}

#[test]
fn a_row_that_promises_what_is_not_there_is_told() {
    let pages = "\n## `expired`";
    let here = "`mtls/tests/symptoms/table.rs`";
    let good = format!(
        "| 1 | late | `expired` | {here} `each_symptom_has_its_section_and_a_test_or_a_reason` | |"
    );
    assert_eq!(fault(&good, 1, pages), None);
    for (row, expected) in [
        ("| 1 | late | `expired` | | |".to_owned(), "neither"),
        ("| 2 | late | `expired` | | why |".to_owned(), "order"),
        (
            "| 1 | late | `gone` | | why |".to_owned(),
            "no such section",
        ),
        (
            format!("| 1 | late | `expired` | {here} `gone` | |"),
            "not there",
        ),
    ] {
        assert!(fault(&row, 1, pages).unwrap().contains(expected), "{row}");
    }
}
