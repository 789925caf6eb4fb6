//! Clients behind a load balancer that speaks the PROXY protocol.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Foreign, Log, client, connect, https, listen, patient, server, within};
use mtls_core::testing::TestCa;
use mtls_tower::{Connector, MtlsListener, ProxyProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443\r\n";

fn behind(ca: &TestCa, proxy: ProxyProtocol) -> MtlsListener {
    let listener = MtlsListener::new(listen(), server(ca)).with_limits(patient());
    listener.with_proxy_protocol(proxy)
}

#[tokio::test]
async fn a_client_behind_a_listed_balancer_has_its_own_address() {
    let ca = TestCa::new("example.org");
    let listed = ProxyProtocol::from_addresses(["127.0.0.1".parse().unwrap()]);
    for (header, client) in [
        (HEADER, Some("192.0.2.1:8080")),
        (b"PROXY UNKNOWN\r\n", None),
    ] {
        let mut listener = behind(&ca, listed.clone());
        let mut tcp = within(TcpStream::connect(listener.local_addr().unwrap()))
            .await
            .unwrap();
        let own = tcp.local_addr().unwrap().to_string();
        tcp.write_all(header).await.unwrap();
        let config = Foreign::presenting(&ca.issue("/web")).config(&ca);
        let (tls, (stream, addr)) = tokio::join!(connect(config, tcp), within(listener.accept()));
        tls.unwrap();
        assert_eq!(addr.to_string(), client.unwrap_or(&own));
        assert_eq!(stream.peer().unwrap().remote_addr(), Some(addr));
        assert_eq!(
            stream.peer().unwrap().to_string(),
            "spiffe://example.org/web"
        );
    }
}

#[tokio::test]
async fn a_listed_balancer_without_a_header_is_refused_and_others_may_send_none() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let mut listener = behind(&ca, ProxyProtocol::from_everybody());
    let addr = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { listener.accept().await.1 });
    let connector = Connector::new(client(&ca, "/web"));
    assert!(within(connector.connect(&https(addr))).await.is_err());
    let told = log.next("PROXY header refused").await;
    assert!(told.get("error").unwrap().starts_with("no PROXY header"));
    assert!(!accepting.is_finished());
    accepting.abort();

    let elsewhere = ProxyProtocol::from_addresses(["192.0.2.9".parse().unwrap()]);
    let mut listener = behind(&ca, elsewhere);
    let addr = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { listener.accept().await.1 });
    let mut tcp = within(TcpStream::connect(addr)).await.unwrap();
    tcp.write_all(HEADER).await.unwrap();
    assert_eq!(log.next_refusal().await.reason(), "plaintext_peer");
    let _ = within(tcp.read(&mut [0; 64])).await;
    let to = https(addr);
    let (connected, accepted) = tokio::join!(connector.connect(&to), within(accepting));
    connected.unwrap();
    assert!(accepted.unwrap().ip().is_loopback());
}
