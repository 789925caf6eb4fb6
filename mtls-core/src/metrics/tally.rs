//! Open connections, by whether the trust that is served now vouches for their peer.
//!
//! A connection's peer is verified anew when the trust changes. Until that has been done, and for as long as a connection
//! whose peer did not verify is being drained, it counts as one under an older trust: when that is not zero a deadline after a
//! change, a root that was removed still has somebody in.

#[cfg(feature = "metrics")]
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "metrics")]
use metrics::gauge;

#[cfg(feature = "metrics")]
use super::catalog::CONNECTIONS;
use crate::verify::Role;

/// Counts the open connections of one source. Without the feature `metrics` it is empty.
#[derive(Debug)]
pub(crate) struct Tally {
    #[cfg(feature = "metrics")]
    name: Arc<str>,
    #[cfg(feature = "metrics")]
    counts: Mutex<Counts>,
}

#[cfg(feature = "metrics")]
#[derive(Debug)]
struct Counts {
    /// The generation that brought the trust that is served.
    trust: u64,
    client: Open,
    server: Open,
}

#[cfg(feature = "metrics")]
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    current: u32,
    older: u32,
}

#[cfg(not(feature = "metrics"))]
#[expect(clippy::unused_self, reason = "nothing is counted")]
impl Tally {
    pub(crate) fn new(_name: &std::sync::Arc<str>, _trust: u64) -> Self {
        Self {}
    }

    pub(crate) fn serve(&self, _trust: u64) {}

    pub(crate) fn opened(&self, _ours: Role, _trust: u64) {}

    pub(crate) fn moved(&self, _ours: Role, _from: u64, _to: u64) {}
}

#[cfg(feature = "metrics")]
impl Tally {
    pub(crate) fn new(name: &Arc<str>, trust: u64) -> Self {
        Self {
            name: Arc::clone(name),
            counts: Mutex::new(Counts {
                trust,
                client: Open::default(),
                server: Open::default(),
            }),
        }
    }

    /// The trust of this generation is served from now on. To be said before anybody can find it.
    pub(crate) fn serve(&self, trust: u64) {
        self.change(&[Role::Client, Role::Server], |counts| {
            if counts.trust == trust {
                return;
            }
            counts.trust = trust;
            for open in [&mut counts.client, &mut counts.server] {
                open.older += std::mem::take(&mut open.current);
            }
        });
    }

    /// A peer was verified under the trust of this generation, and is in.
    pub(crate) fn opened(&self, ours: Role, trust: u64) {
        self.change(&[ours], |counts| *counts.under(ours, trust) += 1);
    }

    /// A peer that was verified under one trust was under another.
    pub(crate) fn moved(&self, ours: Role, from: u64, to: u64) {
        if from != to {
            self.change(&[ours], |counts| {
                let before = counts.under(ours, from);
                *before = before.saturating_sub(1);
                *counts.under(ours, to) += 1;
            });
        }
    }

    /// A peer that was last verified under this trust is gone.
    pub(crate) fn closed(&self, ours: Role, trust: u64) {
        self.change(&[ours], |counts| {
            let open = counts.under(ours, trust);
            *open = open.saturating_sub(1);
        });
    }

    /// Told with the lock held, so that the last word is the newest.
    fn change(&self, sides: &[Role], change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut counts);
        for ours in sides {
            let open = match ours {
                Role::Client => counts.client,
                Role::Server => counts.server,
            };
            for (trust, count) in [("current", open.current), ("older", open.older)] {
                gauge!(
                    CONNECTIONS,
                    "name" => Arc::clone(&self.name), "side" => ours.as_str(), "trust" => trust
                )
                .set(f64::from(count));
            }
        }
    }
}

#[cfg(feature = "metrics")]
impl Counts {
    fn under(&mut self, ours: Role, trust: u64) -> &mut u32 {
        let is_current = self.trust == trust;
        let open = match ours {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        };
        match is_current {
            true => &mut open.current,
            false => &mut open.older,
        }
    }
}
