//! Trust as a source found it: nothing is verified yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustls_pki_types::CertificateDer;

use super::bundle::TrustBundle;
use super::generation::Settings;
use super::trust::TrustParts;
use crate::error::LoadError;
use crate::identity::{Timestamp, TrustDomain};

/// The certificates of the trust bundles as a source found them, one bundle per trust domain.
///
/// Each is found and judged by itself: what is wrong with one holds back no other.
#[derive(Debug, Clone)]
pub struct TrustMaterial {
    local: Result<Found, LoadError>,
    federated: BTreeMap<TrustDomain, Result<Found, LoadError>>,
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

    /// What was found where the local bundle should be.
    pub(crate) fn found(found: Result<(Vec<CertificateDer<'static>>, PathBuf), LoadError>) -> Self {
        Self {
            local: found.map(Found::new),
            federated: BTreeMap::new(),
        }
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

    /// The parts of a trust that these certificates make. The local bundle belongs to `own_domain`, unless the source was
    /// told another trust domain. A part that is not sound stays as it was in `before`, and is told of.
    ///
    /// # Errors
    ///
    /// What is wrong with the local bundle, if there is none before.
    pub(super) fn build(
        &self,
        settings: &Settings,
        own_domain: Option<TrustDomain>,
        before: Option<&TrustParts>,
        now: Timestamp,
    ) -> Result<(TrustParts, Vec<LoadError>), LoadError> {
        let mut errors = Vec::new();
        let domain = settings.trust_domain.clone().or(own_domain);
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
        let mut federated = BTreeMap::new();
        for (foreign, found) in &self.federated {
            let bundle = match found {
                _ if domain.as_ref() == Some(foreign) => Err(LoadError::FederatedWithOurselves {
                    trust_domain: foreign.clone(),
                }),
                // SPIFFE Trust Domain and Bundle §4.1.3: nobody of that trust domain is to be trusted.
                Ok(found) if found.certificates.is_empty() => continue,
                Ok(found) => found.clone().bundle(Some(foreign.clone()), now),
                Err(error) => Err(error.clone()),
            };
            let bundle = bundle.map_err(|error| errors.push(error)).ok();
            let bundle = bundle.or_else(|| before?.federated.get(foreign).cloned());
            federated.extend(bundle.map(|bundle| (foreign.clone(), bundle)));
        }
        let aliases = before.map(|before| before.aliases.clone());
        let parts = TrustParts {
            local,
            federated,
            aliases: aliases.unwrap_or_default(),
        };
        Ok((parts, errors))
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
