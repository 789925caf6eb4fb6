//! One server handshake: its config, its verifier, and what became of it.
//!
//! The config is assembled per connection, so that the verifier knows the connection that it verifies for. rustls turns
//! an error of ours into an alert and forgets the rest; what was refused, and why, stays here beside it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, StoresServerSessions};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, HandshakeKind, ServerConfig,
    ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::anonymous::{AnonymousClient, Client, ClientCertificates};
use super::error::HandshakeError;
use super::explain::{alert_for, from_io, from_rustls};
use super::info::PeerInfo;
use super::names::Under;
use super::posture::restrict_server;
use super::server::ServerSettings;
use super::sessions::{Session, Sessions};
use super::standing::{Measure, Standing};
use crate::audit::{Audit, ConnectionFacts, JudgedUnder};
use crate::clock;
use crate::identity::Timestamp;
use crate::snapshot::{Current, Snapshot};
use crate::verify::chain::in_one;
use crate::verify::{CacheUse, Role, VerifiedPeer, VerifiedPeers};

/// Everything for one handshake of a server: the rustls config to accept with, and afterwards who the client is, or why
/// it was refused.
///
/// It is bound to one connection: take a new one from [`ServerTls::handshake`](crate::ServerTls::handshake) for each.
#[derive(Debug)]
pub struct ServerHandshake {
    config: Arc<ServerConfig>,
    connection: Arc<Connection>,
    under: Option<Under>,
}

/// The verifier of one connection, and its memory.
#[derive(Debug)]
struct Connection {
    current: Arc<Current>,
    snapshot: Arc<Snapshot>,
    settings: Arc<ServerSettings>,
    facts: ConnectionFacts,
    /// The policy's version before it was asked.
    policy: u64,
    progress: Mutex<Progress>,
}

/// How far the peer has come. A chain that verified is not yet anybody's.
#[derive(Debug)]
enum Progress {
    Nothing,
    /// A session of this peer was handed to rustls, which may take it up, or do a full handshake all the same.
    Offered(Arc<VerifiedPeer>),
    /// The chain verified.
    Presented(Arc<VerifiedPeer>),
    /// The peer holds the key of the chain, and may connect.
    Proven(Arc<VerifiedPeer>),
    Refused(HandshakeError),
}

impl ServerHandshake {
    pub(super) fn new(
        current: Arc<Current>,
        snapshot: Arc<Snapshot>,
        settings: &Arc<ServerSettings>,
        sessions: Option<Arc<Sessions>>,
        facts: ConnectionFacts,
    ) -> Self {
        let connection = Arc::new(Connection {
            current,
            snapshot,
            facts,
            policy: settings.authorizer.version(),
            settings: Arc::clone(settings),
            progress: Mutex::new(Progress::Nothing),
        });
        let config = Arc::new(connection.config(sessions));
        Self {
            config,
            connection,
            under: None,
        }
    }

    /// It is one of several identities of a server.
    pub(super) fn under(mut self, under: Option<Under>) -> Self {
        self.under = under;
        self
    }

