//! Whom we can authenticate: one bundle per trust domain, and what was verified with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::bundle::{Anchor, TrustBundle};
use super::generation::Settings;
use crate::error::AnchorFault;
use crate::identity::{PeerIdentity, SpiffeId, TrustDomain, Verified, profile};
use crate::verify::chain::{self, PresentedChain, Scope};
use crate::verify::revocation::RevocationLists;
use crate::verify::{
    CacheUse, ChainError, ChainFault, CrlStatus, Issuers, Role, VerifiedPeer, VerifiedPeers,
};

/// What peers are verified against: one bundle per trust domain, never united.
///
/// Immutable but for its memory of whom it verified; a reload that finds the same keeps the same value, and with it that
/// memory. Whatever a verification depends on is part of it, so that a change of any of these is a new, empty one.
#[derive(Debug)]
pub struct Trust {
    parts: TrustParts,
    names_from: BTreeSet<TrustDomain>,
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
    verified: VerifiedPeers,
    issuers: Issuers,
}

/// What a reload can change of a [`Trust`].
#[derive(Debug, Clone)]
pub(crate) struct TrustParts {
    pub(crate) local: TrustBundle,
    pub(crate) federated: BTreeMap<TrustDomain, TrustBundle>,
    /// The revocation lists of a trust domain, where there are any.
    pub(crate) local_lists: Option<Arc<RevocationLists>>,
    pub(crate) federated_lists: BTreeMap<TrustDomain, Arc<RevocationLists>>,
    /// Names that the local trust domain had, or is about to have.
    pub(crate) aliases: Arc<BTreeSet<TrustDomain>>,
}

impl TrustParts {
    /// A local bundle, and nothing else.
    pub(crate) fn of(local: TrustBundle) -> Self {
        Self {
            local,
            federated: BTreeMap::new(),
            local_lists: None,
            federated_lists: BTreeMap::new(),
            aliases: Arc::default(),
        }
    }

    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let lists =
            |a: Option<&Arc<RevocationLists>>, b: Option<&Arc<RevocationLists>>| match (a, b) {
                (Some(a), Some(b)) => a.same_as(b),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
        let federated_lists = &self.federated_lists;
        let same_lists = lists(self.local_lists.as_ref(), other.local_lists.as_ref())
            && federated_lists.len() == other.federated_lists.len()
            && federated_lists
                .iter()
                .all(|(domain, ours)| lists(Some(ours), other.federated_lists.get(domain)));
        let same = |a: &BTreeMap<TrustDomain, TrustBundle>, b: &BTreeMap<_, TrustBundle>| {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((a, x), (b, y))| a == b && x.same_as(y))
        };
        same_lists
            && self.local.same_as(&other.local)
            && self.aliases == other.aliases
            && same(&self.federated, &other.federated)
    }
}

impl Trust {
    pub(crate) fn new(parts: TrustParts, settings: &Settings) -> Self {
        let hints = match settings.hints {
            CaHints::Send => parts.local.hints(),
            CaHints::Omit => Vec::new(),
        };
        Self {
            parts,
            names_from: settings.names_from.clone(),
            algorithms: settings.provider.signature_verification_algorithms,
            hints,
            verified: VerifiedPeers::new(),
            issuers: Issuers::default(),
        }
    }

    /// The bundle of the local trust domain.
    #[must_use]
    pub fn bundle(&self) -> &TrustBundle {
        &self.parts.local
    }

    /// The bundles of the trust domains that we federate with (SPIFFE Federation §4.2: kept apart).
    pub fn federated(&self) -> impl Iterator<Item = &TrustBundle> {
        self.parts.federated.values()
    }

    /// Other names of the local trust domain: a SPIFFE ID of one of these is verified with the local bundle, and taken
    /// for the same ID in the local trust domain.
    pub fn aliases(&self) -> impl Iterator<Item = &TrustDomain> {
        self.parts.aliases.iter()
    }

