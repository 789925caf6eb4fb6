//! What we present: our chain and its private key.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::story::LeafSummary;
use super::trust::Trust;
use crate::error::LoadError;
use crate::identity::certificate::{Certificate, hex, sha256};
use crate::identity::{IssuanceFinding, SpiffeId, Timestamp, Validity, profile};
use crate::verify::{ChainError, ChainFault, Presented, Role};

/// A chain and its private key as a source found them: nothing is verified yet.
pub struct CredentialMaterial {
    /// Every certificate that was found, in any order.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyMaterial,
    /// Where the certificates and the key were found, for errors.
    pub(crate) chain_origin: PathBuf,
    pub(crate) key_origin: PathBuf,
}

pub(crate) enum KeyMaterial {
    Der(Zeroizing<PrivateKeyDer<'static>>),
    Signer(Arc<dyn SigningKey>),
}

impl CredentialMaterial {
    /// A chain (leaf and intermediates) with its private key.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self::from_parts(
            chain,
            KeyMaterial::Der(Zeroizing::new(key)),
            "(chain)".into(),
            "(key)".into(),
        )
    }

    /// A chain with a key that is held elsewhere, in a KMS or a PKCS#11 token.
    pub(crate) fn with_signing_key(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
    ) -> Self {
        Self::from_parts(
            chain,
            KeyMaterial::Signer(key),
            "(chain)".into(),
            "(key)".into(),
        )
    }

    pub(crate) fn from_parts(
        certificates: Vec<CertificateDer<'static>>,
        key: KeyMaterial,
        chain_origin: PathBuf,
        key_origin: PathBuf,
    ) -> Self {
        Self {
            certificates,
            key,
            chain_origin,
            key_origin,
        }
    }
}

impl fmt::Debug for CredentialMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialMaterial")
            .field("certificates", &self.certificates.len())
            .field("chain_origin", &self.chain_origin)
            .field("key_origin", &self.key_origin)
            .finish_non_exhaustive()
    }
}

/// A chain, and the key that belongs to it.
///
/// It holds the private key as the provider's signing key, and shows it to nobody.
pub struct Credentials {
    certified: Arc<CertifiedKey>,
    resolver: Arc<SingleCertAndKey>,
    leaf: Certificate,
    leaf_sha256: [u8; 32],
    intermediates: Vec<Certificate>,
    spiffe_id: Option<SpiffeId>,
}

impl Credentials {
    /// Pairs the key with its leaf, wherever in the chain that stands, and orders the chain behind it.
    pub(crate) fn new(
        material: CredentialMaterial,
        provider: &CryptoProvider,
    ) -> Result<Self, LoadError> {
        let CredentialMaterial {
            certificates,
            key,
            chain_origin,
            key_origin,
        } = material;
        let key = match key {
            KeyMaterial::Signer(key) => key,
            KeyMaterial::Der(der) => provider
                .key_provider
                .load_private_key(der.clone_key())
                .map_err(|error| LoadError::KeyUnsupported {
                    path: key_origin.clone(),
                    detail: error.to_string(),
                })?,
        };
        let mut parsed = Vec::with_capacity(certificates.len());
        for (index, der) in certificates.into_iter().enumerate() {
            let facts =
                Certificate::parse(&der).map_err(|detail| LoadError::CertificateMalformed {
                    path: chain_origin.clone(),
                    index: index + 1,
                    detail,
                })?;
            parsed.push((der, facts));
        }
        let Some((_, first)) = parsed.first() else {
            return Err(LoadError::ChainEmpty { path: chain_origin });
        };
        // A key that cannot say its public key (some tokens) has to be trusted to belong to the first certificate.
        let wanted = key
            .public_key()
            .map_or_else(|| first.spki.clone(), |spki| spki.to_vec());
        let Some(position) = parsed.iter().position(|(_, facts)| facts.spki == wanted) else {
            return Err(LoadError::KeyMismatch {
                key: key_origin,
                chain: chain_origin,
                key_sha256: hex(&Sha256::digest(&wanted)),
                leaf_sha256: hex(&Sha256::digest(&first.spki)),
            });
        };
        let leaf = parsed.remove(position);
        Ok(Self::ordered(leaf, parsed, key))
    }