    /// The config for this one connection. A second connection made with it is refused.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The generation of the snapshot that it verifies with.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.connection.snapshot.generation()
    }

    /// Whom its decision is told to.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.connection.settings.audit
    }

    /// What it judges the client by.
    #[must_use]
    pub fn judged_under(&self) -> JudgedUnder {
        JudgedUnder {
            generation: self.generation(),
            policy_version: self.connection.policy,
        }
    }

    /// Who the client is, once `tls` has completed its handshake with this config; where certificates are optional, it may
    /// be nobody.
    ///
    /// # Errors
    ///
    /// The handshake is not done; or no chain was verified and proven in it, and one is required.
    pub fn established_client(&self, tls: &ServerConnection) -> Result<Client, HandshakeError> {
        // Whatever was presented counts: nobody who was refused, or is halfway proven, becomes anonymous.
        let presented_none = tls.peer_certificates().is_none()
            && matches!(
                &*self.connection.progress(),
                Progress::Nothing | Progress::Offered(_)
            );
        let full = matches!(
            tls.handshake_kind(),
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        );
        if self.connection.is_optional() && presented_none && full && !tls.is_handshaking() {
            let (facts, audit) = (self.connection.facts, &self.connection.settings.audit);
            let name = tls.server_name();
            let client =
                AnonymousClient::by_tls(facts, audit.clone(), tls, name, self.under.clone());
            return Ok(Client::Anonymous(client));
        }
        self.established(tls).map(Client::Peer)
    }

    /// Who the client is, once `tls` has completed its handshake with this config.
    ///
    /// # Errors
    ///
    /// The handshake is not done, or no chain was verified and proven in it.
    pub fn established(&self, tls: &ServerConnection) -> Result<PeerInfo, HandshakeError> {
        let done = !tls.is_handshaking();
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let peer = match &*self.connection.progress() {
            Progress::Proven(peer) if done && !resumed => Arc::clone(peer),
            Progress::Offered(peer) if done && resumed => Arc::clone(peer),
            Progress::Refused(error) => return Err(error.clone()),
            // A backstop: a session that was resumed and that nobody here handed out was verified by nobody.
            Progress::Nothing | Progress::Presented(_) | Progress::Proven(_) if resumed => {
                return Err(HandshakeError::Resumed);
            }
            Progress::Nothing
            | Progress::Offered(_)
            | Progress::Presented(_)
            | Progress::Proven(_) => {
                return Err(self.no_certificate());
            }
        };
        // The config could have been used twice. What this connection was presented must be what was proven.
        if tls.peer_certificates() != Some(peer.identity().chain()) {
            return Err(self.no_certificate());
        }
        let connection = &self.connection;
        let measure = Measure::Server(Arc::clone(&connection.settings));
        let identity = peer.identity().clone();
        connection.current.aliases().note(&identity, Timestamp::now);
        let standing = Standing::new(
            Arc::clone(&connection.current),
            &connection.snapshot,
            peer,
            measure,
            connection.policy,
        );
        let role = Role::Client;
        Ok(PeerInfo::new(
            identity,
            role,
            standing,
            tls,
            tls.server_name(),
            self.under.clone(),
            connection.facts,
        ))
    }

    /// Why the handshake failed, given what accepting returned.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> HandshakeError {
        let rustls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (&*self.connection.progress(), rustls) {
            (Progress::Refused(refused), _) => refused.clone(),
            // The chain was good, the signature over the handshake is not.
            (
                Progress::Presented(peer),
                Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)),
            ) => HandshakeError::NoProofOfPossession {
                presented: peer.identity().presented(),
                role: Role::Client,
            },
            (_, Some(rustls::Error::NoCertificatesPresented)) => self.no_certificate(),
            (_, Some(error)) => self.explain_rustls(error),
            (_, None) => from_io(error),
        }
    }

    fn explain_rustls(&self, error: &rustls::Error) -> HandshakeError {
        let presented = &self.connection.snapshot.credentials;
        let presented = format!("`{}` (serial {})", presented.subject(), presented.serial());
        from_rustls(error, &self.connection.settings.alpn, presented)
    }

    fn no_certificate(&self) -> HandshakeError {
        let trust = self.connection.snapshot.trust();
        let named = !trust.hints().is_empty();
        let subjects = trust.bundle().subjects().map(ToOwned::to_owned);
        let accepted = if named {
            subjects.collect()
        } else {
            Vec::new()
        };
        HandshakeError::NoPeerCertificate { accepted }
    }
}

