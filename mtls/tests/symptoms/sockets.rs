//! Refusals over sockets, where it depends on who is faster what a client gets to see.

use std::sync::Arc;

use mtls_core::rustls::ServerConfig;
use mtls_core::testing::TestCa;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::plain::{Own, client, server, shake};
use crate::{leads_to, shows};

/// A server that drops whoever it refuses, as most do.
pub(crate) async fn drops_the_refused(config: ServerConfig) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    port
}

/// An error with all of its sources, as a log has it.
pub(crate) fn chained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[tokio::test]
async fn whatever_reqwest_says_of_a_refusal_leads_to_it() {
    for http2 in [false, true] {
        let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
        let mut config = server(&ca);
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let port = drops_the_refused(config).await;
        for round in 0..10 {
            // Each with a connection of its own, some with a body that is under way when the server hangs up.
            let tls = client(&ca, Some(Own::of(&stranger.issue("/web")))).unwrap();
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .no_proxy()
                .build()
                .unwrap();
            let body = vec![0; if round % 2 == 0 { 0 } else { 200_000 }];
            let url = format!("https://localhost:{port}/");
            let error = client.post(url).body(body).send().await.unwrap_err();
            assert!(!error.is_connect(), "{error:?}");
            leads_to(&chained(&error), "refused_by_peer");
        }
    }
}

/// A config of one's own takes the place of what the builder was told.
#[tokio::test]
async fn a_client_whose_identity_was_replaced_has_none() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/web");
    let pem = issued.chain_pem() + issued.key_pem();
    let identity = || reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
    for round in 0..10 {
        let (told, said) = tokio::sync::oneshot::channel();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(server(&ca)));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let accepted = acceptor.accept(stream).await;
            let _ = told.send(accepted.map_err(|error| chained(&error)).err());
        });
        let client = reqwest::Client::builder()
            .identity(identity())
            .tls_backend_preconfigured(client(&ca, None).unwrap())
            .no_proxy()
            .build()
            .unwrap();
        let url = format!("https://localhost:{port}/");
        let error = client.get(url).send().await.unwrap_err();
        leads_to(&chained(&error), "refused_by_peer");
        let said = said.await.unwrap().expect("the server has refused");
        assert!(
            said.contains("peer sent no certificates"),
            "{round}: {said}"
        );
        leads_to(&said, "no_peer_certificate");
    }
}

/// An accept loop that ends by the error of one handshake, as that of tonic 0.12.2 did.
#[tokio::test]
async fn a_loop_that_ends_by_one_refusal_refuses_everybody_who_comes_later() {
    let ca = TestCa::new("example.org");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(server(&ca)));
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Err(error) = acceptor.accept(stream).await {
                break error;
            }
        }
    });
    let nobody = client(&ca, None).unwrap();
    let dialled = tokio::task::spawn_blocking(move || crate::door::dial(nobody, port)).await;
    assert!(dialled.unwrap().is_err());
    let error = serving.await.unwrap();
    leads_to(&chained(&error), "no_peer_certificate");
    let known = client(&ca, Some(Own::of(&ca.issue("/web")))).unwrap();
    let dialled = tokio::task::spawn_blocking(move || crate::door::dial(known, port)).await;
    let error = dialled.unwrap().unwrap_err();
    assert!(error.contains("Connection refused"), "{error}");
    leads_to(&error, "unreachable");
    shows(&error, "serving_stopped");
}

#[tokio::test]
async fn http_on_a_tls_port_reads_an_alert() {
    let port = drops_the_refused(server(&TestCa::new("example.org"))).await;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(client(&TestCa::new("example.org"), None).unwrap())
        .no_proxy()
        .build()
        .unwrap();
    let request = client.get(format!("http://127.0.0.1:{port}/"));
    let error = request.send().await.unwrap_err();
    let text = chained(&error);
    assert!(text.contains("invalid HTTP version parsed"), "{text}");
    leads_to(&text, "plaintext_peer");
}

#[tokio::test]
async fn a_peer_that_hangs_up_at_once_is_an_early_end() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server(&TestCa::new("example.org"))));
    let probe = async { drop(TcpStream::connect(address).await.unwrap()) };
    let accepted = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await
    };
    let (accepted, ()) = tokio::join!(accepted, probe);
    let text = chained(&accepted.unwrap_err());
    assert!(text.contains("tls handshake eof"), "{text}");
    leads_to(&text, "peer_closed");
}

#[tokio::test]
async fn an_end_of_tcp_that_is_no_end_of_tls_is_told() {
    let ca = TestCa::new("example.org");
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = TlsAcceptor::from(Arc::new(server(&ca)));
    let own = Own::of(&ca.issue("/web"));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client(&ca, Some(own)).unwrap()));
    let name = "localhost".try_into().unwrap();
    let (accepted, connected) = tokio::join!(acceptor.accept(near), connector.connect(name, far));
    let mut accepted = accepted.unwrap();
    let mut connected = connected.unwrap();
    connected.write_all(b"half a ").await.unwrap();
    connected.flush().await.unwrap();
    // The stream goes, and its `close_notify` was never asked for.
    drop(connected.into_inner().0);
    let mut read = Vec::new();
    let error = accepted.read_to_end(&mut read).await.unwrap_err();
    leads_to(&error.to_string(), "unclean_close");
}

#[test]
fn the_same_pair_without_sockets_has_the_alert() {
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let own = Own::of(&stranger.issue("/web"));
    let told = shake(server(&ca), client(&ca, Some(own)).unwrap(), "localhost");
    assert!(told.client().contains("UnknownCA"), "{told:?}");
}
