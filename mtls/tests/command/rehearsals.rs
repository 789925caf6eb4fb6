//! `mtls dev` makes what `mtls check` finds.

use mtls_core::check::{Caller, CheckRule, Severity};
use mtls_core::testing::{Rehearsal, TestCa};
use serde_json::Value;

use crate::mtls;

/// The arguments that `dev break` says to look with.
fn look(said: &str) -> Vec<String> {
    let (_, command) = said.split_once("see: mtls ").unwrap();
    command.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Every line of base64 in a key's file, in pieces too short to be told by chance.
fn pieces(key: &str) -> Vec<&str> {
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    lines
        .flat_map(|line| line.as_bytes().chunks_exact(12))
        .filter_map(|piece| std::str::from_utf8(piece).ok())
        .collect()
}

#[test]
fn each_rule_is_broken_found_and_no_format_shows_a_piece_of_the_key() {
    let dir = tempfile::tempdir().unwrap();
    for rule in CheckRule::ALL {
        // Into one directory, one after the other, as somebody does who rehearses.
        let made = mtls(dir.path(), &["dev", "break", rule.as_str(), "b"]);
        assert_eq!(made.code, 0, "{made:?}");
        let look = look(&made.out);
        let keys = ["tls.key", "web.key", "web/tls.key", "api/tls.key"];
        let keys = keys.map(|name| std::fs::read(dir.path().join("b").join(name)));
        let keys: Vec<u8> = keys.into_iter().flatten().flatten().collect();
        let key = String::from_utf8_lossy(&keys);
        for format in ["human", "json", "sarif", "github", "junit"] {
            let mut arguments = look.clone();
            arguments.extend(["--format".to_owned(), format.to_owned()]);
            let found = mtls(dir.path(), &arguments);
            let is_error = rule.severity(Caller::Command) == Severity::Error
                // Nobody verifies one.
                || *rule == CheckRule::LeafSelfSigned
                // And nothing is valid.
                || *rule == CheckRule::ClockSuspect;
            assert_eq!(found.code, i32::from(is_error), "{rule}: {found:?}");
            assert!(found.out.contains(rule.as_str()), "{rule}: {found:?}");
            // A chain in the key's place is no secret.
            if *rule != CheckRule::KeyMissing {
                for piece in pieces(&key) {
                    let told = format!("{}{}", found.out, found.err);
                    assert!(!told.contains(piece), "{rule} in {format} shows `{piece}`");
                }
            }
        }
    }
}

#[test]
fn what_is_about_more_than_one_sets_files_yields_its_rule_and_no_other() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let mut broken = 0;
    let all = CheckRule::ALL.iter();
    for rule in all.filter(|rule| Rehearsal::of(**rule, &ca).is_none()) {
        let made = mtls(dir.path(), &["dev", "break", rule.as_str(), "b"]);
        let mut look = look(&made.out);
        look.extend(["--format".to_owned(), "json".to_owned()]);
        let found = mtls(dir.path(), &look);
        let report: Value = serde_json::from_str(&found.out).unwrap();
        let sets = report["sets"].as_array().unwrap().iter();
        let findings = sets.flat_map(|set| set["findings"].as_array().unwrap());
        let mut rules: Vec<_> = findings.map(|f| f["rule"].as_str().unwrap()).collect();
        rules.dedup();
        assert_eq!(rules, [rule.as_str()], "{found:?}");
        broken += 1;
    }
    assert!(broken >= 9, "{broken}");
}

/// What differs each time: serials and digests, times, sizes and names of directories.
fn masked(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '_' | '+');
    let mut shown = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end.max(c.len_utf8()));
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let is_hex = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
        let is_time = word.len() >= 10 && word.starts_with("20") && digits >= 8;
        let is_count = digits == word.len() && digits >= 2;
        let is_generation = word.starts_with("..20");
        shown.push_str(match (is_hex || is_count, is_time || is_generation) {
            (true, _) => "N",
            (_, true) => "T",
            (false, false) => word,
        });
        rest = after;
    }
    shown
}

/// `stated.tsv` has, for each rule, what is found in the set that `dev break` makes, what is expected, and what to do.
/// `MTLS_WRITE_DOCS=1` writes the table anew; whoever does reads it.
#[test]
fn each_rule_is_found_with_the_text_that_is_stated() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let root = format!("{}/", root.display());
    let mut stated = String::new();
    for rule in CheckRule::ALL {
        let made = mtls(dir.path(), &["dev", "break", rule.as_str(), "b"]);
        let mut look = look(&made.out);
        look.extend(["--format".to_owned(), "json".to_owned()]);
        let found = mtls(dir.path(), &look);
        let report: Value = serde_json::from_str(&found.out).unwrap();
        let sets = report["sets"].as_array().unwrap().iter();
        let mut findings = sets.flat_map(|set| set["findings"].as_array().unwrap());
        let finding = findings.find(|finding| finding["rule"] == rule.as_str());
        let finding = finding.unwrap_or_else(|| panic!("{rule}: {found:?}"));
        let text = |field: &str| {
            let text = finding[field].as_str().unwrap();
            masked(&text.replace(&root, "")).replace('\n', "; ")
        };
        let texts = ["found", "expected", "remedy"].map(text).join("\t");
        stated.push_str(&format!("{rule}\t{texts}\n"));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command/stated.tsv");
    if std::env::var_os("MTLS_WRITE_DOCS").is_some() {
        std::fs::write(&path, &stated).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    for (found, expected) in stated.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(stated.lines().count(), expected.lines().count());
}

#[test]
fn two_words_make_services_that_authenticate_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let made = mtls(dir.path(), &["dev", "example.org", "web", "api"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.contains("created dev/web"), "{made:?}");
    assert!(made.out.contains("spiffe://example.org/web"), "{made:?}");
    let checked = mtls(
        dir.path(),
        &["check", "dev/web", "--dev", "--against", "dev/api"],
    );
    assert_eq!(checked.code, 0, "{checked:?}");
    let production = mtls(dir.path(), &["check", "dev/web"]);
    assert_eq!(production.code, 1, "{production:?}");
    assert!(production.out.contains("dev-ca"), "{production:?}");
}

#[cfg(unix)]
#[test]
fn development_credentials_are_mounted_as_a_kubelet_does_and_renewed_by_making_them_anew() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("dev/web");
    let make = || mtls(dir.path(), &["dev", "example.org", "web"]);
    assert_eq!(make().code, 0);
    let data = || std::fs::read_link(web.join("..data")).unwrap();
    assert_eq!(
        std::fs::read_link(web.join("tls.crt")).unwrap().to_str(),
        Some("..data/tls.crt")
    );
    let mode = std::fs::metadata(web.join("tls.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let (generation, chain) = (data(), std::fs::read(web.join("tls.crt")).unwrap());
    assert_eq!(make().code, 0);
    assert_ne!(data(), generation);
    assert_ne!(std::fs::read(web.join("tls.crt")).unwrap(), chain);
    assert!(
        !web.join(generation).exists(),
        "the generation of before is gone"
    );
    // No key of a CA is left anywhere.
    let names = std::fs::read_dir(dir.path().join("dev")).unwrap();
    assert_eq!(names.count(), 1);
}
