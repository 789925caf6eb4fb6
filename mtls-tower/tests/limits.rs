//! How many connections there may be, and how they are kept.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{Foreign, Log, connect, listen, patient, server, within};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use mtls_core::PeerInfo;
use mtls_core::testing::TestCa;
use mtls_tower::{ConnectionLimits, HttpBuilder, MtlsListener, Serve, serve};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::{Service, service_fn};
use tracing::Level;

type Tls = TlsStream<TcpStream>;

fn whoami()
-> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(|request: Request<_>| async move {
        let peer: &PeerInfo = request.extensions().get().unwrap();
        Ok(Response::new(Full::from(peer.to_string())))
    })
}

macro_rules! start {
    ($ca:expr, $set:expr) => {{
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let serve = serve(listener, server($ca), whoami()).limits(patient());
        tokio::spawn($set(serve).into_future());
        addr
    }};
}

async fn open(ca: &TestCa, path: &str, alpn: &'static [&'static str], addr: SocketAddr) -> Tls {
    let config = Foreign::presenting(&ca.issue(path)).alpn(alpn).config(ca);
    let tcp = within(TcpStream::connect(addr)).await.unwrap();
    connect(config, tcp).await.unwrap()
}

/// Whether a request is answered, or else the connection closed.
async fn is_served(tls: &mut Tls) -> bool {
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    if tls.write_all(request).await.is_err() {
        return false;
    }
    let (mut answer, mut buffer) = (Vec::new(), [0; 512]);
    while !answer
        .windows(19)
        .any(|part| part == b"spiffe://example.or")
    {
        match within(tls.read(&mut buffer)).await {
            Ok(0) | Err(_) => {
                assert!(answer.is_empty(), "closed in the middle of an answer");
                return false;
            }
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    true
}

async fn http1(ca: &TestCa, path: &str, addr: SocketAddr) -> (Tls, bool) {
    let mut tls = open(ca, path, &["http/1.1"], addr).await;
    let served = is_served(&mut tls).await;
    (tls, served)
}

#[tokio::test]
async fn a_peer_with_as_many_connections_as_it_may_have_gets_no_more_and_others_do() {
    let ca = TestCa::new("example.org");
    let log = Log::start();
    let limits = ConnectionLimits::new().per_peer(2);
    let addr = start!(&ca, |serve: Serve<_>| serve.connection_limits(limits));
    let (mut first, served) = http1(&ca, "/web", addr).await;
    assert!(served);
    let (second, served) = http1(&ca, "/web", addr).await;
    assert!(served);
    // Whatever certificate it has: each is issued anew.
    for _ in 0..3 {
        assert!(!http1(&ca, "/web", addr).await.1);
    }
    assert!(http1(&ca, "/batch", addr).await.1);
    assert!(
        is_served(&mut first).await,
        "nothing happens to those that are open"
    );
    drop(second);
    within(async { while !http1(&ca, "/web", addr).await.1 {} }).await;
    let warned = log.at(Level::WARN);
    assert_eq!(warned.len(), 1);
    assert!(warned[0].message().starts_with("a limit on connections"));
    assert_eq!(
        warned[0].get("mtls.peer_id"),
        Some("spiffe://example.org/web")
    );
}

#[tokio::test]
async fn a_peer_that_takes_all_connections_makes_room_for_others_and_not_for_itself() {
    let ca = TestCa::new("example.org");
    let limits = ConnectionLimits::new().total(4);
    let addr = start!(&ca, |serve: Serve<_>| serve.connection_limits(limits));
    let mut flood = Vec::new();
    for _ in 0..4 {
        let (tls, served) = http1(&ca, "/flood", addr).await;
        assert!(served);
        flood.push(tls);
    }
    assert!(!http1(&ca, "/flood", addr).await.1);
    let mut others = Vec::new();
    for path in ["/web", "/batch"] {
        let (tls, served) = http1(&ca, path, addr).await;
        assert!(served, "{path}");
        others.push(tls);
        let mut cut = flood.pop().unwrap();
        assert!(!is_served(&mut cut).await, "the newest of the flood");
    }
    for tls in flood.iter_mut().chain(&mut others) {
        assert!(is_served(tls).await);
    }
    // Two and one and one: a third peer still gets the place of one that has two, and then nobody has more than another.
    assert!(!http1(&ca, "/web", addr).await.1);
    let (_third, served) = http1(&ca, "/third", addr).await;
    assert!(served);
    assert!(!http1(&ca, "/fourth", addr).await.1);
    assert!(is_served(&mut flood[0]).await);
    assert!(!is_served(&mut flood[1]).await);
}

/// HTTP/2 as far as the server's SETTINGS.
async fn http2(ca: &TestCa, addr: SocketAddr) -> (Tls, Vec<(u16, u32)>) {
    let mut tls = open(ca, "/web", &["h2"], addr).await;
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut header = [0; 9];
    within(tls.read_exact(&mut header)).await.unwrap();
    assert_eq!(header[3], 4, "SETTINGS come first");
    let mut payload = vec![0; usize::from(header[2])];
    within(tls.read_exact(&mut payload)).await.unwrap();
    let setting = |bytes: &[u8]| {
        let value = u32::from_be_bytes(bytes[2..6].try_into().unwrap());
        (u16::from_be_bytes(bytes[..2].try_into().unwrap()), value)
    };
    (tls, payload.chunks(6).map(setting).collect())
}

const MAX_CONCURRENT_STREAMS: u16 = 3;

#[tokio::test]
async fn an_option_says_more_than_the_hook_and_the_hook_more_than_the_default() {
    let ca = TestCa::new("example.org");
    let streams = |settings: Vec<(u16, u32)>| {
        let found = settings
            .iter()
            .find(|(id, _)| *id == MAX_CONCURRENT_STREAMS);
        found.map(|(_, value)| *value)
    };
    let hook = |http: &mut HttpBuilder| {
        http.http2().max_concurrent_streams(7);
        http.http1().header_read_timeout(None).max_headers(3);
    };
    let by_default = start!(&ca, |serve: Serve<_>| serve);
    assert_eq!(streams(http2(&ca, by_default).await.1), Some(200));
    let hooked = start!(&ca, |serve: Serve<_>| serve.configure_http(hook));
    assert_eq!(streams(http2(&ca, hooked).await.1), Some(7));
    let limit = Duration::from_millis(50);
    let both = start!(&ca, |serve: Serve<_>| serve
        .max_concurrent_streams(5)
        .header_read_timeout(limit)
        .configure_http(hook));
    assert_eq!(streams(http2(&ca, both).await.1), Some(5));

    let mut tls = open(&ca, "/web", &["http/1.1"], hooked).await;
    let many = b"GET / HTTP/1.1\r\nhost: a\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n";
    tls.write_all(many).await.unwrap();
    let mut answer = [0; 12];
    within(tls.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    let mut tls = open(&ca, "/web", &["http/1.1"], both).await;
    tls.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    let end = within(tls.read_to_end(&mut Vec::new())).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn an_http_2_client_that_answers_no_ping_is_taken_for_gone() {
    let ca = TestCa::new("example.org");
    let soon = Duration::from_millis(50);
    let addr = start!(&ca, |serve: Serve<_>| serve.http2_keep_alive(soon, soon));
    let (mut silent, _) = http2(&ca, addr).await;
    let mut rest = Vec::new();
    let _ = within(silent.read_to_end(&mut rest)).await;
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0];
    assert!(rest.windows(9).any(|part| part == ping), "{rest:?}");

    // One that answers is there for long.
    let (mut there, _) = http2(&ca, addr).await;
    let mut pings = 0;
    while pings < 4 {
        let mut header = [0; 9];
        within(there.read_exact(&mut header)).await.unwrap();
        let mut payload = vec![0; usize::from(header[2])];
        within(there.read_exact(&mut payload)).await.unwrap();
        if header == ping {
            pings += 1;
            let mut answer = vec![0, 0, 8, 6, 1, 0, 0, 0, 0];
            answer.append(&mut payload);
            there.write_all(&answer).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_system_asks_for_silent_clients_unless_it_is_told_not_to() {
    let ca = TestCa::new("example.org");
    for after in [None, Some(Duration::from_secs(7))] {
        let listener = mtls_tower::listen("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = MtlsListener::new(listener, server(&ca)).with_limits(patient());
        let mut listener = listener.with_tcp_keepalive(after);
        let (client, (accepted, _)) =
            tokio::join!(open(&ca, "/web", &[], addr), within(listener.accept()));
        let socket = SockRef::from(accepted.get_ref());
        assert_eq!(socket.keepalive().unwrap(), after.is_some());
        if let Some(after) = after {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), after);
        }
        drop(client);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let listener = mtls_tower::listen("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let error = mtls_tower::listen(addr).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    drop(listener);
    mtls_tower::listen(addr).await.unwrap();
}
