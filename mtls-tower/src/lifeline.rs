//! What ends a connection whose peer is no longer let in.
//!
//! A connection is watched by whoever polls it: its stream when it reads or writes, and [`serve`](crate::serve()) beside
//! that. When its peer is lost (its root, its certificate's time or a line of policy is gone, or it was revoked) it is
//! drained where somebody can, and cut at a deadline in any case. A connection that has to end anyway, at the end of its
//! peer's certificate or of its own age, is drained ahead of that, so that a peer that renewed in time loses no request.

use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(feature = "server")]
use mtls_core::Reason;
use mtls_core::{HandshakeError, PeerInfo, Timestamp};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The watch over one connection. A clone is another handle on the same.
#[derive(Clone)]
pub(crate) struct Lifeline(Arc<Mutex<Watch>>);

/// How a connection that has to end is given time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// From the loss of its peer, or from the beginning of its drain, to its cut.
    pub(crate) deadline: Duration,
    /// How old it may become, ±10 %.
    pub(crate) max_age: Option<Duration>,
}

/// What a connection has come to.
#[derive(Debug, Clone)]
pub(crate) enum Life {
    /// No new requests: let those in flight finish.
    Draining(Cause),
    /// Closed, now.
    Over(Cause),
}

/// Why a connection ends.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// It is old, or its peer's certificate is about to expire.
    Age,
    /// Its peer would not be let in any more.
    Lost(HandshakeError),
}

struct Watch {
    peer: PeerInfo,
    ending: Ending,
    /// When it has reached its greatest age.
    too_old: Option<Instant>,
    lost: Pin<Box<dyn Future<Output = HandshakeError> + Send>>,
    phase: Phase,
}

enum Phase {
    Good {
        /// When it is drained though its peer is as good as ever, and until when that is good.
        leave: Option<(Pin<Box<Sleep>>, Timestamp)>,
    },
    /// Its requests are refused; that it ends is told a little later, so that not all of a fleet hears it at once.
    Lost {
        why: HandshakeError,
        drain: Pin<Box<Sleep>>,
        cut: Instant,
    },
    Draining {
        cause: Cause,
        cut: Pin<Box<Sleep>>,
    },
    Over(Cause),
}

impl Lifeline {
    /// Watches a connection that nobody drains: it is cut when its peer is lost.
    pub(crate) fn new(peer: PeerInfo) -> Self {
        let watched = peer.clone();
        let lost = Box::pin(async move { watched.lost().await });
        Self(Arc::new(Mutex::new(Watch {
            peer,
            ending: Ending {
                deadline: Duration::ZERO,
                max_age: None,
            },
            too_old: None,
            lost,
            phase: Phase::Good { leave: None },
        })))
    }

    /// From now on it is drained before it is cut.
    #[cfg(feature = "server")]
    pub(crate) fn drained(&self, ending: Ending) {
        let mut watch = self.lock();
        watch.ending = ending;
        let age = ending.max_age.map(|age| age.min(LONGEST));
        watch.too_old = age.map(|age| Instant::now() + age.mul_f64(0.9 + random() / 5.0));
        watch.plan();
    }

    /// Its peer was refused a request: it is drained without delay.
    #[cfg(feature = "server")]
    pub(crate) fn lose(&self, why: &HandshakeError) {
        self.lock().drain_lost(why.clone());
    }

    /// Pending while the connection is as good as ever.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Life> {
        self.lock().poll(cx)
    }

    /// Waits until it is to be drained.
    #[cfg(feature = "server")]
    pub(crate) async fn draining(&self) -> Cause {
        poll_fn(|cx| self.poll(cx).map(Life::into_cause)).await
    }

    /// Waits until it is to be cut.
    #[cfg(feature = "server")]
    pub(crate) async fn over(&self) -> Cause {
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(Life::Over(cause)) => Poll::Ready(cause),
            Poll::Ready(Life::Draining(_)) | Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// What a read or a write of the connection has to heed.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.poll(cx) {
            Poll::Ready(Life::Over(cause)) => Err(cause.into()),
            Poll::Ready(Life::Draining(_)) | Poll::Pending => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    #[cfg(feature = "server")]
    fn into_cause(self) -> Cause {
        match self {
            Self::Draining(cause) | Self::Over(cause) => cause,
        }
    }
}

