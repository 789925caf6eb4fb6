//! One `reqwest::Client` per snapshot, and which one is current.
//!
//! There is no task: each request asks whether the source has moved on, or a server that was verified has reached its end. Dropping a `reqwest::Client` is the only way to
//! close its idle connections, and nothing else stops a pooled connection from being used under a trust that is gone.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use mtls_core::metrics::HandshakeMeter;
use mtls_core::rustls::ClientHandshake;
use mtls_core::{ClientTls, HandshakeError, PeerIdentity, RefusalLog, Role, Timestamp};
use reqwest::tls::TlsInfo;
use tracing::{debug, warn};

use crate::builder::Recipe;
use crate::explain::{Explanation, explain};

/// The client of the current snapshot, replaced when there is a newer one.
#[derive(Debug)]
pub(crate) struct Rotation {
    tls: ClientTls,
    recipe: Recipe,
    /// Empty when the last client could not be built.
    current: ArcSwapOption<Generation>,
    /// Held by whoever builds the next one.
    building: Mutex<()>,
    refusals: RefusalLog,
}

impl Rotation {
    pub(crate) fn start(tls: ClientTls, recipe: Recipe) -> Result<Self, reqwest::Error> {
        let first = Generation::build(&tls, &recipe, Timestamp::now())?;
        Ok(Self {
            tls,
            recipe,
            current: ArcSwapOption::from_pointee(first),
            building: Mutex::new(()),
            refusals: RefusalLog::new(Role::Client),
        })
    }

    /// What a request that is sent now is sent on.
    ///
    /// When its client cannot be built the error is the request's: the older client may trust what is trusted no more.
    pub(crate) fn current(&self) -> Result<Arc<Generation>, reqwest::Error> {
        self.current_at(Timestamp::now())
    }

    fn current_at(&self, now: Timestamp) -> Result<Arc<Generation>, reqwest::Error> {
        match self.usable(now) {
            Some(generation) => Ok(generation),
            None => self.replace(now),
        }
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<Generation>> {
        let newest = self.tls.source().current().generation();
        let current = self.current.load();
        let usable = current
            .as_ref()
            .filter(|generation| generation.serves(newest, now));
        usable.cloned()
    }

    /// A few microseconds, and what the user's hook takes, once per snapshot. Requests that come meanwhile wait rather than
    /// build another.
    fn replace(&self, now: Timestamp) -> Result<Arc<Generation>, reqwest::Error> {
        // A panic of the user's hook leaves nothing half done.
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(generation) = self.usable(now) {
            return Ok(generation);
        }
        match Generation::build(&self.tls, &self.recipe, now) {
            Ok(next) => {
                let next = Arc::new(next);
                debug!(mtls.generation = next.number(), "client replaced");
                self.current.store(Some(Arc::clone(&next)));
                Ok(next)
            }
            Err(error) => {
                // Told when it begins, not for each request that it fails. The old idle connections close with it.
                if self.current.swap(None).is_some() {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "no client for the new snapshot"
                    );
                }
                Err(error)
            }
        }
    }

    /// A request to this host failed. What of that was a refusal is logged and counted; reqwest tells of no handshake that
    /// is done.
    pub(crate) fn failed(&self, error: &reqwest::Error, host: Option<&str>) {
        let why = match explain(error) {
            Explanation::PeerNotTrusted { error } | Explanation::Tls { error } => error,
            Explanation::Plaintext => HandshakeError::PlaintextPeer,
            Explanation::RefusedByPeer { alert } => HandshakeError::RefusedByPeer {
                alert,
                presented: self.tls.source().status().leaf.to_string(),
            },
            // Of a handshake or of anything else: nobody can tell.
            Explanation::ClosedByPeer
            | Explanation::Network { .. }
            | Explanation::Other { .. }
            | Explanation::Setup { .. }
            | Explanation::Timeout => return,
        };
        HandshakeMeter::begin(Role::Client).failed(&why);
        self.refusals.server(&why, host.unwrap_or("unknown"));
    }

    pub(crate) fn tls(&self) -> &ClientTls {
        &self.tls
    }
}

/// The client of one snapshot.
#[derive(Debug)]
pub(crate) struct Generation {
    http: reqwest::Client,
    handshake: ClientHandshake,
    /// Its connections are no older, and neither is what the handshake says of their servers.
    built: Timestamp,
}

impl Generation {
    fn build(tls: &ClientTls, recipe: &Recipe, now: Timestamp) -> Result<Self, reqwest::Error> {
        let handshake = tls.handshake();
        Ok(Self {
            http: recipe.build(&handshake)?,
            handshake,
            built: now,
        })
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Puts the server's identity among the extensions of its response.
    pub(crate) fn identify(&self, response: &mut reqwest::Response) {
        // The leaf is of a connection of this client, which verified no server but with this handshake's verifier.
        let leaf = response
            .extensions()
            .get()
            .and_then(TlsInfo::peer_certificate);
        let Some(identity) = leaf.and_then(|leaf| self.handshake.identity_by_leaf(leaf)) else {
            return;
        };
        response.extensions_mut().insert(Peer(identity));
    }

    fn number(&self) -> u64 {
        self.handshake.generation()
    }

    /// A pooled connection outlives the certificate of its server, and what is known of its revocation, if nobody retires
    /// it.
    fn serves(&self, newest: u64, now: Timestamp) -> bool {
        let first = self.handshake.first_deadline(self.built);
        self.number() >= newest && first.is_none_or(|first| now <= first)
    }
}

/// The extension of a response that says who sent it. Private, so that nobody else can say so.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) PeerIdentity);

#[cfg(test)]
mod tests;
