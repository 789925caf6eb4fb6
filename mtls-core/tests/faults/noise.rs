//! What happens near the files and is no change of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::fixture::*;
use mtls_core::Timestamp;
use mtls_core::testing::{PlainDir, TestCa};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_beside_the_files_neither_makes_a_snapshot_nor_keeps_one_back() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    // Longer than the pause of the noise, so that it is never quiet.
    let quiet = Duration::from_millis(500);
    let source = watch_with(builder().quiet_time(quiet), dir.path()).await;
    let mut changes = source.subscribe();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopped = StopOnDrop(&stop);
        scope.spawn(|| {
            for count in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                dir.write_in_place("access.log", format!("{count}"));
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let rotate = async {
            for generation in 2..=3 {
                dir.rename_over("ca.crt", {
                    ca.root_pem() + &TestCa::new("example.org").root_pem()
                });
                assert_eq!(next(&mut changes).await, generation);
            }
            // What was read because of the noise was what is served.
            assert_eq!(reload(&source).await, 3);
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(rotate));
        drop(stopped);
    });
}

/// The one test here that lets time pass: its subject is that nothing happens meanwhile.
#[tokio::test]
async fn our_own_reading_causes_no_further_reading() {
    if cfg!(not(feature = "notify")) {
        return;
    }
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let new = ca.issue("/web");
    dir.rotate(&new);
    next(&mut changes).await;
    assert_eq!(reload(&source).await, 2);
    // The last events of that rotation may lead to one more look, after a quiet time.
    let settled = || Timestamp::now().as_unix() - source.status().last_check.as_unix() >= 3;
    until("three seconds without any reading", settled).await;
}