impl Watch {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Life> {
        loop {
            match &mut self.phase {
                Phase::Good { leave } => {
                    if let Poll::Ready(why) = self.lost.as_mut().poll(cx) {
                        self.lose(why);
                        continue;
                    }
                    let Some((sleep, planned)) = leave else {
                        return Poll::Pending;
                    };
                    std::task::ready!(sleep.as_mut().poll(cx));
                    let planned = *planned;
                    self.leave(planned);
                }
                Phase::Lost { why, drain, .. } => {
                    std::task::ready!(drain.as_mut().poll(cx));
                    let why = why.clone();
                    self.drain_lost(why);
                }
                Phase::Draining { cause, cut } => {
                    if cut.as_mut().poll(cx).is_pending() {
                        return Poll::Ready(Life::Draining(cause.clone()));
                    }
                    self.phase = Phase::Over(cause.clone());
                }
                Phase::Over(cause) => return Poll::Ready(Life::Over(cause.clone())),
            }
        }
    }

    fn lose(&mut self, why: HandshakeError) {
        let deadline = self.ending.deadline;
        if deadline.is_zero() {
            self.phase = Phase::Over(Cause::Lost(why));
            return;
        }
        self.phase = Phase::Lost {
            why,
            drain: Box::pin(sleep(deadline.mul_f64(random() / 2.0))),
            cut: Instant::now() + deadline,
        };
    }

    fn drain_lost(&mut self, why: HandshakeError) {
        let cut = match &self.phase {
            Phase::Lost { cut, .. } => *cut,
            Phase::Good { .. } => Instant::now() + self.ending.deadline,
            // What it is drained for already ends it no later.
            Phase::Draining { .. } | Phase::Over(_) => return,
        };
        self.phase = Phase::Draining {
            cause: Cause::Lost(why),
            cut: Box::pin(sleep_until(cut)),
        };
    }

    /// It is time, unless there is more of it than there was: a new trust may vouch for the peer for longer.
    fn leave(&mut self, planned: Timestamp) {
        let too_old = self.too_old.is_some_and(|then| Instant::now() >= then);
        if !too_old && self.peer.deadline() > planned {
            self.plan();
            return;
        }
        self.phase = Phase::Draining {
            cause: Cause::Age,
            cut: Box::pin(sleep(self.ending.deadline)),
        };
    }

    /// When the connection has to begin to end, so that it has ended when its peer's certificates do.
    fn plan(&mut self) {
        let planned = self.peer.deadline();
        let valid = planned.saturating_since(Timestamp::now());
        // A certificate that lives for seconds spends no more than a quarter of them on farewells.
        let lead = self.ending.deadline.mul_f64(1.0 + random());
        let left = valid - lead.min(valid / 4);
        let leave = Instant::now() + left.min(LONGEST);
        let leave = self.too_old.map_or(leave, |then| leave.min(then));
        self.phase = Phase::Good {
            leave: Some((Box::pin(sleep_until(leave)), planned)),
        };
    }
}

impl Cause {
    /// The stable name of why the peer was lost.
    #[cfg(feature = "server")]
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Age => None,
            Self::Lost(why) => Some(why.reason()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age => f.write_str("it is old, or its peer's certificates are about to expire"),
            Self::Lost(why) => fmt::Display::fmt(why, f),
        }
    }
}

impl From<Cause> for io::Error {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Age => Self::new(
                io::ErrorKind::ConnectionAborted,
                "the connection is too old",
            ),
            Cause::Lost(why) => Self::new(io::ErrorKind::ConnectionAborted, why),
        }
    }
}

impl fmt::Debug for Lifeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifeline").finish_non_exhaustive()
    }
}

/// At least 0, less than 1: spreads what a fleet would do at once.
fn random() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(()) % 1000).unwrap_or(0)) / 1000.0
}

/// Farther ahead than a timer reaches, and than anybody cares.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
