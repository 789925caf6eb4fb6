//! What does not verify, and how it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::fixture::*;
use mtls_core::testing::{Broken, BrokenAt, MountedDir, PlainDir, TestCa, handshake_with_foreign};
use mtls_core::{Health, Reason};
use tracing::Level;

#[tokio::test]
async fn what_does_not_verify_leaves_the_last_good_until_it_does() {
    let ca = TestCa::new("example.org");
    let mut good = ca.issue("/web");
    let dir = MountedDir::new(&good);
    let source = watch(dir.path()).await;
    for broken in Broken::ALL {
        if broken.at() == BrokenAt::Handshake {
            continue;
        }
        let before = source.current();
        broken.write(&ca, &dir);
        let refused = refused_reload(&source).await;
        assert_eq!(refused.reason(), broken.expected_reason(), "{broken}");

        let status = source.status();
        assert_eq!(status.health, Health::Degraded, "{broken}");
        let failure = status.last_error.unwrap();
        assert_eq!(failure.reason(), broken.expected_reason(), "{broken}");
        assert_eq!(failure.remedy(), refused.remedy(), "{broken}");
        assert!(!failure.remedy().is_empty() && failure.streak > 0);
        let after = source.current();
        // A fine chain beside a bad bundle is taken; a bad chain never is, nor a bad bundle.
        assert!(std::ptr::eq(before.trust(), after.trust()), "{broken}");
        if !broken.name().starts_with("bundle") {
            assert_eq!(after.credentials().serial(), good.serial(), "{broken}");
        }

        good = ca.issue("/web");
        dir.rotate(&good);
        reload(&source).await;
        let status = source.status();
        assert_eq!(status.health, Health::Healthy, "{broken}");
        assert!(status.last_error.is_none());
        assert_eq!(source.current().credentials().serial(), good.serial());
    }
}

#[tokio::test]
async fn recovery_is_noticed_without_being_asked_for() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    Broken::KeyEncrypted.write(&ca, &dir);
    until("degraded", || source.status().health == Health::Degraded).await;
    dir.rotate(&ca.issue("/web"));
    until("healthy", || source.status().health == Health::Healthy).await;
    assert_eq!(log.count(Level::INFO, "is served again"), 1);
}

#[tokio::test]
async fn what_was_wrong_and_is_as_before_is_told_of_and_makes_no_snapshot() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let web = ca.issue("/web");
    let dir = PlainDir::new(&web);
    let source = watch(dir.path()).await;
    let before = source.current();
    for times in 1..=3 {
        dir.truncate("tls.key");
        for _ in 0..3 {
            refused_reload(&source).await;
        }
        assert!(source.status().last_error.unwrap().streak >= 3);
        dir.write_in_place("tls.key", web.key_pem());
        assert_eq!(reload(&source).await, 1);
        assert!(source.status().last_error.is_none());
        assert!(Arc::ptr_eq(&before, &source.current()));
        assert_eq!(log.count(Level::INFO, "is served again"), times);
    }
}

#[tokio::test]
async fn who_is_woken_by_a_change_finds_the_status_of_it() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    for _ in 0..10 {
        Broken::KeyMismatch.write(&ca, &dir);
        refused_reload(&source).await;
        dir.rotate(&ca.issue("/web"));
        let generation = next(&mut changes).await;
        let status = source.status();
        assert_eq!(status.generation, generation);
        assert!(status.last_error.is_none(), "{:?}", status.last_error);
    }
}

#[tokio::test]
async fn a_failure_that_lasts_is_warned_of_once() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    for streak in 1..=2 {
        Broken::KeyEncrypted.write(&ca, &dir);
        for _ in 0..30 {
            refused_reload(&source).await;
        }
        // Another failure in the same streak is no news either.
        Broken::KeyMalformed.write(&ca, &dir);
        for _ in 0..10 {
            refused_reload(&source).await;
        }
        assert_eq!(log.warnings(), streak);
        assert_eq!(log.count(Level::WARN, "key_encrypted"), streak);
        assert!(source.status().last_error.unwrap().streak >= 40);
        dir.rotate(&ca.issue("/web"));
        reload(&source).await;
        assert_eq!(log.count(Level::INFO, "is served again"), streak);
    }
}

