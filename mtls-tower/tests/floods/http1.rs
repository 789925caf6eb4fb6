//! Peers that are let in and misbehave over HTTP/1.1.

use std::time::Duration;

use mtls_tower::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::common::within;
use crate::target::{Options, PIECE, Proper, Target, target};

async fn http1(target: &Target, request: &[u8]) -> TlsStream<TcpStream> {
    let mut tls = target.attacker(&["http/1.1"]).await;
    // It may be answered and closed before it has sent all.
    let _ = within(tls.write_all(request)).await;
    let _ = within(tls.flush()).await;
    tls
}

async fn status(tls: &mut TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    let _ = within(tls.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_many_or_too_long_are_answered_with_431_and_the_end() {
    let target = target!();
    let proper = Proper::start(&target).await;
    let with = |headers: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: 1\r\n"))
            .collect::<String>()
    };
    // hyper takes a hundred headers, the host among them, and a head that fits into its buffer of some 400 kB.
    let few = with(&format!("{}connection: close\r\n", many(98)));
    let status_of_few = status(&mut http1(&target, few.as_bytes()).await).await;
    assert_eq!(status_of_few, "HTTP/1.1 200 OK");
    let refused = "HTTP/1.1 431 Request Header Fields Too Large";
    let mut tls = http1(&target, with(&many(100)).as_bytes()).await;
    assert_eq!(status(&mut tls).await, refused);
    let long = format!("x: {}", "a".repeat(450_000));
    let mut tls = http1(&target, with(&long).as_bytes()).await;
    // The answer may be lost with the reset that unread bytes bring.
    let status = status(&mut tls).await;
    assert!(status.is_empty() || status == refused, "{status}");
    proper.goes_on().await;
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_given_no_more_than_buffers_hold_and_is_cut_by_age() {
    const ATTACKERS: usize = 8;
    let target = target!(|options| Options {
        max_age: Some(Duration::from_millis(300)),
        lost_peer_deadline: Duration::from_millis(300),
        ..options
    });
    let proper = Proper::start(&target).await;
    let mut never_read = Vec::new();
    for _ in 0..ATTACKERS {
        never_read.push(http1(&target, b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await);
    }
    // The answer has no end, and the client no wish to leave: both of its connection's ends are cut by the server.
    target.settles_at(2).await;
    proper.goes_on().await;
    let most = ATTACKERS * (HYPER + RUSTLS + SOCKETS + PIECE);
    let asked = target.seen.asked();
    assert!(
        asked <= most as u64,
        "{asked} bytes for {ATTACKERS} attackers"
    );
    assert!(asked >= (ATTACKERS * PIECE) as u64, "{asked}: nobody asked");
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_floods_with_connections_holds_as_many_as_one_peer_may() {
    const OF_ONE: usize = 16;
    let target = target!(|options| Options {
        connections: ConnectionLimits::new().per_peer(OF_ONE),
        ..options
    });
    let proper = Proper::start(&target).await;
    let mut flood = Vec::new();
    for _ in 0..4 * OF_ONE {
        flood.push(http1(&target, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await);
    }
    proper.goes_on().await;
    target.settles_at(OF_ONE + 2).await;
    assert!(target.held() >= OF_ONE, "{}", target.held());
    proper.end().await;
}

/// hyper's buffer of a connection over HTTP/1.1.
const HYPER: usize = 8192 + 4096 * 100;
/// rustls' of what is encrypted and not yet sent, as tokio-rustls fills it.
const RUSTLS: usize = 64 * 1024 + 32 * 1024;
/// The system's, at both ends: what it grows to on loopback.
const SOCKETS: usize = 10 * 1024 * 1024;