    /// Leaf first, each issuer after what it issued; roots and strangers are left out, since they help nobody.
    fn ordered(leaf: Parsed, mut rest: Vec<Parsed>, key: Arc<dyn SigningKey>) -> Self {
        let mut chain = vec![leaf];
        while let Some((_, last)) = chain.last() {
            let issuer = last.issuer.clone();
            let next = rest
                .iter()
                .position(|(_, c)| c.subject == issuer && !c.is_self_issued());
            let Some(next) = next else { break };
            chain.push(rest.remove(next));
        }
        let ders = chain.iter().map(|(der, _)| der.clone()).collect();
        let mut read = chain.into_iter();
        #[expect(
            clippy::expect_used,
            reason = "the chain begins with the leaf, a few lines above"
        )]
        let (leaf_der, leaf) = read.next().expect("a chain has a leaf");
        let certified = Arc::new(CertifiedKey::new(ders, key));
        Self {
            resolver: Arc::new(SingleCertAndKey::from(Arc::clone(&certified))),
            certified,
            spiffe_id: profile::spiffe_id(&leaf).ok().flatten(),
            intermediates: read.map(|(_, facts)| facts).collect(),
            leaf_sha256: sha256(&leaf_der),
            leaf,
        }
    }

    /// The SPIFFE ID that the leaf names.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.spiffe_id.as_ref()
    }

    /// The DNS SANs of the leaf.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.leaf.names.dns
    }

    /// The leaf's subject, for display.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.leaf.subject.text()
    }

    /// The leaf's issuer, for display.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.leaf.issuer.text()
    }

    /// The leaf's serial number in lowercase hex.
    #[must_use]
    pub fn serial(&self) -> &str {
        self.leaf.serial.text()
    }

    /// SHA-256 of the leaf, in lowercase hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&self.leaf_sha256)
    }

    pub(crate) fn leaf_summary(&self) -> LeafSummary {
        LeafSummary::of(&self.leaf, &self.leaf_sha256)
    }

    fn presented(&self) -> Presented {
        self.leaf.presented(&self.leaf_sha256)
    }

    /// What our leaf lacks of what X509-SVID asks of issuers. It is served all the same: some peers mind, and most do not.
    #[must_use]
    pub fn issuance_findings(&self) -> Vec<IssuanceFinding> {
        profile::issuance_findings(&self.leaf)
    }

    /// When the leaf is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.leaf.validity
    }

    pub(crate) fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// The chain as it is presented: leaf, then intermediates, no root.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Subject and validity of the leaf and of each intermediate.
    pub(crate) fn validities(&self) -> impl Iterator<Item = (&str, Validity)> {
        let all = std::iter::once(&self.leaf).chain(&self.intermediates);
        all.map(|cert| (cert.subject.text(), cert.validity))
    }

    /// Whether the chain would be accepted by a peer that has our trust.
    pub(crate) fn verify(
        &self,
        trust: &Trust,
        role: Role,
        now: UnixTime,
    ) -> Result<(), ChainError> {
        trust.verify_own(self.chain(), role, now)
    }

    /// What can be said of a chain from another PKI than our peers': it is valid now.
    pub(crate) fn within_validity(&self, now: UnixTime) -> Result<(), ChainError> {
        let now = Timestamp::from(now);
        let late = self.validities().find(|(_, span)| span.not_after < now);
        let early = self.validities().find(|(_, span)| now < span.not_before);
        let fault = match (late, early) {
            (Some((subject, span)), _) => ChainFault::Expired {
                subject: subject.into(),
                not_after: span.not_after,
                now,
            },
            (None, Some((subject, span))) => ChainFault::NotYetValid {
                subject: subject.into(),
                not_before: span.not_before,
                now,
            },
            (None, None) => return Ok(()),
        };
        Err(ChainError {
            presented: Box::new(self.presented()),
            role: Role::Server,
            fault,
        })
    }

    /// Whether both present the same chain, and hence hold the same key.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    /// The rustls resolver that presents this chain; one per credentials, since rustls compares its address.
    pub(crate) fn resolver(&self) -> &Arc<SingleCertAndKey> {
        &self.resolver
    }
}

type Parsed = (CertificateDer<'static>, Certificate);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("leaf", &self.presented())
            .field("validity", &self.leaf.validity)
            .field("chain", &self.chain().len())
            .finish_non_exhaustive()
    }
}
