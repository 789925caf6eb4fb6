//! Wakes everybody who waits for one connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// A timer or a subscription keeps the waker of whoever polled it last, and a connection is polled by several: the halves
/// of a split stream may be in tasks of their own, and `serve` watches beside them. So what a connection waits for wakes
/// this, and this wakes them all.
///
/// It also tells whether there is anything to look at: reading and writing ask that first, by one atomic load.
#[derive(Debug)]
pub(super) struct Alarm {
    rung: AtomicBool,
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
            rung: AtomicBool::new(true),
            waiting: Mutex::default(),
        })
    }

    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Before a look, so that what rings during it is looked at again.
    pub(super) fn silence(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
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
