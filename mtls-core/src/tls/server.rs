//! The server's side: who is let in, and one rustls config per connection.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::UnixTime;

use super::anonymous::{AnonymousClient, ClientCertificates};
use super::connection::ServerHandshake;
use super::error::{ConfigError, HandshakeError};
use super::posture::{TlsVersions, http_alpn};
use super::sessions::{Resumption, Sessions};
use crate::audit::{Audit, ConnectionFacts, Observer};
use crate::clock;
use crate::identity::PeerIdentity;
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
    pub(super) settings: Arc<ServerSettings>,
    sessions: Arc<ArcSwap<SessionsOf>>,
}

#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) client_certificates: ClientCertificates,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) configs: ConfigBuilder<ServerConfig, WantsVerifier>,
    pub(crate) resumption: Resumption,
    pub(crate) audit: Audit,
}

impl ServerSettings {
    /// Whether who is proven to be `peer` may connect.
    pub(super) fn admit(&self, peer: &PeerIdentity) -> Result<(), HandshakeError> {
        let refused = |denial| HandshakeError::NotAuthorized {
            peer: peer.clone(),
            denial,
        };
        self.authorizer.authorize(peer).map_err(refused)
    }
}

/// The sessions made under one snapshot.
#[derive(Debug)]
struct SessionsOf {
    generation: u64,
    sessions: Option<Arc<Sessions>>,
}

impl ServerTls {
    /// Begins a server whose credentials and trust come from `source`.
    pub fn builder(source: &CredentialSource) -> ServerTlsBuilder<NeedsAuthorizer> {
        ServerTlsBuilder {
            source: source.clone(),
            authorizer: NeedsAuthorizer(()),
            client_certificates: ClientCertificates::default(),
            alpn: http_alpn(),
            versions: TlsVersions::default(),
            resumption: Resumption::default(),
            audit: Audit::default(),
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
        self.handshake_of(ConnectionFacts::new(None))
    }

    /// The same for a connection of which something is known: the peer, and the audit, will have it.
    #[must_use]
    pub fn handshake_of(&self, connection: ConnectionFacts) -> ServerHandshake {
        let snapshot = self.source.current();
        let sessions = self.sessions(snapshot.generation());
        ServerHandshake::new(
            Arc::clone(self.source.cell()),
            snapshot,
            &self.settings,
            sessions,
            connection,
        )
    }

    /// The sessions that belong to this generation; none for a handshake that was overtaken by the next one.
    fn sessions(&self, generation: u64) -> Option<Arc<Sessions>> {
        let mut known = self.sessions.load();
        if known.generation < generation {
            let new = SessionsOf::new(generation, self.settings.resumption);
            self.sessions.rcu(|known| {
                if known.generation < generation {
                    Arc::clone(&new)
                } else {
                    Arc::clone(known)
                }
            });
            known = self.sessions.load();
        }
        let is_its_own = known.generation == generation;
        known.sessions.clone().filter(|_| is_its_own)
    }

    /// Whether its clients have to present a certificate.
    #[must_use]
    pub fn client_certificates(&self) -> ClientCertificates {
        self.settings.client_certificates
    }

    /// Who a client is that has spoken plaintext to a listener which takes that by choice, beside this TLS: nobody.
    #[must_use]
    pub fn plaintext_client(&self, connection: ConnectionFacts) -> AnonymousClient {
        AnonymousClient::by_plaintext(connection, self.audit().clone())
    }

    /// Whom its decisions are told to.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.settings.audit
    }

    /// Whether the two are handles on the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sessions, &other.sessions)
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

impl SessionsOf {
    fn new(generation: u64, resumption: Resumption) -> Arc<Self> {
        Arc::new(Self {
            generation,
            sessions: Sessions::new(resumption).map(Arc::new),
        })
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
    client_certificates: ClientCertificates,
    alpn: Vec<Vec<u8>>,
    versions: TlsVersions,
    resumption: Resumption,
    audit: Audit,
}

impl ServerTlsBuilder<NeedsAuthorizer> {
    /// Says which authenticated clients may connect. Required: "anyone" is never a default.
    pub fn authorize(self, authorizer: impl Authorizer) -> ServerTlsBuilder<Arc<dyn Authorizer>> {
        ServerTlsBuilder {
            source: self.source,
            authorizer: Arc::new(authorizer),
            client_certificates: self.client_certificates,
            alpn: self.alpn,
            versions: self.versions,
            resumption: self.resumption,
            audit: self.audit,
        }
    }
}

impl<A> ServerTlsBuilder<A> {
    /// Whether clients have to present a certificate. Default: [`ClientCertificates::Required`].
    ///
    /// Where it is optional, a client without one is a [`Client::Anonymous`](crate::Client::Anonymous), whom no authorizer has
    /// let in: guard what it must not reach by `require`, by a [`RequestPolicy`](crate::RequestPolicy), or by taking the peer
    /// in a handler's arguments.
    pub fn client_certificates(mut self, mode: ClientCertificates) -> Self {
        self.client_certificates = mode;
        self
    }

    /// The application protocols (ALPN, RFC 7301), the most wanted first. Default: `h2`, then `http/1.1`. Offer only what
    /// the server behind it speaks; none at all accepts every client.
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Whether clients may resume sessions (RFC 8446 §2.2). Default: yes, 4,096 of them are remembered.
    ///
    /// A session is taken up only while its client would be let in by a full handshake: its chain stands under the trust of
    /// now, and the authorizer says yes. Otherwise the handshake is a full one. A new snapshot begins without sessions.
    pub fn resumption(mut self, resumption: Resumption) -> Self {
        self.resumption = resumption;
        self
    }

    /// Tells `observer` of every allow and every deny: at handshakes, and at requests where the adapters decide on those.
    /// Default: nobody is told.
    ///
    /// The adapters record what they decide. A loop of your own around [`ServerTls::handshake_of`] calls
    /// [`Audit::record`] itself.
    pub fn audit(mut self, observer: impl Observer) -> Self {
        self.audit = Audit::by(observer);
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
        self.build_at(clock::now())
    }

    /// As [`build`](Self::build), for whoever begins to serve at `now`.
    pub(crate) fn build_at(self, now: UnixTime) -> Result<ServerTls, ConfigError> {
        let snapshot = self.source.current();
        let provider = Arc::clone(snapshot.provider());
        let configs = ServerConfig::builder_with_provider(provider);
        let configs = self.versions.begin(configs)?;
        check_role(&snapshot, Role::Server, now)?;
        let settings = ServerSettings {
            authorizer: self.authorizer,
            client_certificates: self.client_certificates,
            alpn: self.alpn,
            configs,
            resumption: self.resumption,
            audit: self.audit,
        };
        let sessions = SessionsOf::new(snapshot.generation(), self.resumption);
        Ok(ServerTls {
            source: self.source,
            settings: Arc::new(settings),
            sessions: Arc::new(ArcSwap::new(sessions)),
        })
    }
}

/// Later snapshots cannot lose the role: a source publishes no credentials that do.
pub(super) fn check_role(
    snapshot: &Snapshot,
    role: Role,
    now: UnixTime,
) -> Result<(), ConfigError> {
    let settings = &snapshot.settings;
    let roles = settings.judge_own_chain(snapshot.credentials(), snapshot.trust(), now);
    let judged = match role {
        Role::Server => roles.server,
        Role::Client => roles.client,
    };
    judged.map_err(|source| ConfigError::CredentialsLackRole {
        role,
        source: Box::new(source),
    })
}
