//! Real files, real events. One queue delivers all events in order, so a marker made after a change, seen by a second
//! subscription, says that the change has been delivered: nothing here waits for time to pass.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use tokio::time::{Instant, timeout};

use super::super::file_set::read_set;
use super::super::fixture::{Mount, rename_over, tempdir, woken, write_plain};
use super::*;

/// A subscription under test, and the one that tells when events have arrived.
struct Watched {
    files: CredentialFiles,
    subscription: Subscription,
    _guard: tempfile::TempDir,
    marks: PathBuf,
    marker: Subscription,
    count: usize,
}

impl Watched {
    async fn new(files: CredentialFiles) -> Self {
        let (guard, base) = tempdir();
        // Two levels down, where nobody watches yet: that these were made is told to nobody later.
        let marks = base.join("below/marks");
        fs::create_dir_all(&marks).unwrap();
        let marker = Subscription::new();
        let armed = marker.arm(&CredentialFiles::kubernetes(&marks));
        assert_eq!(armed, WatchMode::Events);
        let subscription = Subscription::new();
        let mut watched = Self {
            files,
            subscription,
            _guard: guard,
            marks,
            marker,
            count: 0,
        };
        watched.rearm();
        // What was done before may be told only now.
        watched.was_woken().await;
        watched
    }

    fn rearm(&mut self) {
        assert_eq!(self.subscription.arm(&self.files), WatchMode::Events);
        woken(&self.subscription);
    }

    /// Whether anything until now has woken the subscription.
    async fn was_woken(&mut self) -> bool {
        self.count += 1;
        // One directory, one event: nothing of this mark is left over for the next.
        fs::create_dir(self.marks.join(self.count.to_string())).unwrap();
        let marked = timeout(Duration::from_secs(10), self.marker.changed()).await;
        marked.expect("the marker's event");
        woken(&self.subscription)
    }
}

#[tokio::test]
async fn each_of_three_kubelet_swaps_wakes() {
    let mut mount = Mount::new();
    let mut watched = Watched::new(mount.files()).await;
    for generation in ["1", "2", "3"] {
        assert!(!watched.was_woken().await);
        mount.swap(generation);
        assert!(watched.was_woken().await, "swap {generation}");
        watched.rearm();
    }
}

#[tokio::test]
async fn swaps_wake_even_if_nobody_arms_in_between() {
    let mut mount = Mount::new();
    let mut watched = Watched::new(mount.files()).await;
    for generation in ["1", "2", "3"] {
        mount.swap(generation);
        assert!(watched.was_woken().await, "swap {generation}");
    }
}

#[tokio::test]
async fn each_replacement_by_rename_wakes_and_so_does_writing_in_place() {
    let (_guard, dir) = tempdir();
    let mut watched = Watched::new(write_plain(&dir, "0")).await;
    for text in ["1", "2"] {
        rename_over(&dir.join("tls.crt"), text);
        assert!(watched.was_woken().await, "rename {text}");
    }
    fs::write(dir.join("tls.key"), "in place").unwrap();
    assert!(watched.was_woken().await);
    assert!(!watched.was_woken().await);
}

#[tokio::test]
async fn a_link_outside_the_directory_wakes_each_time_it_is_turned() {
    let (_guard, base) = tempdir();
    let turn = |to: &str| {
        symlink(to, base.join("staged")).unwrap();
        fs::rename(base.join("staged"), base.join("elsewhere/live")).unwrap();
    };
    for dir in ["certs", "elsewhere/a", "elsewhere/b"] {
        fs::create_dir_all(base.join(dir)).unwrap();
    }
    for dir in ["elsewhere/a", "elsewhere/b"] {
        write_plain(&base.join(dir), dir);
    }
    turn("a");
    for name in super::super::fixture::NAMES {
        symlink(
            Path::new("../elsewhere/live").join(name),
            base.join("certs").join(name),
        )
        .unwrap();
    }
    let mut watched = Watched::new(CredentialFiles::kubernetes(base.join("certs"))).await;
    for to in ["b", "a"] {
        turn(to);
        assert!(watched.was_woken().await, "turned to {to}");
        watched.rearm();
        // Where the link leads now is watched as well, where it led is not.
        let (now, before) = if to == "b" { ("b", "a") } else { ("a", "b") };
        fs::write(base.join("elsewhere").join(before).join("tls.crt"), "late").unwrap();
        assert!(!watched.was_woken().await);
        fs::write(base.join("elsewhere").join(now).join("tls.crt"), "more").unwrap();
        assert!(watched.was_woken().await);
    }
}

