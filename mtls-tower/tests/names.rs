//! Several identities on one server: each client is judged by the one that it asked for, at the handshake and at each
//! request.

#![allow(
    clippy::large_futures,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Accepting, Foreign, Log, alert, listen, patient, within};
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::{ClientConfig, HandshakeKind, NamedGroup};
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{
    AuditEvent, ClientCertificates, Observer, Otherwise, Policy, Publisher, Reason, ServerNames,
    ServerTls,
};
use mtls_tower::serve;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::service_fn;

const PUBLIC: &str = "public.example.org";
const ADMIN: &str = "admin.example.org";

/// A lax identity at `public.example.org` and `*.public.example.org`, a strict one at `admin.example.org`, which lets in
/// `/operator` alone.
struct Site {
    ca: TestCa,
    public: ServerTls,
    admin: ServerTls,
    rotates: Publisher,
    leaf_of_public: Issued,
    leaf_of_admin: Issued,
    told: Arc<Told>,
}

/// The reasons of denials, as an observer was told of them.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Option<Reason>>>);

impl Observer for Told {
    fn observe(&self, event: &AuditEvent<'_>) {
        self.0.lock().unwrap().push(event.reason);
    }
}

impl Told {
    fn take(&self) -> Vec<Option<Reason>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn leaf(ca: &TestCa, path: &str) -> Issued {
    let host = format!("{}.example.org", path.trim_start_matches('/'));
    let names = LeafOptions::service(path)
        .dns(format!("*.{host}"))
        .dns(host);
    ca.issue_with(names)
}

impl Site {
    fn new() -> Self {
        let ca = TestCa::new("example.org");
        let (leaf_of_public, leaf_of_admin) = (leaf(&ca, "/public"), leaf(&ca, "/admin"));
        let (rotates, source) = ca.publish(&leaf_of_public);
        let told = Arc::new(Told::default());
        let public = ServerTls::builder(&source)
            .authorize(Policy::trust_domain("example.org").unwrap())
            .audit(Arc::clone(&told))
            .build()
            .unwrap();
        let admin = ServerTls::builder(&ca.source(&leaf_of_admin))
            .authorize(Policy::spiffe_id("spiffe://example.org/operator").unwrap())
            .audit(Arc::clone(&told))
            .build()
            .unwrap();
        Self {
            ca,
            public,
            admin,
            rotates,
            leaf_of_public,
            leaf_of_admin,
            told,
        }
    }

    fn names(&self, otherwise: Otherwise) -> ServerNames {
        ServerNames::named(PUBLIC, &self.public)
            .and_then(|names| names.named("*.public.example.org", &self.public))
            .and_then(|names| names.named(ADMIN, &self.admin))
            .unwrap()
            .otherwise(otherwise)
    }

    fn client(&self, path: &str, alpn: &'static [&'static str]) -> Arc<ClientConfig> {
        let leaf = self.ca.issue(path);
        Foreign::presenting(&leaf).alpn(alpn).config(&self.ca)
    }
}

async fn connect(
    config: &Arc<ClientConfig>,
    addr: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = within(TcpStream::connect(addr)).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within(TlsConnector::from(Arc::clone(config)).connect(name, tcp)).await
}

/// The alert that refuses a client which asks for `name`.
async fn refusal(config: &Arc<ClientConfig>, addr: SocketAddr, name: &str) -> String {
    let error = match connect(config, addr, name).await {
        // In TLS 1.3 a client hears of what its certificate came to when it reads.
        Ok(mut tls) => within(tls.read_u8()).await.unwrap_err(),
        Err(error) => error,
    };
    alert(&error)
}

fn presents(tls: &TlsStream<TcpStream>, leaf: &Issued) -> bool {
    tls.get_ref().1.peer_certificates() == Some(&leaf.chain_der())
}

