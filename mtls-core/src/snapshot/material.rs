//! Trust as a source found it: nothing is verified yet.

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::generation::Settings;
use super::trust::{Trust, TrustBundle};
use crate::error::LoadError;
use crate::identity::TrustDomain;

/// The certificates of a trust bundle as a source found them.
#[derive(Debug, Clone)]
pub struct TrustMaterial {
    anchors: Vec<CertificateDer<'static>>,
    origin: PathBuf,
}

impl TrustMaterial {
    /// The CA certificates that our peers' chains lead to.
    #[must_use]
    pub fn new(anchors: Vec<CertificateDer<'static>>) -> Self {
        Self::from_file(anchors, "(bundle)".into())
    }

    pub(crate) fn from_file(anchors: Vec<CertificateDer<'static>>, origin: PathBuf) -> Self {
        Self { anchors, origin }
    }

    /// The bundle for `own_domain`, unless the source was told another trust domain.
    pub(super) fn build(
        &self,
        settings: &Settings,
        own_domain: Option<TrustDomain>,
        now: UnixTime,
    ) -> Result<Arc<Trust>, LoadError> {
        let domain = settings.trust_domain.clone().or(own_domain);
        let bundle = TrustBundle::new(
            domain,
            self.anchors.clone(),
            self.origin.clone(),
            now.into(),
        )?;
        let algorithms = settings.provider.signature_verification_algorithms;
        Ok(Arc::new(Trust::new(bundle, algorithms, settings.hints)))
    }
}
