//! SIGHUP, which reaches the whole process: hence a binary of its own.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;
use std::time::Duration;

use mtls_core::testing::{PlainDir, TestCa};
use mtls_core::{CredentialFiles, CredentialSource};
use tokio::time::timeout;

fn hang_up() {
    let kill = format!("kill -HUP {}", std::process::id());
    let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(sent.success());
}

/// A source that of itself would look again in an hour, whatever happens to its files.
async fn inattentive(dir: &PlainDir) -> CredentialSource {
    CredentialSource::builder()
        .poll_interval(HOUR)
        .quiet_time(HOUR)
        .watch(CredentialFiles::kubernetes(dir.path()))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_hangup_is_a_reload() {
    let _alone = ALONE.lock().await;
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = inattentive(&dir).await;
    let reloads = tokio::spawn(source.reload_on_hangup().unwrap());
    let mut changes = source.subscribe();
    for generation in 2..=4 {
        let renewed = ca.issue("/web");
        dir.rotate(&renewed);
        // Nobody else tells of it: otherwise this would prove nothing.
        tokio::task::yield_now().await;
        assert_eq!(source.status().generation, generation - 1);
        hang_up();
        let told = timeout(DEADLINE, changes.changed()).await;
        assert_eq!(told.expect("a new snapshot in time"), Some(generation));
        assert_eq!(source.current().credentials().serial(), renewed.serial());
    }
    assert!(!reloads.is_finished());
}

#[tokio::test]
async fn what_waits_for_a_hangup_ends_with_its_source() {
    let _alone = ALONE.lock().await;
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = inattentive(&dir).await;
    let reloads = tokio::spawn(source.reload_on_hangup().unwrap());
    tokio::task::yield_now().await;
    assert!(!reloads.is_finished());
    drop(source);
    let ended = timeout(DEADLINE, reloads).await;
    ended.expect("it ends, without a signal").unwrap();

    // And where there is nothing to read it does not begin.
    let published = ca.source(&ca.issue("/web"));
    let nothing = timeout(DEADLINE, published.reload_on_hangup().unwrap()).await;
    nothing.expect("it ends at once");
}

/// A signal of one test would be news to the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const HOUR: Duration = Duration::from_secs(60 * 60);
const DEADLINE: Duration = Duration::from_secs(20);
