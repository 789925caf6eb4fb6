//! The soak, for three seconds on each door: as a program of its own, since it counts what its process holds.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Command, Output};

fn soak(arguments: &[&str]) -> (Output, String) {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_soak"));
    let output = soak.args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

#[test]
fn through_every_door_rotation_loses_no_request_mistakes_nobody_and_leaves_nothing_behind() {
    let (output, said) = soak(&["--seconds", "3"]);
    assert!(output.status.success(), "{said}\n{output:?}");
    let well = said.lines().filter(|line| line.contains(": well; "));
    assert_eq!(well.count(), 7, "{said}");
    println!("{said}");
}

#[test]
fn a_ca_that_is_replaced_in_one_step_fails_the_soak() {
    let (output, said) = soak(&["--seconds", "1", "--careless", "--door", "mtls_axum::serve"]);
    assert_eq!(output.status.code(), Some(1), "{said}\n{output:?}");
    assert!(said.contains("NOT WELL"), "{said}");
    assert!(!said.contains(" 0 failed"), "{said}");
}
