//! A refusal explains itself, ours and the server's.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{ANY, H1, Server, by_name, client, source};
use mtls_core::rustls::ServerConfig;
use mtls_core::rustls::crypto::aws_lc_rs;
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{ClientTls, Policy, Reason};
use mtls_reqwest::{Client, Explanation, Retry, explain};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

async fn explained(http: &Client, url: &str) -> Explanation {
    explain(&http.get(url).send().await.unwrap_err())
}

/// By an alert that was not lost: hyper loses one now and then, over HTTP/1.1 too.
async fn refused(http: &Client, url: &str) -> reqwest::Error {
    for _ in 0..20 {
        let error = http.get(url).send().await.unwrap_err();
        if !matches!(explain(&error), Explanation::ClosedByPeer) {
            return error;
        }
    }
    panic!("twenty alerts were lost");
}

/// A server whose TLS is not ours: it presents whatever it is given, and asks for no certificate.
async fn careless_server(issued: &Issued) -> String {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain_der(), issued.key_der())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = acceptor.accept(tcp).await;
    });
    url
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let server = Server::of(&stranger.issue("/orders"), &[&stranger], ANY).await;
    let (_publisher, http) = client(&ca);
    let refused = explained(&http, &server.url("/")).await;
    assert!(
        matches!(refused, Explanation::PeerNotTrusted { .. }),
        "{refused}"
    );
    assert_eq!(refused.reason(), Some(Reason::UnknownIssuer));
    assert_eq!(refused.retry(), Retry::AfterReload);
    assert!(refused.remedy().contains("trust bundle"));
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let ca = TestCa::new("example.org");
    let elsewhere = LeafOptions::new()
        .spiffe("/orders")
        .dns("elsewhere.example");
    let server = Server::of(&ca.issue_with(elsewhere), &[&ca], ANY).await;
    let (_publisher, http) = client(&ca);
    let refused = explained(&http, &server.url("/")).await;
    assert_eq!(refused.reason(), Some(Reason::NameMismatch), "{refused}");
    assert_eq!(refused.retry(), Retry::No);
    let log = refused.to_string();
    assert!(
        log.contains("elsewhere.example") && log.contains("localhost"),
        "{log}"
    );
}

#[tokio::test]
async fn a_server_of_another_spiffe_id_is_refused() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, source) = source(&ca.issue("/web"), &[&ca]);
    let other = "spiffe://example.org/payments".parse().unwrap();
    let tls = ClientTls::builder(&source).expect_server(other).unwrap();
    let http = Client::new(tls.build().unwrap()).unwrap();
    let refused = explained(&http, &server.url("/")).await;
    assert_eq!(refused.reason(), Some(Reason::NameMismatch), "{refused}");
}

#[tokio::test]
async fn an_expired_server_is_refused() {
    let ca = TestCa::new("example.org");
    let stale = ca.issue_with(LeafOptions::service("/orders").expired());
    let url = careless_server(&stale).await;
    let (_publisher, http) = client(&ca);
    let refused = explained(&http, &url).await;
    assert_eq!(refused.reason(), Some(Reason::Expired), "{refused}");
    assert_eq!(refused.retry(), Retry::No);
}

#[tokio::test]
async fn a_server_that_does_not_authorize_us_says_so_over_http1() {
    let ca = TestCa::new("example.org");
    let policy = Policy::spiffe_id("spiffe://example.org/other").unwrap();
    let server = Server::letting_in(policy, &ca.issue("/orders"), &[&ca], H1).await;
    let (_publisher, http) = client(&ca);
    let error = refused(&http, &server.url("/")).await;
    assert!(!error.is_connect(), "in TLS 1.3 the connection stood");
    let refused = explain(&error);
    let Explanation::RefusedByPeer { alert } = &refused else {
        panic!("{refused}: {error:?}");
    };
    assert_eq!(alert.to_string(), "access_denied");
    assert_eq!(refused.reason(), Some(Reason::RefusedByPeer));
    assert_eq!(refused.retry(), Retry::No);
    assert!(refused.remedy().contains("policy"));
}