#[tokio::test]
async fn a_directory_put_in_the_place_of_another_is_the_one_watched() {
    let (_guard, base) = tempdir();
    let certs = base.join("certs");
    fs::create_dir(&certs).unwrap();
    let mut watched = Watched::new(write_plain(&certs, "0")).await;

    fs::rename(&certs, base.join("old")).unwrap();
    fs::create_dir(&certs).unwrap();
    write_plain(&certs, "1");
    assert!(watched.was_woken().await, "moved away");
    watched.rearm();
    fs::write(base.join("old/tls.crt"), "late").unwrap();
    assert!(
        !watched.was_woken().await,
        "the old one is nobody's any more"
    );
    rename_over(&certs.join("tls.crt"), "2");
    assert!(watched.was_woken().await);

    // File systems like to give the same inode number out again.
    for text in ["3", "4"] {
        fs::remove_dir_all(&certs).unwrap();
        fs::create_dir(&certs).unwrap();
        assert!(watched.was_woken().await, "deleted and made again");
        watched.rearm();
        write_plain(&certs, text);
        assert!(watched.was_woken().await, "written into the new one");
    }
}

#[tokio::test]
async fn files_that_appear_later_wake() {
    let (_guard, base) = tempdir();
    let certs = base.join("not/yet");
    let mut watched = Watched::new(CredentialFiles::kubernetes(&certs)).await;
    for step in [base.join("not"), certs.clone()] {
        fs::create_dir(&step).unwrap();
        assert!(watched.was_woken().await, "{}", step.display());
        watched.rearm();
    }
    write_plain(&certs, "here");
    assert!(watched.was_woken().await);
}

#[tokio::test]
async fn our_own_reading_does_not_wake_and_neither_do_strangers() {
    let (_guard, base) = tempdir();
    let certs = base.join("certs");
    fs::create_dir(&certs).unwrap();
    let mut watched = Watched::new(write_plain(&certs, "0")).await;
    read_set(&watched.files).unwrap();
    fs::write(base.join("neighbour"), "noise").unwrap();
    assert!(!watched.was_woken().await);
    fs::write(certs.join("tls.crt"), "1").unwrap();
    assert!(watched.was_woken().await);
}

#[tokio::test]
async fn any_number_of_events_before_the_call_are_one_wake_up() {
    let (_guard, dir) = tempdir();
    let mut watched = Watched::new(write_plain(&dir, "0")).await;
    for text in 0..50 {
        rename_over(&dir.join("tls.crt"), &text.to_string());
    }
    assert!(watched.was_woken().await);
    assert!(!woken(&watched.subscription));
}

#[test]
fn the_last_subscription_takes_thread_and_descriptors_with_it() {
    const ALONE: &str = "MTLS_TEST_ALONE";
    if env::var_os(ALONE).is_none() {
        // Threads and descriptors are counted, so this test runs once more in a process of its own.
        let name =
            "files::watch::tests::the_last_subscription_takes_thread_and_descriptors_with_it";
        let outcome = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&outcome.stdout);
        assert!(
            outcome.status.success() && shown.contains("1 passed"),
            "{shown}"
        );
        return;
    }
    let count = |what: &str| {
        fs::read_dir(Path::new("/proc/self").join(what))
            .unwrap()
            .count()
    };
    let counts = || (count("task"), count("fd"));
    let (_guard, dir) = tempdir();
    let files = write_plain(&dir, "0");
    let before = counts();
    for _ in 0..3 {
        let (one, two) = (Subscription::new(), Subscription::new());
        assert_eq!(counts(), before, "nothing is started before somebody arms");
        assert_eq!(one.arm(&files), WatchMode::Events);
        let armed = counts();
        assert_eq!(armed.0, before.0 + 1);
        assert_eq!(two.arm(&files), WatchMode::Events);
        assert_eq!(counts(), armed, "one watcher for all");
        drop(one);
        assert_eq!(counts(), armed);
        drop(two);
        let deadline = Instant::now() + Duration::from_secs(10);
        while counts() != before {
            assert!(
                Instant::now() < deadline,
                "{:?}, before {before:?}",
                counts()
            );
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_bundle_or_a_list_that_comes_or_goes_is_told_wherever_it_is() {
    let (_guard, base) = tempdir();
    for dir in ["certs", "lists"] {
        fs::create_dir(base.join(dir)).unwrap();
    }
    let mut mount = Mount::new();
    let files = write_plain(&base.join("certs"), "")
        .federated_bundles(&mount.dir)
        .revocation_lists(base.join("lists"));
    let mut watched = Watched::new(files).await;
    let list = base.join("lists/ca.crl");
    fs::write(&list, "").unwrap();
    assert!(watched.was_woken().await);
    watched.rearm();
    fs::remove_file(&list).unwrap();
    assert!(watched.was_woken().await);
    watched.rearm();
    mount.swap("1");
    assert!(watched.was_woken().await);
    watched.rearm();
    fs::write(base.join("neighbour"), "").unwrap();
    assert!(!watched.was_woken().await);
}
