//! One verified generation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::UnixTime;

use super::bundle::Anchor;
use super::credentials::Credentials;
use super::trust::{CaHints, Trust};
use crate::identity::{Timestamp, TrustDomain};
use crate::verify::{ChainError, Revocation, Role};

/// The credentials and the trust that one handshake sees, together.
///
/// INVARIANT: made by `judge` alone, which verified the credentials under a trust of this source, so that readers need
/// not check again.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: u64,
    /// The generation that brought its trust.
    pub(crate) trust_generation: u64,
    pub(crate) loaded_at: Timestamp,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) own_chain: Result<(), ChainError>,
    /// What revocation lists of ours say of our own chain.
    pub(crate) own_revoked: Option<ChainError>,
    pub(crate) plays: Plays,
}

impl Snapshot {
    /// Which snapshot of its source this is, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When it was loaded.
    #[must_use]
    pub fn loaded_at(&self) -> Timestamp {
        self.loaded_at
    }

    /// What we present.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whom we can authenticate.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The span around `now` in which no certificate of ours, and no trust anchor, begins or ceases to be valid: what was
    /// judged now would be judged the same.
    pub(crate) fn stands(&self, now: Timestamp) -> Range<Timestamp> {
        let own = self.credentials.validities().map(|(_, span)| span);
        let anchors = self.trust.anchors();
        let turns = own
            .chain(anchors.map(Anchor::validity))
            .flat_map(|span| [span.not_before, span.not_after.next()]);
        let (past, coming): (Vec<_>, Vec<_>) = turns.partition(|turn| *turn <= now);
        Range {
            start: past.into_iter().max().unwrap_or(Timestamp::MIN),
            end: coming.into_iter().min().unwrap_or(Timestamp::MAX),
        }
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.settings.provider
    }
}

/// What a source was told once, and every one of its snapshots is verified and serves under.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What the operator calls the source.
    pub(crate) name: Arc<str>,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) trust_domain: Option<TrustDomain>,
    pub(crate) own_chain: OwnChain,
    pub(crate) hints: CaHints,
    /// Foreign trust domains whose bundles may vouch for names that are no SPIFFE IDs.
    pub(crate) names_from: BTreeSet<TrustDomain>,
    /// How revocation lists are judged, where they are given; by trust domain, where that differs.
    pub(crate) revocation: Revocation,
    pub(crate) revocation_of: BTreeMap<TrustDomain, Revocation>,
}

impl Settings {
    /// Every setting at its default.
    pub(crate) fn of(provider: Arc<CryptoProvider>) -> Self {
        Self {
            name: DEFAULT_NAME.into(),
            provider,
            trust_domain: None,
            own_chain: OwnChain::default(),
            hints: CaHints::default(),
            names_from: BTreeSet::new(),
            revocation: Revocation::new(),
            revocation_of: BTreeMap::new(),
        }
    }

    /// How the revocation lists of a trust domain are judged.
    pub(crate) fn revocation_of(&self, trust_domain: Option<&TrustDomain>) -> Revocation {
        let own = trust_domain.and_then(|domain| self.revocation_of.get(domain));
        own.copied().unwrap_or(self.revocation)
    }
}

/// Whether our own chain has to verify under our own trust bundle before it is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnChain {
    /// It has to, in at least one role: ours and our peers' certificates come from one PKI. The default.
    #[default]
    Verified,
    /// It comes from another PKI than our peers' (a public certificate for a server whose clients have private ones):
    /// it has to match its key and be valid now.
    FromAnotherPki,
}

impl Settings {
    /// Judges our own chain as a peer with our trust would; the error is the one of the role that comes closest.
    pub(crate) fn judge_own_chain(
        &self,
        credentials: &Credentials,
        trust: &Trust,
        now: UnixTime,
    ) -> Roles {
        match self.own_chain {
            OwnChain::Verified => Roles {
                server: credentials.verify(trust, Role::Server, now),
                client: credentials.verify(trust, Role::Client, now),
            },
            OwnChain::FromAnotherPki => {
                let valid = credentials.within_validity(now);
                Roles {
                    server: valid.clone(),
                    client: valid,
                }
            }
        }
    }
}

/// In which roles a chain of ours is accepted.
#[derive(Debug, Clone)]
pub(crate) struct Roles {
    pub(crate) server: Result<(), ChainError>,
    pub(crate) client: Result<(), ChainError>,
}

impl Roles {
    /// Ok if there is a role for it.
    pub(crate) fn any(&self) -> Result<(), ChainError> {
        match (&self.server, &self.client) {
            (Ok(()), _) | (_, Ok(())) => Ok(()),
            (Err(error), Err(_)) => Err(error.clone()),
        }
    }

    pub(crate) fn plays(&self) -> Plays {
        Plays {
            server: self.server.is_ok(),
            client: self.client.is_ok(),
        }
    }
}

/// The roles that credentials have been accepted in since they are served.
///
/// Remembered, since an expired chain is accepted in none: its successor has to play what it once did all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plays {
    pub(crate) server: bool,
    pub(crate) client: bool,
}

impl Plays {
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            server: self.server || other.server,
            client: self.client || other.client,
        }
    }
}

/// What a source is called that nobody gave a name.
pub(crate) const DEFAULT_NAME: &str = "default";
