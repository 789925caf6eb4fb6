//! Verifies servers, and remembers whom it let in.
//!
//! One for each snapshot that a client uses. rustls shows no more of a server than its chain; what was made of it is found
//! here again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::error::HandshakeError;
use super::expected::Expected;
use super::explain::presented;
use super::tickets::Tickets;
use crate::identity::{PeerIdentity, Timestamp};
use crate::snapshot::{Current, Snapshot};
use crate::verify::chain::in_one;
use crate::verify::{ChainError, Role, VerifiedPeer};

/// Verifies servers under one snapshot.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) current: Arc<Current>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) expected: Expected,
    seen: Mutex<Seen>,
    /// The least of the deadlines of whom it has seen, but for some that have passed.
    first_deadline: AtomicI64,
    pub(super) tickets: Arc<Tickets>,
}

/// The servers that were verified, the oldest first to go. Only what was verified enters, so a stranger cannot fill it.
#[derive(Debug, Default)]
struct Seen {
    by_leaf: HashMap<Vec<u8>, VecDeque<Arc<VerifiedPeer>>>,
    order: VecDeque<Vec<u8>>,
}

impl Verifier {
    pub(super) fn new(current: Arc<Current>, snapshot: Arc<Snapshot>, expected: Expected) -> Self {
        Self {
            current,
            snapshot,
            expected,
            seen: Mutex::default(),
            first_deadline: AtomicI64::new(i64::MAX),
            tickets: Arc::default(),
        }
    }

    /// The server with this chain, if it was let in.
    pub(super) fn peer(&self, chain: &[CertificateDer<'_>]) -> Option<Arc<VerifiedPeer>> {
        let seen = self.seen();
        let mut known = seen.by_leaf.get(chain.first()?.as_ref())?.iter();
        known
            .find(|peer| peer.identity().chain() == chain)
            .map(Arc::clone)
    }

    /// Who was let in last with this leaf.
    pub(super) fn identity_by_leaf(&self, leaf: &[u8]) -> Option<PeerIdentity> {
        let seen = self.seen();
        let newest = seen.by_leaf.get(leaf).and_then(|peers| peers.back());
        newest.map(|peer| peer.identity().clone())
    }

    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Arc<VerifiedPeer>, ChainError> {
        let peer = self.snapshot.trust().verify(chain, Role::Server, now)?;
        let identity = peer.identity();
        self.expected
            .met_by(identity, name)
            .map_err(|fault| ChainError::of(identity, Role::Server, fault))?;
        Ok(peer)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    fn remember(&self, peer: Arc<VerifiedPeer>) {
        let mut seen = self.seen();
        let deadline = peer.deadline().as_unix();
        self.first_deadline.fetch_min(deadline, Ordering::AcqRel);
        seen.insert(peer);
    }

    /// See [`ClientHandshake::first_deadline`](super::ClientHandshake::first_deadline).
    pub(super) fn first_deadline(&self, since: Timestamp) -> Option<Timestamp> {
        let first = self.first_deadline.load(Ordering::Acquire);
        let first = if first >= since.as_unix() {
            first
        } else {
            // Looked for behind the lock, so that nobody who is let in meanwhile is passed over.
            let seen = self.seen();
            let peers = seen.by_leaf.values().flatten();
            let deadlines = peers.map(|peer| peer.deadline().as_unix());
            let first = deadlines.filter(|end| *end >= since.as_unix()).min();
            let first = first.unwrap_or(i64::MAX);
            self.first_deadline.store(first, Ordering::Release);
            first
        };
        (first != i64::MAX).then(|| Timestamp::from_unix(first))
    }
}

impl Seen {
    fn insert(&mut self, peer: Arc<VerifiedPeer>) {
        let Some(leaf) = peer.identity().chain().first().map(|leaf| leaf.to_vec()) else {
            return;
        };
        let peers = self.by_leaf.entry(leaf.clone()).or_default();
        if peers.is_empty() {
            self.order.push_back(leaf);
        }
        // One leaf may come with several chains: a server whose intermediate alone is new, replicas that differ, and
        // whoever repeats a public chain with something of its own behind it.
        peers.retain(|known| known.identity().chain() != peer.identity().chain());
        if peers.len() >= MAX_CHAINS {
            peers.pop_front();
        }
        peers.push_back(peer);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_leaf.remove(&oldest);
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = in_one(end_entity, intermediates);
        match self.verify(&chain, server_name, now) {
            Ok(peer) => {
                self.tickets.verified(server_name, peer.resumable_until());
                self.remember(peer);
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => Err(carry(Box::new(error).into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, self.snapshot.trust().algorithms())
            .map_err(|error| unproven(error, cert))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, self.snapshot.trust().algorithms())
            .map_err(|error| unproven(error, cert))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.snapshot.trust().algorithms().supported_schemes()
    }
}

pub(super) fn unproven(error: rustls::Error, leaf: &CertificateDer<'_>) -> rustls::Error {
    if error == rustls::Error::InvalidCertificate(CertificateError::BadSignature) {
        let presented = presented(Some(leaf));
        return carry(HandshakeError::NoProofOfPossession {
            presented,
            role: Role::Server,
        });
    }
    error
}

/// rustls carries a foreign error inside its own; the alert is then certificate_unknown.
pub(super) fn carry(error: HandshakeError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// A panic while a lock was held leaves a map that is merely less full.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More servers than a client talks to; at about two kilobytes each, two megabytes at the most.
const MAX_SEEN: usize = 1024;

/// As many as a trust remembers of one leaf.
const MAX_CHAINS: usize = 4;
