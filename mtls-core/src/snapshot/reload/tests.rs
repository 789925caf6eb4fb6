use super::*;
use crate::snapshot::generation::Settings;
use crate::snapshot::publisher::Publisher;
#[cfg(unix)]
use crate::testing::MountedDir;
use crate::testing::{PlainDir, TestCa};
use crate::tls::provider;

#[tokio::test]
async fn failures_are_retried_after_100_200_400_ms_and_so_on_up_to_five_seconds() {
    let after = |unchanged| {
        let progress = Progress {
            unchanged,
            ..Progress::default()
        };
        progress.pause(Duration::ZERO, Instant::now()).as_millis()
    };
    assert_eq!(after(0), Duration::MAX.as_millis());
    let schedule: Vec<_> = (1..=8).map(after).collect();
    assert_eq!(schedule, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert_eq!(after(u32::MAX), 5000);
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_the_files_changed_is_not_kept_waiting_for_the_failures_before() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
    let mut pause_after = async |key: &str| {
        dir.rename_over("tls.key", key);
        reloader.look(Occasion::Quiet).await;
        reloader.progress.pause(Duration::MAX, Instant::now())
    };
    let (one, other) = (ca.issue("/web"), ca.issue("/web"));
    for expected in [100, 200, 400, 800, 1600, 3200, 5000] {
        let pause = pause_after(one.key_pem()).await;
        assert_eq!(pause, Duration::from_millis(expected), "a key that stays");
    }
    assert_eq!(pause_after(other.key_pem()).await, RETRY_FIRST);
    assert_eq!(pause_after(other.key_pem()).await, 2 * RETRY_FIRST);
    assert_eq!(pause_after(one.key_pem()).await, RETRY_FIRST);
    assert_eq!(
        reloader.progress.failures, 10,
        "it is one streak all the same"
    );
}

#[tokio::test(start_paused = true)]
async fn files_that_change_while_they_are_read_are_read_again_soon_however_often_it_happens() {
    let (dir, ..) = two_roots();
    let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
    let lasting = LoadError::SourceEnded;
    let unstable = LoadError::UnstableFiles {
        dir: dir.path().into(),
        passes: 5,
    };
    for _ in 0..8 {
        reloader.note(std::slice::from_ref(&lasting));
    }
    assert_eq!(reloader.pause(), RETRY_LAST);
    for _ in 0..8 {
        reloader.note(std::slice::from_ref(&unstable));
        assert_eq!(reloader.pause(), RETRY_FIRST);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_is_over_is_acted_upon_and_never_spun_on() {
    let (grace, start) = (Duration::from_secs(10), Instant::now());
    let held = Progress {
        unchanged: 20,
        trust_held_since: Some(start),
        ..Progress::default()
    };
    let at = |after: u64| start + Duration::from_millis(after);
    assert_eq!(
        held.pause(grace, at(9_000)),
        Duration::from_secs(1),
        "sooner than the retry"
    );
    assert_eq!(held.patience(grace, at(9_999)), Patience::Wait);
    assert_eq!(held.patience(grace, at(10_000)), Patience::Exhausted);
    // It is over and still held: the files could not be read when it ended.
    for late in [10_000, 10_001, 60_000] {
        assert_eq!(held.pause(grace, at(late)), RETRY_FIRST);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_nothing_is_waited_for() {
    let now = Instant::now();
    let nothing_held = Progress::default();
    assert_eq!(
        nothing_held.patience(Duration::ZERO, now),
        Patience::Exhausted
    );
    assert_eq!(
        nothing_held.patience(Duration::from_millis(1), now),
        Patience::Wait
    );
}

#[test]
fn jitter_stays_within_a_tenth() {
    let second = Duration::from_secs(1);
    for _ in 0..1000 {
        let spread = jitter(second);
        assert!(spread >= second.mul_f64(0.899) && spread <= second.mul_f64(1.101));
    }
}

/// The task's state over `files`, to be driven by hand. Its requests are never asked for.
fn reloader(files: CredentialFiles, quiet: Duration) -> Reloader {
    let set = files::read_set(&files).unwrap();
    let settings = Settings::of(provider::resolve(None).unwrap());
    let publisher = Publisher::open(
        settings,
        credentials(&set).unwrap(),
        &trust(&set),
        clock::now(),
    )
    .unwrap();
    let shared = publisher.shared;
    Reloader {
        progress: Progress::loaded(&set, &shared.current()),
        files,
        shared,
        subscription: Arc::new(Subscription::new()),
        requests: mpsc::channel(1).1,
        rhythm: Rhythm {
            poll: Duration::from_secs(30),
            quiet,
            grace: Duration::from_secs(10),
        },
    }
}

impl Reloader {
    /// Looks once; the number of roots that are served then.
    async fn roots_after(&mut self, occasion: Occasion) -> usize {
        self.look(occasion).await;
        self.shared.current().trust().bundle().anchors().len()
    }
}

/// A directory whose bundle holds two roots, and that bundle as it is with the second cut off.
fn two_roots() -> (PlainDir, String, String) {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = PlainDir::new(&ours.issue("/web"));
    let whole = ours.root_pem() + &other.root_pem();
    dir.rename_over("ca.crt", &whole);
    (dir, ours.root_pem(), whole)
}

const QUIET: Duration = Duration::from_millis(250);

#[tokio::test(start_paused = true)]
async fn a_bundle_caught_between_two_writes_is_not_published() {
    let (dir, cut, whole) = two_roots();
    let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
    for _ in 0..3 {
        dir.write_in_place("ca.crt", &cut);
        assert_eq!(reloader.roots_after(Occasion::Timer).await, 2);
        assert_eq!(reloader.pause(), QUIET);
        dir.write_in_place("ca.crt", &whole);
        assert_eq!(reloader.roots_after(Occasion::Timer).await, 2);
        assert!(reloader.pause() > QUIET, "nothing is pending");
    }
    assert_eq!(reloader.shared.current().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_smaller_bundle_that_stays_so_is_published_a_quiet_time_later() {
    let (dir, cut, _) = two_roots();
    let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
    dir.write_in_place("ca.crt", &cut);
    assert_eq!(reloader.roots_after(Occasion::Timer).await, 2);
    assert_eq!(reloader.roots_after(Occasion::Timer).await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_and_who_has_waited_for_quiet_gets_what_is_there() {
    for occasion in [Occasion::Quiet, Occasion::Asked(Vec::new())] {
        let (dir, cut, _) = two_roots();
        let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
        dir.write_in_place("ca.crt", &cut);
        assert_eq!(reloader.roots_after(occasion).await, 1);
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_set_that_is_swapped_in_one_step_is_taken_at_once() {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let mount = MountedDir::new(&ours.issue("/web"));
    let mut reloader = reloader(CredentialFiles::kubernetes(mount.path()), QUIET);
    mount.write_bundle(ours.root_pem() + &other.root_pem());
    assert_eq!(reloader.roots_after(Occasion::Timer).await, 2);
}

#[tokio::test(start_paused = true)]
async fn noise_holds_back_a_reload_no_longer_than_the_cap() {
    let (dir, _, whole) = two_roots();
    let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
    let start = Instant::now();
    for n in 0.. {
        // Each look finds another file than the last.
        dir.write_in_place("ca.crt", format!("# {n}\n{whole}"));
        reloader.look(Occasion::Timer).await;
        if reloader.progress.unsettled.is_none() {
            break;
        }
        tokio::time::advance(reloader.pause()).await;
    }
    let waited = start.elapsed();
    assert!(
        waited >= QUIET_CAP && waited < QUIET_CAP + 2 * QUIET,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_files_cannot_be_read_a_held_trust_is_no_reason_to_hurry() {
    let (dir, _, _) = two_roots();
    let mut reloader = reloader(CredentialFiles::kubernetes(dir.path()), QUIET);
    dir.rename_over("ca.crt", TestCa::new("example.org").root_pem());
    reloader.look(Occasion::Quiet).await;
    assert!(reloader.progress.trust_held_since.is_some());
    tokio::time::advance(Duration::from_secs(60)).await;
    // As when every pass of reading finds something else.
    reloader.note(&[LoadError::UnstableFiles {
        dir: dir.path().into(),
        passes: 5,
    }]);
    assert!(reloader.pause() >= RETRY_FIRST);
    // And once they can be read the grace is over.
    assert_eq!(reloader.roots_after(Occasion::Timer).await, 1);
    assert!(reloader.shared.current().own_chain.is_err());
}

/// Credentials with a bundle of `b.example` in a directory beside them.
fn federated() -> (PlainDir, PlainDir, CredentialFiles) {
    let dir = PlainDir::new(&TestCa::new("example.org").issue("/web"));
    let other = PlainDir::empty();
    other.rename_over(FEDERATED, TestCa::new("b.example").root_pem());
    let files = CredentialFiles::kubernetes(dir.path()).federated_bundles(other.path());
    (dir, other, files)
}

const FEDERATED: &str = "b.example.spiffe-trust-bundle.pem";

#[tokio::test(start_paused = true)]
async fn a_domain_whose_bundle_is_gone_is_let_go_when_it_is_still_gone_a_quiet_time_later() {
    let (_dir, other, files) = federated();
    let mut reloader = reloader(files, QUIET);
    let before = reloader.progress.offered;
    other.remove(FEDERATED);
    reloader.look(Occasion::Quiet).await;
    assert_eq!(reloader.pause(), QUIET);
    // Events that come sooner change nothing.
    tokio::time::advance(QUIET / 2).await;
    for occasion in [Occasion::Quiet, Occasion::Timer] {
        reloader.look(occasion).await;
        assert_eq!(reloader.progress.offered, before);
    }
    tokio::time::advance(QUIET / 2).await;
    reloader.look(Occasion::Timer).await;
    assert_ne!(reloader.progress.offered, before);
    assert!(reloader.pause() > QUIET, "nothing is pending");
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_was_gone_for_a_moment_was_never_let_go() {
    let (_dir, other, files) = federated();
    let mut reloader = reloader(files, QUIET);
    let before = reloader.progress.offered;
    let bundle = TestCa::new("b.example").root_pem();
    other.remove(FEDERATED);
    reloader.look(Occasion::Quiet).await;
    other.rename_over(FEDERATED, bundle);
    assert_eq!(reloader.progress.offered, before);
    reloader.look(Occasion::Quiet).await;
    assert_ne!(
        reloader.progress.offered, before,
        "a bundle that is there is taken"
    );
    assert!(reloader.progress.unsettled.is_none());
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_removal_by_swap_waits_too_and_an_addition_does_not() {
    let issued = TestCa::new("example.org").issue("/web");
    let (mount, other) = (MountedDir::new(&issued), MountedDir::empty());
    let files = CredentialFiles::kubernetes(mount.path()).federated_bundles(other.path());
    let mut reloader = reloader(files.clone(), QUIET);
    let mut offered = reloader.progress.offered;
    let bundle = TestCa::new("b.example").root_pem();
    other.rotate_files(&[(FEDERATED, bundle.as_bytes())]);
    assert!(files::is_atomic(&files));
    reloader.look(Occasion::Timer).await;
    assert_ne!(
        std::mem::replace(&mut offered, reloader.progress.offered),
        offered
    );
    other.rotate_files(&[]);
    reloader.look(Occasion::Timer).await;
    assert_eq!(reloader.progress.offered, offered);
    tokio::time::advance(QUIET).await;
    reloader.look(Occasion::Timer).await;
    assert_ne!(reloader.progress.offered, offered);
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_not_kept_waiting_by_a_removal() {
    let (_dir, other, files) = federated();
    let mut reloader = reloader(files, QUIET);
    let before = reloader.progress.offered;
    other.remove(FEDERATED);
    reloader.look(Occasion::Asked(Vec::new())).await;
    assert_ne!(reloader.progress.offered, before);
}
