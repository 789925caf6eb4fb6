//! When to read again: a wake-up that says that something happened near the files, and nothing more.
//!
//! Events are a hint. Every kind of watch is deaf somewhere (network file systems, the lower layer of an overlay, a
//! bind-mounted file), so whoever waits here also polls, and compares contents to know whether anything has changed.

use std::fmt;
#[cfg(feature = "notify")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::layout::CredentialFiles;
#[cfg(feature = "notify")]
use super::{
    watch_set::WatchSet,
    watcher::{self, Hub},
};

/// How a change on disk is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchMode {
    /// By file system events, and by polling beside them.
    Events,
    /// By polling alone: correct, and later.
    PollOnly {
        /// Why there are no events, or not all of them.
        cause: PollCause,
    },
}

impl WatchMode {
    /// Polling for want of events, rather than by choice.
    pub(crate) fn is_degraded(self) -> bool {
        match self {
            Self::Events
            | Self::PollOnly {
                cause: PollCause::Disabled,
            } => false,
            Self::PollOnly { .. } => true,
        }
    }
}

impl fmt::Display for WatchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("events"),
            Self::PollOnly { cause } => write!(f, "polling only: {cause}"),
        }
    }
}

/// Why file system events cannot be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollCause {
    /// A directory cannot be watched: no permission to list it, or it went away just now.
    Directory,
    /// The crate was built without its feature `notify`.
    Disabled,
    /// The watcher did not start, or has died. It is tried again, at most once a minute.
    Failed,
    /// A limit of the operating system is reached (`fs.inotify.max_user_instances`, `max_user_watches`, open files).
    Limit,
    /// Nothing has been watched yet.
    NotArmed,
}

impl fmt::Display for PollCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory cannot be watched",
            Self::Disabled => "built without the feature `notify`",
            Self::Failed => "the watcher did not start or has died",
            Self::Limit => "a limit on watches or open files is reached",
            Self::NotArmed => "nothing has been watched yet",
        })
    }
}

/// One source's share in the process-wide watcher.
///
/// The watcher, its thread and its descriptors last as long as there is a subscription.
pub(crate) struct Subscription {
    #[cfg(feature = "notify")]
    subscriber: Arc<Subscriber>,
    #[cfg(not(feature = "notify"))]
    subscriber: Subscriber,
    #[cfg(feature = "notify")]
    hub: Arc<Hub>,
}

#[cfg(feature = "notify")]
impl Subscription {
    /// Watches nothing yet, and starts nothing.
    pub(crate) fn new() -> Self {
        Self::on(watcher::shared())
    }

    pub(super) fn on(hub: Arc<Hub>) -> Self {
        let subscriber = Arc::new(Subscriber::new(PollCause::NotArmed));
        hub.admit(&subscriber);
        Self { subscriber, hub }
    }

    /// Watches whatever decides now what these files hold, in place of what was watched before.
    ///
    /// Blocking. Call it after each load, since links may lead elsewhere by then, and load once more when it has
    /// returned for the first time: what happened before it is not reported.
    pub(crate) fn arm(&self, files: &CredentialFiles) -> WatchMode {
        self.hub.arm(&self.subscriber, WatchSet::of(files));
        self.mode()
    }
}

#[cfg(feature = "notify")]
impl Drop for Subscription {
    fn drop(&mut self) {
        // Directories that nobody needs any more are let go when somebody arms next, or with the watcher.
        self.hub.dismiss(&self.subscriber);
    }
}

#[cfg(not(feature = "notify"))]
impl Subscription {
    /// Watches nothing, ever: without the feature `notify` there is nothing to watch with.
    pub(crate) fn new() -> Self {
        Self {
            subscriber: Subscriber::new(PollCause::Disabled),
        }
    }

    /// Says that there are no events.
    pub(crate) fn arm(&self, _files: &CredentialFiles) -> WatchMode {
        self.mode()
    }
}

impl Subscription {
    /// Waits until something has happened near the files since this last returned.
    ///
    /// Any number of events are one wake-up; one that came before the call is not lost. Cancel safe. If there are no
    /// events it never returns.
    pub(crate) async fn changed(&self) {
        self.subscriber.wake.notified().await;
    }

    /// How changes are noticed at present. A watcher that dies is found out when anybody arms next.
    pub(crate) fn mode(&self) -> WatchMode {
        *self.subscriber.lock_mode()
    }
}

/// What the watcher knows of a subscription. The thread that delivers events takes no lock here.
pub(super) struct Subscriber {
    wake: Notify,
    mode: Mutex<WatchMode>,
    #[cfg(feature = "notify")]
    pub(super) set: arc_swap::ArcSwap<WatchSet>,
}

impl Subscriber {
    fn new(cause: PollCause) -> Self {
        Self {
            wake: Notify::new(),
            mode: Mutex::new(WatchMode::PollOnly { cause }),
            #[cfg(feature = "notify")]
            set: arc_swap::ArcSwap::from_pointee(WatchSet::default()),
        }
    }

    fn lock_mode(&self) -> MutexGuard<'_, WatchMode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "notify")]
impl Subscriber {
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns what it was before.
    pub(super) fn set_mode(&self, mode: WatchMode) -> WatchMode {
        std::mem::replace(&mut *self.lock_mode(), mode)
    }
}

#[cfg(test)]
#[cfg(all(feature = "notify", target_os = "linux"))]
mod tests;
