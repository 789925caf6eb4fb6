//! Limits and permissions that leave a source without events, or without its files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::alone::{As, alone, limit};
use crate::fixture::*;
use crate::{SHORT, put};
use mtls_core::testing::{MountedDir, PlainDir, TestCa};
use mtls_core::{CredentialSource, Health, LoadError, PollCause, WatchMode};

/// How a source is that has to poll.
fn polls(source: &CredentialSource, expected: PollCause) {
    let status = source.status();
    let cause = if cfg!(feature = "notify") {
        assert_eq!(status.health, Health::Degraded);
        expected
    } else {
        PollCause::Disabled
    };
    assert_eq!(status.watch, Some(WatchMode::PollOnly { cause }));
}

#[test]
fn without_an_inotify_instance_a_source_starts_polls_and_says_so() {
    let name = "limits::without_an_inotify_instance_a_source_starts_polls_and_says_so";
    alone(name, As::Root, async {
        limit("max_inotify_instances", 0);
        let ca = TestCa::new("example.org");
        let dir = MountedDir::new(&ca.issue("/web"));
        let source = watch_with(builder().poll_interval(SHORT), dir.path()).await;
        polls(&source, PollCause::Limit);
        let mut changes = source.subscribe();
        for generation in 2..=3 {
            let new = ca.issue("/web");
            dir.rotate(&new);
            assert_eq!(next(&mut changes).await, generation);
            assert_eq!(source.current().credentials().serial(), new.serial());
            polls(&source, PollCause::Limit);
        }
    });
}

#[test]
fn when_watches_run_out_a_source_polls_and_when_they_are_back_it_listens() {
    let name = "limits::when_watches_run_out_a_source_polls_and_when_they_are_back_it_listens";
    alone(name, As::Root, async {
        if cfg!(not(feature = "notify")) {
            return;
        }
        let ca = TestCa::new("example.org");
        let dir = MountedDir::new(&ca.issue("/web"));
        let source = watch_with(builder().poll_interval(SHORT), dir.path()).await;
        assert_eq!(source.status().watch, Some(WatchMode::Events));
        let mut changes = source.subscribe();
        for generation in [2, 4] {
            limit("max_inotify_watches", 1);
            dir.rotate(&ca.issue("/web"));
            assert_eq!(next(&mut changes).await, generation);
            until("without events", || {
                source.status().health == Health::Degraded
            })
            .await;
            polls(&source, PollCause::Limit);
            dir.rotate(&ca.issue("/web"));
            assert_eq!(next(&mut changes).await, generation + 1);

            limit("max_inotify_watches", 1000);
            until("with events again", || {
                source.status().watch == Some(WatchMode::Events)
            })
            .await;
            until("healthy", || source.status().health == Health::Healthy).await;
        }
    });
}

#[test]
fn a_directory_that_may_be_searched_and_not_listed_is_polled() {
    let name = "limits::a_directory_that_may_be_searched_and_not_listed_is_polled";
    alone(name, As::Nobody, async {
        let ca = TestCa::new("example.org");
        let outer = PlainDir::empty();
        let certs = outer.file("certs");
        fs::create_dir(&certs).unwrap();
        put(&certs, &ca.issue("/web"));
        mode(&certs, 0o311);
        assert!(fs::read_dir(&certs).is_err(), "modes hold for us");
        let source = watch_with(builder().poll_interval(SHORT), &certs).await;
        polls(&source, PollCause::Directory);
        let mut changes = source.subscribe();
        let bundle = ca.root_pem() + &TestCa::new("example.org").root_pem();
        fs::write(certs.join("ca.crt"), bundle).unwrap();
        assert_eq!(next(&mut changes).await, 2);

        mode(&certs, 0o755);
        let listens = !cfg!(feature = "notify");
        until("with events", || {
            listens || source.status().watch == Some(WatchMode::Events)
        })
        .await;
    });
}

#[test]
fn permission_that_is_lost_leaves_the_last_good_and_given_back_is_noticed() {
    let name = "limits::permission_that_is_lost_leaves_the_last_good_and_given_back_is_noticed";
    alone(name, As::Nobody, async {
        let ca = TestCa::new("example.org");
        let web = ca.issue("/web");
        let dir = PlainDir::new(&web);
        let source = watch(dir.path()).await;
        let before = source.current();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            mode(&dir.file(name), 0);
            let refused = refused_reload(&source).await;
            let LoadError::FileUnreadable { path, .. } = &refused else {
                panic!("{refused:?}")
            };
            assert!(path.ends_with(name));
            assert_eq!(source.status().health, Health::Degraded);
            assert!(std::sync::Arc::ptr_eq(&before, &source.current()));
            mode(&dir.file(name), 0o600);
            until("healthy", || source.status().health == Health::Healthy).await;
        }
        // The way to them may be closed as well.
        mode(dir.path(), 0);
        refused_reload(&source).await;
        assert!(std::sync::Arc::ptr_eq(&before, &source.current()));
        mode(dir.path(), 0o700);
        until("healthy", || source.status().health == Health::Healthy).await;
        let new = ca.issue("/web");
        let mut changes = source.subscribe();
        dir.rotate(&new);
        assert_eq!(next(&mut changes).await, 2);
    });
}

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