#[tokio::test]
async fn a_server_that_does_not_know_our_ca_says_so_over_http1() {
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let server = Server::of(&theirs.issue("/orders"), &[&theirs], H1).await;
    let (_publisher, source) = source(&ours.issue("/web"), &[&ours, &theirs]);
    let http = Client::new(by_name(&source)).unwrap();
    let refused = explain(&refused(&http, &server.url("/")).await);
    assert!(
        matches!(&refused, Explanation::RefusedByPeer { alert } if alert.code() == 48),
        "{refused}"
    );
    assert_eq!(refused.retry(), Retry::AfterReload);
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn a_server_that_does_not_authorize_us_is_understood_over_http2() {
    let ca = TestCa::new("example.org");
    let policy = Policy::spiffe_id("spiffe://example.org/other").unwrap();
    let server = Server::letting_in(policy, &ca.issue("/orders"), &[&ca], common::H2).await;
    let (_publisher, http) = client(&ca);
    let mut alerts = 0;
    for _ in 0..20 {
        let error = http.get(server.url("/")).send().await.unwrap_err();
        match explain(&error) {
            Explanation::RefusedByPeer { alert } => {
                assert_eq!(alert.to_string(), "access_denied");
                alerts += 1;
            }
            // A request that is still being queued when the connection ends hears no more than that.
            Explanation::ClosedByPeer => {}
            _ => panic!("{error:?}"),
        }
    }
    // h2 passes the alert on as text. Were it none of them, the text would have changed.
    assert!(alerts > 0);
}

/// A way to a server on which its last word is lost, while `loses` says so: whatever it sends once the client has answered its
/// first flight (RFC 8446 §2). How often hyper loses it by itself is a matter of the machine.
#[cfg(feature = "http2")]
async fn lossy_way(to: SocketAddr, loses: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(to).await.unwrap();
            if loses.load(Ordering::SeqCst) {
                tokio::spawn(without_the_last_word(client, server));
            } else {
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        }
    });
    addr
}

