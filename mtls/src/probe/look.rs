//! A first dial that trusts nobody and presents nothing, or a stranger's certificate: what the server shows of itself, what it
//! asks for, and what it makes of a client that it should refuse.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mtls_core::rustls::client::ResolvesClientCert;
use mtls_core::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use mtls_core::rustls::sign::CertifiedKey;
use mtls_core::rustls::{
    ClientConfig, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme,
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
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) request: Option<Request>,
    pub(super) end: Option<End>,
    /// The answer to a request, where one was sent.
    pub(super) answer: Option<String>,
}

/// What the server asks of its clients.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The CA names, in DER.
    pub(super) names: Vec<Vec<u8>>,
    pub(super) schemes: Vec<String>,
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
    Plaintext,
    Silent,
    /// In rustls' words, or the system's.
    Other(String),
}

/// What it presents.
#[derive(Debug, Clone, Copy)]
pub(super) enum Presents {
    Nothing,
    #[cfg(feature = "dev")]
    Stranger,
}

pub(super) struct Target<'a> {
    pub(super) address: SocketAddr,
    pub(super) name: &'a ServerName<'static>,
    pub(super) host: &'a str,
    pub(super) http: Option<&'a str>,
    pub(super) limit: Duration,
}

pub(super) fn look(target: &Target<'_>, presents: Presents) -> Result<Look, Failure> {
    let provider =
        crate::provider().ok_or_else(|| Failure::new("built without a crypto provider"))?;
    let present = match presents {
        Presents::Nothing => None,
        #[cfg(feature = "dev")]
        Presents::Stranger => Some(stranger(&provider)?),
    };
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
    let mut look = Look::default();
    let dial = Dial::new(target.address, target.name, Arc::new(config), target.limit);
    let end = dial.and_then(|mut dial| {
        let word = dial.confirmed();
        look.note(&dial);
        if let (Ok(_), Some(path)) = (&word, target.http) {
            look.answer = Some(dial.get(target.host, path)?);
        }
        word
    });
    look.end = Some(match end {
        Ok(Word::Accepted) => End::LetIn,
        Ok(Word::Nothing) if look.answer.is_some() => End::LetIn,
        Ok(Word::Nothing) => End::NoWord,
        Err(error) => End::of(&error),
    });
    let seen = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner);
    look.chain.clone_from(&seen.0);
    look.request.clone_from(&seen.1);
    Ok(look)
}

pub(super) fn alpn(http: bool) -> Vec<Vec<u8>> {
    match http {
        true => vec![b"http/1.1".to_vec()],
        false => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    }
}

impl Look {
    fn note(&mut self, dial: &Dial) {
        use mtls_core::rustls::ProtocolVersion;
        let tls = &dial.tls;
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
    pub(super) fn of(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match (inner, error.kind()) {
            (Some(Error::AlertReceived(alert)), _) => Self::Alert(u8::from(*alert)),
            (Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)), _) => Self::Plaintext,
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

/// A chain that nobody trusts, of a CA that is gone when this returns.
#[cfg(feature = "dev")]
fn stranger(provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Failure> {
    use mtls_core::testing::TestCa;
    let issued = TestCa::new("stranger.invalid").issue("/mtls-probe");
    let key = provider.key_provider.load_private_key(issued.key_der());
    let key = key.map_err(|error| Failure::new(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(issued.chain_der(), key)))
}

/// Takes whatever chain a server has, and notes it. Nothing that matters is sent over its connections: the one request that may
/// be is the probe's own.
#[derive(Debug)]
struct Recorder {
    provider: Arc<CryptoProvider>,
    present: Option<Arc<CertifiedKey>>,
    seen: Mutex<(Vec<CertificateDer<'static>>, Option<Request>)>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(leaf).chain(rest);
        let all = all.map(|certificate| certificate.clone().into_owned());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0 = all.collect();
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
        let request = Request {
            names: names.iter().map(|name| name.to_vec()).collect(),
            schemes: schemes.iter().map(|scheme| format!("{scheme:?}")).collect(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1 = Some(request);
        self.present.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
