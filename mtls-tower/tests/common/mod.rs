//! What the tests of connections share: servers, clients that do what ours never would, and a log to read.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test binary uses its part of this; a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use mtls_core::rustls::sign::{CertifiedKey, SingleCertAndKey};
use mtls_core::rustls::version::TLS13;
use mtls_core::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{Alert, ClientTls, Policy, ServerNames, ServerTls};
use mtls_tower::{Limits, MtlsListener, ServerStream};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Long enough for any machine that runs tests; nothing waits for it but a test that fails.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("done within half a minute")
}

/// For what nobody tells of, such as a counter.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "never: {what}");
}

/// Limits that never pass in a test: a client that is served was not served by their passing.
pub fn patient() -> Limits {
    Limits::default().handshake_timeout(HOUR).linger(HOUR)
}

pub const HOUR: Duration = Duration::from_secs(3600);

/// A server with the identity `/api` that lets in the trust domain.
pub fn server(ca: &TestCa) -> ServerTls {
    server_for(ca, Policy::trust_domain(ca.trust_domain()).unwrap())
}

pub fn server_for(ca: &TestCa, policy: Policy) -> ServerTls {
    ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(policy)
        .build()
        .unwrap()
}

/// A client of ours.
pub fn client(ca: &TestCa, path: &str) -> ClientTls {
    ClientTls::builder(&ca.source(&ca.issue(path)))
        .verify_server_name()
        .build()
        .unwrap()
}

pub fn https(addr: SocketAddr) -> http::Uri {
    format!("https://{addr}/").parse().unwrap()
}

/// A listener that accepts for as long as this lives.
#[derive(Debug)]
pub struct Accepting {
    pub addr: SocketAddr,
    accepted: mpsc::UnboundedReceiver<ServerStream<TcpStream>>,
    task: JoinHandle<()>,
}

impl Accepting {
    pub async fn start(tls: impl Into<ServerNames>, limits: Limits) -> Self {
        let tcp = listen();
        let mut listener = MtlsListener::new(tcp, tls).with_limits(limits);
        let addr = listener.local_addr().unwrap();
        let (tell, accepted) = mpsc::unbounded_channel();
        let task =
            tokio::spawn(async move { while tell.send(listener.accept().await.0).is_ok() {} });
        Self {
            addr,
            accepted,
            task,
        }
    }

    pub async fn next(&mut self) -> ServerStream<TcpStream> {
        within(self.accepted.recv())
            .await
            .expect("the listener is there")
    }

    pub async fn dial(&self) -> TcpStream {
        within(TcpStream::connect(self.addr)).await.unwrap()
    }
}

/// At a port from the system. The backlog is one that no test fills: beyond it the kernel drops a SYN, and its client
/// tries again after a second.
pub fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket.listen(4096).unwrap()
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A rustls client of nobody's: it presents what it is told to, or nothing.
pub struct Foreign {
    presents: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    version: &'static SupportedProtocolVersion,
    alpn: &'static [&'static str],
}

impl Foreign {
    pub fn nobody() -> Self {
        Self {
            presents: None,
            version: &TLS13,
            alpn: &[],
        }
    }

    pub fn presenting(issued: &Issued) -> Self {
        Self::replaying(issued, issued)
    }

    /// The public chain of one, the key of another.
    pub fn replaying(chain: &Issued, key: &Issued) -> Self {
        Self {
            presents: Some((chain.chain_der(), key.key_der())),
            ..Self::nobody()
        }
    }

    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.version = version;
        self
    }

    pub fn alpn(mut self, protocols: &'static [&'static str]) -> Self {
        self.alpn = protocols;
        self
    }

    /// A config that trusts the servers of `ca`.
    pub fn config(self, ca: &TestCa) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.root_der()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.presents {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let signer = provider().key_provider.load_private_key(key).unwrap();
                // It does not ask whether the two belong together.
                let presented = SingleCertAndKey::from(CertifiedKey::new(chain, signer));
                builder.with_client_cert_resolver(Arc::new(presented))
            }
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Arc::new(config)
    }
}

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(mtls_core::rustls::crypto::aws_lc_rs::default_provider())
}

pub async fn connect(
    config: Arc<ClientConfig>,
    tcp: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(config).connect(name, tcp)).await
}

/// The alert by which a server refuses this client: in TLS 1.3 the client hears of it when it reads.
pub async fn refusal(config: Arc<ClientConfig>, addr: SocketAddr) -> String {
    let tcp = within(TcpStream::connect(addr)).await.unwrap();
    let error = match connect(config, tcp).await {
        Ok(mut tls) => within(tls.read_u8()).await.unwrap_err(),
        Err(error) => error,
    };
    alert(&error)
}

pub fn alert(error: &(dyn std::error::Error + 'static)) -> String {
    match Alert::find(error) {
        Some(alert) => alert.to_string(),
        None => panic!("no alert, but {error:?}"),
    }
}

/// What this thread logs while it lives.
pub struct Log {
    events: mpsc::UnboundedReceiver<Entry>,
    seen: Arc<Mutex<Vec<Entry>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub level: Level,
    pub fields: BTreeMap<String, String>,
}

impl Entry {
    pub fn message(&self) -> &str {
        self.get("message").unwrap_or_default()
    }

    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub fn reason(&self) -> &str {
        self.get("mtls.reason").unwrap_or_default()
    }
}

impl Log {
    pub fn start() -> Self {
        // While there is but one subscriber, tracing asks the current thread's whether a line is of interest, and keeps the
        // answer: the tests beside this one, which have none, would turn the line off for it.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Collector::new().0));
        LazyLock::force(&SECOND);
        let (collector, events) = Collector::new();
        let seen = Arc::clone(&collector.seen);
        Self {
            events,
            seen,
            _guard: tracing::subscriber::set_default(collector),
        }
    }

    /// The next of this crate's entries that begins with `message`.
    pub async fn next(&mut self, message: &str) -> Entry {
        loop {
            let entry = within(self.events.recv()).await.unwrap();
            if entry.message().starts_with(message) {
                return entry;
            }
        }
    }

    /// The next handshake that a server refused; clients log theirs too.
    pub async fn next_refusal(&mut self) -> Entry {
        loop {
            let entry = self.next("handshake refused").await;
            if entry.get("mtls.side") == Some("server") {
                return entry;
            }
        }
    }

    /// Everything so far at this level.
    pub fn at(&self, level: Level) -> Vec<Entry> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|e| e.level == level).cloned().collect()
    }
}

struct Collector {
    tell: mpsc::UnboundedSender<Entry>,
    seen: Arc<Mutex<Vec<Entry>>>,
}

impl Collector {
    fn new() -> (Self, mpsc::UnboundedReceiver<Entry>) {
        let (tell, events) = mpsc::unbounded_channel();
        let seen = Arc::default();
        (Self { tell, seen }, events)
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mtls")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        struct Fields(BTreeMap<String, String>);
        impl Visit for Fields {
            fn record_str(&mut self, field: &Field, value: &str) {
                self.0.insert(field.name().into(), value.into());
            }
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0.insert(field.name().into(), format!("{value:?}"));
            }
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let entry = Entry {
            level: *event.metadata().level(),
            fields: fields.0,
        };
        self.seen.lock().unwrap().push(entry.clone());
        let _ = self.tell.send(entry);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
