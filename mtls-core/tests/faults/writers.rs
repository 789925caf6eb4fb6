//! Writers that write twice, write half, or write where nobody hears it.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::fixture::*;
use crate::put;
use mtls_core::testing::{PlainDir, TestCa};

/// How many roots are trusted.
fn roots(source: &mtls_core::CredentialSource) -> usize {
    source.current().trust().bundle().anchors().len()
}

#[tokio::test]
async fn a_bundle_that_is_written_in_two_steps_is_taken_whole() {
    let cas = [(); 3].map(|()| TestCa::new("example.org"));
    let [first, second, third] = cas.each_ref().map(TestCa::root_pem);
    let dir = PlainDir::new(&cas[0].issue("/web"));
    // As long a time as no machine, however loaded, needs between the two writes below.
    let quiet = Duration::from_secs(2);
    let source = watch_with(builder().quiet_time(quiet), dir.path()).await;
    let mut changes = source.subscribe();
    dir.write_in_place("ca.crt", first.clone() + &second);
    dir.write_in_place("ca.crt", first + &second + &third);
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(roots(&source), 3);
}

#[tokio::test]
async fn a_bundle_whose_second_half_comes_late_is_corrected_when_it_comes() {
    let cas = [(); 3].map(|()| TestCa::new("example.org"));
    let [first, second, third] = cas.each_ref().map(TestCa::root_pem);
    let dir = PlainDir::new(&cas[0].issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    dir.write_in_place("ca.crt", first.clone() + &second);
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(roots(&source), 2);
    dir.write_in_place("ca.crt", first + &second + &third);
    assert_eq!(next(&mut changes).await, 3);
    assert_eq!(roots(&source), 3);
}

#[tokio::test]
async fn each_of_two_renames_is_a_snapshot() {
    let cas = [(); 3].map(|()| TestCa::new("example.org"));
    let dir = PlainDir::new(&cas[0].issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    for (other, generation) in [(&cas[1], 2), (&cas[2], 3)] {
        dir.rename_over("ca.crt", cas[0].root_pem() + &other.root_pem());
        assert_eq!(next(&mut changes).await, generation);
        let current = source.current();
        let anchors = current.trust().bundle().anchors();
        assert!(anchors.iter().any(|root| *root.der() == other.root_der()));
    }
}

#[tokio::test]
async fn other_bytes_of_the_same_or_an_older_time_are_noticed() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let day = Duration::from_secs(24 * 60 * 60);
    // Two within one second, then a rollback to an older file.
    let times = [9, 9, 5].map(|days| SystemTime::UNIX_EPOCH + day * days);
    for (time, generation) in times.into_iter().zip(2..) {
        let other = TestCa::new("example.org");
        dir.write_in_place("ca.crt", ca.root_pem() + &other.root_pem());
        let file = fs::OpenOptions::new()
            .write(true)
            .open(dir.file("ca.crt"))
            .unwrap();
        file.set_modified(time).unwrap();
        assert_eq!(reload(&source).await, generation);
        assert_eq!(roots(&source), 2);
    }
}

/// A second name of the same file, in a directory that nobody watches: as silent as a network file system.
#[tokio::test]
async fn what_no_event_tells_of_is_found_by_the_poll() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let outer = PlainDir::empty();
    let (certs, elsewhere) = (outer.file("a/certs"), outer.file("b/elsewhere"));
    for dir in [&certs, &elsewhere] {
        fs::create_dir_all(dir).unwrap();
    }
    put(&certs, &ca.issue("/web"));
    fs::hard_link(certs.join("ca.crt"), elsewhere.join("name")).unwrap();

    let short = Duration::from_millis(50);
    let polling = watch_with(builder().poll_interval(short), &certs).await;
    let listening = watch_with(builder().poll_interval(HOUR), &certs).await;
    let mut changes = polling.subscribe();
    // So that the first look, which follows the arming, is over.
    reload(&listening).await;
    fs::write(elsewhere.join("name"), ca.root_pem() + &other.root_pem()).unwrap();
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(roots(&polling), 2);
    if cfg!(feature = "notify") {
        assert_eq!(listening.current().generation(), 1, "an event told of it");
    }
    assert_eq!(reload(&listening).await, 2);
}
