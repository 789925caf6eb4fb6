//! What ends a connection whose peer is no longer let in.
//!
//! A connection is watched by whoever polls it: its stream when it reads or writes, and [`serve`](crate::serve()) beside
//! that. When its peer is lost (its root, its certificate's time or a line of policy is gone, or it was revoked) it is
//! drained where somebody can, and cut at a deadline in any case. A connection that has to end anyway, at the end of its
//! peer's certificate or of its own age, is drained ahead of that, so that a peer that renewed in time loses no request.

mod alarm;

use std::fmt;
use std::future::Future;
#[cfg(feature = "server")]
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(feature = "server")]
use mtls_core::Reason;
use mtls_core::metrics::{ConnectionEnd, connection_cut, connection_drained};
use mtls_core::{Client, HandshakeError, Role, Timestamp};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use alarm::Alarm;
pub(crate) use alarm::Poller;

use crate::admission::Admission;

/// The watch over one connection. A clone is another handle on the same.
#[derive(Clone)]
pub(crate) struct Lifeline(Arc<Line>);

struct Line {
    alarm: Arc<Alarm>,
    /// What the watch has come to, for whoever needs no more than that.
    stage: AtomicU8,
    watch: Mutex<Watch>,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// Nobody drains it: it is cut when its peer is lost.
    Cut,
    /// It is drained, and then cut.
    #[cfg(feature = "server")]
    Drained {
        /// From the loss of its peer, or from the beginning of its drain, to its cut.
        deadline: Duration,
        /// How old it may become, ±10 %.
        max_age: Option<Duration>,
    },
    /// It is one of a client's pool: it gets no new requests when a new connection would be a better one, and is cut when
    /// its peer is lost.
    #[cfg(feature = "client")]
    Retired,
}

/// Why a connection ends.
#[derive(Debug, Clone)]
pub(crate) enum Cause {
    /// It is old, or its peer's certificate is about to expire.
    Age,
    /// Its peer would not be let in any more. In a box: every connection has room for a cause, and hardly one has one.
    Lost(Box<HandshakeError>),
    /// A new connection would present newer credentials of ours.
    #[cfg(feature = "client")]
    Superseded,
}

struct Watch {
    admission: Admission,
    ending: Ending,
    /// When it has reached its greatest age.
    too_old: Option<Instant>,
    lost: Pin<Box<dyn Future<Output = HandshakeError> + Send>>,
    /// For a client that has to know.
    #[cfg(feature = "client")]
    superseded: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    phase: Phase,
    /// Rings the alarm.
    waker: Waker,
}

enum Phase {
    Good {
        /// When it is drained though its peer is as good as ever, and until when that is good.
        leave: Option<(Pin<Box<Sleep>>, Timestamp)>,
    },
    /// Its requests are refused; that it ends is told a little later, so that not all of a fleet hears it at once.
    Lost {
        why: Box<HandshakeError>,
        drain: Pin<Box<Sleep>>,
        cut: Instant,
    },
    Draining {
        cause: Cause,
        /// When it is over; without, when its peer is lost.
        cut: Option<Pin<Box<Sleep>>>,
    },
    Over(Cause),
}

impl Lifeline {
    /// Watches a connection that nobody drains: it is cut when its peer is lost.
    pub(crate) fn new(admission: Admission) -> Self {
        let watched = admission.clone();
        let lost = Box::pin(async move { watched.lost().await });
        let alarm = Alarm::new();
        let watch = Watch {
            admission,
            ending: Ending::Cut,
            too_old: None,
            lost,
            #[cfg(feature = "client")]
            superseded: None,
            phase: Phase::Good { leave: None },
            waker: Waker::from(Arc::clone(&alarm)),
        };
        Self(Arc::new(Line {
            alarm,
            stage: AtomicU8::new(GOOD),
            watch: Mutex::new(watch),
        }))
    }

    /// How it ends from now on.
    #[cfg(any(feature = "client", feature = "server"))]
    pub(crate) fn ends(&self, ending: Ending) {
        self.lock().ends(ending);
        self.0.alarm.ring();
    }

    /// Its peer was refused a request: it is drained without delay.
    #[cfg(feature = "server")]
    pub(crate) fn lose(&self, why: &HandshakeError) {
        self.lock().drain_lost(Box::new(why.clone()));
        self.0.alarm.ring();
    }

    /// Whether it takes no new requests.
    #[cfg(any(feature = "client", feature = "server"))]
    pub(crate) fn is_ending(&self) -> bool {
        self.look();
        self.stage() != GOOD
    }

