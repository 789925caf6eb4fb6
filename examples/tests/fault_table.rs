//! What `docs/reload-faults.md`, `docs/layouts.md` and `docs/security-model.md` say: each row has a test that is there, or
//! a reason why it has none.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails, and files of the repository are no peer's"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A row of the table.
struct Row {
    number: usize,
    /// Each test, and the file that it is said to be in.
    tests: Vec<(String, String)>,
    reason: String,
}

impl Row {
    fn parse(line: &str) -> Result<Self, String> {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", number, fault, behaviour, held, reason, ""] = cells[..] else {
            return Err("it has not five cells".to_owned());
        };
        if fault.is_empty() || behaviour.is_empty() {
            return Err("it does not say what happens".to_owned());
        }
        Ok(Self {
            number: number.parse().map_err(|_| "it has no number")?,
            tests: tests(held)?,
            reason: reason.to_owned(),
        })
    }
}

/// A file in backticks, then the tests in it, then perhaps the next file.
fn tests(cell: &str) -> Result<Vec<(String, String)>, String> {
    let (mut file, mut tests) = (None, Vec::new());
    for (index, part) in cell.split('`').enumerate() {
        if index % 2 == 0 {
            if !matches!(part.trim(), "" | ",") {
                return Err(format!("`{part}` is in no backticks"));
            }
        } else if part.ends_with(".rs") {
            if file.is_some_and(|file| tests.iter().all(|(at, _)| at != file)) {
                return Err(format!("no test is named before {part}"));
            }
            file = Some(part);
        } else {
            let file = file.ok_or("a test is named without its file")?;
            tests.push((file.to_owned(), part.to_owned()));
        }
    }
    match file {
        Some(file) if tests.iter().all(|(at, _)| at != file) => {
            Err(format!("no test is named in {file}"))
        }
        _ => Ok(tests),
    }
}

/// Whether a function of this name is a test there.
fn is_a_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().position(|line| is_it(line)).is_some_and(|at| {
        // Its attributes stand right above it.
        let above = lines.iter().take(at).rev();
        let attributes: Vec<_> = above.take_while(|line| line.starts_with("#[")).collect();
        let has = |start| attributes.iter().any(|line| line.starts_with(start));
        (has("#[test]") || has("#[tokio::test")) && !has("#[ignore")
    })
}

/// What is wrong with a table whose files are read by `read`.
fn faults(table: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut files = BTreeMap::new();
    let mut last = 0;
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    for line in rows {
        let row = match Row::parse(line) {
            Ok(row) => row,
            Err(fault) => {
                wrong.push(format!("{fault}: {line}"));
                continue;
            }
        };
        let number = row.number;
        if number <= last {
            wrong.push(format!("row {number} is not in order"));
        }
        last = number;
        if row.tests.is_empty() && row.reason.is_empty() {
            wrong.push(format!("row {number} has neither a test nor a reason"));
        }
        for (file, test) in row.tests {
            let source = files.entry(file.clone()).or_insert_with(|| read(&file));
            match source {
                None => wrong.push(format!("row {number}: there is no {file}")),
                Some(source) if !is_a_test(source, &test) => {
                    wrong.push(format!("row {number}: no test {test} in {file}"));
                }
                Some(_) => {}
            }
        }
    }
    wrong
}

fn repository(path: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).ok()
}

#[test]
fn each_fault_has_a_test_that_is_there_or_a_reason() {
    assert_held("docs/reload-faults.md", 56);
}

#[test]
fn each_layout_has_a_test_that_is_there_or_a_reason() {
    assert_held("docs/layouts.md", 25);
}

#[test]
fn each_promise_has_a_test_that_is_there_or_a_reason() {
    assert_held("docs/security-model.md", 42);
}

fn assert_held(path: &str, last: usize) {
    let table = repository(path).expect("the table");
    let wrong = faults(&table, repository);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let numbers: Vec<_> = rows.map(|row| Row::parse(row).unwrap().number).collect();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
}

#[test]
fn a_row_without_either_and_a_test_that_is_not_there_are_told() {
    let read = |path: &str| {
        let source = "#[tokio::test(start_paused = true)]\n#[cfg(unix)]\nasync fn there() {}\n\n\
            fn helper() {}\n\n#[test]\n#[ignore = \"slow\"]\nfn ignored() {}";
        (path == "a.rs").then(|| source.to_owned())
    };
    let wrong = |row: &str| faults(&format!("| # |\n|---|\n{row}"), read);
    for fine in [
        "| 1 | fault | what | `a.rs` `there` | |",
        "| 1 | fault | what | `a.rs` `there`, `a.rs` `there` | and a reason |",
        "| 1 | fault | what | | not yet |",
    ] {
        assert!(wrong(fine).is_empty(), "{fine}: {:?}", wrong(fine));
    }
    for (row, expected) in [
        ("| 1 | fault | what | | |", "neither a test nor a reason"),
        (
            "| 1 | fault | what | `a.rs` `gone` | |",
            "no test gone in a.rs",
        ),
        (
            "| 1 | fault | what | `a.rs` `ther` | |",
            "no test ther in a.rs",
        ),
        (
            "| 1 | fault | what | `a.rs` `helper` | |",
            "no test helper in a.rs",
        ),
        (
            "| 1 | fault | what | `a.rs` `ignored` | |",
            "no test ignored in a.rs",
        ),
        (
            "| 1 | fault | what | `b.rs` `there` | |",
            "there is no b.rs",
        ),
        (
            "| 1 | fault | what | `a.rs` | |",
            "no test is named in a.rs",
        ),
        ("| 1 | fault | what | `there` | |", "without its file"),
        ("| 1 | fault | what | a.rs there | |", "in no backticks"),
        ("| 1 | fault | | `a.rs` `there` | |", "does not say"),
        ("| one | fault | what | | not yet |", "no number"),
        ("| 1 | fault | what | not yet |", "five cells"),
        (
            "| 2 | fault | what | | not yet |\n| 1 | fault | what | | not yet |",
            "not in order",
        ),
    ] {
        let wrong = wrong(row);
        assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?}");
    }
}
