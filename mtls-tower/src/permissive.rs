//! Plaintext on the port of mutual TLS, for as long as a migration takes.

mod addresses;
mod first_byte;
mod report;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mtls_core::Timestamp;
use mtls_core::metrics::{plaintext_closed, plaintext_opened};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use addresses::Addresses;
pub use report::{PermissiveReport, PlaintextAddress};

/// Lets a listener take plaintext on its port beside mutual TLS, for a migration: until its end date, or until
/// [`go_strict`](Self::go_strict). A clone is another handle on the same, and one handle may serve several listeners.
///
/// A client is told apart by its first byte: a record of TLS begins with 22, a request of HTTP with a capital letter. Whatever
/// else comes is refused as it would be without this. A plaintext client is an [`AnonymousClient`](crate::AnonymousClient): rules
/// about identities refuse it, no header of it says who it is, and whoever is on the way can read and change what it says. A
/// handler that gives something to anybody gives it to the network.
///
/// Who is in plaintext is counted by address, for [`report`](Self::report). When it goes strict, a plaintext connection that
/// is open ends like one of a client that is let in no more: its next request is answered with 401, it is drained, and cut at the
/// [`lost_peer_deadline`](crate::GuardLayer::lost_peer_deadline). No other connection notices. There is no way back: whoever wants one
/// makes another listener.
///
/// Without an end date it warns every minute; with one, every hour in which somebody is in plaintext.
///
/// ```no_run
/// # async fn run<S>(listener: tokio::net::TcpListener, tls: mtls_core::ServerTls, app: S)
/// # where S: Clone + Send + 'static {
/// use std::time::Duration;
/// use mtls_core::Timestamp;
/// use mtls_tower::Permissive;
///
/// let in_two_weeks = Timestamp::from_unix(Timestamp::now().as_unix() + 14 * 24 * 60 * 60);
/// let permissive = Permissive::until(in_two_weeks);
/// let server = mtls_tower::serve(listener, tls, app).permissive(permissive.clone());
/// // Later, by a signal or an endpoint of the operator's own:
/// let report = permissive.report();
/// if report.is_safe_to_go_strict(Duration::from_secs(24 * 60 * 60)) {
///     permissive.go_strict();
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Permissive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    end: Option<Timestamp>,
    since: Timestamp,
    clock: Clock,
    // Once set it stays: a clock that is set back makes nobody permissive again.
    strict: AtomicBool,
    told: watch::Sender<()>,
    seen: Mutex<Addresses>,
    warned: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Clock {
    Wall,
    #[cfg(test)]
    Set(Arc<Mutex<Timestamp>>),
}

impl Permissive {
    /// Takes plaintext until this moment, and goes strict then by itself; a moment that has passed is strict from the
    /// beginning.
    #[must_use]
    pub fn until(end: impl Into<Timestamp>) -> Self {
        Self::new(Some(end.into()), Clock::Wall)
    }

    /// Takes plaintext until somebody says [`go_strict`](Self::go_strict). Better say an end date: a migration without one
    /// goes on for ever.
    #[must_use]
    pub fn without_end() -> Self {
        Self::new(None, Clock::Wall)
    }