#[cfg(feature = "http2")]
async fn without_the_last_word(mut client: TcpStream, mut server: TcpStream) {
    let (mut up, mut down) = ([0; 16 * 1024], [0; 16 * 1024]);
    let (mut answers, mut answered) = (false, 0);
    // A ChangeCipherSpec is six bytes, and may come ahead of what the client says when it has read the flight.
    while answered <= 6 {
        tokio::select! {
            read = server.read(&mut down) => {
                let read = read.unwrap();
                assert!(read > 0, "the server is gone before its client has answered");
                client.write_all(&down[..read]).await.unwrap();
                answers = true;
            }
            read = client.read(&mut up) => {
                let read = read.unwrap();
                server.write_all(&up[..read]).await.unwrap();
                answered += if answers { read } else { 0 };
            }
        }
    }
    client.shutdown().await.unwrap();
    // Until the client has gone too: closed with bytes unread, it would be a reset.
    let _ = copy(&mut client, &mut sink()).await;
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn an_alert_that_was_lost_over_http2_is_found_by_dialling() {
    let ca = TestCa::new("example.org");
    let policy = Policy::spiffe_id("spiffe://example.org/other").unwrap();
    let server = Server::letting_in(policy, &ca.issue("/orders"), &[&ca], common::H2).await;
    let (_publisher, http) = client(&ca);
    let loses = Arc::new(AtomicBool::new(true));
    let way = lossy_way(server.addr, Arc::clone(&loses)).await;
    let url = format!("https://localhost:{}/", way.port());
    for _ in 0..20 {
        loses.store(true, Ordering::SeqCst);
        let error = http.get(&url).send().await.unwrap_err();
        let lost = explain(&error);
        assert!(matches!(lost, Explanation::ClosedByPeer), "{error:?}");
        loses.store(false, Ordering::SeqCst);
        let found = http.dial(error.url().unwrap()).await.unwrap_err();
        assert!(
            matches!(&found, Explanation::RefusedByPeer { alert } if alert.to_string() == "access_denied"),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn dialling_tells_who_the_server_is_and_asks_it_for_nothing() {
    let ca = TestCa::new("example.org");
    let mut server = Server::start(&ca).await;
    let (_publisher, http) = client(&ca);
    let url = server.url("/").parse().unwrap();
    let identity = http.dial(&url).await.unwrap();
    assert_eq!(identity.to_string(), "spiffe://example.org/orders");
    assert!(matches!(server.noticed().await, common::Event::Closed(_)));
    assert!(server.events.try_recv().is_err());
}

#[tokio::test]
async fn dialling_tells_what_else_there_is_to_tell() {
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (_publisher, http) = client(&ca);
    let server = Server::of(&stranger.issue("/orders"), &[&stranger], ANY).await;
    let told = async |url: String| http.dial(&url.parse().unwrap()).await.unwrap_err();
    let refused = told(server.url("/")).await;
    assert!(matches!(refused, Explanation::PeerNotTrusted { .. }));
    assert_eq!(refused.reason(), Some(Reason::UnknownIssuer), "{refused}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        drop(listener.accept().await.unwrap());
        let (mut tcp, _) = listener.accept().await.unwrap();
        drop(listener);
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let url = format!("https://127.0.0.1:{port}/");
    let closed = told(url.clone()).await;
    assert!(matches!(closed, Explanation::ClosedByPeer), "{closed}");
    let plain = told(url.clone()).await;
    assert!(matches!(plain, Explanation::Plaintext), "{plain}");
    let nobody = told(url.clone()).await;
    assert!(matches!(nobody, Explanation::Network { .. }), "{nobody}");
    assert!(nobody.to_string().contains("refused"), "{nobody}");
    let never = told(url.replace("https", "http")).await;
    assert!(matches!(never, Explanation::Setup { .. }), "{never}");
    assert!(never.to_string().contains("scheme is http"), "{never}");
}

#[tokio::test]
async fn a_plaintext_server_is_told_as_one() {
    let ca = TestCa::new("example.org");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = tcp.read(&mut [0; 1024]).await;
    });
    let (_publisher, http) = client(&ca);
    let told = explained(&http, &url).await;
    assert!(matches!(told, Explanation::Plaintext), "{told}");
    assert_eq!(told.reason(), Some(Reason::PlaintextPeer));
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told_as_one() {
    let ca = TestCa::new("example.org");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move { drop(listener.accept().await) });
    let (_publisher, http) = client(&ca);
    let told = explained(&http, &url).await;
    assert!(matches!(told, Explanation::ClosedByPeer), "{told}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_the_network() {
    let ca = TestCa::new("example.org");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://127.0.0.1:{}/",
        listener.local_addr().unwrap().port()
    );
    drop(listener);
    let (_publisher, http) = client(&ca);
    let told = explained(&http, &url).await;
    assert!(matches!(told, Explanation::Network { .. }), "{told}");
    // What the system says, without which nobody knows a closed port from a name that does not resolve.
    assert!(told.to_string().contains("refused"), "{told}");
    assert_eq!(told.retry(), Retry::Yes);
}

#[tokio::test]
async fn a_server_that_says_nothing_runs_into_the_timeout() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, http) = client(&ca);
    let request = http
        .get(server.url("/hold"))
        .timeout(Duration::from_millis(20));
    let told = explain(&request.send().await.unwrap_err());
    assert!(matches!(told, Explanation::Timeout), "{told}");
    assert_eq!(told.reason(), Some(Reason::Timeout));
}

#[tokio::test]
async fn a_status_is_not_a_matter_of_tls() {
    let ca = TestCa::new("example.org");
    let server = Server::start(&ca).await;
    let (_publisher, http) = client(&ca);
    let missing = http.get(server.url("/missing")).send().await.unwrap();
    let told = explain(&missing.error_for_status().unwrap_err());
    assert!(matches!(told, Explanation::Other { .. }), "{told}");
    assert!(told.to_string().contains("404"), "{told}");
    assert_eq!(told.reason(), None);
}
