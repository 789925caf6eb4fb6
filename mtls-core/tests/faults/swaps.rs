//! Swaps at speed, and at the worst moment.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fixture::*;
use mtls_core::CredentialFiles;
use mtls_core::testing::{MountedDir, TestCa};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_swaps_a_second_are_never_served_mixed_and_the_last_is_served() {
    let cas = [TestCa::new("example.org"), TestCa::new("example.org")];
    let sets = cas.each_ref().map(|ca| (ca.root_der(), ca.issue("/api")));
    let dir = MountedDir::new(&sets[0].1);
    let source = watch(dir.path()).await;
    let last = cas[0].issue("/api");
    let (done, ended) = (AtomicBool::new(false), OnceLock::new());
    let mut looks = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let stopped = StopOnDrop(&done);
            let end = Instant::now() + Duration::from_secs(3);
            for (_, issued) in sets.iter().cycle() {
                if Instant::now() >= end {
                    break;
                }
                dir.rotate(issued);
                // Its speed: the swap itself takes a part of the millisecond.
                std::thread::sleep(Duration::from_micros(600));
            }
            dir.rotate(&last);
            ended.set(Instant::now()).unwrap();
            drop(stopped);
        });
        let look = async {
            while !done.load(Ordering::Relaxed) {
                let now = source.current();
                let root = now.trust().bundle().anchors()[0].der().clone();
                let pair = sets.iter().find(|(der, _)| *der == root).unwrap();
                let serial = now.credentials().serial();
                let of_the_pair = serial == pair.1.serial();
                assert!(of_the_pair || serial == last.serial(), "mixed: {now:?}");
                looks += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(look));
        writer.join().unwrap();
    });
    assert!(looks > 100, "{looks}");
    // By an event, for the poll is an hour away.
    until("the last is served", || {
        source.current().credentials().serial() == last.serial()
    })
    .await;
    let took = ended.get().expect("the last swap").elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// With one thread for blocking work, what is handed to it is done in order: the first reading, the rotation, and only
/// then the arming of the watches, which is handed over once the first reading is known to be done.
#[test]
fn a_rotation_between_the_first_reading_and_the_watch_is_picked_up() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let ca = TestCa::new("example.org");
        let dir = MountedDir::new(&ca.issue("/web"));
        let new = ca.issue("/web");
        let serial = new.serial();
        let files = CredentialFiles::kubernetes(dir.path());
        let mut watching = Box::pin(builder().poll_interval(HOUR).watch(files));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(watching.as_mut().poll(&mut context).is_pending());
        let rotated = tokio::task::spawn_blocking(move || {
            dir.rotate(&new);
            dir
        });
        let source = watching.await.unwrap();
        let _dir = rotated.await.unwrap();
        until("the rotation is served", || {
            source.current().credentials().serial() == serial
        })
        .await;
        assert_eq!(source.current().generation(), 2);
    });
}
