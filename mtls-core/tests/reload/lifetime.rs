//! From waiting for files to the last handle.

use std::fs;
use std::time::Duration;

use crate::fixture::*;
use mtls_core::testing::{Broken, LeafOptions, MountedDir, PlainDir, TestCa};
use mtls_core::{CredentialFiles, CredentialSource, Health, LoadError, Reason};
use tokio::time::timeout;
use tracing::Level;

#[tokio::test]
async fn files_that_are_not_there_yet_are_waited_for() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let (dir, web) = (MountedDir::empty(), ca.issue("/web"));
    let files = CredentialFiles::kubernetes(dir.path());
    let waiting = tokio::spawn(builder().wait_for_files(Duration::MAX).watch(files));
    until("a first look", || {
        log.count(Level::DEBUG, "waiting for files") > 0
    })
    .await;
    // One file of three is not enough.
    dir.rotate_files(&[("tls.crt", web.chain_pem().as_bytes())]);
    until("a look at that", || log.count(Level::DEBUG, "tls.key") > 0).await;
    assert!(!waiting.is_finished());
    dir.rotate(&web);
    let source = timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(source.current().credentials().serial(), web.serial());
    assert_eq!(source.status().generation, 1);
    assert_eq!(log.warnings(), 0);
}

#[tokio::test]
async fn a_wait_that_is_over_says_what_was_wrong_last() {
    let dir = MountedDir::empty();
    let files = || CredentialFiles::kubernetes(dir.path());
    let at_once = builder().watch(files()).await.unwrap_err();
    assert!(matches!(at_once, LoadError::FileMissing { .. }));
    let wait = Duration::from_millis(150);
    let waited = builder().wait_for_files(wait).watch(files()).await;
    let refused = waited.unwrap_err();
    let LoadError::WaitTimeout { after, source } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(*after, wait);
    assert!(matches!(**source, LoadError::FileMissing { .. }));
    assert_eq!(refused.reason(), Reason::FileMissing);
    let text = mtls_core::Chained(&refused).to_string();
    assert!(text.contains("tls.crt"), "{text}");
}

#[tokio::test]
async fn everybody_who_asks_at_once_is_answered() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let ask = || {
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let source = source.clone();
                tokio::spawn(async move { source.reload().await })
            })
            .collect();
        async {
            let mut answers = Vec::new();
            for one in asking {
                answers.push(timeout(DEADLINE, one).await.unwrap().unwrap());
            }
            answers
        }
    };
    dir.rotate(&ca.issue("/web"));
    assert!(ask().await.iter().all(|answer| matches!(answer, Ok(2))));
    Broken::KeyMismatch.write(&ca, &dir);
    let refused = |answer: &Result<u64, LoadError>| {
        answer.as_ref().unwrap_err().reason() == Reason::KeyMismatch
    };
    assert!(ask().await.iter().all(refused));
}

#[tokio::test]
async fn a_reload_does_not_wait_for_the_quiet_time_that_an_event_has_begun() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch_with(builder().quiet_time(HOUR), dir.path()).await;
    for generation in 2..10 {
        let new = ca.issue("/web");
        dir.rename_over("tls.crt", new.chain_pem());
        tokio::task::yield_now().await;
        dir.rename_over("tls.key", new.key_pem());
        assert_eq!(reload(&source).await, generation);
        assert_eq!(source.current().credentials().serial(), new.serial());
    }
}

#[tokio::test]
async fn settings_that_mean_never_are_no_reason_to_panic() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let never = CredentialSource::builder()
        .poll_interval(Duration::MAX)
        .quiet_time(Duration::MAX)
        .grace(Duration::MAX)
        .wait_for_files(Duration::MAX);
    let source = watch_with(never, dir.path()).await;
    dir.rotate(&ca.issue("/web"));
    assert_eq!(reload(&source).await, 2);
    dir.rename_over("ca.crt", TestCa::new("example.org").root_pem());
    let held = refused_reload(&source).await;
    assert_eq!(held.reason(), Reason::UnknownIssuer);
    assert_eq!(refused_reload(&source).await.reason(), held.reason());
    assert_eq!(source.status().generation, 2);
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_everybody_can_read_is_told_of_once_until_it_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let mode = |mode| {
        fs::set_permissions(dir.file("tls.key"), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let source = watch(dir.path()).await;
    for warnings in 1..=3 {
        for _ in 0..5 {
            reload(&source).await;
        }
        assert!(source.status().key_world_readable);
        assert_eq!(log.count(Level::WARN, "can read the private key"), warnings);
        assert_eq!(log.count(Level::WARN, "tls.key"), warnings);
        mode(0o640);
        reload(&source).await;
        assert!(!source.status().key_world_readable);
        mode(0o644);
        reload(&source).await;
    }
    assert_eq!(source.status().generation, 1);
    assert_eq!(log.warnings(), 4);
}

#[tokio::test]
async fn a_leaf_that_expires_while_it_is_served_is_told_of() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let short = LeafOptions::service("/web").expires_in(Duration::from_secs(3));
    let dir = MountedDir::new(&ca.issue_with(short));
    let rhythm = builder()
        .poll_interval(Duration::from_millis(50))
        .grace(Duration::ZERO);
    let source = watch_with(rhythm, dir.path()).await;
    // Of its hour but three seconds are left.
    assert_eq!(source.status().health, Health::Degraded);
    assert!(source.status().late_renewal.is_some());
    until("expired", || source.status().health == Health::Expired).await;
    until("an error", || source.status().last_error.is_some()).await;
    let failure = source.status().last_error.unwrap();
    assert_eq!(failure.reason(), Reason::Expired);
    assert_eq!(log.count(Level::WARN, "mtls.reason=\"expired\""), 1);

    dir.rotate(&ca.issue("/web"));
    until("healthy", || source.status().health == Health::Healthy).await;
    assert!(source.status().last_error.is_none());
    assert_eq!(source.status().late_renewal, None);
    assert_eq!(log.count(Level::WARN, "should have been renewed"), 1);
    assert_eq!(log.warnings(), 2);
}

#[tokio::test]
async fn changes_are_told_once_and_their_end_too() {
    let ca = TestCa::new("example.org");
    let (publisher, source) = ca.publish(&ca.issue("/web"));
    let mut changes = source.subscribe();
    let told = |changes: &mut mtls_core::Changes| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(changes.changed())
            .as_mut()
            .poll(&mut context)
    };
    assert!(told(&mut changes).is_pending());
    for generation in 2..=4 {
        let published = publisher.publish_credentials(ca.issue("/web").material());
        assert_eq!(published.unwrap(), generation);
    }
    assert_eq!(told(&mut changes), std::task::Poll::Ready(Some(4)));
    assert!(told(&mut changes).is_pending());
    assert!(told(&mut source.subscribe()).is_pending());
    drop(source);
    assert!(told(&mut changes).is_pending(), "it is still published to");
    drop(publisher);
    assert_eq!(told(&mut changes), std::task::Poll::Ready(None));
}

#[tokio::test]
async fn the_last_handle_ends_the_source_of_files() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let server = server(&source);
    drop(source);
    // The one inside the server is a handle.
    dir.rotate(&ca.issue("/web"));
    next(&mut changes).await;
    assert_eq!(reload(server.source()).await, 2);
    drop(server);
    let end = timeout(DEADLINE, changes.changed()).await;
    assert_eq!(end.expect("an end in time"), None);
}
