//! `docs/check-rules.md` says what the rules are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mtls_core::check::{Caller, CheckRule, TlsStack};
use mtls_core::testing::{Rehearsal, TestCa};

/// Where the rules are tested that are about more than files.
const ELSEWHERE: &[(CheckRule, &str, &str)] = &[
    (
        CheckRule::HandshakeRefused,
        "mtls-core/tests/check/against.rs",
        "a_peer_of_another_ca_is_refused_and_both_sides_say_by_whom_and_why",
    ),
    (
        CheckRule::IdentityUnmatched,
        "mtls-core/tests/check/against.rs",
        "who_the_other_sides_policy_does_not_let_in_is_named",
    ),
    (
        CheckRule::KeyReused,
        "mtls-core/tests/check/against.rs",
        "one_key_in_two_sets_is_told_and_one_set_twice_is_not",
    ),
    (
        CheckRule::LayoutUnknown,
        "mtls-core/tests/check/layouts.rs",
        "a_directory_without_one_known_layout_is_a_finding",
    ),
    (
        CheckRule::MountEnv,
        "mtls/tests/command/workloads.rs",
        "each_broken_twin_of_the_example_yields_its_rule_and_no_other",
    ),
    (
        CheckRule::MountSubpath,
        "mtls-core/tests/faults/mounts.rs",
        "a_file_that_is_mounted_by_itself_is_a_finding_of_the_check",
    ),
    (
        CheckRule::PolicyNeverAllows,
        "mtls-core/tests/check/policies.rs",
        "rules_that_decide_nothing_are_told_by_name",
    ),
    (
        CheckRule::PolicyNeverMatches,
        "mtls-core/tests/check/policies.rs",
        "rules_that_decide_nothing_are_told_by_name",
    ),
    (
        CheckRule::PolicyShadowed,
        "mtls-core/tests/check/policies.rs",
        "rules_that_decide_nothing_are_told_by_name",
    ),
    (
        CheckRule::PolicyUnreadable,
        "mtls-core/tests/check/policies.rs",
        "a_policy_file_that_does_not_hold_is_told_with_its_line",
    ),
];

const REHEARSED: (&str, &str) = (
    "mtls-core/tests/check/rules.rs",
    "every_rule_has_files_that_trigger_it_and_no_other",
);

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(path)
}

/// A row of the table as it should be.
fn row(rule: CheckRule, ca: &TestCa) -> String {
    let minded: Vec<_> = rule
        .minded_by()
        .iter()
        .map(|stack| stack.as_str())
        .collect();
    let severities = Caller::ALL
        .iter()
        .map(|caller| rule.severity(*caller).as_str());
    let severities: Vec<_> = severities.collect();
    let elsewhere = ELSEWHERE.iter().find(|(of, ..)| *of == rule);
    let (file, test) = match (Rehearsal::of(rule, ca), elsewhere) {
        (Some(_), None) => REHEARSED,
        (None, Some((_, file, test))) => (*file, *test),
        (made, _) => panic!("{rule}: rehearsed {} and elsewhere", made.is_some()),
    };
    format!(
        "| `{rule}` | {} | {} | {} | `{file}` `{test}` |",
        rule.summary(),
        severities.join(" | "),
        minded.join(", "),
    )
}

#[test]
fn the_document_has_a_row_for_each_rule_as_the_table_in_the_code_has_it() {
    let path = repository("docs/check-rules.md");
    let document = fs::read_to_string(&path).unwrap();
    let ca = TestCa::new("example.org");
    let rows: Vec<_> = CheckRule::ALL.iter().map(|rule| row(*rule, &ca)).collect();
    let begin = "|---|---|---|---|---|---|---|\n";
    let start = document.find(begin).unwrap() + begin.len();
    let (head, rest) = document.split_at(start);
    let end = rest.find("\n\n").unwrap();
    let (table, tail) = rest.split_at(end);
    let wanted = rows.join("\n");
    if std::env::var_os("MTLS_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{head}{wanted}{tail}")).unwrap();
        return;
    }
    for (found, wanted) in table.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted, "MTLS_WRITE_DOCS=1 writes it anew");
    }
    assert_eq!(table.lines().count(), rows.len());
}

#[test]
fn every_test_that_the_document_names_is_there() {
    let document = fs::read_to_string(repository("docs/check-rules.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let tests: BTreeSet<_> = rows
        .filter_map(|row| {
            let cell = row.trim_end_matches(" |").rsplit("| ").next()?;
            let (file, test) = cell.split_once("` `")?;
            Some((
                file.trim_matches('`').to_owned(),
                test.trim_matches('`').to_owned(),
            ))
        })
        .collect();
    assert!(tests.len() >= 6, "{tests:?}");
    for (file, test) in tests {
        let source = fs::read_to_string(repository(&file)).unwrap_or_default();
        assert!(
            source.contains(&format!("fn {test}(")),
            "no {test} in {file}"
        );
    }
}

#[test]
fn rules_that_are_not_built_have_a_reason_and_are_none_of_ours() {
    let document = fs::read_to_string(repository("docs/check-rules.md")).unwrap();
    let (_, rest) = document.split_once("## Not built").unwrap();
    let rows: Vec<_> = rest
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert_eq!(rows.len(), 9);
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let ["", name, severity, reason, ""] = cells[..] else {
            panic!("{row}");
        };
        assert!(
            name.trim_matches('`').parse::<CheckRule>().is_err(),
            "{name}"
        );
        assert!(["info", "warn"].contains(&severity), "{row}");
        assert!(reason.len() > 20, "{row}");
    }
    assert_eq!(TlsStack::ALL.len(), 6);
}
