//! The one watcher of the process.
//!
//! One, because each costs an inotify instance, of which a user has 128 for all containers of a node. Two sides meet
//! here: those who arm, under one lock and on threads that may block, and the watcher's own thread, which delivers
//! events and must neither wait nor panic, for then it is gone for everybody. What they share is [`Ears`].

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::time::Instant;

use super::watch::{PollCause, Subscriber, WatchMode};
use super::watch_set::WatchSet;

/// The process's hub, as long as anybody holds it.
pub(super) fn shared() -> Arc<Hub> {
    static SHARED: Mutex<Weak<Hub>> = Mutex::new(Weak::new());
    let mut slot = lock(&SHARED);
    slot.upgrade().unwrap_or_else(|| {
        let hub = Arc::new(Hub::new(Box::new(start_notify)));
        *slot = Arc::downgrade(&hub);
        hub
    })
}

/// Those who listen, and the watcher they listen with.
pub(super) struct Hub {
    ears: Arc<Ears>,
    watches: Mutex<Watches>,
}

impl Hub {
    pub(super) fn new(start: Start) -> Self {
        Self {
            ears: Arc::new(Ears::default()),
            watches: Mutex::new(Watches {
                start,
                watcher: Err(PollCause::NotArmed),
                started: None,
                watched: BTreeMap::new(),
                refused: BTreeMap::new(),
            }),
        }
    }

    pub(super) fn admit(&self, subscriber: &Arc<Subscriber>) {
        self.ears.subscribers.rcu(|all| {
            let mut all = all.to_vec();
            all.push(Arc::clone(subscriber));
            all
        });
    }

    pub(super) fn dismiss(&self, subscriber: &Arc<Subscriber>) {
        self.ears.subscribers.rcu(|all| {
            let others = all.iter().filter(|other| !Arc::ptr_eq(other, subscriber));
            others.cloned().collect::<Vec<_>>()
        });
    }

    /// Gives a subscriber its set, and brings the watches in line with the sets of all.
    pub(super) fn arm(&self, subscriber: &Arc<Subscriber>, set: WatchSet) {
        let mut watches = lock(&self.watches);
        // The set goes first, so that an event of a new watch already finds whom it concerns.
        subscriber.set.store(Arc::new(set));
        let subscribers = self.ears.subscribers.load_full();
        watches.ensure_started(&self.ears);
        let new = watches.sync(&subscribers, self.ears.take_replaced());
        for other in subscribers.iter() {
            let set = other.set.load();
            let mode = watches.mode(&set);
            let deafened = other.set_mode(mode) == WatchMode::Events && mode != WatchMode::Events;
            // Who arms loads next. To the others a new watch means that for a while there was none.
            let missed = new.iter().any(|dir| set.watches(dir));
            if (deafened || missed) && !Arc::ptr_eq(other, subscriber) {
                wake(other);
            }
        }
    }
}

/// What the watcher's thread needs. It waits here for nobody: `replaced` is held by others only to look at it.
#[derive(Default)]
pub(super) struct Ears {
    subscribers: ArcSwap<Vec<Arc<Subscriber>>>,
    replaced: Mutex<Replaced>,
}

impl Ears {
    /// Takes what the watcher has to say.
    pub(super) fn hear(&self, event: &notify::Result<Event>) {
        // A panic would end the watcher's thread. Nothing in `dispatch` ought to; if it does, one event is lost.
        guarded(|| self.dispatch(event));
    }

    fn dispatch(&self, event: &notify::Result<Event>) {
        let subscribers = self.subscribers.load();
        let event = match event {
            // Asked first: the notice of an overflown queue has neither a kind nor a path to go by.
            Ok(event) if !event.need_rescan() && !event.paths.is_empty() => event,
            Ok(_) | Err(_) => {
                lock(&self.replaced).anything = true;
                return subscribers.iter().for_each(wake);
            }
        };
        if is_read(&event.kind) {
            return;
        }
        for subscriber in subscribers.iter() {
            let set = subscriber.set.load();
            if is_replacement(&event.kind) {
                let dirs = event.paths.iter().filter(|path| set.watches(path)).cloned();
                lock(&self.replaced).dirs.extend(dirs);
            }
            if event.paths.iter().any(|path| set.concerns(path)) {
                wake(subscriber);
            }
        }
    }

    fn take_replaced(&self) -> Replaced {
        std::mem::take(&mut *lock(&self.replaced))
    }
}

/// Watched directories that an event said were moved, removed or created: the watch may be on something else.
///
/// Their inode numbers alone do not tell, since file systems use them again at once.
#[derive(Default)]
struct Replaced {
    /// Events were lost, so it may be any.
    anything: bool,
    dirs: BTreeSet<PathBuf>,
}

/// Makes a watcher that tells `Ears`.
pub(super) type Start = Box<dyn Fn(Arc<Ears>) -> notify::Result<Box<dyn Watcher + Send>> + Send>;

fn start_notify(ears: Arc<Ears>) -> notify::Result<Box<dyn Watcher + Send>> {
    let watcher = RecommendedWatcher::new(move |event| ears.hear(&event), Config::default())?;
    Ok(Box::new(watcher))
}

/// The watcher, and what it watches.
struct Watches {
    start: Start,
    watcher: Result<Box<dyn Watcher + Send>, PollCause>,
    /// When it was last started, or tried to.
    started: Option<Instant>,
    watched: BTreeMap<PathBuf, Identity>,
    /// Directories that ought to be watched and cannot be.
    refused: BTreeMap<PathBuf, PollCause>,
}

