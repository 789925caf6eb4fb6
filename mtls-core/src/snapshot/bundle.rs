//! The trust anchors of one trust domain, each checked when it was loaded.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::error::{AnchorFault, LoadError};
use crate::identity::certificate::{Certificate, sha256};
use crate::identity::{Timestamp, TrustDomain, Validity};
use crate::verify::ChainFault;

/// The trust anchors of one trust domain.
#[derive(Debug, Clone)]
pub struct TrustBundle {
    trust_domain: Option<TrustDomain>,
    anchors: Vec<Anchor>,
    webpki: Vec<TrustAnchor<'static>>,
    skipped: Vec<AnchorFault>,
}

impl TrustBundle {
    /// Takes every certificate that can be a trust anchor at `now`; the others are skipped and listed.
    ///
    /// An anchor that is not valid yet is kept: it is refused for as long as that lasts.
    ///
    /// # Errors
    ///
    /// [`LoadError::BundleEmpty`] and [`LoadError::AnchorsUnusable`] when no usable anchor is left.
    pub(crate) fn new(
        trust_domain: Option<TrustDomain>,
        certificates: Vec<CertificateDer<'static>>,
        origin: PathBuf,
        now: Timestamp,
    ) -> Result<Self, LoadError> {
        let count = certificates.len();
        let mut bundle = Self {
            trust_domain,
            anchors: Vec::new(),
            webpki: Vec::new(),
            skipped: Vec::new(),
        };
        let mut seen = HashSet::new();
        for der in certificates {
            match Anchor::new(der, now) {
                Ok((anchor, _)) if !seen.insert(*anchor.sha256()) => {}
                Ok((anchor, webpki)) => {
                    bundle.skipped.extend(anchor.not_yet_valid(now));
                    bundle.anchors.push(anchor);
                    bundle.webpki.push(webpki);
                }
                Err(fault) => bundle.skipped.push(fault),
            }
        }
        let usable = bundle
            .anchors
            .iter()
            .any(|anchor| anchor.validity.contains(now));
        match bundle.skipped.first() {
            _ if usable => Ok(bundle),
            Some(first) => Err(LoadError::AnchorsUnusable {
                path: origin,
                count,
                first: first.clone(),
            }),
            None => Err(LoadError::BundleEmpty { path: origin }),
        }
    }

    /// The trust domain whose SPIFFE IDs these anchors may issue; without one, peers are verified by name only.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.trust_domain.as_ref()
    }

    /// The anchors.
    #[must_use]
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// What is in the bundle and is not, or not yet, used.
    #[must_use]
    pub fn skipped(&self) -> &[AnchorFault] {
        &self.skipped
    }

    /// Whether both hold the same anchors, in the same order, for the same trust domain.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain
            && self.skipped == other.skipped
            && self
                .anchors
                .iter()
                .map(|a| &a.der)
                .eq(other.anchors.iter().map(|a| &a.der))
    }

    /// What the anchors' certificates say.
    pub(crate) fn facts(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().map(Anchor::facts)
    }

    pub(crate) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.anchors.iter().map(Anchor::subject)
    }

    pub(crate) fn webpki_anchors(&self) -> &[TrustAnchor<'static>] {
        &self.webpki
    }

    /// The certificates that stand behind an anchor of webpki's, which keeps name, key and constraints alone.
    pub(crate) fn anchors_like<'a>(
        &'a self,
        anchor: &'a TrustAnchor<'_>,
    ) -> impl Iterator<Item = &'a Anchor> + Clone {
        let pairs = self.anchors.iter().zip(&self.webpki);
        pairs
            .filter(move |(_, known)| *known == anchor)
            .map(|(ours, _)| ours)
    }

    /// The names of its CAs, unless they exceed what peers' TLS stacks take.
    pub(crate) fn hints(&self) -> Vec<DistinguishedName> {
        let mut names: Vec<&[u8]> = self
            .anchors
            .iter()
            .map(|anchor| anchor.facts.subject.der())
            .collect();
        names.sort_unstable();
        names.dedup();
        // Each name travels with a length of two bytes.
        let size: usize = names.iter().map(|name| name.len() + 2).sum();
        if size > MAX_HINT_BYTES {
            return Vec::new();
        }
        names
            .into_iter()
            .map(|name| DistinguishedName::from(name.to_vec()))
            .collect()
    }
}

/// One trust anchor: a CA certificate that was checked when it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    der: CertificateDer<'static>,
    facts: Arc<Certificate>,
    sha256: [u8; 32],
    validity: Validity,
}

impl Anchor {
    fn new(
        der: CertificateDer<'static>,
        now: Timestamp,
    ) -> Result<(Self, TrustAnchor<'static>), AnchorFault> {
        let facts = Certificate::parse(&der).map_err(|detail| AnchorFault::Malformed { detail })?;
        let subject = facts.subject.text().to_owned();
        // rustls takes any certificate for an anchor: a leaf in the bundle could then issue identities.
        if !facts.is_ca {
            return Err(AnchorFault::NotCa { subject });
        }
        // RFC 5280 §4.2.1.3: "the keyCertSign bit is asserted when the subject public key is used for verifying
        // signatures on public key certificates". A CA without keyUsage is not restricted.
        if !facts.may_sign_certificates() {
            return Err(AnchorFault::MayNotSign { subject });
        }
        if facts.validity.not_after < now {
            return Err(AnchorFault::Expired {
                subject,
                not_after: facts.validity.not_after,
            });
        }
        let webpki = webpki::anchor_from_trusted_cert(&der)
            .map_err(|error| AnchorFault::Malformed {
                detail: error.to_string(),
            })?
            .to_owned();
        let validity = facts.validity;
        Ok((
            Self {
                sha256: sha256(&der),
                der,
                facts: Arc::new(facts),
                validity,
            },
            webpki,
        ))
    }

    /// The certificate.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The subject's distinguished name, for display.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.facts.subject.text()
    }

    /// The serial number in lowercase hex.
    #[must_use]
    pub fn serial(&self) -> &str {
        self.facts.serial.text()
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// How many intermediates may stand below it (RFC 5280 §4.2.1.9), if it says so.
    #[must_use]
    pub fn path_len(&self) -> Option<u32> {
        self.facts.path_len
    }

    pub(crate) fn facts(&self) -> &Certificate {
        &self.facts
    }

    fn not_yet_valid(&self, now: Timestamp) -> Option<AnchorFault> {
        let not_before = self.validity.not_before;
        let subject = || self.subject().to_owned();
        (now < not_before).then(|| AnchorFault::NotYetValid {
            subject: subject(),
            not_before,
        })
    }

    pub(crate) fn out_of_time(&self, now: Timestamp) -> ChainFault {
        let (subject, span) = (self.subject().to_owned(), self.validity);
        if now < span.not_before {
            ChainFault::NotYetValid {
                subject,
                not_before: span.not_before,
                now,
            }
        } else {
            ChainFault::Expired {
                subject,
                not_after: span.not_after,
                now,
            }
        }
    }
}

/// OpenSSL-based and Go peers give up on a larger CertificateRequest; a handful of CA names takes a few hundred bytes.
const MAX_HINT_BYTES: usize = 8 * 1024;