#[tokio::test]
async fn each_name_is_answered_by_its_identity_with_its_certificate_and_by_its_policy() {
    let site = Site::new();
    let mut door = Accepting::start(site.names(Otherwise::Refuse), patient()).await;
    let web = site.client("/web", &[]);
    for name in [PUBLIC, "Public.Example.org", "a.public.example.org"] {
        let tls = connect(&web, door.addr, name).await.unwrap();
        assert!(presents(&tls, &site.leaf_of_public));
        let stream = door.next().await;
        assert_eq!(
            stream.peer().unwrap().to_string(),
            site.ca.spiffe_id("/web")
        );
        let asked = stream.peer().unwrap().server_name();
        assert_eq!(asked, Some(name.to_ascii_lowercase().as_str()));
    }
    let operator = site.client("/operator", &[]);
    let tls = connect(&operator, door.addr, ADMIN).await.unwrap();
    assert!(presents(&tls, &site.leaf_of_admin));
    assert_eq!(door.next().await.peer().unwrap().server_name(), Some(ADMIN));
    assert_eq!(site.told.take(), [None; 4]);
    // The one who is welcome at the lax identity is not at the strict one, whatever it asks the DNS for.
    assert_eq!(refusal(&web, door.addr, ADMIN).await, "access_denied");
    assert_eq!(site.told.take(), [Some(Reason::NotAuthorized)]);
}

#[tokio::test]
async fn a_name_that_nobody_has_is_refused_by_its_alert_and_told_of() {
    let site = Site::new();
    let mut log = Log::start();
    let door = Accepting::start(site.names(Otherwise::Refuse), patient()).await;
    let web = site.client("/web", &[]);
    for (name, asked) in [
        ("other.example.org", "`other.example.org`"),
        ("a.b.public.example.org", "`a.b.public.example.org`"),
        // Who dials an address asks for no name.
        ("127.0.0.1", "no server name"),
    ] {
        assert_eq!(refusal(&web, door.addr, name).await, "unrecognized_name");
        let refused = log.next_refusal().await;
        assert_eq!(refused.reason(), "unknown_server_name");
        let told = refused.get("error").unwrap();
        assert!(told.contains(asked), "{told}");
        let expected = [Some(Reason::UnknownServerName)];
        assert_eq!(site.told.take(), expected);
    }
}

#[tokio::test]
async fn where_somebody_answers_otherwise_an_unknown_name_and_none_are_served() {
    let site = Site::new();
    // The strict one: its certificate has the address that is dialled, and "localhost".
    let otherwise = Otherwise::Serve(site.admin.clone());
    let mut door = Accepting::start(site.names(otherwise), patient()).await;
    let operator = site.client("/operator", &[]);
    for (name, asked) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        let tls = connect(&operator, door.addr, name).await.unwrap();
        assert!(presents(&tls, &site.leaf_of_admin));
        assert_eq!(door.next().await.peer().unwrap().server_name(), asked);
        let web = site.client("/web", &[]);
        assert_eq!(refusal(&web, door.addr, name).await, "access_denied");
    }
}

#[tokio::test]
async fn of_two_identities_one_rotates_and_the_other_and_its_sessions_stay() {
    let site = Site::new();
    let mut door = Accepting::start(site.names(Otherwise::Refuse), patient()).await;
    let operator = site.client("/operator", &[]);
    for name in [PUBLIC, ADMIN] {
        let tls = connect(&operator, door.addr, name).await.unwrap();
        assert_eq!(with_ticket(&mut door, tls).await, HandshakeKind::Full);
    }
    let renewed = leaf(&site.ca, "/public");
    site.rotates
        .publish(renewed.material(), site.ca.trust_material())
        .unwrap();
    let public = connect(&operator, door.addr, PUBLIC).await.unwrap();
    assert!(presents(&public, &renewed));
    assert_eq!(kind(&public), HandshakeKind::Full);
    let admin = connect(&operator, door.addr, ADMIN).await.unwrap();
    assert!(presents(&admin, &site.leaf_of_admin));
    assert_eq!(kind(&admin), HandshakeKind::Resumed);
}

fn kind(tls: &TlsStream<TcpStream>) -> HandshakeKind {
    tls.get_ref().1.handshake_kind().unwrap()
}

/// The ticket comes behind the handshake: it was read once the server has closed, and nothing is left to read.
async fn with_ticket(door: &mut Accepting, mut tls: TlsStream<TcpStream>) -> HandshakeKind {
    let kind = kind(&tls);
    drop(door.next().await);
    let _ = within(tls.read_u8()).await;
    kind
}

