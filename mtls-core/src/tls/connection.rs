//! One server handshake: its config, its verifier, and what became of it.
//!
//! The config is assembled per connection, so that the verifier knows the connection that it verifies for. rustls turns
//! an error of ours into an alert and forgets the rest; what was refused, and why, stays here beside it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, HandshakeKind, InvalidMessage,
    ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::error::{Alert, HandshakeError};
use super::info::PeerInfo;
use super::server::ServerSettings;
use crate::identity::PeerIdentity;
use crate::identity::certificate::Certificate;
use crate::snapshot::Snapshot;
use crate::verify::{ChainFault, Presented, Role};

/// Everything for one handshake of a server: the rustls config to accept with, and afterwards who the client is, or why
/// it was refused.
///
/// It is bound to one connection: take a new one from [`ServerTls::handshake`](crate::ServerTls::handshake) for each.
#[derive(Debug)]
pub struct ServerHandshake {
    config: Arc<ServerConfig>,
    connection: Arc<Connection>,
}

/// The verifier of one connection, and its memory.
#[derive(Debug)]
struct Connection {
    snapshot: Arc<Snapshot>,
    settings: Arc<ServerSettings>,
    progress: Mutex<Progress>,
}

/// How far the peer has come. A chain that verified is not yet anybody's.
#[derive(Debug)]
enum Progress {
    Nothing,
    /// The chain verified.
    Presented(PeerIdentity),
    /// The peer holds the key of the chain, and may connect.
    Proven(PeerIdentity),
    Refused(HandshakeError),
}

impl ServerHandshake {
    pub(super) fn new(snapshot: Arc<Snapshot>, settings: &Arc<ServerSettings>) -> Self {
        let connection = Arc::new(Connection {
            snapshot,
            settings: Arc::clone(settings),
            progress: Mutex::new(Progress::Nothing),
        });
        let config = Arc::new(connection.config());
        Self { config, connection }
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

    /// Who the client is, once `tls` has completed its handshake with this config.
    ///
    /// # Errors
    ///
    /// The handshake is not done, or no chain was verified and proven in it.
    pub fn established(&self, tls: &ServerConnection) -> Result<PeerInfo, HandshakeError> {
        // A backstop: resumption is off, and a session that was resumed all the same was verified by nobody here.
        if tls.handshake_kind() == Some(HandshakeKind::Resumed) {
            return Err(HandshakeError::Resumed);
        }
        let done = !tls.is_handshaking();
        let identity = match &*self.connection.progress() {
            Progress::Proven(identity) if done => identity.clone(),
            Progress::Refused(error) => return Err(error.clone()),
            Progress::Nothing | Progress::Presented(_) | Progress::Proven(_) => {
                return Err(self.no_certificate());
            }
        };
        // The config could have been used twice. What this connection was presented must be what was proven.
        if tls.peer_certificates() != Some(identity.chain()) {
            return Err(self.no_certificate());
        }
        Ok(PeerInfo::new(
            identity,
            Role::Client,
            self.generation(),
            tls,
            tls.server_name(),
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
                Progress::Presented(identity),
                Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)),
            ) => HandshakeError::NoProofOfPossession {
                presented: identity.certificate().presented(),
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
    fn config(self: &Arc<Self>) -> ServerConfig {
        let provider = Arc::clone(self.snapshot.provider());
        let builder = ServerConfig::builder_with_provider(provider);
        #[expect(
            clippy::expect_used,
            reason = "`ServerTlsBuilder::build` asked the same provider"
        )]
        let builder = builder
            .with_protocol_versions(self.settings.versions.enabled())
            .expect("the provider was checked when the server was built");
        let resolver = Arc::clone(self.snapshot.credentials.resolver());
        let mut config = builder
            .with_client_cert_verifier(Arc::clone(self) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.settings.alpn);
        // rustls verifies no chain when it resumes a session, and hands out new tickets for the old chain: a peer
        // would outlive its revocation, its CA and its expiry.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        // RFC 7627 §5.3: without the extended master secret a TLS 1.2 handshake can be spliced (triple handshake).
        config.require_ems = true;
        config
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
        let identity = match &*self.progress() {
            Progress::Presented(identity) if identity.chain().first() == Some(cert) => {
                identity.clone()
            }
            Progress::Presented(_)
            | Progress::Nothing
            | Progress::Proven(_)
            | Progress::Refused(_) => {
                return Err(rustls::Error::General(
                    "signature without a verified chain".into(),
                ));
            }
        };
        match self.settings.authorizer.authorize(&identity) {
            Ok(()) => {
                *self.progress() = Progress::Proven(identity);
                Ok(valid)
            }
            Err(denial) => Err(self.refuse(HandshakeError::NotAuthorized {
                peer: identity,
                denial,
            })),
        }
    }
}

