//! Whether the peer of a connection that is open would still be let in.
//!
//! A connection asks; nobody hunts it. When nothing has changed the answer is an atomic load or two and a look at the
//! clock, and writes nothing that another connection reads. When something has, it is the verification that a new
//! handshake would get, which the new trust remembers for the next connection of the same peer.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::sync::watch;
use tokio::time::sleep;

use super::error::HandshakeError;
use super::expected::Expected;
use super::server::ServerSettings;
use crate::audit::{Audit, JudgedUnder};
use crate::clock;
use crate::identity::Timestamp;
use crate::policy::Authorizer;
use crate::snapshot::{Credentials, Current, Snapshot};
use crate::verify::{ChainError, ChainFault, LivePeer, Role, VerifiedPeer};

/// What a connection is measured by.
#[derive(Debug)]
pub(super) enum Measure {
    /// We are the server: the authorizer.
    Server(Arc<ServerSettings>),
    /// We are the client. In a box: a server has ten thousand of these, and no room for it.
    Client(Box<Dialled>),
}

/// What is expected of the server, where this name was dialled.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) expected: Expected,
    pub(super) name: ServerName<'static>,
}

/// How an open connection stands with us.
#[derive(Debug)]
pub(super) struct Standing {
    current: Arc<Current>,
    measure: Measure,
    /// What we presented in the handshake. Whoever is served by an old connection keeps no old key alive.
    presented: Weak<Credentials>,
    /// What the last answer was given for.
    generation: AtomicU64,
    policy: AtomicU64,
    /// The last second at which that answer holds, in seconds since the epoch.
    deadline: AtomicI64,
    refused: AtomicBool,
    held: Mutex<Held>,
}

/// What the last answer rests on.
#[derive(Debug)]
struct Held {
    /// The generation of the trust that the peer was last verified under.
    trust: u64,
    /// Kept in its trust's memory for as long as the connection lives.
    peer: LivePeer,
    /// In a box: there is one per connection, and hardly ever an error.
    answer: Result<(), Box<HandshakeError>>,
}

impl Standing {
    /// The peer has just been verified and authorized, under this snapshot.
    pub(super) fn new(
        current: Arc<Current>,
        snapshot: &Snapshot,
        peer: Arc<VerifiedPeer>,
        measure: Measure,
        policy: u64,
    ) -> Self {
        current
            .tally()
            .opened(measure.ours(), snapshot.trust_generation);
        Self {
            current,
            presented: Arc::downgrade(&snapshot.credentials),
            generation: AtomicU64::new(snapshot.generation()),
            policy: AtomicU64::new(policy),
            deadline: AtomicI64::new(peer.deadline().as_unix()),
            refused: AtomicBool::new(false),
            held: Mutex::new(Held {
                trust: snapshot.trust_generation,
                peer: LivePeer::new(peer),
                answer: Ok(()),
            }),
            measure,
        }
    }

    /// The generation of the snapshot that the last answer was given under.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What the last answer was given for.
    pub(super) fn judged_under(&self) -> JudgedUnder {
        JudgedUnder {
            generation: self.generation(),
            policy_version: self.policy.load(Ordering::Acquire),
        }
    }

    pub(super) fn audit(&self) -> &Audit {
        match &self.measure {
            Measure::Server(settings) => &settings.audit,
            Measure::Client(_) => Audit::OFF,
        }
    }