/// A client that offers the ticket of one name wherever it goes.
#[derive(Debug)]
struct OneForAll(ClientSessionMemoryCache);

impl OneForAll {
    fn name() -> ServerName<'static> {
        ServerName::try_from("any").unwrap()
    }
}

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::name())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), ticket);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

#[tokio::test]
async fn a_session_of_one_name_is_never_resumed_under_another() {
    let site = Site::new();
    let mut door = Accepting::start(site.names(Otherwise::Refuse), patient()).await;
    let ticketed = |path| {
        let mut config = Arc::unwrap_or_clone(site.client(path, &[]));
        config.resumption =
            Resumption::store(Arc::new(OneForAll(ClientSessionMemoryCache::new(8))));
        Arc::new(config)
    };
    let operator = ticketed("/operator");
    for (name, expected) in [
        (PUBLIC, HandshakeKind::Full),
        (PUBLIC, HandshakeKind::Resumed),
        (ADMIN, HandshakeKind::Full),
        (ADMIN, HandshakeKind::Resumed),
        (PUBLIC, HandshakeKind::Full),
    ] {
        let tls = connect(&operator, door.addr, name).await.unwrap();
        assert_eq!(with_ticket(&mut door, tls).await, expected, "{name}");
    }
    // Nor does it bring anybody in.
    let web = ticketed("/web");
    let tls = connect(&web, door.addr, PUBLIC).await.unwrap();
    assert_eq!(with_ticket(&mut door, tls).await, HandshakeKind::Full);
    assert_eq!(refusal(&web, door.addr, ADMIN).await, "access_denied");
}

/// A server that counts the requests which its service has seen.
struct Counting {
    addr: SocketAddr,
    seen: Arc<AtomicUsize>,
}

