//! The client's side: what is expected of servers, and one rustls config per snapshot.
//!
//! Not one per connection: rustls resumes a session only under the very same verifier and resolver. What was verified is
//! therefore kept beside the verifier, by the leaf, and our error travels inside rustls' own.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::ServerCertVerifier;
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, HandshakeKind, WantsVerifier};
use rustls_pki_types::{ServerName, UnixTime};

use super::error::{ConfigError, HandshakeError};
use super::expected::{Destination, Expectation, Expected, naming_a_service};
use super::explain::{from_io, from_rustls, presented};
use super::info::PeerInfo;
use super::posture::{TlsVersions, http_alpn, restrict_client};
use super::server::check_role;
use super::sessions::Resumption;
use super::standing::{Dialled, Measure, Standing};
use super::verifier::Verifier;
use crate::audit::ConnectionFacts;
use crate::clock;
use crate::identity::{PeerIdentity, Timestamp, TrustDomain};
use crate::policy::SpiffePattern;
use crate::snapshot::{CredentialSource, Snapshot};
use crate::verify::Role;

/// The TLS of a client that authenticates itself, and its servers.
///
/// It has no task: each handshake reads the current snapshot of its source, once. A clone is another handle on the same.
///
/// ```
/// # fn doc(source: &mtls_core::CredentialSource) -> Result<(), Box<dyn std::error::Error>> {
/// use mtls_core::ClientTls;
///
/// let by_name = ClientTls::builder(source).verify_server_name().build()?;
/// let by_id = ClientTls::builder(source).expect_server("spiffe://example.org/orders".parse()?)?.build()?;
/// let by_host = ClientTls::builder(source)
///     .verify_server_name() // at every other host
///     .expect_server_at("orders.shop.svc", "spiffe://example.org/orders".parse()?)?
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// What is expected of servers has to be said:
///
/// ```compile_fail,E0599
/// # fn doc(source: &mtls_core::CredentialSource) {
/// let client = mtls_core::ClientTls::builder(source).build();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ClientTls(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    source: CredentialSource,
    pub(super) expected: Expected,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) configs: ConfigBuilder<ClientConfig, WantsVerifier>,
    resumption: Resumption,
    /// One config per snapshot: two of the same would not resume each other's sessions.
    current: Mutex<Option<ClientHandshake>>,
}

impl ClientTls {
    /// Begins a client whose credentials and trust come from `source`.
    pub fn builder(source: &CredentialSource) -> ClientTlsBuilder<NeedsExpectation> {
        ClientTlsBuilder {
            source: source.clone(),
            expectation: NeedsExpectation(()),
            destinations: HashMap::new(),
            alpn: http_alpn(),
            versions: TlsVersions::default(),
            resumption: Resumption::default(),
        }
    }

    /// The source of its credentials and trust.
    #[must_use]
    pub fn source(&self) -> &CredentialSource {
        &self.0.source
    }

    /// A client like this one with other application protocols (ALPN).
    #[must_use]
    pub fn with_alpn(&self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self(Arc::new(Inner {
            source: self.0.source.clone(),
            expected: self.0.expected.clone(),
            alpn: protocols.into_iter().map(Into::into).collect(),
            configs: self.0.configs.clone(),
            resumption: self.0.resumption,
            current: Mutex::new(None),
        }))
    }

    /// Everything for handshakes under the snapshot that is current now. Take it when the connection to the server
    /// stands, right before the handshake.
    #[must_use]
    pub fn handshake(&self) -> ClientHandshake {
        let snapshot = self.0.source.current();
        let mut current = lock(&self.0.current);
        match &*current {
            Some(known) if known.generation() >= snapshot.generation() => known.clone(),
            Some(_) | None => {
                let new = ClientHandshake::new(snapshot, &self.0);
                *current = Some(new.clone());
                new
            }
        }
    }

    /// Whether the crypto provider and its config are FIPS 140-3 approved.
    #[must_use]
    pub fn fips(&self) -> bool {
        self.handshake().config().fips()
    }
}

/// Everything for the handshakes of a client under one snapshot. A clone is another handle on the same.
#[derive(Debug, Clone)]
pub struct ClientHandshake {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl ClientHandshake {
    fn new(snapshot: Arc<Snapshot>, inner: &Inner) -> Self {
        let current = Arc::clone(inner.source.cell());
        let verifier = Arc::new(Verifier::new(current, snapshot, inner.expected.clone()));
        let resolver = Arc::clone(verifier.snapshot.credentials.resolver());
        let mut config = inner
            .configs
            .clone()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&inner.alpn);
        config.resumption = match inner.resumption {
            // A server outlives neither its CA, since a new snapshot has a new config, nor its expiry.
            Resumption::Sessions(_) => rustls::client::Resumption::store(verifier.tickets.clone()),
            Resumption::Off => rustls::client::Resumption::disabled(),
        };
        restrict_client(&mut config);
        Self {
            config: Arc::new(config),
            verifier,
        }
    }

