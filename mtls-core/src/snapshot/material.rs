//! Trust as a source found it, and what of it is sound.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::bundle::TrustBundle;
use super::credentials::Credentials;
use super::generation::Settings;
use super::trust::TrustParts;
use crate::error::LoadError;
use crate::identity::certificate::Certificate;
use crate::identity::{SpiffeId, Timestamp, TrustDomain};
use crate::verify::revocation::{CrlMaterial, CrlsFound, RevocationLists};

/// The certificates of the trust bundles as a source found them, one bundle per trust domain.
///
/// Each is found and judged by itself: what is wrong with one holds back no other.
#[derive(Debug, Clone)]
pub struct TrustMaterial {
    local: Result<Found, LoadError>,
    federated: BTreeMap<TrustDomain, Result<Found, LoadError>>,
    /// `None` is our own trust domain, which may be called by its name too.
    lists: BTreeMap<Option<TrustDomain>, CrlsFound>,
    /// What is wrong beside single bundles.
    faults: Vec<LoadError>,
    absent: Absent,
}

/// What becomes of a trust domain that has a bundle now, and of which nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// It is no longer federated with.
    Gone,
    /// Nothing is known of it: it stays as it was.
    Unknown,
}

/// The certificates of one bundle, and where they were.
#[derive(Debug, Clone)]
struct Found {
    certificates: Vec<CertificateDer<'static>>,
    origin: PathBuf,
}

impl TrustMaterial {
    /// The CA certificates that the chains of our own trust domain's peers lead to.
    #[must_use]
    pub fn new(anchors: Vec<CertificateDer<'static>>) -> Self {
        Self::found(Ok((anchors, "(bundle)".into())))
    }

    /// Adds the bundle of a foreign trust domain, whose members are then peers too. It verifies SPIFFE IDs of that domain
    /// and nothing else: no DNS name of such a peer counts.
    ///
    /// An empty one means that nobody of the domain is a peer (SPIFFE Trust Domain and Bundle §4.1.3).
    #[must_use]
    pub fn federate(
        self,
        trust_domain: TrustDomain,
        anchors: Vec<CertificateDer<'static>>,
    ) -> Self {
        let origin = format!("(bundle of {trust_domain})").into();
        self.with_federated(trust_domain, Ok((anchors, origin)))
    }

    /// Adds the revocation lists of our own trust domain: from then on whoever is on one of them is refused, and so is
    /// whoever none of them speaks of, unless the source was told otherwise by
    /// [`SourceBuilder::revocation`](crate::SourceBuilder::revocation).
    ///
    /// Called again, it adds to what was said before.
    #[must_use]
    pub fn revoke(
        self,
        lists: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    ) -> Self {
        self.with_lists(None, given(lists))
    }

    /// Adds the revocation lists of one trust domain, foreign or our own. A foreign one is not federated with before its
    /// lists are sound.
    #[must_use]
    pub fn revoke_in(
        self,
        trust_domain: TrustDomain,
        lists: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    ) -> Self {
        self.with_lists(Some(trust_domain), given(lists))
    }

    /// What was found where the revocation lists should be; of our own trust domain, or of another.
    pub(crate) fn with_lists(
        mut self,
        trust_domain: Option<TrustDomain>,
        found: CrlsFound,
    ) -> Self {
        let here = self.lists.entry(trust_domain).or_default();
        here.lists.extend(found.lists);
        here.faults.extend(found.faults);
        self
    }

