//! Both ends of a handshake in memory, and the naive servers that the attacks succeed against.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_core::rustls::client::Resumption as ClientResumption;
use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use mtls_core::rustls::server::danger::ClientCertVerifier;
use mtls_core::rustls::server::{StoresServerSessions, WebPkiClientVerifier};
use mtls_core::rustls::sign::{CertifiedKey, SingleCertAndKey};
use mtls_core::rustls::version::{TLS12, TLS13};
use mtls_core::rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{
    Authorizer, ClientTls, CredentialSource, HandshakeError, PeerInfo, Policy, Reason, ServerTls,
    Timestamp, TlsVersions, TrustMaterial,
};

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

pub(crate) fn server(source: &CredentialSource) -> ServerTls {
    server_for(source, Policy::any_verified_peer())
}

pub(crate) fn server_for(source: &CredentialSource, authorizer: impl Authorizer) -> ServerTls {
    ServerTls::builder(source)
        .authorize(authorizer)
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap()
}

pub(crate) fn client(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .build()
        .unwrap()
}

pub(crate) fn trust(cas: &[&TestCa]) -> TrustMaterial {
    TrustMaterial::new(cas.iter().map(|ca| ca.root_der()).collect())
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    let ca = TestCa::new("example.org");
    let client = client(&ca.source(&ca.issue("/any")));
    Arc::clone(client.handshake().config().crypto_provider())
}

pub(crate) fn roots(cas: &[&TestCa]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca.root_der()).unwrap();
    }
    roots
}

/// A client that is not ours, of one version, which remembers sessions as rustls does by default.
pub(crate) fn foreign(
    version: &'static SupportedProtocolVersion,
    server_ca: &TestCa,
    issued: &Issued,
) -> Arc<ClientConfig> {
    holding(version, server_ca, issued.chain_der(), issued.key_der())
}

/// Such a client with any chain beside any key.
pub(crate) fn holding(
    version: &'static SupportedProtocolVersion,
    server_ca: &TestCa,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let certified = certified(chain, key);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(&[server_ca]))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.resumption = ClientResumption::in_memory_sessions(32);
    Arc::new(config)
}

pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> CertifiedKey {
    let key = provider().key_provider.load_private_key(key).unwrap();
    CertifiedKey::new(chain, key)
}

/// A server as it is written without this crate: it remembers sessions by default.
pub(crate) fn naive(verifier: Arc<dyn ClientCertVerifier>, issued: &Issued) -> ServerConfig {
    let certified = certified(issued.chain_der(), issued.key_der());
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
}

pub(crate) fn webpki(cas: &[&TestCa]) -> Arc<dyn ClientCertVerifier> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(cas)), provider())
        .build()
        .unwrap()
}

/// The naive reload: a new config that keeps the sessions of the old one, as a clone of it does.
pub(crate) fn reloaded(before: &ServerConfig, mut after: ServerConfig) -> ServerConfig {
    after.session_storage = Arc::clone(&before.session_storage);
    after
}

/// What a handshake came to.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) kind: Option<HandshakeKind>,
    pub(crate) server: Result<PeerInfo, HandshakeError>,
    /// The server's chain, by the client.
    pub(crate) server_chain: Option<Vec<CertificateDer<'static>>>,
}

impl Met {
    #[track_caller]
    pub(crate) fn refused(self) -> Reason {
        assert_ne!(self.kind, Some(HandshakeKind::Resumed), "{self:?}");
        self.server.unwrap_err().reason()
    }

    #[track_caller]
    pub(crate) fn full(self) -> PeerInfo {
        assert_eq!(self.kind, Some(HandshakeKind::Full), "{self:?}");
        self.server.unwrap()
    }

    #[track_caller]
    pub(crate) fn resumed(self) -> PeerInfo {
        assert_eq!(self.kind, Some(HandshakeKind::Resumed), "{self:?}");
        self.server.unwrap()
    }
}

pub(crate) fn meet(server: &ServerTls, config: &Arc<ClientConfig>) -> Met {
    let accept = server.handshake();
    let mut client = dial(config);
    let mut accepted = ServerConnection::new(accept.config()).unwrap();
    let error = exchange(&mut client, &mut accepted);
    let server = match error {
        Some(error) => Err(accept.explain(&std::io::Error::other(error))),
        None => accept.established(&accepted),
    };
    Met {
        kind: accepted.handshake_kind(),
        server,
        server_chain: client.peer_certificates().map(<[_]>::to_vec),
    }
}

/// What a handshake with a naive server came to: how it was made, and whose chain the server takes it for.
#[derive(Debug)]
pub(crate) struct Fooled {
    pub(crate) kind: Option<HandshakeKind>,
    pub(crate) done: bool,
    pub(crate) client_chain: Option<Vec<CertificateDer<'static>>>,
    pub(crate) server_chain: Option<Vec<CertificateDer<'static>>>,
}

pub(crate) fn meet_naive(server: &Arc<ServerConfig>, config: &Arc<ClientConfig>) -> Fooled {
    let mut client = dial(config);
    let mut accepted = ServerConnection::new(Arc::clone(server)).unwrap();
    let error = exchange(&mut client, &mut accepted);
    let chain = |chain: Option<&[CertificateDer<'static>]>| chain.map(<[_]>::to_vec);
    Fooled {
        kind: accepted.handshake_kind(),
        done: error.is_none() && !accepted.is_handshaking(),
        client_chain: chain(accepted.peer_certificates()),
        server_chain: chain(client.peer_certificates()),
    }
}

fn dial(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap()
}

/// Moves bytes until neither side has any more to say; returns what the server failed with.
pub(crate) fn exchange(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Option<Error> {
    exchange_both(client, server).1
}

/// The same; returns what the client failed with.
pub(crate) fn exchange_by_client(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Option<Error> {
    exchange_both(client, server).0
}

fn exchange_both(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> (Option<Error>, Option<Error>) {
    let (mut by_client, mut by_server) = (None, None);
    loop {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.write_tls(&mut up).unwrap() > 0 {}
        let mut bytes = up.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            by_server = by_server.or(server.process_new_packets().err());
        }
        while server.write_tls(&mut down).unwrap() > 0 {}
        let mut bytes = down.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            by_client = by_client.or(client.process_new_packets().err());
        }
        if up.is_empty() && down.is_empty() {
            return (by_client, by_server);
        }
    }
}

/// Until the last second in which a certificate is valid is over: that this passes is what is tested.
pub(crate) fn outlive(not_after: Timestamp) {
    while Timestamp::now() <= not_after {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn unix_now() -> UnixTime {
    let seconds = u64::try_from(Timestamp::now().as_unix()).unwrap();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A store that lets everything in and shows it.
#[derive(Debug, Default)]
pub(crate) struct Glass(pub(crate) Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl StoresServerSessions for Glass {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.lock().unwrap().insert(key, value);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().unwrap().remove(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