    fn new(end: Option<Timestamp>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            end,
            since: clock.now(),
            clock,
            strict: AtomicBool::new(false),
            told: watch::Sender::new(()),
            seen: Mutex::default(),
            warned: Mutex::default(),
        }))
    }

    /// Takes no plaintext any more, from this moment on.
    pub fn go_strict(&self) {
        self.latch("somebody said so");
    }

    /// Whether it takes no plaintext any more.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        if self.0.strict.load(Ordering::Acquire) {
            return true;
        }
        let ended = self.0.end.is_some_and(|end| self.0.clock.now() >= end);
        if ended {
            self.latch("its end date has come");
        }
        ended
    }

    /// Who is in plaintext, and who has been.
    #[must_use]
    pub fn report(&self) -> PermissiveReport {
        let strict = self.is_strict();
        let (since, end) = (self.0.since, self.0.end);
        self.seen().report(self.0.clock.now(), since, end, strict)
    }

    fn latch(&self, why: &'static str) {
        if self.0.strict.swap(true, Ordering::AcqRel) {
            return;
        }
        let (addresses, open) = self.seen().in_plaintext();
        info!(
            mtls.plaintext_addresses = addresses,
            mtls.open = open,
            why,
            "plaintext is refused from here on"
        );
        self.0.told.send_replace(());
    }

    /// Waits until no plaintext is taken any more. Cancel safe.
    pub(crate) async fn ended(&self) {
        // Heard from before the look, so that no change slips between.
        let mut told = self.0.told.subscribe();
        while !self.is_strict() {
            let now = self.0.clock.now();
            let left = self.0.end.map(|end| end.saturating_since(now));
            tokio::select! {
                _ = told.changed() => {}
                () = sleep(left.unwrap_or(LONGEST_NAP).min(LONGEST_NAP)) => {}
            }
        }
    }

    /// A place for a client in plaintext, unless it has gone strict.
    pub(crate) fn admit(&self, ip: Option<IpAddr>) -> Option<PlaintextConnection> {
        if self.is_strict() {
            return None;
        }
        let ip = ip.map(|ip| ip.to_canonical());
        self.seen().begin_plaintext(ip, self.0.clock.now());
        plaintext_opened();
        let permissive = self.clone();
        Some(PlaintextConnection { permissive, ip })
    }

    /// Somebody at this address has come in by TLS.
    pub(crate) fn note_tls(&self, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            let now = self.0.clock.now();
            self.seen().note_tls(ip.to_canonical(), now);
        }
    }

    /// Warns, if it is time, and says when it is next; none once it is strict. Never for a single connection, which anybody
    /// can make.
    pub(crate) fn warn_if_due(&self) -> Option<Instant> {
        if self.is_strict() {
            return None;
        }
        let (now, every) = (Instant::now(), self.warns_every());
        let mut warned = self.warned();
        match *warned {
            Some(at) if now - at < every => return Some(at + every),
            Some(_) | None => *warned = Some(now),
        }
        drop(warned);
        let (addresses, open) = self.seen().in_plaintext();
        match self.0.end {
            None => warn!(
                mtls.plaintext_addresses = addresses,
                mtls.open = open,
                "plaintext is taken beside mutual TLS, and no end date is said; this is repeated every minute until one is"
            ),
            Some(end) if addresses > 0 => warn!(
                mtls.plaintext_addresses = addresses,
                mtls.open = open,
                mtls.until = %end,
                "clients are in plaintext, which will be refused"
            ),
            Some(_) => {}
        }
        Some(now + every)
    }

    fn warns_every(&self) -> Duration {
        match self.0.end {
            None => LOUD,
            Some(_) => REMINDER,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Addresses> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warned(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.warned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    fn now(&self) -> Timestamp {
        match self {
            Self::Wall => Timestamp::now(),
            #[cfg(test)]
            Self::Set(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// A connection in plaintext while it is open: one of the report's.
#[derive(Debug)]
pub(crate) struct PlaintextConnection {
    permissive: Permissive,
    ip: Option<IpAddr>,
}

impl PlaintextConnection {
    pub(crate) fn permissive(&self) -> &Permissive {
        &self.permissive
    }
}

impl Drop for PlaintextConnection {
    fn drop(&mut self) {
        let now = self.permissive.0.clock.now();
        self.permissive.seen().end_plaintext(self.ip, now);
        plaintext_closed();
    }
}

/// A clock that is set forward is noticed within this.
const LONGEST_NAP: Duration = Duration::from_secs(30);

const LOUD: Duration = Duration::from_secs(60);

const REMINDER: Duration = Duration::from_secs(60 * 60);