    /// Pending until it has come to this stage.
    #[cfg(feature = "server")]
    fn poll(&self, stage: u8, cx: &mut Context<'_>) -> Poll<Cause> {
        self.0.alarm.register(Poller::Server, cx.waker());
        self.look();
        if self.stage() < stage {
            return Poll::Pending;
        }
        self.lock().cause().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until it is to be drained. To be polled by one task, as [`over`](Self::over) is.
    #[cfg(feature = "server")]
    pub(crate) async fn draining(&self) -> Cause {
        poll_fn(|cx| self.poll(DRAINING, cx)).await
    }

    /// Waits until it is to be cut.
    #[cfg(feature = "server")]
    pub(crate) async fn over(&self) -> Cause {
        poll_fn(|cx| self.poll(OVER, cx)).await
    }

    /// Fails when it is over. To be asked before any byte goes through: an atomic load or two, while nothing has changed.
    #[inline]
    pub(crate) fn heed(&self) -> io::Result<()> {
        self.look();
        if self.stage() != OVER {
            return Ok(());
        }
        self.end()
    }

    #[cold]
    fn end(&self) -> io::Result<()> {
        self.lock()
            .cause()
            .map_or(Ok(()), |cause| Err(cause.into()))
    }

    /// No byte went through, and who waits for one is to be woken when it is over.
    pub(crate) fn heed_while_waiting(&self, who: Poller, cx: &mut Context<'_>) -> io::Result<()> {
        self.0.alarm.register(who, cx.waker());
        self.heed()
    }

    /// Brings the watch up to date, if anything has stirred.
    #[inline]
    fn look(&self) {
        if self.0.alarm.is_rung() {
            self.look_closely();
        }
    }

    #[cold]
    fn look_closely(&self) {
        let mut watch = self.lock();
        // Whoever waited for one that looked has the answer by now.
        if !self.0.alarm.is_rung() {
            return;
        }
        self.0.alarm.heard();
        let stage = watch.look();
        let before = self.0.stage.swap(stage, Ordering::AcqRel);
        self.0.alarm.silence();
        if stage != before {
            watch.count(stage);
        }
        drop(watch);
        // Who was woken together with us may have looked before we were done.
        if stage != before {
            self.0.alarm.wake_all();
        }
    }

    fn stage(&self) -> u8 {
        self.0.stage.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// What it has come to now, by the stage's number.
    fn look(&mut self) -> u8 {
        // Not the waker of whoever looks: there are others.
        let waker = self.waker.clone();
        self.advance(&mut Context::from_waker(&waker));
        match self.phase {
            Phase::Good { .. } | Phase::Lost { .. } => GOOD,
            Phase::Draining { .. } => DRAINING,
            Phase::Over(_) => OVER,
        }
    }

    /// Why it ends, if it does.
    fn cause(&self) -> Option<Cause> {
        match &self.phase {
            Phase::Good { .. } | Phase::Lost { .. } => None,
            Phase::Draining { cause, .. } | Phase::Over(cause) => Some(cause.clone()),
        }
    }

    /// It has just come to this stage.
    fn count(&self, stage: u8) {
        let ours = match self.admission.client() {
            Client::Peer(peer) if peer.role() == Role::Server => Role::Client,
            Client::Peer(_) | Client::Anonymous(_) => Role::Server,
        };
        match (self.cause().as_ref().map(Cause::end), stage) {
            (Some(end), DRAINING) => connection_drained(ours, end),
            (Some(end), OVER) => connection_cut(ours, end, 1),
            (Some(_) | None, _) => {}
        }
    }

    /// Goes through its phases for as long as there is nothing to wait for.
    fn advance(&mut self, cx: &mut Context<'_>) {
        loop {
            match &mut self.phase {
                Phase::Good { leave } => {
                    if let Poll::Ready(why) = self.lost.as_mut().poll(cx) {
                        self.lose(Box::new(why));
                        continue;
                    }
                    #[cfg(feature = "client")]
                    if let Some(superseded) = &mut self.superseded
                        && superseded.as_mut().poll(cx).is_ready()
                    {
                        self.superseded = None;
                        self.phase = Phase::Draining {
                            cause: Cause::Superseded,
                            cut: None,
                        };
                        continue;
                    }
                    let Some((sleep, planned)) = leave else {
                        return;
                    };
                    if sleep.as_mut().poll(cx).is_pending() {
                        return;
                    }
                    let planned = *planned;
                    self.leave(planned);
                }
                Phase::Lost { why, drain, .. } => {
                    if drain.as_mut().poll(cx).is_pending() {
                        return;
                    }
                    let why = why.clone();
                    self.drain_lost(why);
                }
                Phase::Draining { cause, cut } => {
                    let over = match cut {
                        Some(cut) => cut.as_mut().poll(cx).map(|()| cause.clone()),
                        None => {
                            let lost = self.lost.as_mut().poll(cx);
                            lost.map(|why| Cause::Lost(Box::new(why)))
                        }
                    };
                    let Poll::Ready(cause) = over else {
                        return;
                    };
                    self.phase = Phase::Over(cause);
                }
                Phase::Over(_) => return,
            }
        }
    }

    #[cfg(any(feature = "client", feature = "server"))]
    fn ends(&mut self, ending: Ending) {
        self.ending = ending;
        #[cfg(feature = "server")]
        if let Ending::Drained { max_age, .. } = ending {
            let age = max_age.map(|age| age.min(LONGEST));
            self.too_old = age.map(|age| Instant::now() + age.mul_f64(0.9 + random() / 5.0));
        }
        #[cfg(feature = "client")]
        if matches!(ending, Ending::Retired) {
            let watched = self.admission.clone();
            self.superseded = Some(Box::pin(async move { watched.superseded().await }));
        }
        self.plan();
    }

    fn lose(&mut self, why: Box<HandshakeError>) {
        let Some(deadline) = self.ending.deadline() else {
            self.phase = Phase::Over(Cause::Lost(why));
            return;
        };
        self.phase = Phase::Lost {
            why,
            drain: Box::pin(sleep(deadline.mul_f64(random() / 2.0))),
            cut: Instant::now() + deadline,
        };
    }

    fn drain_lost(&mut self, why: Box<HandshakeError>) {
        let cut = match &self.phase {
            Phase::Lost { cut, .. } => *cut,
            Phase::Good { .. } => Instant::now() + self.ending.deadline().unwrap_or_default(),
            // What it is drained for already ends it no later.
            Phase::Draining { .. } | Phase::Over(_) => return,
        };
        self.phase = Phase::Draining {
            cause: Cause::Lost(why),
            cut: Some(Box::pin(sleep_until(cut))),
        };
    }

    /// It is time, unless there is more of it than there was: a new trust may vouch for the peer for longer.
    fn leave(&mut self, planned: Timestamp) {
        let too_old = self.too_old.is_some_and(|then| Instant::now() >= then);
        if !too_old && self.admission.deadline() > planned {
            self.plan();
            return;
        }
        self.phase = Phase::Draining {
            cause: Cause::Age,
            cut: self
                .ending
                .deadline()
                .map(|deadline| Box::pin(sleep(deadline))),
        };
    }

    /// When the connection has to begin to end, so that it has ended when its peer's certificates do.
    fn plan(&mut self) {
        let planned = self.admission.deadline();
        let valid = planned.saturating_since(Timestamp::now());
        // A certificate that lives for seconds spends no more than a quarter of them on farewells.
        let lead = self
            .ending
            .deadline()
            .unwrap_or(RETIREMENT)
            .mul_f64(1.0 + random());
        let lead = lead.min(valid / 4);
        #[cfg(feature = "client")]
        if lead.is_zero() && matches!(self.ending, Ending::Retired) {
            // A new connection would find the same certificate, in its last second.
            self.phase = Phase::Good { leave: None };
            return;
        }
        let left = valid - lead;
        let leave = Instant::now() + left.min(LONGEST);
        let leave = self.too_old.map_or(leave, |then| leave.min(then));
        self.phase = Phase::Good {
            leave: Some((Box::pin(sleep_until(leave)), planned)),
        };
    }
}

impl Ending {
    /// How long its drain may take, if it is drained.
    fn deadline(self) -> Option<Duration> {
        match self {
            Self::Cut => None,
            #[cfg(feature = "server")]
            Self::Drained { deadline, .. } => Some(deadline),
            #[cfg(feature = "client")]
            Self::Retired => None,
        }
    }
}

impl Cause {
    /// What the metrics call it.
    fn end(&self) -> ConnectionEnd {
        match self {
            Self::Age => ConnectionEnd::Age,
            Self::Lost(why) => ConnectionEnd::Lost(why.reason()),
            #[cfg(feature = "client")]
            Self::Superseded => ConnectionEnd::Superseded,
        }
    }

    /// The stable name of why the peer was lost.
    #[cfg(feature = "server")]
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Age => None,
            Self::Lost(why) => Some(why.reason()),
            #[cfg(feature = "client")]
            Self::Superseded => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age => f.write_str("it is old, or its peer's certificates are about to expire"),
            Self::Lost(why) => fmt::Display::fmt(why, f),
            #[cfg(feature = "client")]
            Self::Superseded => f.write_str("our credentials were rotated"),
        }
    }
}

impl From<Cause> for io::Error {
    fn from(cause: Cause) -> Self {
        let kind = io::ErrorKind::ConnectionAborted;
        match cause {
            Cause::Age => Self::new(kind, "the connection is too old"),
            Cause::Lost(why) => Self::new(kind, *why),
            #[cfg(feature = "client")]
            Cause::Superseded => Self::new(kind, "our credentials were rotated"),
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

/// How long before its server's certificates expire a client's connection gets no new requests.
const RETIREMENT: Duration = Duration::from_secs(10);

const GOOD: u8 = 0;
const DRAINING: u8 = 1;
const OVER: u8 = 2;
