//! rustls configs for code that is not ours, which knows nothing of snapshots.
//!
//! Such code makes many connections by one config, and hands out no more of a peer than its chain. So the verifiers here
//! have no memory of a connection. What they hold instead:
//!
//! - A chain is verified under the trust of this moment, and by a config of an older snapshot under that one's too: a config
//!   that is used past its time lets in fewer, never more.
//! - Whoever proves to hold the key of a leaf is judged by a chain with that leaf which was verified: [`Chains`]. By which of
//!   several makes no difference to who it is; that is up to the leaf, and the trust.
//! - A chain is somebody's identity if it verifies now, and its leaf has proven its key to one of these configs: [`Proven`].

mod client;
mod server;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_pki_types::{CertificateDer, UnixTime};

use crate::snapshot::{Current, Snapshot};
use crate::verify::{ChainError, Role, VerifiedPeer};

pub use client::{ClientConfigs, DangerousClientConfigs};
pub use server::{DangerousServerConfigs, ServerConfigs};

/// Which snapshot a config belongs to.
#[derive(Debug)]
enum Under {
    /// This one, and no peer passes that the current one refuses.
    One {
        snapshot: Arc<Snapshot>,
        current: Arc<Current>,
    },
    /// The one that is current whenever it is asked.
    Whichever(Arc<Current>),
}

impl Under {
    /// The one that is presented and whose parameters are spoken.
    fn snapshot(&self) -> Arc<Snapshot> {
        match self {
            Self::One { snapshot, .. } => Arc::clone(snapshot),
            Self::Whichever(current) => current.load(),
        }
    }

    /// What the current trust makes of a chain, unless an older one refuses it that the config belongs to.
    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<Arc<VerifiedPeer>, ChainError> {
        let current = match self {
            Self::Whichever(current) => current,
            Self::One { snapshot, current } => {
                let verified = snapshot.trust().verify(chain, role, now)?;
                if current.generation() == snapshot.generation() {
                    return Ok(verified);
                }
                current
            }
        };
        current.load().trust().verify(chain, role, now)
    }
}

/// Of each leaf the chain that verified last. Only what was verified enters; the oldest leaf goes first. A leaf that went
/// between its verification and its proof is refused.
#[derive(Debug, Default)]
struct Chains(Mutex<ByLeaf>);

#[derive(Debug, Default)]
struct ByLeaf {
    peers: HashMap<Vec<u8>, Arc<VerifiedPeer>>,
    order: VecDeque<Vec<u8>>,
}

impl Chains {
    fn insert(&self, leaf: &CertificateDer<'_>, peer: Arc<VerifiedPeer>) {
        let mut known = lock(&self.0);
        if known.peers.insert(leaf.to_vec(), peer).is_none() {
            known.order.push_back(leaf.to_vec());
        }
        if known.order.len() > MAX_CHAINS
            && let Some(oldest) = known.order.pop_front()
        {
            known.peers.remove(&oldest);
        }
    }

    fn of(&self, leaf: &CertificateDer<'_>) -> Option<Arc<VerifiedPeer>> {
        lock(&self.0).peers.get(leaf.as_ref()).cloned()
    }
}

/// The leaves, by their fingerprint, whose holders have proven their keys and were let in; the oldest goes first. Whoever only
/// repeats a public chain is not among them.
#[derive(Debug, Default)]
struct Proven(Mutex<Leaves>);

#[derive(Debug, Default)]
struct Leaves {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Proven {
    fn insert(&self, peer: &VerifiedPeer) {
        let leaf = *peer.identity().sha256();
        let mut leaves = lock(&self.0);
        if leaves.known.insert(leaf) {
            leaves.order.push_back(leaf);
        }
        if leaves.order.len() > MAX_PROVEN
            && let Some(oldest) = leaves.order.pop_front()
        {
            leaves.known.remove(&oldest);
        }
    }

    fn has(&self, peer: &VerifiedPeer) -> bool {
        lock(&self.0).known.contains(peer.identity().sha256())
    }
}

/// A panic while a lock was held leaves a map that is merely less full.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More leaves than are between verification and proof at a time; at about two kilobytes each, eight megabytes at the most.
const MAX_CHAINS: usize = 4096;

/// Enough for the peers of long-lived connections through many rotations, in two megabytes.
const MAX_PROVEN: usize = 32_768;
