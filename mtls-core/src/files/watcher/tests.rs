use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use notify::event::{CreateKind, Flag, RemoveKind};
use notify::{ErrorKind, EventHandler, WatcherKind};

use super::super::fixture::{tempdir, woken, write_plain};
use super::super::layout::CredentialFiles;
use super::super::watch::Subscription;
use super::*;

/// What a watcher is made to do, and what it was asked for.
#[derive(Default)]
struct Script {
    ears: Weak<Ears>,
    starts: usize,
    /// The limit on instances is reached.
    full: bool,
    /// The thread has died: every method panics.
    dead: bool,
    refused: Option<PathBuf>,
    calls: Vec<String>,
}

struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    fn call(&self, what: &str, path: &Path) -> notify::Result<()> {
        let mut script = lock(&self.0);
        assert!(!script.dead, "the thread has died, as this test wants it");
        script.calls.push(format!(
            "{what} {}",
            path.file_name().unwrap().to_string_lossy()
        ));
        match script.refused.as_deref() == Some(path) {
            true => Err(notify::Error::new(ErrorKind::MaxFilesWatch)),
            false => Ok(()),
        }
    }
}

impl Watcher for Scripted {
    fn new<F: EventHandler>(_handler: F, _config: Config) -> notify::Result<Self> {
        Err(notify::Error::generic("made by its script"))
    }

    fn watch(&mut self, path: &Path, _mode: RecursiveMode) -> notify::Result<()> {
        self.call("watch", path)
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.call("unwatch", path)
    }

    fn configure(&mut self, _config: Config) -> notify::Result<bool> {
        match lock(&self.0).dead {
            true => Err(notify::Error::generic("no answer")),
            false => Ok(false),
        }
    }

    fn kind() -> WatcherKind {
        WatcherKind::NullWatcher
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        assert!(
            !lock(&self.0).dead,
            "the thread has died, as this test wants it"
        );
    }
}

struct Stage {
    _guard: tempfile::TempDir,
    dir: PathBuf,
    files: CredentialFiles,
    script: Arc<Mutex<Script>>,
    hub: Arc<Hub>,
}

impl Stage {
    fn new() -> Self {
        let (guard, base) = tempdir();
        let dir = base.join("certs");
        fs::create_dir(&dir).unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Arc::clone(&script);
        let hub = Hub::new(Box::new(move |ears| {
            let mut script = lock(&shared);
            script.starts += 1;
            script.ears = Arc::downgrade(&ears);
            match script.full {
                true => Err(notify::Error::io(io::Error::from_raw_os_error(EMFILE))),
                false => Ok(Box::new(Scripted(Arc::clone(&shared)))),
            }
        }));
        Self {
            _guard: guard,
            files: write_plain(&dir, ""),
            dir,
            script,
            hub: Arc::new(hub),
        }
    }

    fn subscription(&self) -> Subscription {
        Subscription::on(Arc::clone(&self.hub))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.script().calls);
        // The directory above is a temporary one, whose name nobody knows.
        calls
            .into_iter()
            .filter(|call| call.ends_with(" certs"))
            .collect()
    }

    fn tell(&self, event: Event) {
        let ears = self.script().ears.upgrade().unwrap();
        ears.hear(&Ok(event));
    }

    fn tell_of(&self, kind: EventKind, path: PathBuf) {
        self.tell(Event::new(kind).add_path(path));
    }
}

