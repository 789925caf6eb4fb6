//! The accept loop under clients that are slow, silent, many, or no TLS clients at all.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::io;
use std::time::Duration;

use common::{
    Accepting, Foreign, HOUR, Log, client, connect, https, patient, refusal, server, within,
};
use mtls_core::rustls::ClientConnection;
use mtls_core::testing::TestCa;
use mtls_core::{Authorizer, Denial, PeerIdentity, ServerTls};
use mtls_tower::{Connector, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::Level;

/// Connects as `/web`, and sees that the server knows it.
async fn is_served(ca: &TestCa, server: &mut Accepting) {
    let connector = Connector::new(client(ca, "/web"));
    let to = https(server.addr);
    let (connected, accepted) = tokio::join!(connector.connect(&to), server.next());
    assert_eq!(
        connected.unwrap().peer().to_string(),
        "spiffe://example.org/api"
    );
    assert_eq!(
        accepted.peer().unwrap().to_string(),
        "spiffe://example.org/web"
    );
}

fn is_open(tcp: &TcpStream) -> bool {
    tcp.try_read(&mut [0])
        .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

async fn ends(tcp: &mut TcpStream) {
    assert_eq!(within(tcp.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_silent_peer_delays_nobody() {
    let ca = TestCa::new("example.org");
    let mut server = Accepting::start(server(&ca), patient()).await;
    let silent = server.dial().await;
    is_served(&ca, &mut server).await;
    assert!(is_open(&silent));
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_delays_nobody_and_is_served() {
    let ca = TestCa::new("example.org");
    let mut server = Accepting::start(server(&ca), patient()).await;
    let config = Foreign::presenting(&ca.issue("/slow")).config(&ca);
    let name = "localhost".try_into().unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut slow = server.dial().await;
    slow.set_nodelay(true).unwrap();
    let (half, rest) = hello.split_at(hello.len() / 2);
    for byte in half {
        slow.write_u8(*byte).await.unwrap();
    }
    is_served(&ca, &mut server).await;
    for byte in rest {
        slow.write_u8(*byte).await.unwrap();
    }
    const HANDSHAKE_RECORD: u8 = 22;
    assert_eq!(within(slow.read_u8()).await.unwrap(), HANDSHAKE_RECORD);
}

#[tokio::test]
async fn a_silent_peer_is_ended_at_the_deadline_of_its_handshake() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let limits = Limits::default().handshake_timeout(Duration::from_millis(50));
    let server = Accepting::start(server(&ca), limits).await;
    let mut silent = server.dial().await;
    ends(&mut silent).await;
    assert_eq!(log.next_refusal().await.reason(), "timeout");

    // One who has said half of something is no better.
    let mut half = server.dial().await;
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    ends(&mut half).await;
    assert_eq!(log.next_refusal().await.reason(), "timeout");
}

#[tokio::test]
async fn a_deadline_that_never_comes_is_no_panic() {
    let ca = TestCa::new("example.org");
    let limits = Limits::default()
        .handshake_timeout(Duration::MAX)
        .linger(Duration::MAX);
    let mut server = Accepting::start(server(&ca), limits).await;
    is_served(&ca, &mut server).await;
}

#[tokio::test]
async fn at_the_bound_the_oldest_handshake_gives_way_and_a_proper_client_is_served() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let mut server = Accepting::start(server(&ca), patient().pending_handshakes(4)).await;
    let mut silent = Vec::new();
    for newest in 0..10_usize {
        silent.push(server.dial().await);
        if let Some(oldest) = newest.checked_sub(4) {
            ends(&mut silent[oldest]).await;
            assert!(silent[oldest + 1..].iter().all(is_open));
            let entry = log.next_refusal().await;
            assert_eq!(entry.reason(), "shed");
            let addr = silent[oldest].local_addr().unwrap().to_string();
            assert_eq!(entry.get("network.peer.address"), Some(addr.as_str()));
        }
    }
    is_served(&ca, &mut server).await;
    ends(&mut silent[6]).await;
    assert!(silent[7..].iter().all(is_open));
    // Six were shed, and a flood of them is one warning.
    let warnings = log.at(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[tokio::test]
async fn a_refused_client_that_lingers_takes_nobodys_place_and_is_logged_at_once() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let mut log = Log::start();
    let mut server = Accepting::start(server(&ca), patient().pending_handshakes(1)).await;
    let mut refused = Vec::new();
    for _ in 0..3 {
        let config = Foreign::presenting(&other.issue("/web")).config(&ca);
        refused.push(connect(config, server.dial().await).await.unwrap());
        assert_eq!(log.next_refusal().await.reason(), "unknown_issuer");
    }
    is_served(&ca, &mut server).await;
    for mut refused in refused {
        let error = within(refused.read_u8()).await.unwrap_err();
        assert_eq!(common::alert(&error), "unknown_ca");
    }
    assert!(log.at(Level::DEBUG).iter().all(|e| e.reason() != "shed"));
}

#[tokio::test]
async fn a_peer_in_plaintext_is_refused_by_name() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let server = Accepting::start(server(&ca), patient()).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut tcp = server.dial().await;
        tcp.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(log.next_refusal().await.reason(), "plaintext_peer");
        within(tcp.read_to_end(&mut Vec::new())).await.unwrap();
    }
    assert_eq!(log.at(Level::WARN).len(), 1);
}

#[tokio::test]
async fn a_port_probe_is_no_warning() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let server = Accepting::start(server(&ca), patient()).await;
    drop(server.dial().await);
    assert_eq!(log.next_refusal().await.reason(), "peer_closed");
    // Gone with a reset, as a load balancer's probe may be, and gone in the middle of a record.
    let reset = server.dial().await;
    reset.set_zero_linger().unwrap();
    drop(reset);
    assert_eq!(log.next_refusal().await.reason(), "peer_closed");
    let mut half = server.dial().await;
    half.write_all(&[22, 3, 1]).await.unwrap();
    drop(half);
    assert_eq!(log.next_refusal().await.reason(), "peer_closed");
    assert!(log.at(Level::WARN).is_empty());
}

#[tokio::test]
async fn the_application_protocol_is_negotiated() {
    let ca = TestCa::new("example.org");
    let mut server = Accepting::start(server(&ca), patient()).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["spdy/1", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let config = Foreign::presenting(&ca.issue("/web"))
            .alpn(offered)
            .config(&ca);
        let tls = connect(config, server.dial().await).await.unwrap();
        assert_eq!(server.next().await.peer().unwrap().alpn(), agreed);
        assert_eq!(tls.get_ref().1.alpn_protocol(), agreed);
    }
}

#[tokio::test]
async fn no_application_protocol_in_common_is_refused_and_said() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let server = Accepting::start(server(&ca), patient()).await;
    let config = Foreign::presenting(&ca.issue("/web"))
        .alpn(&["spdy/1"])
        .config(&ca);
    assert_eq!(
        refusal(config, server.addr).await,
        "no_application_protocol"
    );
    let entry = log.next_refusal().await;
    assert_eq!(entry.reason(), "no_common_protocol");
    assert!(
        entry.get("error").unwrap().contains("h2, http/1.1"),
        "{entry:?}"
    );
}

#[derive(Debug)]
struct TripsOver(&'static str);

impl Authorizer for TripsOver {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        assert_ne!(peer.to_string(), self.0, "not thought of");
        Ok(())
    }
}

#[tokio::test]
async fn an_authorizer_that_panics_refuses_one_client_and_ends_nothing() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(TripsOver("spiffe://example.org/bomb"))
        .build()
        .unwrap();
    let mut server = Accepting::start(tls, patient()).await;
    let config = Foreign::presenting(&ca.issue("/bomb")).config(&ca);
    let mut bomb = connect(config, server.dial().await).await.unwrap();
    assert!(within(bomb.read_u8()).await.is_err());
    assert_eq!(log.next("a handshake panicked").await.level, Level::ERROR);
    is_served(&ca, &mut server).await;
}

#[tokio::test]
async fn dropping_the_listener_ends_its_handshakes_and_the_refused_that_linger() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let mut log = Log::start();
    let mut server = Accepting::start(server(&ca), patient().linger(HOUR)).await;
    let mut silent = server.dial().await;
    let config = Foreign::presenting(&other.issue("/web")).config(&ca);
    let mut refused = connect(config, server.dial().await).await.unwrap();
    log.next_refusal().await;
    is_served(&ca, &mut server).await;
    drop(server);
    ends(&mut silent).await;
    let raw = refused.get_mut().0;
    within(raw.read_to_end(&mut Vec::new())).await.unwrap();
}
