//! A dial that trusts nobody and presents nothing, or a stranger's certificate: what the server shows of itself, what it asks for,
//! and what it makes of a client that it should refuse.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mtls_core::Timestamp;
use mtls_core::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use mtls_core::rustls::client::{
    ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use mtls_core::rustls::sign::CertifiedKey;
use mtls_core::rustls::{
    ClientConfig, DigitallySignedStruct, Error, InvalidMessage, NamedGroup, SignatureScheme,
};

use super::dial::{Dial, Word};
use crate::Failure;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) version: Option<&'static str>,
    pub(super) suite: Option<String>,
    pub(super) group: Option<String>,
    pub(super) alpn: Option<String>,
    /// From the first byte to the end of the handshake.
    pub(super) took: Option<Duration>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) ocsp: bool,
    /// Whether a session can be resumed; `None` where the server had not got that far.
    pub(super) resumes: Option<bool>,
    pub(super) request: Option<Request>,
    pub(super) end: Option<End>,
    /// The answer to a request, where one was sent.
    pub(super) answer: Option<Answer>,
}

/// What the server asks of its clients.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The CA names, in DER.
    pub(super) names: Vec<Vec<u8>>,
    pub(super) schemes: Vec<SignatureScheme>,
}

/// An answer in HTTP, and when it was here.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) at: Timestamp,
}

/// How a dial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The server has let it in.
    LetIn,
    /// The handshake was done and the server said nothing.
    NoWord,
    /// By its alert.
    Alert(u8),
    Closed,
    /// What it speaks, where that shows.
    Plaintext(Option<&'static str>),
    Silent,
    /// In rustls' words, or the system's.
    Other(String),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) address: SocketAddr,
    pub(super) name: &'a ServerName<'static>,
    pub(super) host: &'a str,
    pub(super) http: Option<&'a str>,
    pub(super) limit: Duration,
}

impl Target<'_> {
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&self.address, self.limit)
    }
}

/// Looks at the server over a connection that there is, or a new one; presenting this, or nothing.
pub(super) fn look(
    target: &Target<'_>,
    tcp: Option<TcpStream>,
    present: Option<Arc<CertifiedKey>>,
) -> Result<Look, Failure> {
    let provider = provider()?;
    let recorder = Arc::new(Recorder {
        provider: Arc::clone(&provider),
        present,
        seen: Mutex::default(),
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(&recorder) as Arc<dyn ResolvesClientCert>);
    config.alpn_protocols = alpn(target.http.is_some());
    config.resumption = Resumption::store(Arc::clone(&recorder) as Arc<dyn ClientSessionStore>);
    let mut look = Look::default();
    look.end = Some(look.dial(target, tcp, Arc::new(config)));
    let seen = recorder.seen();
    look.chain.clone_from(&seen.chain);
    look.request.clone_from(&seen.request);
    look.ocsp = seen.ocsp;
    // Only of one that got as far as where a session is offered.
    look.resumes = matches!(look.end, Some(End::LetIn | End::NoWord)).then_some(seen.session);
    drop(seen);
    Ok(look)
}

pub(super) fn provider() -> Result<Arc<CryptoProvider>, Failure> {
    crate::provider().ok_or_else(|| Failure::new("built without a crypto provider"))
}

pub(super) fn alpn(http: bool) -> Vec<Vec<u8>> {
    match http {
        true => vec![b"http/1.1".to_vec()],
        false => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

impl Look {
    fn dial(
        &mut self,
        target: &Target<'_>,
        tcp: Option<TcpStream>,
        config: Arc<ClientConfig>,
    ) -> End {
        let tcp = tcp.map_or_else(|| target.connect(), Ok);
        let dial = tcp.and_then(|tcp| Dial::over(tcp, target.name, config, target.limit));
        let mut dial = match dial {
            Ok(dial) => dial,
            Err(error) => return End::of(&error, &[]),
        };
        let word = dial.confirmed();
        self.note(&dial);
        let word = match word {
            Ok(word) => word,
            Err(error) => return End::of(&error, &dial.first),
        };
        if let Some(path) = target.http {
            return match dial.get(target.host, path) {
                Ok(text) => {
                    let at = Timestamp::now();
                    self.answer = Some(Answer { text, at });
                    End::LetIn
                }
                Err(error) => End::of(&error, &dial.first),
            };
        }
        match word {
            Word::Accepted => End::LetIn,
            Word::Nothing => End::NoWord,
        }
    }

    fn note(&mut self, dial: &Dial) {
        use mtls_core::rustls::ProtocolVersion;
        let tls = &dial.tls;
        self.took = dial.took;
        self.version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
            Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
            Some(_) | None => None,
        };
        self.suite = tls
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()));
        self.group = tls
            .negotiated_key_exchange_group()
            .map(|group| format!("{:?}", group.name()));
        let alpn = tls.alpn_protocol();
        self.alpn = alpn.map(|name| String::from_utf8_lossy(name).into_owned());
    }
}

impl End {
    /// With what the server said first.
    pub(super) fn of(error: &io::Error, first: &[u8]) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match (inner, error.kind()) {
            (Some(Error::AlertReceived(alert)), _) => Self::Alert(u8::from(*alert)),
            (Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)), _) => {
                let mut known = GREETINGS.iter();
                let known = known.find(|(greeting, _)| first.starts_with(greeting));
                Self::Plaintext(known.map(|(_, what)| *what))
            }
            (Some(error), _) => Self::Other(error.to_string()),
            (None, io::ErrorKind::TimedOut) => Self::Silent,
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe,
            ) => Self::Closed,
            (None, _) => Self::Other(error.to_string()),
        }
    }
}

/// Takes whatever chain a server has, and notes it. Nothing that matters is sent over its connections: the one request that may
/// be is the probe's own.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    present: Option<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    ocsp: bool,
    session: bool,
    request: Option<Request>,
}

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(leaf).chain(rest);
        let all = all.map(|certificate| certificate.clone().into_owned());
        let mut seen = self.seen();
        seen.chain = all.collect();
        seen.ocsp = !ocsp.is_empty();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, names: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.seen().request = Some(Request {
            names: names.iter().map(|name| name.to_vec()).collect(),
            schemes: schemes.to_vec(),
        });
        self.present.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Notes that there are sessions, and keeps none.
impl ClientSessionStore for Recorder {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {
        self.seen().session = true;
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.seen().session = true;
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// What servers say that speak no TLS, or none yet.
const GREETINGS: [(&[u8], &str); 4] = [
    (b"HTTP/", "plain HTTP"),
    (b"SSH-", "SSH"),
    (b"220", "SMTP or FTP, in which TLS begins later"),
    (b"* OK", "IMAP, in which TLS begins later"),
];
