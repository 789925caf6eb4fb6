//! What the guides tell people to type.

use std::fs;
use std::path::Path;

use mtls_core::check::CheckRule;
use mtls_core::testing::{Rehearsal, TestCa};

use crate::mtls;

/// What stands after these words in the guides, up to the end of its line or of its code.
fn after(words: &str) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let files = fs::read_dir(docs).unwrap().map(|file| file.unwrap().path());
    let mut all = Vec::new();
    for text in files.filter_map(|file| fs::read_to_string(file).ok()) {
        let rests = text.split(words).skip(1);
        all.extend(
            rests.filter_map(|rest| Some(rest.split(['\n', '`', '#', '|']).next()?.to_owned())),
        );
    }
    all
}

#[test]
fn every_rule_that_a_guide_breaks_can_be_broken() {
    let ca = TestCa::new("example.org");
    let mut broken = 0;
    for rest in after("mtls dev break ") {
        let rule = rest.split_whitespace().next().unwrap();
        if rule == "list" || rule == "RULE" {
            continue;
        }
        let rule: CheckRule = rule
            .parse()
            .unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert!(Rehearsal::of(rule, &ca).is_some(), "{rule}");
        broken += 1;
    }
    assert!(broken >= 3, "{broken}");
}

#[test]
fn every_option_that_a_guide_gives_to_check_and_dev_is_one() {
    let dir = tempfile::tempdir().unwrap();
    for (command, fewest) in [("check", 8), ("dev", 3)] {
        let help = mtls(dir.path(), &[command, "--help"]).out;
        let known: Vec<_> = help
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .collect();
        let lines = after(&format!("mtls {command} "));
        let words = lines.iter().flat_map(|line| line.split([' ', '=']));
        let options: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
        for option in &options {
            assert!(known.contains(option), "mtls {command} has no {option}");
        }
        assert!(options.len() >= fewest, "{options:?}");
    }
}