    /// The config. It is for connections that are made now; hold on to it, and you hold on to its snapshot.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The generation of the snapshot that it verifies with and presents.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.verifier.snapshot.generation()
    }

    /// Who the server is, once `tls` has completed its handshake with this config, dialling `name`.
    ///
    /// rustls does not tell the name of a client's connection. The server is judged by the one that is given here, now and
    /// whenever [`PeerInfo::check`] is asked: it is no way around what is expected at another.
    ///
    /// # Errors
    ///
    /// The handshake is not done, no chain was verified in it, or the server is not who is expected at `name`.
    pub fn established(
        &self,
        tls: &ClientConnection,
        name: &ServerName<'_>,
    ) -> Result<PeerInfo, HandshakeError> {
        let chain = tls.peer_certificates().filter(|_| !tls.is_handshaking());
        let peer = chain.and_then(|chain| self.verifier.peer(chain));
        // A session of a server whose time is over is not offered; this is the backstop.
        let now = clock::now().into();
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        if resumed && !peer.as_ref().is_some_and(|peer| peer.stands_at(now)) {
            // A TLS 1.2 session is offered again and again: the next handshake has to be a full one.
            self.verifier.tickets.forget();
            return Err(HandshakeError::Resumed);
        }
        let Some(peer) = peer else {
            return Err(HandshakeError::NoProofOfPossession {
                presented: presented(chain.and_then(<[_]>::first)),
                role: Role::Server,
            });
        };
        let measure = Measure::Client(Box::new(Dialled {
            expected: self.verifier.expected.clone(),
            name: name.to_owned(),
        }));
        measure.judge(&peer)?;
        let identity = peer.identity().clone();
        self.verifier.current.aliases().note(&identity, || now);
        let standing = Standing::new(
            Arc::clone(&self.verifier.current),
            &self.verifier.snapshot,
            peer,
            measure,
            0,
        );
        Ok(PeerInfo::new(
            identity,
            Role::Server,
            standing,
            tls,
            None,
            None,
            ConnectionFacts::new(None),
        ))
    }

    /// The identity of a server that this snapshot's verifier has let in, by its leaf, where a library shows no more.
    ///
    /// It is for a connection that such a library has completed with [`config`](Self::config): a leaf alone proves
    /// nothing.
    #[must_use]
    pub fn identity_by_leaf(&self, leaf: &[u8]) -> Option<PeerIdentity> {
        self.verifier.identity_by_leaf(leaf)
    }

    /// The first of the moments, `since` or later, until which servers that this snapshot's verifier has let in may be relied
    /// on if nothing changes: the ends of their certificates, or of what is known of their revocation.
    ///
    /// It is for a library whose connections cannot be ended one by one: those that it made since then end with it.
    #[must_use]
    pub fn first_deadline(&self, since: Timestamp) -> Option<Timestamp> {
        self.verifier.first_deadline(since)
    }

    /// Why the handshake failed, given what connecting returned.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> HandshakeError {
        if let Some(ours) = HandshakeError::find(error) {
            return ours.clone();
        }
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(rustls) => {
                let ours = &self.verifier.snapshot.credentials;
                let presented = format!("`{}` (serial {})", ours.subject(), ours.serial());
                from_rustls(rustls, &self.config.alpn_protocols, presented)
            }
            None => from_io(error),
        }
    }
}

/// Builder state: nobody has said yet who a server has to be.
#[derive(Debug)]
pub struct NeedsExpectation(());

/// Builds a [`ClientTls`].
#[derive(Debug)]
#[must_use]
pub struct ClientTlsBuilder<E> {
    source: CredentialSource,
    expectation: E,
    destinations: HashMap<Destination, Vec<SpiffePattern>>,
    alpn: Vec<Vec<u8>>,
    versions: TlsVersions,
    resumption: Resumption,
}

impl ClientTlsBuilder<NeedsExpectation> {
    /// A server has to have the name that is dialled, DNS or IP, among its SANs (RFC 9525 §6). A common name counts for
    /// nothing.
    pub fn verify_server_name(self) -> ClientTlsBuilder<Expectation> {
        self.expecting(Expectation::Name)
    }

    /// A server has to have a SPIFFE ID that `server` matches, an ID or a pattern; the name that is dialled counts for
    /// nothing.
    ///
    /// # Errors
    ///
    /// A pattern without any fixed segment: every workload of the trust domain could then pose as this server.
    pub fn expect_server(
        self,
        server: SpiffePattern,
    ) -> Result<ClientTlsBuilder<Expectation>, ConfigError> {
        let server = naming_a_service(server)?;
        Ok(self.expecting(Expectation::Pattern(server)))
    }