    /// Whether the peer would be let in at `now`, under the snapshot and by the policy of this moment.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), HandshakeError> {
        let (generation, policy) = (self.current.generation(), self.measure.version());
        let is_known = generation == self.generation.load(Ordering::Acquire)
            && policy == self.policy.load(Ordering::Acquire);
        if !is_known {
            return self.check_again(policy, now);
        }
        // Nothing has changed since the refusal: who goes on asking costs no verification.
        if self.refused.load(Ordering::Acquire) {
            return self.held().answer();
        }
        if now.as_unix() <= self.deadline.load(Ordering::Acquire) {
            return Ok(());
        }
        self.check_again(policy, now)
    }

    /// The last moment at which the last answer holds if nothing changes.
    pub(super) fn deadline(&self) -> Timestamp {
        Timestamp::from_unix(self.deadline.load(Ordering::Acquire))
    }

    /// Whether a new handshake would present other credentials than this one's did.
    pub(super) fn is_superseded(&self) -> bool {
        !std::ptr::eq(
            Arc::as_ptr(&self.current.load().credentials),
            self.presented.as_ptr(),
        )
    }

    /// Waits until a new handshake would present other credentials than this one's did.
    pub(super) async fn superseded(&self) {
        let mut snapshots = self.current.subscribe();
        loop {
            snapshots.mark_unchanged();
            if self.is_superseded() {
                return;
            }
            heard(Some(&mut snapshots)).await;
        }
    }

    /// Waits until the peer would not be let in any more, and says why.
    pub(super) async fn lost(&self) -> HandshakeError {
        // Heard from before the look, so that no change slips between.
        let mut snapshots = self.current.subscribe();
        let mut policies = self.measure.changes();
        loop {
            snapshots.mark_unchanged();
            if let Some(policies) = &mut policies {
                policies.mark_unchanged();
            }
            let now = clock::now().into();
            if let Err(lost) = self.check(now) {
                return lost;
            }
            tokio::select! {
                () = heard(Some(&mut snapshots)) => {}
                () = heard(policies.as_mut()) => {}
                () = sleep(self.nap(now)) => {}
            }
        }
    }

    /// Until the deadline has passed, but not for long: a clock may be set.
    fn nap(&self, now: Timestamp) -> Duration {
        let left = self.deadline().as_unix().saturating_sub(now.as_unix());
        let left = u64::try_from(left).unwrap_or(0).saturating_add(1);
        Duration::from_secs(left).min(LONGEST_NAP)
    }

    fn check_again(&self, policy: u64, now: Timestamp) -> Result<(), HandshakeError> {
        let mut held = self.held();
        // Behind the lock, so that no older answer comes after a newer one.
        let snapshot = self.current.load();
        let judged = self.judge(&snapshot, &held.peer, now);
        held.answer = match judged {
            Ok(peer) => {
                let (before, now) = (held.trust, snapshot.trust_generation);
                self.current.tally().moved(self.measure.ours(), before, now);
                held.trust = now;
                if !Arc::ptr_eq(&peer, &held.peer) {
                    held.peer = LivePeer::new(peer);
                }
                Ok(())
            }
            Err(lost) => Err(Box::new(lost)),
        };
        // What the answer was given for comes last: who reads that it is known reads the answer too.
        let deadline = held.peer.deadline().as_unix();
        self.deadline.store(deadline, Ordering::Release);
        // Otherwise one request more of a peer that was just refused would pass.
        self.refused.store(held.answer.is_err(), Ordering::Release);
        self.policy.store(policy, Ordering::Release);
        self.generation
            .store(snapshot.generation(), Ordering::Release);
        held.answer()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(
        &self,
        snapshot: &Snapshot,
        peer: &Arc<VerifiedPeer>,
        now: Timestamp,
    ) -> Result<Arc<VerifiedPeer>, HandshakeError> {
        let (chain, time) = (peer.identity().chain(), now.to_unix_time());
        let verify = || snapshot.trust.verify(chain, peer.role(), time);
        let peer = match peer.again(snapshot.generation(), now, verify) {
            Ok(peer) => peer,
            // Stale lists refuse whoever is new. Of who is here they said nothing, and the rest of the path was found good
            // before they were asked.
            Err(error) if matches!(error.fault, ChainFault::CrlStale { .. }) => Arc::clone(peer),
            Err(error) => return Err(Box::new(error).into()),
        };
        self.measure.judge(&peer)?;
        Ok(peer)
    }
}

#[cfg(feature = "metrics")]
impl Drop for Standing {
    fn drop(&mut self) {
        let trust = self.held().trust;
        self.current.tally().closed(self.measure.ours(), trust);
    }
}

impl Held {
    fn answer(&self) -> Result<(), HandshakeError> {
        self.answer.clone().map_err(|lost| *lost)
    }
}

impl Measure {
    /// The part that we play.
    fn ours(&self) -> Role {
        match self {
            Self::Server(_) => Role::Server,
            Self::Client(_) => Role::Client,
        }
    }

    pub(super) fn judge(&self, peer: &VerifiedPeer) -> Result<(), HandshakeError> {
        match self {
            Self::Server(settings) => settings.admit(peer.identity()),
            Self::Client(dialled) => {
                let Dialled { expected, name } = &**dialled;
                let peer = peer.identity();
                let refused = |fault| Box::new(ChainError::of(peer, Role::Server, fault)).into();
                expected.met_by(peer, name).map_err(refused)
            }
        }
    }

    pub(super) fn version(&self) -> u64 {
        match self {
            Self::Server(settings) => settings.authorizer.version(),
            Self::Client(_) => 0,
        }
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        match self {
            Self::Server(settings) => settings.authorizer.changes(),
            Self::Client(_) => None,
        }
    }
}

/// Waits for a change; for ever, where nobody is left to make one.
async fn heard(changes: Option<&mut watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// A clock that is set forward is noticed within this.
const LONGEST_NAP: Duration = Duration::from_secs(30);

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
