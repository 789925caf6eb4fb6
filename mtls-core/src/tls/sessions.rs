//! Sessions that a server remembers, each beside the peer it was verified for.
//!
//! rustls verifies nothing when it resumes, and hands out new tickets for the old chain: left to itself a peer outlives
//! its revocation, its CA and its expiry. So a session is handed back only while its peer would be let in; otherwise it is
//! as if there were none, and rustls falls back to a full handshake. Declined, never refused afterwards: RFC 8446 §2.2
//! takes a session for valid once it was accepted, and a refusal after that would lock out a peer that has a new
//! certificate at hand.
//!
//! One store belongs to one [`ServerTls`](crate::ServerTls) and one snapshot. It holds no session without a peer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::verify::VerifiedPeer;

/// Whether clients may resume sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// The server remembers this many sessions, the oldest being forgotten first. The default, with 4,096: about 3 KiB
    /// each.
    Sessions(usize),
    /// Every handshake is a full one.
    Off,
}

impl Default for Resumption {
    fn default() -> Self {
        Self::Sessions(4096)
    }
}

/// The sessions of one server under one snapshot.
#[derive(Debug)]
pub(super) struct Sessions {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    per_shard: usize,
}

#[derive(Debug, Default)]
struct Shard {
    by_key: HashMap<Vec<u8>, Session>,
    order: VecDeque<Vec<u8>>,
}

/// A session, and for whom it was made.
#[derive(Clone)]
pub(super) struct Session {
    /// As rustls writes it; it holds the secret that the next handshake rests on.
    pub(super) value: Vec<u8>,
    pub(super) peer: Arc<VerifiedPeer>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", self.peer.identity())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// `None` if there are to be none.
    pub(super) fn new(resumption: Resumption) -> Option<Self> {
        let size = match resumption {
            Resumption::Sessions(0) | Resumption::Off => return None,
            Resumption::Sessions(size) => size,
        };
        let shards = size.min(SHARDS);
        Some(Self {
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            per_shard: size.div_ceil(shards),
        })
    }

    pub(super) fn put(&self, key: Vec<u8>, session: Session) {
        let Some(mut shard) = self.shard(&key) else {
            return;
        };
        if shard.by_key.insert(key.clone(), session).is_none() {
            shard.order.push_back(key);
        }
        while shard.by_key.len() > self.per_shard {
            let Some(oldest) = shard.order.pop_front() else {
                break;
            };
            shard.by_key.remove(&oldest);
        }
        // What was taken out has left its key behind. Those keys take no session's place: a client that resumes over and
        // over would otherwise push out the sessions of all others with its one.
        if shard.order.len() > 2 * self.per_shard {
            let Shard { by_key, order } = &mut *shard;
            order.retain(|key| by_key.contains_key(key));
        }
    }

    /// A TLS 1.3 ticket is good for one connection (RFC 8446 §C.4).
    pub(super) fn take(&self, key: &[u8]) -> Option<Session> {
        self.shard(key)?.by_key.remove(key)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Session> {
        self.shard(key)?.by_key.get(key).cloned()
    }

    fn shard(&self, key: &[u8]) -> Option<MutexGuard<'_, Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).ok()?;
        let shard = self.shards.get(hash % self.shards.len())?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// So that handshakes on many cores seldom wait for each other.
const SHARDS: usize = 16;
