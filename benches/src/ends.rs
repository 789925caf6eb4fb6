//! The ends of a handshake, ours and bare rustls, and handshakes between them in memory.
//!
//! The bare ones are what a careful engineer writes by hand: one config made at the start, TLS 1.3, client certificates
//! required and verified by rustls' own verifier with its lists. They know that their peer is good, not who it is.

use std::hint::black_box;
use std::io;
use std::sync::Arc;

use mtls_core::rustls::client::Resumption as ClientResumption;
use mtls_core::rustls::crypto::{CryptoProvider, aws_lc_rs};
use mtls_core::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use mtls_core::rustls::server::danger::ClientCertVerifier;
use mtls_core::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use mtls_core::rustls::{
    ClientConfig, ClientConnection, ClientHandshake, ConfigBuilder, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, ServerHandshake, WantsVerifier, version,
};
use mtls_core::testing::{CaOptions, Issued, KeyKind, LeafOptions, MountedDir, TestCa};
use mtls_core::{
    ClientTls, CredentialSource, PeerInfo, Policy, Publisher, Resumption, ServerTls, TrustMaterial,
};

use crate::floor::{ConfigEach, ProofAlone, read_name};
use crate::measure::Meter;

/// Whose CPU counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Client,
    Server,
}

#[derive(Clone)]
pub enum Server {
    Bare(Arc<ServerConfig>),
    /// A bare one that has a config for each connection, and looks at who its client was.
    Reading(Arc<ConfigEach>),
    Ours(ServerTls),
}

#[derive(Clone)]
pub enum Client {
    Bare(Arc<ClientConfig>),
    Ours(ClientTls),
}

/// A session, and how many tickets a handshake is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tickets {
    /// Neither end remembers anything.
    None,
    /// As many as ours gives.
    One,
    /// rustls' default: two.
    Default,
}

/// What the ends of one case have in common: a hierarchy, and a server in it.
pub struct Setting {
    kind: KeyKind,
    provider: Arc<CryptoProvider>,
    root: TestCa,
    intermediate: Option<TestCa>,
    server: Issued,
    lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Setting {
    /// A root, an intermediate and leaves, all with keys of one kind, on aws-lc-rs.
    pub fn new(kind: KeyKind) -> Self {
        let options = || CaOptions::new().key(kind);
        let root = TestCa::with_options("example.org", options());
        let intermediate = root.intermediate_with(options());
        Self {
            kind,
            provider: Arc::new(aws_lc_rs::default_provider()),
            server: leaf(&intermediate, kind, "/api"),
            intermediate: Some(intermediate),
            root,
            lists: Vec::new(),
        }
    }

    /// Without the intermediate.
    pub fn below_the_root(mut self) -> Self {
        self.intermediate = None;
        self.server = leaf(&self.root, self.kind, "/api");
        self
    }

    pub fn on(mut self, provider: CryptoProvider) -> Self {
        self.provider = Arc::new(provider);
        self
    }

    /// With a list of the root's that revokes so many strangers.
    pub fn listing(mut self, entries: u64) -> Self {
        self.lists = vec![self.root.crl().revoke_many(entries).der()];
        self
    }

    /// A leaf with a key of its own.
    pub fn issue(&self, path: &str) -> Issued {
        leaf(
            self.intermediate.as_ref().unwrap_or(&self.root),
            self.kind,
            path,
        )
    }

    pub fn ours(&self, tickets: Tickets) -> Server {
        let resumption = match tickets {
            Tickets::None => Resumption::Off,
            Tickets::One | Tickets::Default => Resumption::default(),
        };
        let server = ServerTls::builder(&self.publish().1)
            .authorize(Policy::pattern("spiffe://example.org/**").unwrap())
            .resumption(resumption)
            .build();
        Server::Ours(server.unwrap())
    }

    /// The server's source, and its publisher.
    pub fn publish(&self) -> (Publisher, CredentialSource) {
        self.publish_for(&self.server)
    }

    pub fn publish_for(&self, issued: &Issued) -> (Publisher, CredentialSource) {
        let mut trust = TrustMaterial::new(vec![self.root_der()]);
        if !self.lists.is_empty() {
            trust = trust.revoke(self.lists.iter().cloned());
        }
        let builder = CredentialSource::builder().provider(Arc::clone(&self.provider));
        builder.publish(issued.material(), trust).unwrap()
    }

    /// A directory with credentials of the server, as a kubelet mounts them.
    pub fn mount(&self) -> MountedDir {
        MountedDir::new(&self.server)
    }

    pub fn root_der(&self) -> CertificateDer<'static> {
        self.root.root_der()
    }

    pub fn bare(&self, tickets: Tickets) -> Server {
        Server::Bare(Arc::new(self.config(tickets, self.verifier())))
    }

    /// The bare one as the least that tells who a stranger is.
    pub fn reading(&self) -> Server {
        let verifier = self.verifier();
        Server::Reading(Arc::new(ConfigEach {
            builder: self.builder(),
            like: self.config(Tickets::None, Arc::clone(&verifier)),
            verifier,
        }))
    }

