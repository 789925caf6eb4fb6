//! Mutual TLS in your own process: present credentials, verify peers, rotate both without a restart.
//!
//! A [`CredentialSource`] reads mounted files and keeps them current. A server ([`ServerTls`]) says which verified peers may
//! connect; a client ([`ClientTls`]) says which server it expects. Neither can be built having skipped that. What both
//! learn is a [`PeerInfo`], and who it is a [`PeerIdentity`]. Connections are made by the adapters: `mtls-axum`,
//! `mtls-reqwest`, `mtls-tower`.
//!
//! ```no_run
//! use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let source = CredentialSource::watch(CredentialFiles::detect("/var/run/secrets/tls")?).await?;
//! let server = ServerTls::builder(&source)
//!     .authorize(Policy::trust_domain("example.org")?)
//!     .build()?;
//! let client = ClientTls::builder(&source).verify_server_name().build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to start
//!
//! - **Files**: [`CredentialFiles`] says which; [`SourceBuilder`] how they are read and verified.
//! - **Who may connect**: [`Policy`], a value; [`AccessPolicy`], many rules; or an [`Authorizer`] of your own.
//! - **Who may make which request**: [`RequestPolicy`].
//! - **Clients without a certificate**: [`ServerTlsBuilder::client_certificates`] and [`Client`].
//! - **A peer was refused**: [`HandshakeError::remedy`], and the stable [`Reason`].
//! - **Who was let in, and who was not**: [`ServerTlsBuilder::audit`] and [`JsonLines`].
//! - **Several identities on one server**: [`ServerNames`], by the name that a client asks for.
//! - **Behind an ingress**: [`Forwarded`] says whose word counts for who their client is.
//! - **What is wrong with files, before they are deployed**: the module [`check`].
//! - **Files were not taken**: [`CredentialSource::status`], [`LoadError::remedy`].
//! - **What to alert on**: the module [`metrics`], and its feature.
//! - **Material that is not in files**: [`SourceBuilder::publish`] and its [`Publisher`].
//! - **Anything else that speaks rustls**: [`ServerTls::handshake`] and [`ClientTls::handshake`] for connections
//!   that are yours, [`ServerTls::configs`] and [`ClientTls::configs`] for a library's, and the module [`rustls`].
//! - **Tests**: the feature `testing`, a CA and mounted directories.
//!
//! # What is verified
//!
//! RFC 5280 path validation by webpki, and beyond it: issuers need keyCertSign where KeyUsage is present (§4.2.1.3); trust
//! anchors are CAs, in time, and their path length counts; a leaf with a SPIFFE ID keeps the X509-SVID profile (§2, §5.2)
//! and is verified with the bundle of its own trust domain alone (SPIFFE Federation §7.3). A server's name is a SAN,
//! never a common name (RFC 9525). Revocation lists are asked where there are any (RFC 5280 §6.3; OCSP is not), and a session
//! is resumed only while its peer would be let in by a full handshake.
//!
//! The guides (Kubernetes, migration, pipelines, a workshop, the security model) are in [`mtls::manual`].
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider aws-lc-rs, which prefers a post-quantum key exchange |
//! | `fips` | no | its FIPS 140-3 module; [`ServerTls::fips`] says whether it holds |
//! | `metrics` | no | what is measured, for the recorder of the crate of that name: the module [`metrics`] |
//! | `notify` | yes | reload on filesystem events; without it, by polling |
//! | `policy-file` | no | policies from TOML and JSON files, reloaded when they change |
//! | `ring` | no | the crypto provider ring, used when none is named and aws-lc-rs is off |
//! | `signal` | no | `CredentialSource::reload_on_hangup` |
//! | `spiffe-json` | no | SPIFFE bundles and bundle maps in JSON: `CredentialFiles::bundle_map` |
//! | `testing` | no | the module `testing` |
//!
//! [`mtls::manual`]: https://docs.rs/mtls/latest/mtls/manual/

#![cfg_attr(docsrs, feature(doc_cfg))]

mod audit;
pub mod check;
mod clock;
mod error;
mod files;
#[cfg(feature = "__fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod identity;
pub mod metrics;
mod policy;
mod reason;
mod snapshot;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod tls;
mod verify;

pub use audit::{
    Audit, AuditEvent, AuditOutcome, AuditRequest, AuditStage, AuditSubject, ConnectionFacts,
    ConnectionId, JsonLines, JudgedUnder, Observer, RefusalLog,
};
pub use error::{AnchorFault, Chained, LoadError};
pub use files::{
    CredentialFiles, FileAccess, FileFormat, Layout, PollCause, ProcessIds, StuckMount, WatchMode,
};
pub use identity::{
    ForwardAs, ForwardedError, ForwardedFormat, ForwardedIdentity, IssuanceFinding,
    KubernetesServiceAccount, MeshForm, PeerIdentity, SpiffeId, SpiffeIdError, Timestamp,
    TrustDomain, Validity,
};
pub use policy::{
    AccessPolicy, Authorizer, DecidedBy, Denial, Effect, Explanation, Fact, HostFault,
    NeedsDefault, OpenCondition, PathFault, PathPattern, PathPatternError, PatternError, Policy,
    PolicyBuilder, PolicyError, PolicyFinding, PolicySurvey, RequestAuthorizer, RequestFacts,
    RequestPolicy, Rule, RuleError, RuleFault, SpiffePattern, SurveyedRule, Unreadable, Who,
};
#[cfg(feature = "policy-file")]
#[cfg_attr(docsrs, doc(cfg(feature = "policy-file")))]
pub use policy::{
    FromPolicyFile, PolicyDocument, PolicyFailure, PolicyFile, PolicyFileError, PolicyFileFault,
    PolicySource, PolicyStatus,
};
pub use reason::Reason;
pub use snapshot::{
    AliasUse, Anchor, AnchorName, AnchorNames, CaHints, Changes, CredentialMaterial,
    CredentialSource, Credentials, Expiry, Failure, Health, LateRenewal, LeafSummary, NotServed,
    OwnChain, Part, Publisher, Snapshot, SourceBuilder, Status, Trust, TrustBundle, TrustChange,
    TrustMaterial,
};
pub use tls::{
    Alert, AnonymousBy, AnonymousClient, Client, ClientCertificates, ClientRef, ClientTls,
    ClientTlsBuilder, ConfigError, DangerousClientTlsBuilder, Expectation, Forwarded,
    HandshakeError, NamelessSaid, NeedsAuthorizer, NeedsExpectation, Otherwise, PeerInfo,
    Resumption, ServerNames, ServerNamesBuilder, ServerTls, ServerTlsBuilder, TlsFault,
    TlsVersions,
};
pub use verify::{
    ChainError, ChainFault, CrlFault, CrlRollback, CrlStatus, Presented, Revocation,
    RevocationDepth, RevocationReason, Role, StaleCrl, UnknownRevocation,
};

/// The crates whose types stand in our signatures, and the handshakes that speak them.
pub mod rustls {
    use std::sync::Arc;

    use rustls_pki_types::CertificateDer;

    pub use ::rustls::*;

    use crate::snapshot::CredentialMaterial;
    use crate::tls::TlsFault;
    pub use crate::tls::{
        ClientConfigs, ClientHandshake, DangerousClientConfigs, DangerousServerConfigs,
        ServerConfigs, ServerHandshake,
    };

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

    /// What rustls found, as our errors have it: for whoever takes it out of another crate's error.
    #[must_use]
    pub fn tls_fault(found: Error) -> TlsFault {
        TlsFault::new(found)
    }
}