impl Connection {
    /// Cheap: everything costly in it was made with the snapshot.
    fn config(self: &Arc<Self>, sessions: Option<Arc<Sessions>>) -> ServerConfig {
        let resolver = Arc::clone(self.snapshot.credentials.resolver());
        let configs = self.settings.configs.clone();
        let mut config = configs
            .with_client_cert_verifier(Arc::clone(self) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.settings.alpn);
        match sessions {
            Some(sessions) => {
                config.session_storage = Arc::new(ConnectionSessions {
                    sessions,
                    connection: Arc::clone(self),
                });
                config.send_tls13_tickets = 1;
            }
            None => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        restrict_server(&mut config);
        config
    }

    fn is_optional(&self) -> bool {
        match self.settings.client_certificates {
            ClientCertificates::Required => false,
            ClientCertificates::Optional => true,
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, error: HandshakeError) -> rustls::Error {
        let alert = alert_for(&error);
        *self.progress() = Progress::Refused(error);
        alert
    }

    /// The peer holds the key. Only now is it asked whether it may connect: before, anyone with a copy of a public chain
    /// could learn who may, and fill the log in that identity's name.
    fn prove(
        &self,
        cert: &CertificateDer<'_>,
        valid: HandshakeSignatureValid,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let peer = match &*self.progress() {
            Progress::Presented(peer) if peer.identity().chain().first() == Some(cert) => {
                Arc::clone(peer)
            }
            Progress::Presented(_)
            | Progress::Nothing
            | Progress::Offered(_)
            | Progress::Proven(_)
            | Progress::Refused(_) => {
                return Err(rustls::Error::General(
                    "signature without a verified chain".into(),
                ));
            }
        };
        match self.settings.admit(peer.identity()) {
            Ok(()) => {
                *self.progress() = Progress::Proven(peer);
                Ok(valid)
            }
            Err(refused) => Err(self.refuse(refused)),
        }
    }

    /// Whether this session's peer would be let in by a full handshake: it is in its time and not revoked since, and the
    /// authorizer says yes. The trust is the one that verified it, for the store is the snapshot's.
    fn offer(&self, session: Session) -> Option<Vec<u8>> {
        let now = clock::now().into();
        let mut progress = self.progress();
        let untouched = matches!(*progress, Progress::Nothing | Progress::Offered(_));
        let stands = session.peer.stands_at(now);
        if !untouched || !stands || self.settings.admit(session.peer.identity()).is_err() {
            return None;
        }
        *progress = Progress::Offered(session.peer);
        Some(session.value)
    }
}

/// The sessions of a server, as one connection may use them.
#[derive(Debug)]
struct ConnectionSessions {
    sessions: Arc<Sessions>,
    connection: Arc<Connection>,
}

impl StoresServerSessions for ConnectionSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        // A session that nobody has proven is nobody's, and none is kept for an anonymous client.
        let peer = match &*self.connection.progress() {
            Progress::Proven(peer) => Arc::clone(peer),
            // Offered in vain, perhaps, to a client that then presented no certificate.
            Progress::Offered(peer) if carries(&value, peer) => Arc::clone(peer),
            Progress::Offered(_) => return false,
            Progress::Nothing | Progress::Presented(_) | Progress::Refused(_) => return false,
        };
        // A session carries its chain, whose size is the peer's choice: thousands of 64 KiB each would be its lever.
        if VerifiedPeers::fits(peer.identity().chain()) == CacheUse::TooLarge {
            return false;
        }
        self.sessions.put(key, Session { value, peer });
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.connection.offer(self.sessions.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.connection.offer(self.sessions.take(key)?)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Connection {
    fn client_auth_mandatory(&self) -> bool {
        !self.is_optional()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.snapshot.trust().hints()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // A session may have been offered in vain: rustls did not take it up, and asks for a chain.
        if !matches!(*self.progress(), Progress::Nothing | Progress::Offered(_)) {
            return Err(rustls::Error::General(
                "the config of one connection was used twice".into(),
            ));
        }
        let chain = in_one(end_entity, intermediates);
        match self.snapshot.trust().verify(&chain, Role::Client, now) {
            Ok(peer) => {
                *self.progress() = Progress::Presented(peer);
                Ok(ClientCertVerified::assertion())
            }
            Err(error) => Err(self.refuse(Box::new(error).into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = verify_tls12_signature(message, cert, dss, self.snapshot.trust().algorithms())?;
        self.prove(cert, valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = verify_tls13_signature(message, cert, dss, self.snapshot.trust().algorithms())?;
        self.prove(cert, valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.snapshot.trust().algorithms().supported_schemes()
    }
}

/// Whether a session, as rustls writes it, is one of this peer: rustls keeps the client's chain in it.
fn carries(session: &[u8], peer: &VerifiedPeer) -> bool {
    let leaf = peer.identity().chain().first();
    leaf.is_some_and(|leaf| {
        !leaf.is_empty()
            && session
                .windows(leaf.len())
                .any(|part| part == leaf.as_ref())
    })
}
