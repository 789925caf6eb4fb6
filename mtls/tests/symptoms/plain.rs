//! A client and a server of plain rustls, with its own verifier, in memory.

use std::io::Read;
use std::sync::Arc;

use mtls_core::rustls::client::WebPkiServerVerifier;
use mtls_core::rustls::crypto::{CryptoProvider, aws_lc_rs};
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use mtls_core::rustls::server::{ClientCertVerifierBuilder, WebPkiClientVerifier};
use mtls_core::rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, version,
};
use mtls_core::testing::{BrokenSet, Issued, TestCa};

/// A chain and its key.
pub(crate) struct Own {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Own {
    pub(crate) fn of(issued: &Issued) -> Self {
        Self {
            chain: issued.chain_der(),
            key: issued.key_der(),
        }
    }

    pub(crate) fn of_broken(set: &BrokenSet) -> Self {
        Self {
            chain: certificates(&set.chain_pem),
            key: PrivateKeyDer::from_pem_slice(&set.key_pem).unwrap(),
        }
    }
}

pub(crate) fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .map(Result::unwrap)
        .collect()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The other one, which can do less.
pub(crate) fn ring() -> Arc<CryptoProvider> {
    Arc::new(mtls_core::rustls::crypto::ring::default_provider())
}

pub(crate) fn roots(ca: &TestCa) -> Arc<RootCertStore> {
    roots_of([ca.root_der()])
}

pub(crate) fn roots_of(
    anchors: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for anchor in anchors {
        roots.add(anchor).unwrap();
    }
    Arc::new(roots)
}

pub(crate) fn verifier(ca: &TestCa) -> ClientCertVerifierBuilder {
    WebPkiClientVerifier::builder_with_provider(roots(ca), provider())
}

/// A server that requires certificates of this CA.
pub(crate) fn server(ca: &TestCa) -> ServerConfig {
    server_with(verifier(ca), ca)
}

pub(crate) fn server_with(verifier: ClientCertVerifierBuilder, ca: &TestCa) -> ServerConfig {
    server_by(provider(), verifier, Own::of(&ca.issue("/server")))
}

pub(crate) fn server_by(
    provider: Arc<CryptoProvider>,
    verifier: ClientCertVerifierBuilder,
    own: Own,
) -> ServerConfig {
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(own.chain, own.key)
        .unwrap()
}

/// A client that trusts this CA, and has a certificate or none. `Err`: rustls refuses to present it.
pub(crate) fn client(ca: &TestCa, own: Option<Own>) -> Result<ClientConfig, Error> {
    client_by(roots(ca), own)
}

pub(crate) fn client_by(
    roots: Arc<RootCertStore>,
    own: Option<Own>,
) -> Result<ClientConfig, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .unwrap()
        .with_webpki_verifier(verifier.build().unwrap());
    match own {
        Some(own) => builder.with_client_auth_cert(own.chain, own.key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// What each side printed.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) is_resumed: bool,
}

impl Told {
    pub(crate) fn server(&self) -> &str {
        self.server.as_deref().expect("the server has refused")
    }

    pub(crate) fn client(&self) -> &str {
        self.client
            .as_deref()
            .expect("the client has refused, or heard of it")
    }
}

/// A handshake, and after it as many flights as it takes for both to hear of the other's refusal.
pub(crate) fn shake(server: ServerConfig, client: ClientConfig, name: &str) -> Told {
    shake_again(&Arc::new(server), &Arc::new(client), name)
}

/// The same, by configs that have been used before and hold sessions.
pub(crate) fn shake_again(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Told {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut told = converse(&mut server, &mut client);
    told.is_resumed = client.handshake_kind() == Some(HandshakeKind::Resumed);
    told
}

pub(crate) fn converse(server: &mut ServerConnection, client: &mut ClientConnection) -> Told {
    let mut told = Told::default();
    for _ in 0..8 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        if told.server.is_none() {
            told.server = take(server, &flight);
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        if told.client.is_none() {
            told.client = take(client, &flight);
        }
    }
    told
}

/// What rustls says of these bytes.
pub(crate) fn take<D>(
    connection: &mut mtls_core::rustls::ConnectionCommon<D>,
    mut bytes: &[u8],
) -> Option<String> {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes.by_ref()).unwrap();
        if let Err(error) = connection.process_new_packets() {
            return Some(error.to_string());
        }
    }
    None
}