const fn poll_only(cause: PollCause) -> WatchMode {
    WatchMode::PollOnly { cause }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_died_is_found_out_and_made_again_after_a_minute() {
    let stage = Stage::new();
    let (one, two) = (stage.subscription(), stage.subscription());
    assert_eq!(one.arm(&stage.files), WatchMode::Events);
    assert_eq!(two.arm(&stage.files), WatchMode::Events);

    stage.script().dead = true;
    assert_eq!(one.arm(&stage.files), poll_only(PollCause::Failed));
    assert_eq!(two.mode(), poll_only(PollCause::Failed));
    assert!(
        woken(&two),
        "whoever relied on events hears that there are none"
    );

    stage.script().dead = false;
    assert_eq!(one.arm(&stage.files), poll_only(PollCause::Failed));
    assert_eq!(stage.script().starts, 1);
    tokio::time::advance(RETRY).await;
    assert_eq!(one.arm(&stage.files), WatchMode::Events);
    assert_eq!(two.mode(), WatchMode::Events);
    assert!(woken(&two), "what happened meanwhile was heard by nobody");
    assert_eq!(stage.script().starts, 2);
}

#[test]
fn a_watcher_that_dies_while_it_is_asked_or_dropped_takes_nobody_along() {
    let stage = Stage::new();
    let subscription = stage.subscription();
    subscription.arm(&stage.files);
    let mut watches = lock(&stage.hub.watches);
    stage.script().dead = true;
    assert!(!watches.watch(Path::new("/another")));
    assert!(matches!(watches.watcher, Err(PollCause::Failed)));
    drop(watches);

    let stage = Stage::new();
    let subscription = stage.subscription();
    subscription.arm(&stage.files);
    stage.script().dead = true;
    drop((subscription, stage));
}

#[tokio::test(start_paused = true)]
async fn a_limit_reached_at_the_start_is_said_and_tried_again_once_a_minute() {
    let stage = Stage::new();
    let subscription = stage.subscription();
    assert_eq!(subscription.mode(), poll_only(PollCause::NotArmed));
    stage.script().full = true;
    for _ in 0..3 {
        assert_eq!(subscription.arm(&stage.files), poll_only(PollCause::Limit));
    }
    assert_eq!(stage.script().starts, 1);
    tokio::time::advance(RETRY).await;
    stage.script().full = false;
    assert_eq!(subscription.arm(&stage.files), WatchMode::Events);
}

#[test]
fn a_directory_that_cannot_be_watched_matters_if_files_are_in_it() {
    let stage = Stage::new();
    let subscription = stage.subscription();
    stage.script().refused = stage.dir.parent().map(Path::to_path_buf);
    assert_eq!(subscription.arm(&stage.files), WatchMode::Events);
    stage.script().refused = Some(stage.dir.clone());
    stage.tell_of(EventKind::Remove(RemoveKind::Folder), stage.dir.clone());
    assert_eq!(subscription.arm(&stage.files), poll_only(PollCause::Limit));
    stage.script().refused = None;
    assert_eq!(subscription.arm(&stage.files), WatchMode::Events);
}

#[test]
fn a_lost_queue_wakes_everybody_and_renews_every_watch() {
    let stage = Stage::new();
    let subscription = stage.subscription();
    subscription.arm(&stage.files);
    assert_eq!(stage.calls(), ["watch certs"]);
    subscription.arm(&stage.files);
    assert_eq!(stage.calls(), [""; 0], "nothing has changed");

    stage.tell(Event::new(EventKind::Other).set_flag(Flag::Rescan));
    assert!(woken(&subscription));
    subscription.arm(&stage.files);
    assert_eq!(stage.calls(), ["unwatch certs", "watch certs"]);
}

#[test]
fn a_directory_under_the_same_name_and_number_is_watched_anew() {
    let stage = Stage::new();
    let subscription = stage.subscription();
    subscription.arm(&stage.files);
    stage.calls();
    stage.tell_of(EventKind::Create(CreateKind::Folder), stage.dir.clone());
    assert!(woken(&subscription));
    subscription.arm(&stage.files);
    assert_eq!(stage.calls(), ["unwatch certs", "watch certs"]);
}

#[test]
fn reading_wakes_nobody_and_the_end_of_writing_does() {
    let stage = Stage::new();
    let subscription = stage.subscription();
    subscription.arm(&stage.files);
    let file = stage.files.chain_path().to_path_buf();
    for kind in [
        AccessKind::Open(AccessMode::Any),
        AccessKind::Close(AccessMode::Read),
    ] {
        stage.tell_of(EventKind::Access(kind), file.clone());
        assert!(!woken(&subscription));
    }
    let written = AccessKind::Close(AccessMode::Write);
    stage.tell_of(EventKind::Access(written), file);
    assert!(woken(&subscription));
}

#[test]
fn what_nobody_needs_any_more_is_let_go_when_somebody_arms() {
    let stage = Stage::new();
    let (one, two) = (stage.subscription(), stage.subscription());
    one.arm(&stage.files);
    two.arm(&stage.files);
    assert_eq!(stage.calls(), ["watch certs"]);
    drop(one);
    let (_guard, other) = tempdir();
    two.arm(&CredentialFiles::kubernetes(other));
    assert_eq!(stage.calls(), ["unwatch certs"]);
}

#[test]
fn a_waker_that_panics_does_not_end_the_watcher() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as this test wants it");
        }
    }
    let stage = Stage::new();
    let (one, two) = (stage.subscription(), stage.subscription());
    one.arm(&stage.files);
    two.arm(&stage.files);
    let mut waiting = Box::pin(one.changed());
    let waker = Waker::from(Arc::new(Panics));
    assert!(
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    // Whoever stands behind it in the list is woken all the same, by the very event.
    stage.tell_of(EventKind::Any, stage.files.key_path().to_path_buf());
    assert!(woken(&two));
    stage.tell_of(EventKind::Any, stage.files.key_path().to_path_buf());
    assert!(woken(&one), "and the next event wakes both");
}

/// The thread of a real watcher ends when the callback panics. Ours does not, so this one does it instead.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_real_watcher_whose_thread_panics_is_found_out_and_made_again() {
    let (_guard, base) = tempdir();
    let dir = base.join("certs");
    fs::create_dir(&dir).unwrap();
    let files = write_plain(&dir, "");
    let panics = Arc::new(AtomicBool::new(false));
    let scripted = Arc::clone(&panics);
    let hub = Hub::new(Box::new(move |ears| {
        let panics = Arc::clone(&scripted);
        let hear = move |event| {
            assert!(
                !panics.swap(false, Ordering::Relaxed),
                "as this test wants it"
            );
            ears.hear(&event);
        };
        let watcher = RecommendedWatcher::new(hear, Config::default())?;
        Ok(Box::new(watcher))
    }));
    let subscription = Subscription::on(Arc::new(hub));
    assert_eq!(subscription.arm(&files), WatchMode::Events);
    fs::write(dir.join("noise"), "").unwrap();
    subscription.changed().await;

    panics.store(true, Ordering::Relaxed);
    fs::write(dir.join("noise"), "").unwrap();
    while subscription.arm(&files) == WatchMode::Events {
        std::thread::yield_now();
    }
    assert_eq!(subscription.mode(), poll_only(PollCause::Failed));
    tokio::time::advance(RETRY).await;
    assert_eq!(subscription.arm(&files), WatchMode::Events);
    let _before = woken(&subscription);
    fs::write(dir.join("noise"), "").unwrap();
    subscription.changed().await;
}

#[cfg(unix)]
const EMFILE: i32 = libc::EMFILE;
#[cfg(not(unix))]
const EMFILE: i32 = 4;