#[tokio::test]
async fn what_may_be_half_written_is_warned_of_after_the_grace_and_once() {
    let ca = TestCa::new("example.org");
    for (grace, warnings) in [(HOUR, 0), (Duration::ZERO, 1)] {
        let (log, _guard) = Log::start();
        let dir = MountedDir::new(&ca.issue("/web"));
        let source = watch_with(builder().grace(grace), dir.path()).await;
        Broken::KeyMismatch.write(&ca, &dir);
        for _ in 0..30 {
            let refused = refused_reload(&source).await;
            assert_eq!(refused.reason(), Reason::KeyMismatch);
        }
        assert_eq!(log.warnings(), warnings);
        assert_eq!(source.status().health, Health::Degraded);
    }
}

/// While everything that can break does, nobody without a certificate gets in, and the trust is never empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_no_moment_of_any_reload_is_a_client_without_a_certificate_let_in() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch_with(builder().grace(Duration::ZERO), dir.path()).await;
    let server = server(&source);
    let anonymous = foreign(&server, &[&ca], None);
    let stop = AtomicBool::new(false);
    let attempts = AtomicUsize::new(0);
    let hammer = || {
        while !stop.load(Ordering::Relaxed) {
            let snapshot = server.source().current();
            assert!(!snapshot.trust().bundle().anchors().is_empty());
            let refused =
                handshake_with_foreign(&server, Arc::clone(&anonymous), "localhost").unwrap_err();
            assert_eq!(refused.reason(), Reason::NoPeerCertificate);
            attempts.fetch_add(1, Ordering::Relaxed);
        }
    };
    let stopped = StopOnDrop(&stop);
    std::thread::scope(|scope| {
        let hammers = [scope.spawn(hammer), scope.spawn(hammer)];
        let stopped = stopped;
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for broken in Broken::ALL {
                    if broken.at() == BrokenAt::Handshake {
                        continue;
                    }
                    let before = attempts.load(Ordering::Relaxed);
                    broken.write(&ca, &dir);
                    refused_reload(&source).await;
                    dir.rotate(&ca.issue("/web"));
                    reload(&source).await;
                    until("attempts during each change", || {
                        attempts.load(Ordering::Relaxed) > before
                            || hammers.iter().any(|hammer| hammer.is_finished())
                    })
                    .await;
                }
            });
        });
        drop(stopped);
    });
    assert!(attempts.load(Ordering::Relaxed) > 30);
}

#[tokio::test]
async fn the_warning_of_a_rejected_reload_has_all_that_is_wrong_and_each_on_a_line() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch_with(builder().grace(Duration::ZERO), dir.path()).await;
    // One fault alone: there is nothing beside it.
    dir.rename_over("tls.key", ca.issue("/web").key_pem());
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::KeyMismatch);
    let told = log.at(Level::WARN, "what is on disk does not hold");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("mtls.reason=\"key_mismatch\""), "{told:?}");
    assert!(told[0].contains("mtls.findings= "), "{told:?}");

    dir.rotate(&ca.issue("/web"));
    reload(&source).await;
    // Two at once, in two files.
    dir.rename_over("tls.key", ca.issue("/web").key_pem());
    dir.rename_over("ca.crt", "no certificate at all\n");
    refused_reload(&source).await;
    let told = log.at(Level::WARN, "what is on disk does not hold");
    assert_eq!(told.len(), 2, "{told:?}");
    let (_, findings) = told[1].split_once("mtls.findings=").unwrap();
    assert!(told[1].contains("tls.key"), "{told:?}");
    assert!(told[1].contains("ca.crt"), "{told:?}");
    assert!(!findings.starts_with(' '), "{told:?}");
}
