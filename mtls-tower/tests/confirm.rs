//! A server that refuses us is an error of connecting, in TLS 1.3 too.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{HOUR, alert, client, https, listen, patient, provider, server_for, within};
use http::{Request, Response};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::pool::singleton::Singleton;
use hyper_util::rt::TokioExecutor;
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::version::{TLS12, TLS13};
use mtls_core::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, HandshakeError, Policy, Reason, Resumption, ServerTls, TlsVersions};
use mtls_tower::pool::HttpLayer;
use mtls_tower::{Acceptor, ConnectError, Connector, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::{Layer, Service, service_fn};

/// A server that lets in `/web` alone, and answers everything.
fn serving(ca: &TestCa) -> SocketAddr {
    let web = Policy::spiffe_id(ca.spiffe_id("/web")).unwrap();
    serving_by(server_for(ca, web))
}

fn serving_by(tls: ServerTls) -> SocketAddr {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let hello = service_fn(|_: Request<_>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    tokio::spawn(serve(listener, tls, hello).limits(patient()).into_future());
    addr
}

fn speaking(ca: &TestCa, path: &str, alpn: &str) -> Connector {
    Connector::new(client(ca, path).with_alpn([alpn]))
}

const EACH: [&str; 2] = ["http/1.1", "h2"];

/// Three ways to connect, all of which are refused: by itself, in the pool of hyper-util's client, in the other pool.
async fn connect(way: usize, connector: Connector, addr: SocketAddr) -> HandshakeError {
    let to = https(addr);
    let error: Box<dyn std::error::Error + Send + Sync> = match way % 3 {
        0 => within(connector.connect(&to)).await.unwrap_err().into(),
        1 => {
            let http: Client<_, Empty<Bytes>> =
                Client::builder(TokioExecutor::new()).build(connector);
            let error = within(http.get(to)).await.unwrap_err();
            assert!(error.is_connect(), "{error:?}");
            error.into()
        }
        _ => {
            let mut pool = Singleton::new(HttpLayer::http2::<Empty<Bytes>>().layer(connector));
            within(pool.call(to)).await.unwrap_err().into()
        }
    };
    HandshakeError::find(&*error)
        .unwrap_or_else(|| panic!("{error:?}"))
        .clone()
}

#[tokio::test]
async fn each_of_a_hundred_refused_connects_fails_by_its_alert_over_each_protocol() {
    let ca = TestCa::new("example.org");
    let addr = serving(&ca);
    for alpn in EACH {
        let mut connects = JoinSet::new();
        for way in 0..100 {
            connects.spawn(connect(way, speaking(&ca, "/batch", alpn), addr));
        }
        for refused in connects.join_all().await {
            let HandshakeError::RefusedByPeer { alert, presented } = refused else {
                panic!("{alpn}: {refused:?}");
            };
            assert_eq!(alert.to_string(), "access_denied");
            assert!(presented.contains("serial"), "{presented}");
        }
    }
}

#[tokio::test]
async fn each_of_a_hundred_connects_of_who_is_let_in_is_answered_over_each_protocol() {
    let ca = TestCa::new("example.org");
    let addr = serving(&ca);
    for alpn in EACH {
        let mut requests = JoinSet::new();
        for _ in 0..100 {
            let http = Client::builder(TokioExecutor::new());
            let http: Client<_, Empty<Bytes>> = http.build(speaking(&ca, "/web", alpn));
            requests.spawn(async move { within(http.get(https(addr))).await.unwrap().status() });
        }
        assert!(
            requests
                .join_all()
                .await
                .iter()
                .all(|status| *status == 200)
        );
    }
}

/// A server of nobody's that wants a certificate of `ca`, and sends no tickets.
fn foreign(
    ca: &TestCa,
    version: &'static SupportedProtocolVersion,
    alpn: &[&str],
) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let api = ca.issue("/api");
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(api.chain_der(), api.key_der())
        .unwrap();
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A client that trusts the servers of `ca`, and whose certificate is another's.
fn stranger_to(ca: &TestCa, versions: TlsVersions) -> ClientTls {
    let other = TestCa::new("example.org");
    let (publisher, source) = other.publish(&other.issue("/web"));
    let both = mtls_core::TrustMaterial::new(vec![other.root_der(), ca.root_der()]);
    publisher.publish_trust(both).unwrap();
    ClientTls::builder(&source)
        .verify_server_name()
        .versions(versions)
        .build()
        .unwrap()
}

/// It drops the socket with the handshake's error, as most servers do: the alert is on its way, and whether a reset
/// overtakes it is nobody's to promise. That the connection is refused is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_up_at_once_is_an_error_of_connecting_all_the_same() {
    let ca = TestCa::new("example.org");
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(foreign(&ca, &TLS13, &EACH));
    tokio::spawn(async move {
        loop {
            let accepting = acceptor.accept(listener.accept().await.unwrap().0);
            tokio::spawn(async move { drop(accepting.await) });
        }
    });
    let tls = stranger_to(&ca, TlsVersions::Tls13);
    for alpn in EACH {
        let mut connects = JoinSet::new();
        for way in 0..100 {
            let connector = Connector::new(tls.with_alpn([alpn]));
            connects.spawn(connect(way, connector, addr));
        }
        let refused = connects.join_all().await;
        let told = |reason| refused.iter().filter(|e| e.reason() == reason).count();
        let (alerts, closed) = (told(Reason::RefusedByPeer), told(Reason::PeerClosed));
        assert_eq!(alerts + closed, 100, "{refused:?}");
        assert!(alerts > 0, "{refused:?}");
        println!("{alpn}: {alerts} of 100 alerts");
    }
}

/// Connects in memory, where paused time passes while both sides wait, and never else: how long it took to be confirmed.
async fn dial(
    connector: &Connector,
    far: DuplexStream,
) -> (Result<Vec<u8>, ConnectError>, Duration) {
    let begun = Instant::now();
    let stream = connector
        .handshake("localhost".try_into().unwrap(), far)
        .await;
    let took = begun.elapsed();
    let read = async |mut stream: mtls_tower::ClientStream<_>| {
        let mut read = Vec::new();
        // It ends as the test's server hangs up, without a farewell.
        let _ = stream.read_to_end(&mut read).await;
        read
    };
    match stream {
        Ok(stream) => (Ok(read(stream).await), took),
        Err(error) => (Err(error), took),
    }
}

/// A server that says `first` when it has accepted, keeps silent for a minute, and hangs up.
fn talking(config: Arc<ServerConfig>, first: &'static [u8]) -> DuplexStream {
    let (near, far) = duplex(1 << 16);
    tokio::spawn(async move {
        if let Ok(mut stream) = TlsAcceptor::from(config).accept(near).await {
            stream.write_all(first).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    });
    far
}

/// The same, of ours.
fn ours(tls: ServerTls) -> DuplexStream {
    let (near, far) = duplex(1 << 16);
    tokio::spawn(async move {
        let accepted = Acceptor::new(tls).accept(near).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(accepted);
    });
    far
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_first_is_confirmation_and_stays_to_be_read() {
    let ca = TestCa::new("example.org");
    let connector = Connector::new(client(&ca, "/web"));
    let (read, took) = dial(&connector, talking(foreign(&ca, &TLS13, &[]), b"220 hello")).await;
    assert_eq!(read.unwrap(), b"220 hello");
    assert_eq!(took, Duration::ZERO);
    // Whom it refuses it says nothing to.
    let stranger = Connector::new(stranger_to(&ca, TlsVersions::Tls13));
    let (refused, took) = dial(&stranger, talking(foreign(&ca, &TLS13, &[]), b"220 hello")).await;
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::RefusedByPeer));
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_waited_for_once_and_then_taken_to_accept() {
    let ca = TestCa::new("example.org");
    let limit = Duration::from_secs(3);
    let connector = Connector::new(client(&ca, "/web")).confirm_timeout(limit);
    let config = foreign(&ca, &TLS13, &[]);
    for expected in [limit, Duration::ZERO, Duration::ZERO] {
        // A clone remembers too.
        let (read, took) = dial(&connector.clone(), talking(Arc::clone(&config), b"")).await;
        assert_eq!(read.unwrap(), b"");
        assert_eq!(took, expected);
    }
    // It is not for ever: a minute each has passed for two more.
    tokio::time::advance(Duration::from_secs(600)).await;
    let (_, took) = dial(&connector, talking(config, b"")).await;
    assert_eq!(took, limit);
}

#[tokio::test(start_paused = true)]
async fn our_servers_confirm_by_a_ticket_also_to_a_client_that_resumes_nothing() {
    let ca = TestCa::new("example.org");
    let limit = Duration::from_secs(3);
    let tls = |resumption| {
        ServerTls::builder(&ca.source(&ca.issue("/api")))
            .authorize(Policy::any_verified_peer())
            .resumption(resumption)
            .build()
            .unwrap()
    };
    for (server, took) in [
        (Resumption::default(), Duration::ZERO),
        (Resumption::Off, limit),
    ] {
        for client in [Resumption::default(), Resumption::Off] {
            let client = ClientTls::builder(&ca.source(&ca.issue("/web")))
                .verify_server_name()
                .resumption(client)
                .build()
                .unwrap();
            let connector = Connector::new(client).confirm_timeout(limit);
            let (connected, waited) = dial(&connector, ours(tls(server))).await;
            assert!(connected.is_ok());
            assert_eq!(waited, took, "{server:?}");
        }
    }
}

/// Without a session there is no ticket; the settings of HTTP/2 say the same, and over HTTP/1.1 nothing does.
#[tokio::test]
async fn our_servers_confirm_by_their_settings_where_they_give_no_session() {
    let ca = TestCa::new("example.org");
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .resumption(Resumption::Off)
        .build()
        .unwrap();
    let addr = serving_by(tls);
    let over_http2 = speaking(&ca, "/web", "h2").confirm_timeout(HOUR);
    let mut stream = within(over_http2.connect(&https(addr))).await.unwrap();
    // RFC 9113 §3.4: the server's preface is a SETTINGS frame, of type 4.
    let mut frame = [0; 9];
    within(stream.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame[3], 4);

    let limit = Duration::from_millis(200);
    let over_http1 = speaking(&ca, "/web", "http/1.1").confirm_timeout(limit);
    let begun = Instant::now();
    within(over_http1.connect(&https(addr))).await.unwrap();
    assert!(begun.elapsed() >= limit);
}

#[tokio::test(start_paused = true)]
async fn in_tls_1_2_there_is_nothing_to_wait_for() {
    let ca = TestCa::new("example.org");
    let both = TlsVersions::Tls12AndTls13;
    let tls = ClientTls::builder(&ca.source(&ca.issue("/web")))
        .verify_server_name()
        .versions(both)
        .build()
        .unwrap();
    let config = foreign(&ca, &TLS12, &[]);
    let (read, took) = dial(&Connector::new(tls), talking(Arc::clone(&config), b"")).await;
    assert_eq!(read.unwrap(), b"");
    assert_eq!(took, Duration::ZERO);
    let stranger = Connector::new(stranger_to(&ca, both));
    let (refused, took) = dial(&stranger, talking(config, b"")).await;
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::RefusedByPeer));
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_is_an_error_of_connecting_unless_it_has_said_anything() {
    let ca = TestCa::new("example.org");
    for farewell in [true, false] {
        let (near, far) = duplex(1 << 16);
        let acceptor = TlsAcceptor::from(foreign(&ca, &TLS13, &[]));
        tokio::spawn(async move {
            let mut stream = acceptor.accept(near).await.unwrap();
            if farewell {
                stream.shutdown().await.unwrap();
            }
        });
        let (refused, _) = dial(&Connector::new(client(&ca, "/web")), far).await;
        assert_eq!(refused.unwrap_err().reason(), Some(Reason::PeerClosed));
    }
    // Its ticket has said that it accepts us; that it is gone is the next read's to tell.
    let (near, far) = duplex(1 << 16);
    let mut config = ServerConfig::clone(&foreign(&ca, &TLS13, &[]));
    config.send_tls13_tickets = 1;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move { drop(acceptor.accept(near).await.unwrap()) });
    let (read, _) = dial(&Connector::new(client(&ca, "/web")), far).await;
    assert_eq!(read.unwrap(), b"");
}

#[tokio::test]
async fn without_confirmation_the_first_read_meets_the_refusal() {
    let ca = TestCa::new("example.org");
    let connector = speaking(&ca, "/batch", "h2").confirm_timeout(Duration::ZERO);
    let addr = serving(&ca);
    let mut stream = within(connector.connect(&https(addr))).await.unwrap();
    let error = within(stream.read_u8()).await.unwrap_err();
    assert_eq!(alert(&error), "access_denied");
}

#[tokio::test(start_paused = true)]
async fn without_confirmation_a_silent_server_is_not_waited_for() {
    let ca = TestCa::new("example.org");
    let connector = Connector::new(client(&ca, "/web")).confirm_timeout(Duration::ZERO);
    let (read, took) = dial(&connector, talking(foreign(&ca, &TLS13, &[]), b"")).await;
    assert_eq!(read.unwrap(), b"");
    assert_eq!(took, Duration::ZERO);
}
