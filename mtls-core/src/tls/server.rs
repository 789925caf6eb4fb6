//! The server's side: who is let in, and one rustls config per connection.

use std::sync::Arc;

use super::connection::ServerHandshake;
use super::error::ConfigError;
use super::posture::{TlsVersions, http_alpn};
use crate::clock;
use crate::policy::Authorizer;
use crate::snapshot::{CredentialSource, Snapshot};
use crate::verify::Role;

/// The TLS of a server that authenticates its clients.
///
/// It has no task and holds no snapshot: each handshake reads the current one of its source, once. A clone is another
/// handle on the same.
///
/// ```
/// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
/// use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
///
/// let source = CredentialSource::watch(CredentialFiles::detect("/var/run/secrets/tls")?).await?;
/// let server = ServerTls::builder(&source)
///     .authorize(Policy::trust_domain("example.org")?)
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// Whom to let in has to be said. Without it there is nothing to build:
///
/// ```compile_fail,E0599
/// # fn doc(source: &mtls_core::CredentialSource) {
/// let server = mtls_core::ServerTls::builder(source).build();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServerTls {
    source: CredentialSource,
    settings: Arc<ServerSettings>,
}

#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) versions: TlsVersions,
}

impl ServerTls {
    /// Begins a server whose credentials and trust come from `source`.
    pub fn builder(source: &CredentialSource) -> ServerTlsBuilder<NeedsAuthorizer> {
        ServerTlsBuilder {
            source: source.clone(),
            authorizer: NeedsAuthorizer(()),
            alpn: http_alpn(),
            versions: TlsVersions::default(),
        }
    }

    /// The source of its credentials and trust.
    #[must_use]
    pub fn source(&self) -> &CredentialSource {
        &self.source
    }

    /// Everything for one handshake, under the snapshot that is current now. Take it when the client's first bytes are
    /// there, rather than when it connects: what it is judged by is then as new as can be.
    #[must_use]
    pub fn handshake(&self) -> ServerHandshake {
        ServerHandshake::new(self.source.current(), &self.settings)
    }

    /// Whether the crypto provider and the config that it serves with are FIPS 140-3 approved.
    #[must_use]
    pub fn fips(&self) -> bool {
        self.handshake().config().fips()
    }

    /// Whether it still lets in who is proven to be `peer`.
    ///
    /// # Errors
    ///
    /// The policy's denial.
    pub fn authorize(&self, peer: &crate::PeerIdentity) -> Result<(), crate::Denial> {
        self.settings.authorizer.authorize(peer)
    }
}

/// Builder state: nobody has said whom to let in yet.
#[derive(Debug)]
pub struct NeedsAuthorizer(());

/// Builds a [`ServerTls`].
#[derive(Debug)]
#[must_use]
pub struct ServerTlsBuilder<A> {
    source: CredentialSource,
    authorizer: A,
    alpn: Vec<Vec<u8>>,
    versions: TlsVersions,
}

impl ServerTlsBuilder<NeedsAuthorizer> {
    /// Says which authenticated clients may connect. Required: "anyone" is never a default.
    pub fn authorize(self, authorizer: impl Authorizer) -> ServerTlsBuilder<Arc<dyn Authorizer>> {
        ServerTlsBuilder {
            source: self.source,
            authorizer: Arc::new(authorizer),
            alpn: self.alpn,
            versions: self.versions,
        }
    }
}

impl<A> ServerTlsBuilder<A> {
    /// The application protocols (ALPN, RFC 7301), the most wanted first. Default: `h2`, then `http/1.1`. Offer only what
    /// the server behind it speaks; none at all accepts every client.
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The versions of TLS. Default: [`TlsVersions::Tls13`].
    pub fn versions(mut self, versions: TlsVersions) -> Self {
        self.versions = versions;
        self
    }
}

impl ServerTlsBuilder<Arc<dyn Authorizer>> {
    /// Builds it.
    ///
    /// # Errors
    ///
    /// Our own chain is not fit for a server, or the provider lacks what the versions need.
    pub fn build(self) -> Result<ServerTls, ConfigError> {
        let snapshot = self.source.current();
        self.versions.check(snapshot.provider())?;
        check_role(&snapshot, Role::Server)?;
        let settings = ServerSettings {
            authorizer: self.authorizer,
            alpn: self.alpn,
            versions: self.versions,
        };
        Ok(ServerTls {
            source: self.source,
            settings: Arc::new(settings),
        })
    }
}

/// Later snapshots cannot lose the role: a source publishes no credentials that do.
pub(super) fn check_role(snapshot: &Snapshot, role: Role) -> Result<(), ConfigError> {
    let roles =
        snapshot
            .settings
            .judge_own_chain(snapshot.credentials(), snapshot.trust(), clock::now());
    let judged = match role {
        Role::Server => roles.server,
        Role::Client => roles.client,
    };
    judged.map_err(|source| ConfigError::CredentialsLackRole {
        role,
        source: Box::new(source),
    })
}
