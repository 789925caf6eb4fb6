//! Who still uses another name of the local trust domain, so that one knows when to let it go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::identity::{PeerIdentity, SpiffeId, Timestamp, TrustDomain};

/// How much another name of the local trust domain is still used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AliasUse {
    /// The other name.
    pub trust_domain: TrustDomain,
    /// How many connections peers have made under it since it became an alias: handshakes that were completed.
    pub connections: u64,
    /// When the last of them was made; `None` if there was none.
    pub last_seen: Option<Timestamp>,
    /// Some of these peers, as they call themselves; 32 at the most.
    pub peers: Vec<SpiffeId>,
}

/// What was counted, by alias. Only what is an alias is counted, so that no peer can add a row.
#[derive(Debug, Default)]
pub(crate) struct AliasUses(Mutex<BTreeMap<TrustDomain, Counted>>);

#[derive(Debug, Clone, Default)]
struct Counted {
    connections: u64,
    last_seen: Option<Timestamp>,
    peers: BTreeSet<SpiffeId>,
}

impl AliasUses {
    /// A handshake with this peer is done. For a peer that came by its own name that is one look at it.
    pub(crate) fn note(&self, peer: &PeerIdentity, now: impl FnOnce() -> Timestamp) {
        let Some(id) = peer.alias_id() else {
            return;
        };
        let mut uses = self.lock();
        let counted = uses.entry(id.trust_domain()).or_default();
        counted.connections = counted.connections.saturating_add(1);
        counted.last_seen = Some(now());
        if counted.peers.len() < MAX_PEERS {
            counted.peers.insert(id.clone());
        }
    }

    /// One row for each alias, used or not.
    pub(super) fn of<'a>(&self, aliases: impl Iterator<Item = &'a TrustDomain>) -> Vec<AliasUse> {
        let uses = self.lock();
        aliases
            .map(|alias| {
                let counted = uses.get(alias).cloned().unwrap_or_default();
                AliasUse {
                    trust_domain: alias.clone(),
                    connections: counted.connections,
                    last_seen: counted.last_seen,
                    peers: counted.peers.into_iter().collect(),
                }
            })
            .collect()
    }

    /// Who is no alias any more is counted anew if it becomes one again.
    pub(super) fn keep(&self, aliases: &BTreeSet<TrustDomain>) {
        self.lock().retain(|alias, _| aliases.contains(alias));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TrustDomain, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enough to find out which team to ask.
const MAX_PEERS: usize = 32;
