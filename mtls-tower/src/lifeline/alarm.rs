//! Wakes everybody who waits for one connection.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// A timer or a subscription keeps the waker of whoever polled it last, and a connection is polled by several: the halves
/// of a split stream may be in tasks of their own, and `serve` watches beside them. So what a connection waits for wakes
/// this, and this wakes them all.
///
/// It also tells whether there is anything to look at: reading and writing ask that first, by one atomic load. As long as
/// somebody looks there is, so that nobody goes by what was before.
#[derive(Debug)]
pub(super) struct Alarm {
    state: AtomicU8,
    waiting: Mutex<[Option<Waker>; POLLERS]>,
}

/// Who polls a connection: at most one task each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Poller {
    Reader,
    Writer,
    #[cfg(feature = "server")]
    Server,
}

impl Alarm {
    /// Rung: nobody has looked yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(RUNG),
            waiting: Mutex::default(),
        })
    }

    /// Whether it has rung, and nobody has looked and come to an end with it.
    #[inline]
    pub(super) fn is_rung(&self) -> bool {
        self.state.load(Ordering::Acquire) != SILENT
    }

    /// Before a look, so that what rings during it is looked at again. By one at a time.
    pub(super) fn heard(&self) {
        self.state.store(HEARD, Ordering::SeqCst);
    }

    /// After a look, when what came of it is there for all.
    pub(super) fn silence(&self) {
        let (heard, silent) = (HEARD, SILENT);
        // If it has rung since, it rings on.
        let _ = self
            .state
            .compare_exchange(heard, silent, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(super) fn ring(&self) {
        self.state.store(RUNG, Ordering::SeqCst);
        self.wake_all();
    }

    /// Whoever registers looks afterwards, or misses what came in between.
    pub(super) fn register(&self, who: Poller, waker: &Waker) {
        let mut waiting = self.lock();
        if let Some(slot) = waiting.get_mut(who as usize) {
            match slot {
                Some(known) if known.will_wake(waker) => {}
                Some(_) | None => *slot = Some(waker.clone()),
            }
        }
    }

    pub(super) fn wake_all(&self) {
        // Not under the lock: a waker is foreign code.
        let woken = std::mem::take(&mut *self.lock());
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; POLLERS]> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

const POLLERS: usize = 3;

const SILENT: u8 = 0;
const RUNG: u8 = 1;
/// Somebody looks.
const HEARD: u8 = 2;