    /// At `host`, a server has to have a SPIFFE ID that `server` matches; every destination without an entry of its own is
    /// refused. For another answer there, begin with [`verify_server_name`](Self::verify_server_name) or
    /// [`expect_server`](Self::expect_server).
    ///
    /// See [`expect_server_at`](ClientTlsBuilder::<Expectation>::expect_server_at) for what a host is.
    ///
    /// ```
    /// use mtls_core::testing::{TestCa, handshake};
    /// use mtls_core::{ClientTls, Policy, Reason, ServerTls};
    ///
    /// let ca = TestCa::new("example.org");
    /// let orders = ca.source(&ca.issue("/ns/shop/sa/orders"));
    /// let orders = ServerTls::builder(&orders).authorize(Policy::any_verified_peer()).build()?;
    /// let client = ClientTls::builder(&ca.source(&ca.issue("/web")))
    ///     .expect_server_at("orders.shop.svc", "spiffe://example.org/ns/shop/sa/orders".parse()?)?
    ///     .expect_server_at("billing.shop.svc", "spiffe://example.org/ns/shop/sa/billing".parse()?)?
    ///     .build()?;
    ///
    /// assert!(handshake(&orders, &client, "orders.shop.svc").client.is_ok());
    /// for name in ["billing.shop.svc", "mail.shop.svc"] {
    ///     let refused = handshake(&orders, &client, name).client.unwrap_err();
    ///     assert_eq!(refused.reason(), Reason::NameMismatch);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A host that is none, or a pattern without any fixed segment.
    pub fn expect_server_at(
        self,
        host: &str,
        server: SpiffePattern,
    ) -> Result<ClientTlsBuilder<Expectation>, ConfigError> {
        self.expecting(Expectation::Nobody)
            .expect_server_at(host, server)
    }

    /// What weakens security, by name.
    pub fn dangerous(self) -> DangerousClientTlsBuilder {
        DangerousClientTlsBuilder(self)
    }

    fn expecting(self, expectation: Expectation) -> ClientTlsBuilder<Expectation> {
        ClientTlsBuilder {
            source: self.source,
            expectation,
            destinations: self.destinations,
            alpn: self.alpn,
            versions: self.versions,
            resumption: self.resumption,
        }
    }
}

/// The choices that weaken a client.
#[derive(Debug)]
#[must_use]
pub struct DangerousClientTlsBuilder(ClientTlsBuilder<NeedsExpectation>);

impl DangerousClientTlsBuilder {
    /// Lets any workload of a trust domain be the server: whichever of them answers can impersonate every service.
    pub fn expect_anyone_in(self, trust_domain: TrustDomain) -> ClientTlsBuilder<Expectation> {
        self.0.expecting(Expectation::AnyoneIn(trust_domain))
    }
}

impl<E> ClientTlsBuilder<E> {
    /// The application protocols (ALPN, RFC 7301), the most wanted first. Default: `h2`, then `http/1.1`. The adapters
    /// set what they speak.
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Whether sessions are resumed (RFC 8446 §2.2). Default: yes; of up to 1,024 servers, each with up to eight tickets,
    /// whatever the number that is given.
    ///
    /// A session is resumed under the snapshot that it was made under, and no longer than its server's certificates are
    /// valid.
    pub fn resumption(mut self, resumption: Resumption) -> Self {
        self.resumption = resumption;
        self
    }

    /// The versions of TLS. Default: [`TlsVersions::Tls13`].
    pub fn versions(mut self, versions: TlsVersions) -> Self {
        self.versions = versions;
        self
    }
}

impl ClientTlsBuilder<Expectation> {
    /// At `host`, a server has to have a SPIFFE ID that `server` matches, an ID or a pattern, and what is expected elsewhere
    /// counts for nothing there. Said of one host again, it is one more that may answer there.
    ///
    /// The host is the one that is dialled, a DNS name or an IP address, without a port: a URL's, not the `Host` of a
    /// request. Upper and lower case are the same, and so are a name with and without a dot at its end. Wildcards there are
    /// none. What has two names, or a name and an address, has two entries: the one under which it has none is another
    /// destination.
    ///
    /// # Errors
    ///
    /// A host that is none, or a pattern without any fixed segment.
    pub fn expect_server_at(
        mut self,
        host: &str,
        server: SpiffePattern,
    ) -> Result<Self, ConfigError> {
        let destination = Destination::parse(host)?;
        let server = naming_a_service(server)?;
        self.destinations
            .entry(destination)
            .or_default()
            .push(server);
        Ok(self)
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// Our own chain is not fit for a client, or the provider lacks what the versions need.
    pub fn build(self) -> Result<ClientTls, ConfigError> {
        self.build_at(clock::now())
    }

    /// As [`build`](Self::build), for whoever begins to dial at `now`.
    pub(crate) fn build_at(self, now: UnixTime) -> Result<ClientTls, ConfigError> {
        let snapshot = self.source.current();
        let provider = Arc::clone(snapshot.provider());
        let configs = ClientConfig::builder_with_provider(provider);
        let configs = self.versions.begin(configs)?;
        check_role(&snapshot, Role::Client, now)?;
        Ok(ClientTls(Arc::new(Inner {
            source: self.source,
            expected: Expected::new(self.expectation, self.destinations),
            alpn: self.alpn,
            configs,
            resumption: self.resumption,
            current: Mutex::new(None),
        })))
    }
}

/// A panic while a lock was held leaves an option that is set or not.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
