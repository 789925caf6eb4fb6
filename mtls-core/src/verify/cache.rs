//! Who was verified under one trust.
//!
//! Verifying a chain takes one to three signature checks, and a service talks to few peers many times. What is remembered
//! says one thing only: *this exact chain verified for this role under this trust*. Server name, authorizer, proof of
//! possession, clock and revocation window are asked every time.
//!
//! What keeps it from being anybody's lever:
//!
//! * only successes enter, so that strangers leave nothing behind;
//! * the hash is keyed, and chains are compared in full, byte by byte;
//! * it holds a stated number of chains of a stated size, and at most four of one leaf, so that a valid peer that appends
//!   junk displaces nobody but itself;
//! * what a live connection rests on is not displaced;
//! * one verification of a chain is under way at a time, and all who wait for it share what came of it.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustls_pki_types::CertificateDer;

use super::error::{ChainError, Role};
use crate::identity::{PeerIdentity, Timestamp};

/// A chain that verified, for a role, under the trust that remembers it. Its holder has yet to prove that it has the key.
#[derive(Debug)]
pub(crate) struct VerifiedPeer {
    identity: PeerIdentity,
    role: Role,
    /// The last moment at which what revocation lists said of it stands.
    until: Timestamp,
    /// How many connections rest on it.
    live: AtomicUsize,
    /// When it did not verify again, and why. In a box: there are two thousand peers, and hardly ever an error.
    lost: Mutex<Option<Box<(Occasion, ChainError)>>>,
}

/// What a no depends on: the generation, and whether the path's time was over. A path whose list was late has yet to
/// expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occasion {
    generation: u64,
    is_over: bool,
}

/// The peer of a live connection: as long as somebody holds one, it is not displaced.
#[derive(Debug)]
pub(crate) struct LivePeer(Arc<VerifiedPeer>);

impl VerifiedPeer {
    pub(crate) fn new(identity: PeerIdentity, role: Role, until: Timestamp) -> Self {
        Self {
            identity,
            role,
            until,
            live: AtomicUsize::new(0),
            lost: Mutex::default(),
        }
    }

    pub(crate) fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The last moment at which every certificate of its path is valid: a connection lasts no longer.
    ///
    /// A revocation list that has become stale ends no connection. It says nothing against anybody, and it would end all of
    /// them at once.
    pub(crate) fn deadline(&self) -> Timestamp {
        self.identity.window().not_after
    }

    /// The last moment at which a new handshake would accept it: no revocation list that was asked is stale either.
    pub(crate) fn resumable_until(&self) -> Timestamp {
        self.deadline().min(self.until)
    }

    pub(crate) fn stands_at(&self, now: Timestamp) -> bool {
        self.identity.window().contains(now) && now <= self.until
    }

    /// What `verify` says of it under a later snapshot. A yes is what the new trust remembers; a no is remembered here, for
    /// all who rest on it: the thousands of connections of a peer whose CA was removed ask one after the other.
    pub(crate) fn again(
        &self,
        generation: u64,
        now: Timestamp,
        verify: impl FnOnce() -> Result<Arc<Self>, ChainError>,
    ) -> Result<Arc<Self>, ChainError> {
        let occasion = Occasion {
            generation,
            is_over: self.deadline() < now,
        };
        let mut lost = lock(&self.lost);
        if let Some((of, error)) = lost.as_deref()
            && *of == occasion
        {
            return Err(error.clone());
        }
        let verified = verify();
        if let Err(error) = &verified {
            *lost = Some(Box::new((occasion, error.clone())));
        }
        verified
    }

    fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed) > 0
    }

    fn is_for(&self, chain: &[CertificateDer<'_>], role: Role) -> bool {
        self.role == role && self.identity.chain() == chain
    }
}

impl LivePeer {
    pub(crate) fn new(peer: Arc<VerifiedPeer>) -> Self {
        peer.live.fetch_add(1, Ordering::Relaxed);
        Self(peer)
    }
}

impl Deref for LivePeer {
    type Target = Arc<VerifiedPeer>;

    fn deref(&self) -> &Arc<VerifiedPeer> {
        &self.0
    }
}

impl Drop for LivePeer {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a chain is small enough to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheUse {
    Remembered,
    TooLarge,
}

/// The memory of one trust. It dies with it.
#[derive(Debug)]
pub(crate) struct VerifiedPeers {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// By what they verify. No more than there are threads that verify: one that panics ends its flight too.
    flights: Mutex<Vec<(u64, Arc<Flight>)>>,
    verifications: AtomicU64,
}

/// A verification that is under way.
type Flight = OnceLock<Result<Arc<VerifiedPeer>, ChainError>>;

/// Whoever waits for a flight; it has ended when the first of them leaves.
struct Boarded<'a> {
    flight: Arc<Flight>,
    flights: &'a Mutex<Vec<(u64, Arc<Flight>)>>,
}

#[derive(Debug, Default)]
struct Shard {
    /// The longest unused first. So few that looking through them is as fast as a map of them, and whoever makes room need not
    /// look at each.
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    leaf: u64,
    peer: Arc<VerifiedPeer>,
}

