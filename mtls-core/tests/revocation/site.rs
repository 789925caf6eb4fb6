//! A service with a revocation list in a file, and peers of both roles in both versions of TLS.

use std::io;
use std::sync::Arc;

use mtls_core::rustls::client::Resumption;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::version::{TLS12, TLS13};
use mtls_core::rustls::{
    self, AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use mtls_core::testing::{Issued, PlainDir, TestCa, TestCrl};
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, HandshakeError, PeerInfo, Policy, Reason,
    ServerTls, SourceBuilder, TlsVersions,
};

use crate::fixture::{builder, reload};

/// A service of this CA, and where its files are.
pub(crate) struct Site {
    pub(crate) ca: TestCa,
    pub(crate) dir: PlainDir,
    pub(crate) source: CredentialSource,
}

impl Site {
    /// Its only list is `ca.crl`, which revokes nobody.
    pub(crate) async fn new() -> Self {
        Self::with(builder(), |_| {}).await
    }

    pub(crate) async fn with(builder: SourceBuilder, prepare: impl FnOnce(&Setup)) -> Self {
        let ca = TestCa::new("example.org");
        let dir = PlainDir::new(&ca.issue("/api"));
        dir.rename_over("ca.crl", ca.crl().pem());
        let setup = Setup { ca, dir };
        prepare(&setup);
        let Setup { ca, dir } = setup;
        let files = CredentialFiles::kubernetes(dir.path()).revocation_lists(dir.file("ca.crl"));
        let source = builder.watch(files).await.unwrap();
        Self { ca, dir, source }
    }

    /// Replaces `ca.crl` and has it read.
    pub(crate) async fn publish(&self, list: &TestCrl<'_>) {
        self.dir.rename_over("ca.crl", list.pem());
        reload(&self.source).await;
    }

    pub(crate) fn server(&self) -> ServerTls {
        server_of(&self.source)
    }

    pub(crate) fn client(&self) -> ClientTls {
        client_of(&self.source)
    }

    /// Whether this client is let in, in both versions.
    pub(crate) fn admits(&self, caller: &Issued) -> Result<(), Reason> {
        admits(&self.server(), &self.ca, caller)
    }
}

/// Puts a file into a directory below, in one step.
pub(crate) fn put(dir: &PlainDir, name: &str, bytes: impl AsRef<[u8]>) {
    dir.rename_over(".staged", bytes);
    std::fs::rename(dir.file(".staged"), dir.file(name)).unwrap();
}

/// What there is before the source is opened.
pub(crate) struct Setup {
    pub(crate) ca: TestCa,
    pub(crate) dir: PlainDir,
}

pub(crate) fn server_of(source: &CredentialSource) -> ServerTls {
    ServerTls::builder(source)
        .authorize(Policy::any_verified_peer())
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap()
}

pub(crate) fn client_of(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap()
}

/// Whether a server whose own CA is `own` lets this client in; both versions have to agree.
pub(crate) fn admits(server: &ServerTls, own: &TestCa, caller: &Issued) -> Result<(), Reason> {
    let [one, other] = VERSIONS.map(|version| {
        let met = accept(server, &Caller::new(version, own, caller));
        met.peer.map(drop).map_err(|refused| refused.reason())
    });
    assert_eq!(one, other, "TLS 1.3 and 1.2");
    one
}

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A client that is not ours and keeps its sessions from one connection to the next.
pub(crate) struct Caller(Arc<ClientConfig>);

impl Caller {
    pub(crate) fn new(
        version: &'static SupportedProtocolVersion,
        roots: &TestCa,
        issued: &Issued,
    ) -> Self {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(root(roots))
            .with_client_auth_cert(issued.chain_der(), issued.key_der())
            .unwrap();
        config.resumption = Resumption::in_memory_sessions(32);
        Self(Arc::new(config))
    }
}

/// A server that is not ours: plain rustls, which keeps sessions and asks no list.
pub(crate) fn naive_server(
    version: &'static SupportedProtocolVersion,
    ca: &TestCa,
    issued: &Issued,
) -> Arc<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(root(ca)), provider());
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(issued.chain_der(), issued.key_der())
        .unwrap();
    Arc::new(config)
}

/// What became of a handshake.
#[derive(Debug)]
pub(crate) struct Met {
    /// By our side.
    pub(crate) peer: Result<PeerInfo, HandshakeError>,
    /// The alert that the other side was sent.
    pub(crate) alert: Option<AlertDescription>,
    pub(crate) kind: Option<HandshakeKind>,
}

impl Met {
    #[track_caller]
    pub(crate) fn refused(self) -> (Reason, Option<AlertDescription>) {
        (self.peer.unwrap_err().reason(), self.alert)
    }
}

/// Our server, and a client that is not ours.
pub(crate) fn accept(server: &ServerTls, caller: &Caller) -> Met {
    let handshake = server.handshake();
    let name = "localhost".try_into().unwrap();
    let mut there = ClientConnection::new(Arc::clone(&caller.0), name).unwrap();
    let mut here = ServerConnection::new(handshake.config()).unwrap();
    let (theirs, ours) = exchange(&mut there, &mut here);
    Met {
        peer: match ours {
            Some(error) => Err(handshake.explain(&wrap(error))),
            None => handshake.established(&here),
        },
        alert: alert(theirs.as_ref()),
        kind: here.handshake_kind(),
    }
}

/// Our client, and a server that is not ours.
pub(crate) fn dial(client: &ClientTls, server: &Arc<ServerConfig>) -> Met {
    let handshake = client.handshake();
    let name: ServerName<'static> = "localhost".try_into().unwrap();
    let mut here = ClientConnection::new(handshake.config(), name.clone()).unwrap();
    let mut there = ServerConnection::new(Arc::clone(server)).unwrap();
    let (ours, theirs) = exchange(&mut here, &mut there);
    Met {
        peer: match ours {
            Some(error) => Err(handshake.explain(&wrap(error))),
            None => handshake.established(&here, &name),
        },
        alert: alert(theirs.as_ref()),
        kind: here.handshake_kind(),
    }
}

/// The handshake of a client and a server neither of which is ours; `None` if it failed.
pub(crate) fn without_us(caller: &Caller, server: &Arc<ServerConfig>) -> Option<HandshakeKind> {
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(&caller.0), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let errors = exchange(&mut client, &mut server);
    server.handshake_kind().filter(|_| errors == (None, None))
}

/// Moves bytes until neither side has any more to say; what went wrong with the client, and with the server.
fn exchange(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> (Option<rustls::Error>, Option<rustls::Error>) {
    let (mut client_error, mut server_error) = (None, None);
    loop {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.write_tls(&mut up).unwrap() > 0 {}
        let mut bytes = up.as_slice();
        while server_error.is_none() && !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server_error = server.process_new_packets().err();
        }
        while server.write_tls(&mut down).unwrap() > 0 {}
        let mut bytes = down.as_slice();
        while client_error.is_none() && !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client_error = client.process_new_packets().err();
        }
        if up.is_empty() && down.is_empty() {
            return (client_error, server_error);
        }
    }
}

fn alert(error: Option<&rustls::Error>) -> Option<AlertDescription> {
    match error {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

/// As a stream hands it on.
fn wrap(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn root(ca: &TestCa) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let der: CertificateDer<'_> = ca.root_der();
    roots.add(der).unwrap();
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let handshake = server_of(&source).handshake();
    Arc::clone(handshake.config().crypto_provider())
}
