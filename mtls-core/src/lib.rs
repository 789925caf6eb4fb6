//! Mutual TLS in your own process.

mod clock;
mod error;
mod files;
mod identity;
mod policy;
mod reason;
mod snapshot;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod tls;
mod verify;

pub use error::{AnchorFault, Chained, LoadError};
pub use files::{CredentialFiles, Layout, PollCause, WatchMode};
pub use identity::{
    KubernetesServiceAccount, MeshForm, PeerIdentity, SpiffeId, SpiffeIdError, Timestamp,
    TrustDomain, Validity,
};
pub use policy::{Authorizer, Denial, PatternError, Policy, PolicyError, SpiffePattern};
pub use reason::Reason;
pub use snapshot::{
    Anchor, CaHints, Changes, CredentialMaterial, CredentialSource, Credentials, Expiry, Failure,
    Health, OwnChain, Part, Publisher, Snapshot, SourceBuilder, Status, Trust, TrustBundle,
    TrustMaterial,
};
pub use tls::{
    Alert, ClientTls, ClientTlsBuilder, ConfigError, DangerousClientTlsBuilder, Expectation,
    HandshakeError, NeedsAuthorizer, NeedsExpectation, PeerInfo, ServerTls, ServerTlsBuilder,
    TlsVersions,
};
pub use verify::{ChainError, ChainFault, Presented, Role};

/// The crates whose types stand in our signatures, and the handshakes that speak them.
pub mod rustls {
    use std::sync::Arc;

    use rustls_pki_types::CertificateDer;

    pub use ::rustls::*;

    use crate::snapshot::CredentialMaterial;
    pub use crate::tls::{ClientHandshake, ServerHandshake};

    /// Credentials whose private key is held elsewhere, in a KMS or a PKCS#11 token: the leaf, its intermediates, and
    /// what signs for the leaf.
    ///
    /// A signer that does not tell its public key is taken to sign for the first certificate.
    #[must_use]
    pub fn credentials_with_signing_key(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn sign::SigningKey>,
    ) -> CredentialMaterial {
        CredentialMaterial::with_signing_key(chain, key)
    }
}
