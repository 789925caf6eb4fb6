//! Threads and descriptors, which are counted for the whole process: hence one test, and a binary of its own.

#![cfg(target_os = "linux")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::fs;
use std::time::Duration;

use mtls_core::testing::{MountedDir, TestCa, handshake};
use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
use tokio::time::{sleep, timeout};

/// How many threads and descriptors this process has.
fn held() -> (usize, usize) {
    let count = |dir| fs::read_dir(dir).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: {:?}", held()));
}

async fn open(dir: &MountedDir) -> (ServerTls, ClientTls) {
    let source = CredentialSource::watch(CredentialFiles::kubernetes(dir.path()))
        .await
        .unwrap();
    let server = ServerTls::builder(&source)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build();
    let client = ClientTls::builder(&source).verify_server_name().build();
    (server.unwrap(), client.unwrap())
}

async fn scenario() {
    let ca = TestCa::new("example.org");
    let (dir, absent) = (MountedDir::new(&ca.issue("/web")), MountedDir::empty());
    // What a first use leaves behind for good is no leak.
    drop(open(&dir).await);
    until("the first source ends", || held().0 <= IDLE_THREADS).await;
    let baseline = held();

    let mut all = Vec::new();
    for _ in 0..SOURCES {
        all.push(open(&dir).await);
    }
    // A wait for files that is given up holds nothing either.
    for _ in 0..20 {
        let waiting = CredentialSource::builder()
            .wait_for_files(Duration::MAX)
            .watch(CredentialFiles::kubernetes(absent.path()));
        let given_up = timeout(Duration::from_millis(1), waiting).await;
        assert!(given_up.is_err());
    }
    if cfg!(feature = "notify") {
        let open = held();
        assert!(open.1 > baseline.1, "nothing is watched: {open:?}");
        assert!(open.1 < baseline.1 + 20, "not one watcher: {open:?}");
    }
    for (server, client) in &all {
        assert!(handshake(server, client, "localhost").server.is_ok());
    }

    // The handle inside the last server is all that is left, and enough.
    let (server, client) = all.pop().unwrap();
    drop((all, client));
    let mut changes = server.source().subscribe();
    let renewed = ca.issue("/web");
    dir.rotate(&renewed);
    server.source().reload().await.unwrap();
    let serial = server.source().current().credentials().serial().to_owned();
    assert_eq!(serial, renewed.serial());
    changes.changed().await.unwrap();

    drop(server);
    let end = timeout(Duration::from_secs(20), changes.changed()).await;
    assert_eq!(end.unwrap(), None, "the last handle is gone");
    until("everything ends", || {
        let now = held();
        now.0 <= baseline.0 && now.1 <= baseline.1
    })
    .await;
}

/// So many that what one in a hundred keeps would show.
const SOURCES: usize = 1000;

/// The main thread and the test's, in which the runtime is.
const IDLE_THREADS: usize = 2;

#[test]
fn what_sources_held_is_given_back_when_the_last_handle_goes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads for blocking work end soon after it, so that they can be told from those that stay.
        .thread_keep_alive(Duration::from_millis(20))
        .build()
        .unwrap();
    runtime.block_on(scenario());
}
