//! What our libraries depend on is what `docs/dependencies.md` says, no more and no less, and they use it.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the files are the project's own"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const OURS: [&str; 4] = ["mtls-axum", "mtls-core", "mtls-reqwest", "mtls-tower"];

#[test]
fn what_each_library_asks_for_is_on_the_list_and_is_used() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut asked_for = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(ours) = package["name"].as_str().filter(|name| OURS.contains(name)) else {
            continue;
        };
        let sources = sources(&root().join(ours).join("src"));
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["kind"] == "dev" {
                continue;
            }
            let theirs = dependency["name"].as_str().unwrap();
            let named = dependency["rename"]
                .as_str()
                .unwrap_or(theirs)
                .replace('-', "_");
            assert!(is_used(&sources, &named), "{ours} does not use {theirs}");
            asked_for.insert(vec![ours.to_owned(), theirs.to_owned()]);
        }
    }
    let listed: BTreeSet<_> = rows("What each asks for itself")
        .into_iter()
        .map(|row| row[..2].to_vec())
        .collect();
    let more: Vec<_> = asked_for.difference(&listed).collect();
    let less: Vec<_> = listed.difference(&asked_for).collect();
    assert!(more.is_empty(), "not in docs/dependencies.md: {more:?}");
    assert!(
        less.is_empty(),
        "in docs/dependencies.md, and gone: {less:?}"
    );
}

#[test]
fn what_they_bring_along_is_as_much_as_the_list_says() {
    let found = OURS.map(|ours| {
        let counts = [&["--no-default-features"][..], &[]].map(|features| {
            let tree = ["tree", "--package", ours, "--edges", "normal,build"];
            // Of one platform, so that it is the same wherever this runs.
            let shape = ["--target", "x86_64-unknown-linux-gnu", "--prefix", "none"];
            let tree = cargo(&[&tree[..], &shape, features].concat());
            let packages = tree.lines().map(|line| line.trim_end_matches(" (*)"));
            let theirs = packages.filter(|line| !line.is_empty() && !line.starts_with("mtls-"));
            theirs.collect::<BTreeSet<_>>().len().to_string()
        });
        let [without, with] = counts;
        vec![ours.to_owned(), without, with]
    });
    let listed: BTreeSet<_> = rows("How many packages").into_iter().collect();
    assert_eq!(
        BTreeSet::from(found),
        listed,
        "and docs/dependencies.md says"
    );
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--locked")
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of the table under the heading that begins so, without their ticks.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let heading = format!("## {heading}");
    let section = text.split_once(&heading).unwrap().1;
    let lines = section.lines().take_while(|line| !line.starts_with("## "));
    let rows = lines.filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split('|'));
    cells
        .map(|cells| {
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

/// The text of all source files below a directory, without their tests.
fn sources(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
            let source = fs::read_to_string(&path).unwrap();
            text += source.split("#[cfg(test)]").next().unwrap();
        }
    }
    text
}

/// Whether something of the crate is named. A module of ours that has its name would do too; such a crate is rare.
fn is_used(sources: &str, named: &str) -> bool {
    let path = format!("{named}::");
    sources.match_indices(&path).any(|(at, _)| {
        let before = sources[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
    })
}