    /// The bare one, with a verifier that costs nothing.
    pub fn floor(&self, tickets: Tickets) -> Server {
        let verifier = ProofAlone(Arc::clone(&self.provider));
        Server::Bare(Arc::new(self.config(tickets, Arc::new(verifier))))
    }

    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let roots = Arc::new(self.roots());
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .with_crls(self.lists.iter().cloned())
            .build()
            .unwrap()
    }

    fn builder(&self) -> ConfigBuilder<ServerConfig, WantsVerifier> {
        ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
    }

    fn config(&self, tickets: Tickets, verifier: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        let mut config = self
            .builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.server.chain_der(), self.server.key_der())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        match tickets {
            Tickets::None => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            Tickets::One => config.send_tls13_tickets = 1,
            Tickets::Default => {}
        }
        config
    }

    pub fn bare_client(&self, issued: &Issued, tickets: Tickets) -> Client {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(issued.chain_der(), issued.key_der())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        if tickets == Tickets::None {
            config.resumption = ClientResumption::disabled();
        }
        Client::Bare(Arc::new(config))
    }

    /// It verifies the server by name, as the bare one does.
    pub fn our_client(&self, issued: &Issued) -> Client {
        let client = ClientTls::builder(&self.publish_for(issued).1)
            .verify_server_name()
            .alpn(["h2"])
            .build();
        Client::Ours(client.unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.root_der()).unwrap();
        roots
    }
}

/// One handshake, with the tickets after it. `whose` CPU goes to the meter, from the first thing that is made for the
/// connection to the last that is freed.
pub fn shake(meter: &mut Meter, whose: Whose, client: &Client, server: &Server) -> HandshakeKind {
    let mut turns = Turns { meter, whose };
    let mut client = turns.take(Whose::Client, || ClientEnd::begin(client));
    let mut server = turns.take(Whose::Server, || ServerEnd::begin(server));
    loop {
        let to_server = turns.take(Whose::Client, || flight(|w| client.tls.write_tls(w)));
        turns.take(Whose::Server, || server.read(&to_server));
        let to_client = turns.take(Whose::Server, || flight(|w| server.tls.write_tls(w)));
        turns.take(Whose::Client, || client.read(&to_client));
        if to_server.is_empty() && to_client.is_empty() {
            break;
        }
    }
    let kind = server.tls.handshake_kind().unwrap();
    turns.take(Whose::Server, || drop((server.established(), server)));
    turns.take(Whose::Client, || drop((client.established(), client)));
    kind
}

/// The peer that our server learned of, for as long as the caller keeps it.
pub fn peer(client: &Client, server: &ServerTls) -> PeerInfo {
    let Held { peer, .. } = held(client, &Server::Ours(server.clone()));
    peer.unwrap()
}

/// A server's end whose handshake is done, and what a server keeps beside it.
pub struct Held {
    peer: Option<PeerInfo>,
    _tls: ServerConnection,
}

pub fn held(client: &Client, server: &Server) -> Held {
    let mut client = ClientEnd::begin(client);
    let mut server = ServerEnd::begin(server);
    while client.tls.is_handshaking() || server.tls.is_handshaking() {
        server.read(&flight(|w| client.tls.write_tls(w)));
        client.read(&flight(|w| server.tls.write_tls(w)));
    }
    Held {
        peer: server.established(),
        _tls: server.tls,
    }
}

fn leaf(issuer: &TestCa, kind: KeyKind, path: &str) -> Issued {
    issuer.issue_with(LeafOptions::service(path).key(kind))
}

struct Turns<'a> {
    meter: &'a mut Meter,
    whose: Whose,
}

impl Turns<'_> {
    fn take<T>(&mut self, turn: Whose, work: impl FnOnce() -> T) -> T {
        if turn == self.whose {
            self.meter.run(work)
        } else {
            work()
        }
    }
}

struct ServerEnd {
    tls: ServerConnection,
    ours: Option<ServerHandshake>,
    reads: bool,
}

impl ServerEnd {
    fn begin(server: &Server) -> Self {
        let (config, ours) = match server {
            Server::Bare(config) => (Arc::clone(config), None),
            Server::Reading(configs) => (configs.make(), None),
            Server::Ours(server) => {
                let handshake = server.handshake();
                (handshake.config(), Some(handshake))
            }
        };
        let tls = ServerConnection::new(config).unwrap();
        let reads = matches!(server, Server::Reading(_));
        Self { tls, ours, reads }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).unwrap();
            self.tls.process_new_packets().unwrap();
        }
    }

    fn established(&self) -> Option<PeerInfo> {
        if self.reads {
            let [leaf, ..] = self.tls.peer_certificates().unwrap() else {
                panic!("a client has a chain")
            };
            black_box(read_name(leaf).unwrap());
        }
        let ours = self.ours.as_ref()?;
        Some(ours.established(&self.tls).unwrap())
    }
}

struct ClientEnd {
    tls: ClientConnection,
    ours: Option<ClientHandshake>,
}

impl ClientEnd {
    fn begin(client: &Client) -> Self {
        let (config, ours) = match client {
            Client::Bare(config) => (Arc::clone(config), None),
            Client::Ours(client) => {
                let handshake = client.handshake();
                (handshake.config(), Some(handshake))
            }
        };
        let tls = ClientConnection::new(config, dialled()).unwrap();
        Self { tls, ours }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).unwrap();
            self.tls.process_new_packets().unwrap();
        }
    }

    fn established(&self) -> Option<PeerInfo> {
        let ours = self.ours.as_ref()?;
        Some(ours.established(&self.tls, &dialled()).unwrap())
    }
}

/// The name that every server here answers to.
fn dialled() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn flight(mut write: impl FnMut(&mut Vec<u8>) -> io::Result<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while write(&mut bytes).unwrap() > 0 {}
    bytes
}