    /// What was found where the local bundle should be.
    pub(crate) fn found(found: Result<(Vec<CertificateDer<'static>>, PathBuf), LoadError>) -> Self {
        Self {
            local: found.map(Found::new),
            federated: BTreeMap::new(),
            lists: BTreeMap::new(),
            faults: Vec::new(),
            absent: Absent::Gone,
        }
    }

    /// Something is wrong beside single bundles.
    pub(crate) fn with_faults(mut self, faults: Vec<LoadError>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// A trust domain of which nothing was found is not gone for that.
    pub(crate) fn keeping_absent(mut self) -> Self {
        self.absent = Absent::Unknown;
        self
    }

    /// What was found where the bundle of a foreign trust domain should be.
    pub(crate) fn with_federated(
        mut self,
        trust_domain: TrustDomain,
        found: Result<(Vec<CertificateDer<'static>>, PathBuf), LoadError>,
    ) -> Self {
        self.federated.insert(trust_domain, found.map(Found::new));
        self
    }

    /// The parts of a trust that these certificates make. The local bundle belongs to the trust domain of our `own` leaf, unless the source was
    /// told another trust domain. A part that is not sound stays as it was in `before`, and is told of.
    ///
    /// # Errors
    ///
    /// What is wrong with the local bundle, if there is none before.
    pub(super) fn build(
        &self,
        settings: &Settings,
        own: &Credentials,
        before: Option<&TrustParts>,
        now: Timestamp,
    ) -> Result<(TrustParts, Vec<LoadError>), LoadError> {
        let mut errors = self.faults.clone();
        let own_domain = || own.spiffe_id().map(SpiffeId::trust_domain);
        let domain = settings.trust_domain.clone().or_else(own_domain);
        let local = self.local.clone();
        let local = local.and_then(|found| found.bundle(domain.clone(), now));
        let local = match (local, before) {
            (Ok(local), _) => local,
            (Err(error), None) => return Err(error),
            (Err(error), Some(before)) => {
                errors.push(error);
                before.local.clone()
            }
        };
        let kept = before.filter(|_| self.absent == Absent::Unknown);
        let mut federated = kept.map_or_else(BTreeMap::new, |before| before.federated.clone());
        federated.retain(|foreign, _| domain.as_ref() != Some(foreign));
        for (foreign, found) in &self.federated {
            federated.remove(foreign);
            let bundle = match found {
                _ if domain.as_ref() == Some(foreign) => {
                    errors.extend(self.differs_from_own(foreign, found));
                    continue;
                }
                // SPIFFE Trust Domain and Bundle §4.1.3: nobody of that trust domain is to be trusted.
                Ok(found) if found.certificates.is_empty() => continue,
                Ok(found) => found.clone().bundle(Some(foreign.clone()), now),
                Err(error) => Err(error.clone()),
            };
            let bundle = bundle.map_err(|error| errors.push(error)).ok();
            let bundle = bundle.or_else(|| before?.federated.get(foreign).cloned());
            federated.extend(bundle.map(|bundle| (foreign.clone(), bundle)));
        }
        // A CA of ours may have lists of its own, and be no anchor: it is in our own chain.
        let own = own.intermediates();
        let issuers: Vec<_> = local.facts().chain(own.iter()).collect();
        let loader = ListLoader {
            settings,
            now,
            errors: &mut errors,
        };
        let (local_lists, federated_lists) =
            self.load_lists(loader, domain.as_ref(), &issuers, &mut federated, before);
        let aliases = before.map(|before| before.aliases.clone());
        let parts = TrustParts {
            local,
            federated,
            local_lists,
            federated_lists,
            aliases: aliases.unwrap_or_default(),
        };
        Ok((parts, errors))
    }
}

impl TrustMaterial {
    /// A second bundle of our own trust domain is the first one's copy, or an error: which of two is meant, nobody knows,
    /// and they are not united (SPIFFE Federation §4.2).
    fn differs_from_own(
        &self,
        own: &TrustDomain,
        second: &Result<Found, LoadError>,
    ) -> Option<LoadError> {
        let second = match second {
            Ok(second) => second,
            Err(error) => return Some(error.clone()),
        };
        // What is wrong with the first is told already.
        let first = self.local.as_ref().ok()?;
        let set = |found: &Found| -> BTreeSet<Vec<u8>> {
            found.certificates.iter().map(|der| der.to_vec()).collect()
        };
        (set(first) != set(second)).then(|| LoadError::BundleTwice {
            trust_domain: own.clone(),
            first: first.origin.clone(),
            second: second.origin.clone(),
        })
    }

    /// The lists of each trust domain. What cannot be used leaves those of before; so does the absence of lists where there
    /// were some, for nobody is let in again by a list that is forgotten.
    ///
    /// A domain that comes new with lists none of which were ever sound is taken out of `federated`: it would be trusted as
    /// though it had revoked nobody.
    fn load_lists(
        &self,
        mut loader: ListLoader<'_>,
        own: Option<&TrustDomain>,
        issuers: &[&Certificate],
        federated: &mut BTreeMap<TrustDomain, TrustBundle>,
        before: Option<&TrustParts>,
    ) -> (
        Option<Arc<RevocationLists>>,
        BTreeMap<TrustDomain, Arc<RevocationLists>>,
    ) {
        let previous = before.and_then(|before| before.local_lists.as_ref());
        let local = loader.load(own, self.local_lists(own), issuers, previous);
        let mut lists = BTreeMap::new();
        federated.retain(|domain, bundle| {
            let previous = before.and_then(|before| before.federated_lists.get(domain));
            let is_new = before.is_none_or(|before| !before.federated.contains_key(domain));
            let issuers: Vec<_> = bundle.facts().collect();
            let found = self.lists.get(&Some(domain.clone())).cloned();
            let configured = found.is_some();
            let loaded = loader.load(Some(domain), found, &issuers, previous);
            let is_held_back = configured && loaded.is_none() && is_new;
            lists.extend(loaded.map(|loaded| (domain.clone(), loaded)));
            !is_held_back
        });
        (local, lists)
    }

    /// What was found for our own trust domain, by whichever of its two names.
    fn local_lists(&self, own: Option<&TrustDomain>) -> Option<CrlsFound> {
        let by_name = own.and_then(|own| self.lists.get(&Some(own.clone())));
        let found = self.lists.get(&None).into_iter().chain(by_name).cloned();
        found.reduce(|mut all, more| {
            all.lists.extend(more.lists);
            all.faults.extend(more.faults);
            all
        })
    }
}

/// Loads the lists of one trust domain after the other.
struct ListLoader<'a> {
    settings: &'a Settings,
    now: Timestamp,
    errors: &'a mut Vec<LoadError>,
}

impl ListLoader<'_> {
    fn load(
        &mut self,
        domain: Option<&TrustDomain>,
        found: Option<CrlsFound>,
        issuers: &[&Certificate],
        previous: Option<&Arc<RevocationLists>>,
    ) -> Option<Arc<RevocationLists>> {
        let loaded = match found {
            None if previous.is_none() => return None,
            None => Err(LoadError::CrlsEmpty),
            Some(found) => RevocationLists::load(
                found,
                issuers,
                previous.map(|previous| &**previous),
                self.settings.revocation_of(domain),
                self.settings.provider.signature_verification_algorithms,
                self.now,
            ),
        };
        match loaded {
            Ok((lists, errors)) => {
                self.errors.extend(errors);
                Some(Arc::new(lists))
            }
            Err(error) => {
                self.errors.push(error);
                previous.cloned()
            }
        }
    }
}

fn given(lists: impl IntoIterator<Item = CertificateRevocationListDer<'static>>) -> CrlsFound {
    let lists = lists.into_iter().map(|der| CrlMaterial {
        der,
        origin: "(list)".into(),
    });
    CrlsFound {
        lists: lists.collect(),
        faults: Vec::new(),
    }
}

impl Found {
    fn new((certificates, origin): (Vec<CertificateDer<'static>>, PathBuf)) -> Self {
        Self {
            certificates,
            origin,
        }
    }

    fn bundle(
        self,
        trust_domain: Option<TrustDomain>,
        now: Timestamp,
    ) -> Result<TrustBundle, LoadError> {
        TrustBundle::new(trust_domain, self.certificates, self.origin, now)
    }
}