impl VerifiedPeers {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            flights: Mutex::default(),
            verifications: AtomicU64::new(0),
        }
    }

    pub(crate) fn fits(chain: &[CertificateDer<'_>]) -> CacheUse {
        let bytes: usize = chain.iter().map(|der| der.len()).sum();
        if chain.len() <= MAX_CERTIFICATES && bytes <= MAX_BYTES {
            CacheUse::Remembered
        } else {
            CacheUse::TooLarge
        }
    }

    /// The peer of this chain, verified by `verify` unless it is known and stands.
    pub(crate) fn get_or(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: Timestamp,
        verify: impl Fn() -> Result<VerifiedPeer, ChainError>,
    ) -> Result<Arc<VerifiedPeer>, ChainError> {
        let Some((leaf, issuers)) = chain.split_first() else {
            return self.beside(verify);
        };
        let leaf = self.hasher.hash_one(leaf.as_ref());
        if let Some(known) = self.get(leaf, chain, role, now) {
            return Ok(known);
        }
        let key = self.hash(leaf, issuers, role);
        let boarded = self.board(key);
        let landed = boarded.flight.get_or_init(|| {
            // Whoever came between the look above and this flight may have verified it.
            if let Some(known) = self.get(leaf, chain, role, now) {
                return Ok(known);
            }
            let peer = self.beside(&verify)?;
            self.insert(leaf, &peer);
            Ok(peer)
        });
        match landed {
            // Neither can be made to happen: the hash is keyed, and nobody waits for a flight for a second. What would
            // come of it is a verification of one's own.
            Ok(peer) if !peer.is_for(chain, role) || !peer.stands_at(now) => self.beside(&verify),
            landed => landed.clone(),
        }
    }

    /// The flight of this key, which begins with whoever comes first.
    fn board(&self, key: u64) -> Boarded<'_> {
        let flights = &self.flights;
        let mut all = lock(flights);
        if let Some((_, flight)) = all.iter().find(|(of, _)| *of == key) {
            let flight = Arc::clone(flight);
            return Boarded { flight, flights };
        }
        let flight = Arc::default();
        all.push((key, Arc::clone(&flight)));
        Boarded { flight, flights }
    }

    /// Of a chain and a role, by the hash of its leaf.
    fn hash(&self, leaf: u64, issuers: &[CertificateDer<'_>], role: Role) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        role.hash(&mut hasher);
        leaf.hash(&mut hasher);
        for der in issuers {
            der.as_ref().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Verifies and does not remember.
    pub(crate) fn beside(
        &self,
        verify: impl FnOnce() -> Result<VerifiedPeer, ChainError>,
    ) -> Result<Arc<VerifiedPeer>, ChainError> {
        self.verifications.fetch_add(1, Ordering::Relaxed);
        verify().map(Arc::new)
    }

    pub(crate) fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }

    /// The peers of live connections.
    pub(crate) fn live(&self) -> Vec<Arc<VerifiedPeer>> {
        let shards = self.shards.iter().map(lock);
        let live = |shard: MutexGuard<'_, Shard>| -> Vec<_> {
            let live = shard.slots.iter().filter(|slot| slot.peer.is_live());
            live.map(|slot| Arc::clone(&slot.peer)).collect()
        };
        shards.flat_map(live).collect()
    }

    fn get(
        &self,
        leaf: u64,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: Timestamp,
    ) -> Option<Arc<VerifiedPeer>> {
        let mut shard = lock(self.shard(leaf)?);
        let is_it = |slot: &Slot| slot.leaf == leaf && slot.peer.is_for(chain, role);
        let at = shard.slots.iter().rposition(is_it)?;
        let peer = Arc::clone(&shard.slots.get(at)?.peer);
        if !peer.stands_at(now) {
            return None;
        }
        shard.used(at);
        Some(peer)
    }

    fn insert(&self, leaf: u64, peer: &Arc<VerifiedPeer>) {
        let Some(shard) = self.shard(leaf) else {
            return;
        };
        let mut shard = lock(shard);
        shard.slots.retain(|slot| {
            slot.leaf != leaf || !slot.peer.is_for(peer.identity.chain(), peer.role)
        });
        let of_leaf = shard.slots.iter().filter(|slot| slot.leaf == leaf).count();
        let has_room = if of_leaf >= PER_LEAF {
            shard.displace(|slot| slot.leaf == leaf)
        } else {
            shard.slots.len() < PER_SHARD || shard.displace(|_| true)
        };
        // Where everybody is live, newcomers are verified each time.
        if has_room {
            let peer = Arc::clone(peer);
            shard.slots.push(Slot { leaf, peer });
        }
    }

    fn shard(&self, leaf: u64) -> Option<&Mutex<Shard>> {
        let index = usize::try_from(leaf >> 32).ok()? % SHARDS;
        self.shards.get(index)
    }
}

impl Drop for Boarded<'_> {
    /// A later flight of the same key is not this one's to end.
    fn drop(&mut self) {
        lock(self.flights).retain(|(_, other)| !Arc::ptr_eq(other, &self.flight));
    }
}

impl Shard {
    fn used(&mut self, at: usize) {
        if let Some(since) = self.slots.get_mut(at..) {
            since.rotate_left(1);
        }
    }

    /// Makes room by the slot that nobody lives on and that was used longest ago, of those that may go.
    fn displace(&mut self, may_go: impl Fn(&Slot) -> bool) -> bool {
        let mut slots = self.slots.iter();
        let oldest = slots.position(|slot| may_go(slot) && !slot.peer.is_live());
        oldest.map(|at| self.slots.remove(at)).is_some()
    }
}

/// A panic while a lock was held leaves at most a slot too few or too many.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So that handshakes on many cores seldom wait for each other.
const SHARDS: usize = 16;

/// 2,048 chains in all: with [`MAX_BYTES`] that is 32 MiB at the very most, and 4 MiB of ordinary ones. Twice as many as the
/// thousand peers that it is meant for: their hashes do not fill the shards evenly, and who finds no room among peers of live
/// connections is verified over and over.
const PER_SHARD: usize = 2048 / SHARDS;

/// A client and a server chain, each with the one before its last renewal of intermediates.
const PER_LEAF: usize = 4;

/// A leaf, its intermediates, and a root that need not be there.
const MAX_CERTIFICATES: usize = 6;

/// Six certificates with RSA-4096 keys are 12 KiB.
const MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;
