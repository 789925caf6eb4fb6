//! What is swapped in one step, as kubelet does it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::fixture::*;
use mtls_core::testing::{MountedDir, TestCa, handshake};
use mtls_core::{Health, LoadError, PollCause, WatchMode};

#[tokio::test]
async fn a_source_says_how_it_notices_changes() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let source = watch(dir.path()).await;
    let expected = if cfg!(feature = "notify") {
        WatchMode::Events
    } else {
        WatchMode::PollOnly {
            cause: PollCause::Disabled,
        }
    };
    let status = source.status();
    assert_eq!(status.watch, Some(expected));
    assert_eq!(status.health, Health::Healthy);
    assert_eq!((status.generation, status.key_world_readable), (1, false));
}

#[tokio::test]
async fn each_of_three_kubelet_swaps_in_a_row_is_served() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let source = watch(dir.path()).await;
    let (server, client) = (server(&source), client(&ca.source(&ca.issue("/web"))));
    let mut changes = source.subscribe();
    for generation in 2..=4 {
        let api = ca.issue("/api");
        dir.rotate(&api);
        assert_eq!(next(&mut changes).await, generation);
        let met = handshake(&server, &client, "localhost");
        assert_eq!(met.client.unwrap().identity().serial(), api.serial());
        assert_eq!(met.server.unwrap().to_string(), "spiffe://example.org/web");
    }
    assert_eq!(source.status().health, Health::Healthy);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_without_a_pause_are_never_served_mixed() {
    let cas = [TestCa::new("example.org"), TestCa::new("example.org")];
    let sets = cas.each_ref().map(|ca| (ca.root_der(), ca.issue("/api")));
    let dir = MountedDir::new(&sets[0].1);
    let source = watch(dir.path()).await;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopped = StopOnDrop(&stop);
        scope.spawn(|| {
            for (_, issued) in sets.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                dir.rotate(issued);
            }
        });
        let ask = async {
            for _ in 0..200 {
                match source.reload().await {
                    Ok(_) | Err(LoadError::UnstableFiles { .. }) => {}
                    Err(refused) => panic!("{refused:?}"),
                }
                let now = source.current();
                let root = now.trust().bundle().anchors()[0].der().clone();
                let pair = sets.iter().find(|(der, _)| *der == root).unwrap();
                assert_eq!(now.credentials().serial(), pair.1.serial());
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(ask));
        drop(stopped);
    });
    reload(&source).await;
    let status = source.status();
    assert_eq!(status.health, Health::Healthy);
    let expected = cfg!(feature = "notify");
    assert_eq!(status.watch == Some(WatchMode::Events), expected);
}

#[tokio::test]
async fn a_rotated_leaf_keeps_the_trust_and_a_rotated_root_does_not() {
    let (ca, added) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ca.issue("/api"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let before = source.current();
    dir.rotate(&ca.issue("/api"));
    next(&mut changes).await;
    let leaf = source.current();
    assert!(std::ptr::eq(before.trust(), leaf.trust()));
    assert!(!std::ptr::eq(before.credentials(), leaf.credentials()));
    dir.write_bundle(ca.root_pem() + &added.root_pem());
    next(&mut changes).await;
    let root = source.current();
    assert!(!std::ptr::eq(leaf.trust(), root.trust()));
    assert!(std::ptr::eq(leaf.credentials(), root.credentials()));
}