    /// How many chains were verified in full under this trust: signatures, path, profile. Whoever presents a chain that
    /// was verified before is not counted.
    #[must_use]
    pub fn verifications(&self) -> u64 {
        self.verified.verifications()
    }

    pub(crate) fn parts(&self) -> &TrustParts {
        &self.parts
    }

    /// Every anchor, of whatever trust domain.
    pub(crate) fn anchors(&self) -> impl Iterator<Item = &Anchor> {
        self.bundles().flat_map(TrustBundle::anchors)
    }

    /// What is in the bundles and is not, or not yet, used.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &AnchorFault> {
        self.bundles().flat_map(TrustBundle::skipped)
    }

    /// What the revocation lists are, and how they stand.
    #[must_use]
    pub fn revocation_lists(&self) -> Vec<CrlStatus> {
        let lists = self.parts.local_lists.iter();
        let lists = lists.chain(self.parts.federated_lists.values());
        lists.flat_map(|lists| lists.status()).collect()
    }

    fn lists_of(&self, bundle: &TrustBundle) -> Option<&RevocationLists> {
        if std::ptr::eq(bundle, &self.parts.local) {
            return self.parts.local_lists.as_deref();
        }
        let domain = bundle.trust_domain()?;
        self.parts.federated_lists.get(domain).map(|lists| &**lists)
    }

    fn bundles(&self) -> impl Iterator<Item = &TrustBundle> {
        std::iter::once(&self.parts.local).chain(self.federated())
    }

    /// Verifies a chain, leaf first, or remembers that this very chain was verified for this role; the holder has yet to
    /// prove that the key is its own.
    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<Arc<VerifiedPeer>, ChainError> {
        let verify = || self.verify_in_full(chain, role, now, Lists::Asked);
        match VerifiedPeers::fits(chain) {
            CacheUse::Remembered => self.verified.get_or(chain, role, now.into(), verify),
            CacheUse::TooLarge => self.verified.beside(verify),
        }
    }

    /// Judges our own chain as a peer with our trust would; it is no peer's, and is not remembered. Revocation is left out:
    /// lists that are stale or silent are no reason to keep a leaf that was renewed from being presented.
    pub(crate) fn verify_own(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), ChainError> {
        self.verify_in_full(chain, role, now, Lists::Ignored)
            .map(drop)
    }

    /// Why our own chain would be refused by whoever has our lists, if one of its certificates is revoked.
    pub(crate) fn own_revocation(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Option<ChainError> {
        let judged = self.verify_in_full(chain, role, now, Lists::Asked);
        let is_revoked = |error: &ChainError| matches!(error.fault, ChainFault::Revoked { .. });
        judged.err().filter(is_revoked)
    }

    /// The names of the CAs that a client certificate may come from, as the CertificateRequest lists them.
    pub(crate) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    pub(crate) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Whom of the live peers of `before` it has verified already, it need not verify when they ask: off the reactor,
    /// before it is published.
    pub(crate) fn verify_live_peers_of(&self, before: &Self, now: UnixTime) {
        for peer in before.verified.live() {
            // Whoever is refused hears of it when it asks, with the reason.
            let _ = self.verify(peer.identity().chain(), peer.role(), now);
        }
    }

    fn verify_in_full(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
        lists: Lists,
    ) -> Result<VerifiedPeer, ChainError> {
        let presented = chain::read(chain, role)?;
        match self.judge(&presented, role, now, lists) {
            Ok(judged) => Ok(judged.into_peer(presented, chain, role)),
            Err(fault) => Err(presented.refused(role, fault)),
        }
    }

    fn judge(
        &self,
        presented: &PresentedChain<'_>,
        role: Role,
        now: UnixTime,
        lists: Lists,
    ) -> Result<Judged, ChainFault> {
        let scope = |bundle| Scope {
            bundle,
            lists: match lists {
                Lists::Asked => self.lists_of(bundle),
                Lists::Ignored => None,
            },
            issuers: &self.issuers,
            algorithms: &self.algorithms,
            role,
            now,
        };
        let Some(id) = profile::spiffe_id(&presented.leaf)? else {
            return self.judge_by_name(presented, scope);
        };
        // SPIFFE Federation §7.3: the bundle of the ID's own trust domain, and no other. What the leaf names is not yet
        // proven, and need not be: the anchors chosen by it must then have issued it.
        let (bundle, alias) = self.bundle_for(&id)?;
        let path = scope(bundle).verify(presented)?;
        let local = std::ptr::eq(bundle, &self.parts.local);
        Ok(Judged {
            path,
            // A federated CA must not mint our service names.
            names_count: local || self.gives_names(bundle),
            spiffe_id: Some(match &alias {
                Some(local) => local.clone(),
                None => id.clone(),
            }),
            presented_id: alias.map(|_| id),
        })
    }

    /// A leaf without a SPIFFE ID belongs to the local bundle, or to one that was said to give names; one at a time.
    fn judge_by_name<'a>(
        &'a self,
        presented: &PresentedChain<'_>,
        scope: impl Fn(&'a TrustBundle) -> Scope<'a>,
    ) -> Result<Judged, ChainFault> {
        let judged = |path| Judged {
            path,
            names_count: true,
            spiffe_id: None,
            presented_id: None,
        };
        let first = match scope(&self.parts.local).verify(presented) {
            Ok(path) => return Ok(judged(path)),
            Err(fault) => fault,
        };
        let others = self.federated().filter(|bundle| self.gives_names(bundle));
        others
            .map(|bundle| scope(bundle).verify(presented))
            .find_map(Result::ok)
            .map(judged)
            .ok_or(first)
    }

    /// The bundle that an ID is verified with; and what the ID is in the local trust domain, if it came by an alias.
    fn bundle_for(&self, id: &SpiffeId) -> Result<(&TrustBundle, Option<SpiffeId>), ChainFault> {
        let parts = &self.parts;
        let domain = id.trust_domain_str();
        let local = parts.local.trust_domain();
        if local.is_some_and(|local| id.is_member_of(local)) {
            return Ok((&parts.local, None));
        }
        if let Some(bundle) = parts.federated.get(domain) {
            return Ok((bundle, None));
        }
        match local {
            Some(local) if parts.aliases.contains(domain) => {
                let ours = SpiffeId::new(local, id.path());
                let ours = ours.map_err(|source| ChainFault::InvalidSpiffeId {
                    uri: id.to_string(),
                    source,
                })?;
                Ok((&parts.local, Some(ours)))
            }
            Some(_) | None => Err(ChainFault::WrongTrustDomain {
                found: id.trust_domain(),
                expected: local
                    .into_iter()
                    .chain(parts.federated.keys())
                    .cloned()
                    .collect(),
            }),
        }
    }

    fn gives_names(&self, bundle: &TrustBundle) -> bool {
        bundle
            .trust_domain()
            .is_some_and(|domain| self.names_from.contains(domain))
    }
}

/// Whether revocation lists have a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    Asked,
    Ignored,
}

/// What came of a chain that verified.
struct Judged {
    path: chain::SoundPath,
    names_count: bool,
    spiffe_id: Option<SpiffeId>,
    presented_id: Option<SpiffeId>,
}

impl Judged {
    fn into_peer(
        self,
        presented: PresentedChain<'_>,
        chain: &[CertificateDer<'_>],
        role: Role,
    ) -> VerifiedPeer {
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        let identity = PeerIdentity::verified(Verified {
            leaf: presented.leaf,
            spiffe_id: self.spiffe_id,
            presented_id: self.presented_id,
            names_count: self.names_count,
            chain,
            window: self.path.window,
        });
        VerifiedPeer::new(identity, role, self.path.until)
    }
}

/// Whether servers name the CAs whose client certificates they accept (RFC 8446 §4.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaHints {
    /// The local bundle's CAs are named, unless their names exceed 8 KiB: peers' TLS stacks break on more. The default.
    #[default]
    Send,
    /// None is named. Who connects does not learn the names of our CAs, and some clients then choose no certificate.
    Omit,
}