impl Watches {
    fn ensure_started(&mut self, ears: &Arc<Ears>) {
        if let Ok(watcher) = &mut self.watcher {
            // Asks for nothing. It is answered by the watcher's thread, if that still lives.
            let answer = guarded(|| watcher.configure(Config::default()));
            if matches!(answer, Some(Ok(_))) {
                return;
            }
            self.bury(PollCause::Failed);
        }
        let now = Instant::now();
        if self
            .started
            .is_some_and(|last| now.duration_since(last) < RETRY)
        {
            return;
        }
        self.started = Some(now);
        self.watcher = match guarded(|| (self.start)(Arc::clone(ears))) {
            Some(Ok(watcher)) => Ok(watcher),
            Some(Err(error)) => Err(cause_of(&error, PollCause::Failed)),
            None => Err(PollCause::Failed),
        };
    }

    /// Watches what the subscribers need and nothing else. Returns the directories whose watch is new.
    fn sync(&mut self, subscribers: &[Arc<Subscriber>], replaced: Replaced) -> Vec<PathBuf> {
        let sets: Vec<_> = subscribers.iter().map(|s| s.set.load_full()).collect();
        let needed: BTreeSet<_> = sets.iter().flat_map(|set| set.directories()).collect();

        // First let go, then watch. A directory that moved keeps its watch under its old path; watched anew under the
        // new one before that is gone, it would be the same watch, and the later `unwatch` would end it.
        let stale = |(dir, then): &(&PathBuf, &Identity)| {
            !needed.contains(*dir)
                || replaced.anything
                || replaced.dirs.contains(*dir)
                || **then != Identity::of(dir)
        };
        let stale: Vec<_> = self
            .watched
            .iter()
            .filter(stale)
            .map(|(dir, _)| dir.clone())
            .collect();
        for dir in &stale {
            self.watched.remove(dir);
            // That it is not watched any more, because it was deleted, is no failure.
            self.call(|watcher| watcher.unwatch(dir));
        }
        self.refused.clear();
        let missing: Vec<_> = needed
            .into_iter()
            .filter(|dir| !self.watched.contains_key(*dir))
            .collect();
        missing
            .into_iter()
            .filter(|dir| self.watch(dir))
            .cloned()
            .collect()
    }

    fn watch(&mut self, dir: &Path) -> bool {
        // Before the watch: if the directory is replaced in between, the next comparison finds out.
        let identity = Identity::of(dir);
        match self.call(|watcher| watcher.watch(dir, RecursiveMode::NonRecursive)) {
            Some(Ok(())) => {
                self.watched.insert(dir.to_path_buf(), identity);
                true
            }
            Some(Err(error)) => {
                let cause = cause_of(&error, PollCause::Directory);
                self.refused.insert(dir.to_path_buf(), cause);
                false
            }
            None => false,
        }
    }

    /// How somebody with this set notices changes.
    fn mode(&self, set: &WatchSet) -> WatchMode {
        let cause = match &self.watcher {
            _ if *set == WatchSet::default() => Some(PollCause::NotArmed),
            Err(cause) => Some(*cause),
            // The parents of these are a help when a directory is replaced as a whole, and often not ours to watch.
            Ok(_) => set.near().find_map(|dir| self.refused.get(dir).copied()),
        };
        cause.map_or(WatchMode::Events, |cause| WatchMode::PollOnly { cause })
    }

    /// `None` if there is no watcher, or no more: its methods panic when its thread has died.
    fn call<T>(&mut self, call: impl FnOnce(&mut dyn Watcher) -> T) -> Option<T> {
        let watcher = self.watcher.as_mut().ok()?;
        let outcome = guarded(|| call(watcher.as_mut()));
        if outcome.is_none() {
            self.bury(PollCause::Failed);
        }
        outcome
    }

    fn bury(&mut self, cause: PollCause) {
        let dead = std::mem::replace(&mut self.watcher, Err(cause));
        guarded(|| drop(dead));
        self.watched.clear();
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.bury(PollCause::NotArmed);
    }
}

/// Which directory a path was, so that another in its place is noticed. Nothing at all, if there was none.
#[derive(PartialEq, Eq)]
struct Identity(Option<(u64, u64)>);

impl Identity {
    #[cfg(unix)]
    fn of(dir: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;

        Self(
            fs::metadata(dir)
                .ok()
                .map(|found| (found.dev(), found.ino())),
        )
    }

    #[cfg(not(unix))]
    fn of(dir: &Path) -> Self {
        Self(fs::metadata(dir).ok().map(|_| (0, 0)))
    }
}

/// Reading must not look like a change, least of all our own.
fn is_read(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

fn is_replacement(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    )
}

fn cause_of(error: &notify::Error, otherwise: PollCause) -> PollCause {
    let limit = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => is_limit(error),
        notify::ErrorKind::Generic(_)
        | notify::ErrorKind::PathNotFound
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_) => false,
    };
    if limit { PollCause::Limit } else { otherwise }
}

#[cfg(unix)]
fn is_limit(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOSPC)
    )
}

#[cfg(not(unix))]
fn is_limit(_error: &io::Error) -> bool {
    false
}

/// Runs a foreign waker. If that panics, only its own wake-up is lost: the others still get theirs.
fn wake(subscriber: &Arc<Subscriber>) {
    guarded(|| subscriber.wake());
}

fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a watcher that failed is left alone: long enough not to disturb, short enough to heal unattended.
const RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
