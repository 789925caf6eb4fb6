//! A queue of events that overflows.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use crate::fixture::*;
use crate::put;
use mtls_core::testing::{Issued, PlainDir, TestCa};
use tokio::time::Instant;

/// The process that watches is stopped while another one, this one, makes more events than its queue holds, none of them
/// about its files, and then rotates: of that the kernel tells nothing but that something was lost.
#[test]
fn a_change_whose_event_was_lost_is_picked_up_and_so_is_the_next() {
    if let Some(dir) = env::var_os(DIR) {
        return watching(dir.as_ref(), &env::var(SERIALS).unwrap());
    }
    let ca = TestCa::new("example.org");
    let sets = [(); 3].map(|()| ca.issue("/web"));
    let [first, second, third] = &sets;
    let outer = PlainDir::empty();
    let (certs, noise) = (outer.file("certs"), outer.file("noise"));
    fs::create_dir(&certs).unwrap();
    put(&certs, first);
    let mut watcher = Watching(
        Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--test-threads=1", "--nocapture"])
            .env(DIR, outer.path())
            .env(SERIALS, sets.each_ref().map(Issued::serial).join(" "))
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    watcher.wait_until("it watches", || outer.file("ready").exists());

    watcher.signal("-STOP");
    let stat = format!("/proc/{}/stat", watcher.0.id());
    watcher.wait_until("it has stopped", || {
        fs::read_to_string(&stat).unwrap().contains(") T ")
    });
    // Made and removed: two events at least, in a directory whose other entries concern nobody.
    for _ in 0..queue() {
        fs::write(&noise, "").unwrap();
        fs::remove_file(&noise).unwrap();
    }
    put(&certs, second);
    watcher.signal("-CONT");

    watcher.wait_until("the second is served", || outer.file("second").exists());
    put(&certs, third);
    let mut code = None;
    let end = &mut code;
    let child = &mut watcher.0;
    wait("it ends", || {
        *end = child.try_wait().unwrap();
        end.is_some()
    });
    assert!(code.unwrap().success());
}

fn watching(outer: &Path, serials: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let source = watch_with(builder().poll_interval(HOUR), &outer.join("certs")).await;
        let served = |serial: &str| source.current().credentials().serial() == serial;
        let serials: Vec<_> = serials.split(' ').collect();
        let [first, second, third] = serials.try_into().unwrap();
        assert!(served(first));
        // So that the first look, which follows the arming, is over.
        reload(&source).await;
        fs::write(outer.join("ready"), "").unwrap();
        until("the second is served", || served(second)).await;
        fs::write(outer.join("second"), "").unwrap();
        until("the third is served", || served(third)).await;
    });
}

struct Watching(Child);

impl Watching {
    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let child = &mut self.0;
        wait(what, || {
            assert!(child.try_wait().unwrap().is_none(), "{what}: it has ended");
            holds()
        });
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How many events wait for a reader at most.
fn queue() -> u32 {
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    most.trim().parse().unwrap()
}

const NAME: &str = "overflow::a_change_whose_event_was_lost_is_picked_up_and_so_is_the_next";
const DIR: &str = "MTLS_TEST_OVERFLOW_DIR";
const SERIALS: &str = "MTLS_TEST_OVERFLOW_SERIALS";