fn start(tls: impl Into<ServerNames>) -> Counting {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let service = service_fn(move |_: Request<_>| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    tokio::spawn(
        serve(listener, tls, service)
            .limits(patient())
            .into_future(),
    );
    Counting { addr, seen }
}

async fn over_http1(
    config: &Arc<ClientConfig>,
    addr: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> StatusCode {
    let tls = connect(config, addr, PUBLIC).await.unwrap();
    let (mut send, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    within(send.send_request(request)).await.unwrap().status()
}

/// On one connection, which is as good after a misdirected request as before.
async fn over_http2(
    config: &Arc<ClientConfig>,
    addr: SocketAddr,
    requests: Vec<Request<Empty<Bytes>>>,
) -> Vec<StatusCode> {
    let tls = connect(config, addr, PUBLIC).await.unwrap();
    let io = TokioIo::new(tls);
    let (mut send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut statuses = Vec::new();
    for request in requests {
        statuses.push(within(send.send_request(request)).await.unwrap().status());
    }
    statuses
}

fn request(target: &str, hosts: &[&str]) -> Request<Empty<Bytes>> {
    let mut request = Request::get(target);
    for host in hosts {
        request = request.header("host", *host);
    }
    request.body(Empty::new()).unwrap()
}

/// Of hosts that are not `public.example.org`'s; some of them routers read as `admin.example.org`.
const NOT_PUBLIC: [&str; 10] = [
    ADMIN,
    "ADMIN.example.org",
    "admin.example.org:8443",
    "admin.example.org.",
    "admin.example.org.:8443",
    "admin.example.org:1:2",
    "public.example.org@admin.example.org",
    "nobody.example.org",
    "127.0.0.1",
    "",
];

/// A client that the lax identity has let in asks, on that connection, for what the strict one serves.
#[tokio::test]
async fn over_http_1_a_request_for_another_identitys_host_is_answered_421_and_reaches_no_service() {
    let site = Site::new();
    let server = start(site.names(Otherwise::Refuse));
    let web = site.client("/web", &["http/1.1"]);
    for host in NOT_PUBLIC {
        site.told.take();
        let status = over_http1(&web, server.addr, request("/", &[host])).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert_eq!(
            site.told.take(),
            [None, Some(Reason::Misdirected)],
            "{host}"
        );
    }
    // One that is right beside one that is not, in either place.
    for (target, hosts) in [
        ("/", &[PUBLIC, ADMIN][..]),
        ("/", &[ADMIN, PUBLIC]),
        ("http://admin.example.org/", &[PUBLIC]),
        ("http://public.example.org/", &[ADMIN]),
        ("http://admin.example.org/", &[]),
    ] {
        let status = over_http1(&web, server.addr, request(target, hosts)).await;
        assert_eq!(
            status,
            StatusCode::MISDIRECTED_REQUEST,
            "{target} {hosts:?}"
        );
    }
    assert_eq!(server.seen.load(Ordering::SeqCst), 0);
    let own = [
        PUBLIC,
        "PUBLIC.example.org:8443",
        "public.example.org.",
        "b.public.example.org",
    ];
    for host in own {
        let status = over_http1(&web, server.addr, request("/", &[host])).await;
        assert_eq!(status, StatusCode::OK, "{host}");
    }
    assert_eq!(server.seen.load(Ordering::SeqCst), own.len());
}

/// So does a client that coalesces what it takes for one server's (RFC 9113 §9.1.1).
#[tokio::test]
async fn over_http_2_a_request_for_another_identitys_host_is_answered_421_and_its_connection_lives()
{
    let site = Site::new();
    let server = start(site.names(Otherwise::Refuse));
    let web = site.client("/web", &["h2"]);
    let requests = vec![
        request("https://public.example.org/", &[]),
        request("https://admin.example.org/", &[]),
        request("https://admin.example.org:8443/", &[]),
        request("https://public.example.org/", &[ADMIN]),
        request("https://admin.example.org/", &[PUBLIC]),
        request("https://a.public.example.org/", &[]),
    ];
    let statuses = over_http2(&web, server.addr, requests).await;
    let misdirected = StatusCode::MISDIRECTED_REQUEST;
    let expected = [
        StatusCode::OK,
        misdirected,
        misdirected,
        misdirected,
        misdirected,
        StatusCode::OK,
    ];
    assert_eq!(statuses, expected);
    assert_eq!(server.seen.load(Ordering::SeqCst), 2);
}

/// Where one answers otherwise, the listed names are not its.
#[tokio::test]
async fn whoever_answers_otherwise_answers_for_no_name_that_is_listed() {
    let site = Site::new();
    let names = ServerNames::named(ADMIN, &site.admin)
        .unwrap()
        .otherwise(Otherwise::Serve(site.public.clone()));
    let server = start(names);
    let web = site.client("/web", &["http/1.1"]);
    for (host, expected) in [
        (PUBLIC, StatusCode::OK),
        ("whatever.example:8443", StatusCode::OK),
        ("127.0.0.1", StatusCode::OK),
        (ADMIN, StatusCode::MISDIRECTED_REQUEST),
        ("admin.example.org:1:2", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let status = over_http1(&web, server.addr, request("/", &[host])).await;
        assert_eq!(status, expected, "{host}");
    }
}

/// One identity takes clients without a certificate, the other does not: by a request nobody gets around that.
#[tokio::test]
async fn an_anonymous_client_of_one_identity_is_misdirected_to_another_like_anybody() {
    let site = Site::new();
    let optional = ServerTls::builder(site.public.source())
        .client_certificates(ClientCertificates::Optional)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build()
        .unwrap();
    let names = ServerNames::named(PUBLIC, &optional)
        .and_then(|names| names.named(ADMIN, &site.admin))
        .unwrap();
    let server = start(names.otherwise(Otherwise::Refuse));
    let nobody = Foreign::nobody().alpn(&["http/1.1"]).config(&site.ca);
    let status = over_http1(&nobody, server.addr, request("/", &[PUBLIC])).await;
    assert_eq!(status, StatusCode::OK);
    let status = over_http1(&nobody, server.addr, request("/", &[ADMIN])).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(server.seen.load(Ordering::SeqCst), 1);
    assert_eq!(
        refusal(&nobody, server.addr, ADMIN).await,
        "certificate_required"
    );
}

#[tokio::test]
async fn a_server_of_one_identity_answers_for_whatever_host() {
    let site = Site::new();
    let server = start(site.public.clone());
    let web = site.client("/web", &["http/1.1"]);
    for host in NOT_PUBLIC {
        let status = over_http1(&web, server.addr, request("/", &[host])).await;
        assert_eq!(status, StatusCode::OK, "{host}");
    }
}