impl ClientCertVerifier for Connection {
    fn client_auth_mandatory(&self) -> bool {
        true
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
        if !matches!(*self.progress(), Progress::Nothing) {
            return Err(rustls::Error::General(
                "the config of one connection was used twice".into(),
            ));
        }
        let chain: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|c| c.clone().into_owned())
            .collect();
        match self.snapshot.trust().verify(&chain, Role::Client, now) {
            Ok(identity) => {
                *self.progress() = Progress::Presented(identity);
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

/// What rustls found, in our terms.
pub(super) fn from_rustls(
    error: &rustls::Error,
    alpn: &[Vec<u8>],
    presented: String,
) -> HandshakeError {
    // rustls' errors are an open list; whatever is not told apart here is a protocol error by rustls' own words.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list of another crate"
    )]
    match error {
        rustls::Error::AlertReceived(alert) => HandshakeError::RefusedByPeer {
            alert: Alert(*alert),
            presented,
        },
        rustls::Error::NoApplicationProtocol => HandshakeError::NoCommonProtocol {
            ours: alpn
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
        },
        rustls::Error::PeerIncompatible(_) => HandshakeError::NoCommonParameters {
            source: error.clone(),
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            HandshakeError::PlaintextPeer
        }
        _ => HandshakeError::Tls {
            source: error.clone(),
        },
    }
}

/// What the operating system found, in our terms.
pub(super) fn from_io(error: &io::Error) -> HandshakeError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list of the standard library"
    )]
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => HandshakeError::PeerClosed,
        kind => HandshakeError::Io {
            // An `io::Error` is no value that can be kept twice; its text and kind are.
            source: Arc::new(io::Error::new(kind, error.to_string())),
        },
    }
}

/// The error by which rustls sends the alert that we mean (RFC 8446 §6.2). It says nothing else: the cause is for our
/// operator, not for whoever was refused.
fn alert_for(error: &HandshakeError) -> rustls::Error {
    let certificate = match error {
        HandshakeError::Chain { source } => match &source.fault {
            ChainFault::Expired { .. } => CertificateError::Expired,
            ChainFault::NotYetValid { .. } => CertificateError::NotValidYet,
            ChainFault::UnknownIssuer { .. }
            | ChainFault::UntrustedKey { .. }
            | ChainFault::WrongTrustDomain { .. } => CertificateError::UnknownIssuer,
            ChainFault::WrongUsage { .. } | ChainFault::UnsupportedAlgorithm { .. } => {
                CertificateError::InvalidPurpose
            }
            ChainFault::AmbiguousIdentity { .. }
            | ChainFault::CaConstraint { .. }
            | ChainFault::InvalidSpiffeId { .. }
            | ChainFault::Malformed { .. }
            | ChainFault::NameConstraint
            | ChainFault::NameMismatch { .. }
            | ChainFault::NotEndEntity { .. }
            | ChainFault::SpiffeIdWithoutPath { .. }
            | ChainFault::TooLarge { .. }
            | ChainFault::UndecodableUri => CertificateError::BadEncoding,
        },
        HandshakeError::NotAuthorized { .. } => CertificateError::ApplicationVerificationFailure,
        HandshakeError::Io { .. }
        | HandshakeError::NoCommonProtocol { .. }
        | HandshakeError::NoCommonParameters { .. }
        | HandshakeError::NoPeerCertificate { .. }
        | HandshakeError::NoProofOfPossession { .. }
        | HandshakeError::PeerClosed
        | HandshakeError::PlaintextPeer
        | HandshakeError::RefusedByPeer { .. }
        | HandshakeError::Resumed
        | HandshakeError::Shed { .. }
        | HandshakeError::Timeout { .. }
        | HandshakeError::Tls { .. } => return rustls::Error::General("refused".into()),
    };
    rustls::Error::InvalidCertificate(certificate)
}

/// What a chain claims that nobody has proven; for a log.
pub(super) fn presented(leaf: Option<&CertificateDer<'_>>) -> Presented {
    match leaf.map(Certificate::parse) {
        Some(Ok(certificate)) => certificate.presented(),
        Some(Err(_)) | None => Presented::unreadable(leaf),
    }
}
