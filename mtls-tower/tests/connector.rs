//! The connector, by itself and below hyper-util's client.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::error::Error;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use common::{
    Accepting, alert, client, https, listen, patient, provider, server, server_for, within,
};
use http::{Request, Response, Uri, Version};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::rustls::ServerConfig;
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{
    ClientTls, HandshakeError, PeerInfo, Policy, Reason, Role, ServerTls, TlsVersions,
};
use mtls_tower::{ConnectError, Connector, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::service_fn;

type Http = Client<Connector, Empty<Bytes>>;

fn http_client(tls: ClientTls) -> Http {
    Client::builder(TokioExecutor::new()).build(Connector::new(tls))
}

/// Answers everything, until the test's runtime ends.
fn serving(listener: TcpListener, tls: ServerTls) -> SocketAddr {
    let addr = listener.local_addr().unwrap();
    let hello = service_fn(|_: Request<_>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    tokio::spawn(serve(listener, tls, hello).limits(patient()).into_future());
    addr
}

/// Why a request failed, found below everything that hyper put around it.
async fn refused(http: &Http, addr: SocketAddr) -> HandshakeError {
    let error = within(http.get(https(addr))).await.unwrap_err();
    HandshakeError::find(&error)
        .unwrap_or_else(|| panic!("{error:?}"))
        .clone()
}

#[tokio::test]
async fn a_response_knows_the_server_over_http_1_and_http_2() {
    let ca = TestCa::new("example.org");
    let addr = serving(listen(), server(&ca));
    for (alpn, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        let tls = ClientTls::builder(&ca.source(&ca.issue("/web")));
        let tls = tls.verify_server_name().alpn([alpn]).build().unwrap();
        let http = http_client(tls);
        for _ in 0..2 {
            let answer = within(http.get(https(addr))).await.unwrap();
            assert_eq!(answer.version(), version);
            let server: &PeerInfo = answer.extensions().get().unwrap();
            assert_eq!(server.to_string(), "spiffe://example.org/api");
            assert_eq!(server.role(), Role::Server);
            assert_eq!(server.alpn(), Some(alpn.as_bytes()));
        }
    }
}

#[tokio::test]
async fn by_default_http_2_is_spoken_where_the_server_does() {
    let ca = TestCa::new("example.org");
    let addr = serving(listen(), server(&ca));
    let answer = within(http_client(client(&ca, "/web")).get(https(addr)))
        .await
        .unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
}

#[tokio::test]
async fn each_host_is_answered_by_its_own_server_and_no_other() {
    let ca = TestCa::new("example.org");
    let addr = serving(listen(), server(&ca));
    let at = |host: &str| -> Uri { format!("https://{host}:{}/", addr.port()).parse().unwrap() };
    let tls = |source| {
        ClientTls::builder(source)
            .expect_server_at("localhost", "spiffe://example.org/api".parse().unwrap())
            .unwrap()
            .expect_server_at("127.0.0.1", "spiffe://example.org/billing".parse().unwrap())
            .unwrap()
            .build()
            .unwrap()
    };
    let connector = Connector::new(tls(&ca.source(&ca.issue("/web"))));
    let here = within(connector.connect(&at("localhost"))).await.unwrap();
    assert_eq!(here.peer().to_string(), "spiffe://example.org/api");
    assert!(here.peer().check().is_ok());
    let refused = within(connector.connect(&at("127.0.0.1")))
        .await
        .unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::NameMismatch));
    // Of the pool's connections none is shared between hosts, be it the same server.
    let http = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    assert!(within(http.get(at("localhost"))).await.is_ok());
    let refused = within(http.get(at("127.0.0.1"))).await.unwrap_err();
    let refused = HandshakeError::find(&refused).unwrap();
    assert_eq!(refused.reason(), Reason::NameMismatch);
    let text = refused.to_string();
    for part in ["/billing at 127.0.0.1", "spiffe://example.org/api"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn there_is_no_plaintext() {
    let ca = TestCa::new("example.org");
    let connector = Connector::new(client(&ca, "/web"));
    for uri in [
        "http://127.0.0.1/",
        "ws://127.0.0.1/",
        "127.0.0.1:80",
        "/path",
    ] {
        let uri: Uri = uri.parse().unwrap();
        let refused = connector.connect(&uri).await.unwrap_err();
        assert!(
            matches!(refused, ConnectError::NotHttps { .. }),
            "{refused:?}"
        );
        assert_eq!(refused.reason(), None);
    }
    let http = http_client(client(&ca, "/web"));
    let error = http
        .get("http://127.0.0.1:9/".parse().unwrap())
        .await
        .unwrap_err();
    let source = error.source().unwrap();
    assert!(
        matches!(source.downcast_ref(), Some(ConnectError::NotHttps { found }) if found == "http")
    );
}

#[tokio::test]
async fn a_host_is_a_dns_name_or_an_address_of_either_family() {
    let ca = TestCa::new("example.org");
    let six = TcpListener::bind("[::1]:0").await.unwrap();
    let addr = serving(six, server(&ca));
    assert!(addr.is_ipv6());
    let http = http_client(client(&ca, "/web"));
    let answer = within(http.get(https(addr))).await.unwrap();
    assert_eq!(answer.status(), 200);

    let four = serving(listen(), server(&ca));
    let uri: Uri = format!("https://localhost:{}/", four.port())
        .parse()
        .unwrap();
    assert_eq!(within(http.get(uri)).await.unwrap().status(), 200);

    let uri: Uri = format!("https://a_~b:{}/", four.port()).parse().unwrap();
    let refused = Connector::new(client(&ca, "/web"))
        .connect(&uri)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ConnectError::InvalidHost { .. }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_closed_port_is_tcps_fault() {
    let ca = TestCa::new("example.org");
    let addr = listen().local_addr().unwrap();
    let refused = Connector::new(client(&ca, "/web"))
        .connect(&https(addr))
        .await
        .unwrap_err();
    assert!(matches!(refused, ConnectError::Tcp { .. }), "{refused:?}");
}

/// A server that presents whatever it is given, and asks nobody for anything.
fn foreign_server(presents: &Issued) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(presents.chain_der(), presents.key_der())
        .unwrap();
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let _ = acceptor.accept(listener.accept().await.unwrap().0).await;
        }
    });
    addr
}

#[tokio::test]
async fn a_server_that_is_another_a_stranger_or_expired_is_refused_by_its_reason() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let http = http_client(client(&ca, "/web"));
    let elsewhere = LeafOptions::new().spiffe("/api").dns("orders.shop.svc");
    for (presents, reason) in [
        (ca.issue_with(elsewhere), Reason::NameMismatch),
        (other.issue("/api"), Reason::UnknownIssuer),
        (
            ca.issue_with(LeafOptions::service("/api").expired()),
            Reason::Expired,
        ),
        (
            ca.issue_with(LeafOptions::service("/api").client_only()),
            Reason::WrongUsage,
        ),
    ] {
        let refused = refused(&http, foreign_server(&presents)).await;
        assert_eq!(refused.reason(), reason, "{refused:?}");
        assert!(matches!(refused, HandshakeError::Chain { .. }));
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_or_does_not_answer_is_refused_by_its_reason() {
    let ca = TestCa::new("example.org");
    let plaintext = listen();
    let addr = plaintext.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = plaintext.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let told = refused(&http_client(client(&ca, "/web")), addr).await;
    assert_eq!(told.reason(), Reason::PlaintextPeer);

    let silent = listen();
    let connector =
        Connector::new(client(&ca, "/web")).handshake_timeout(std::time::Duration::from_millis(50));
    let http: Http = Client::builder(TokioExecutor::new()).build(connector);
    let told = refused(&http, silent.local_addr().unwrap()).await;
    assert_eq!(told.reason(), Reason::Timeout);
}

#[tokio::test]
async fn a_server_that_refuses_us_tells_so_by_its_alert() {
    let ca = TestCa::new("example.org");
    let policy = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let addr = serving(listen(), server_for(&ca, policy));
    let error = Connector::new(client(&ca, "/batch"))
        .connect(&https(addr))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Some(Reason::RefusedByPeer));
    assert_eq!(alert(&error), "access_denied");
    let error = within(http_client(client(&ca, "/batch")).get(https(addr)))
        .await
        .unwrap_err();
    assert!(error.is_connect());
    assert_eq!(alert(&error), "access_denied");
}

/// A server without ALPN lets the handshake succeed, whatever it speaks.
#[tokio::test]
async fn who_offers_http_2_alone_speaks_with_no_server_that_does_not_agree_to_it() {
    let ca = TestCa::new("example.org");
    let without = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .alpn([""; 0])
        .build()
        .unwrap();
    let addr = serving(listen(), without);
    for (offers, spoken) in [
        (&["h2", "http/1.1"][..], true),
        (&["http/1.1"], true),
        (&[], true),
        (&["h2"], false),
    ] {
        let tls = client(&ca, "/web").with_alpn(offers.iter().copied());
        let answer = within(http_client(tls.clone()).get(https(addr))).await;
        let by_itself = within(Connector::new(tls).connect(&https(addr))).await;
        if spoken {
            assert_eq!(answer.unwrap().version(), Version::HTTP_11);
            assert_eq!(by_itself.unwrap().peer().alpn(), None);
        } else {
            let refused = answer.unwrap_err();
            let refused = HandshakeError::find(&refused).unwrap();
            assert_eq!(refused.reason(), Reason::NoCommonProtocol);
            assert_eq!(
                by_itself.unwrap_err().reason(),
                Some(Reason::NoCommonProtocol)
            );
        }
    }
}

/// The beginning of a handshake of TLS 1.2 with a server that picks `protocol`, offered or not.
async fn picking(protocol: &'static [u8]) -> SocketAddr {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let _ = tcp.read(&mut [0; 4096]).await;
        let length = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        // RFC 7301 §3.1, RFC 7627 §5.1, RFC 5746 §3.6.
        let mut extensions = vec![0, 16];
        extensions.extend(length(protocol.len() + 3));
        extensions.extend(length(protocol.len() + 1));
        extensions.push(u8::try_from(protocol.len()).unwrap());
        extensions.extend(protocol);
        extensions.extend([0, 23, 0, 0, 0xff, 1, 0, 1, 0]);
        // RFC 5246 §7.4.1.3: TLS 1.2, a random, no session, ECDHE-ECDSA with AES-128-GCM, no compression.
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0xc0, 0x2b, 0]);
        hello.extend(length(extensions.len()));
        hello.extend(extensions);
        let mut record = vec![22, 3, 3];
        record.extend(length(hello.len() + 4));
        record.extend([2, 0]);
        record.extend(length(hello.len()));
        record.extend(hello);
        tcp.write_all(&record).await.unwrap();
    });
    addr
}

#[tokio::test]
async fn a_server_that_picks_a_protocol_which_was_not_offered_is_refused() {
    let ca = TestCa::new("example.org");
    let tls = ClientTls::builder(&ca.source(&ca.issue("/web")))
        .verify_server_name()
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap();
    let connector = Connector::new(tls);
    let refused = within(connector.connect(&https(picking(b"spdy/3").await))).await;
    let refused = format!("{:?}", refused.unwrap_err());
    let reason = "SelectedUnofferedApplicationProtocol";
    assert!(refused.contains(reason), "{refused}");
    // With one that was, it goes on, until the server goes away.
    let refused = within(connector.connect(&https(picking(b"h2").await))).await;
    assert_eq!(refused.unwrap_err().reason(), Some(Reason::PeerClosed));
}

#[tokio::test]
async fn after_a_rotation_new_connections_present_the_new_certificate() {
    let ca = TestCa::new("example.org");
    let mut server = Accepting::start(server(&ca), patient()).await;
    let (first, second) = (ca.issue("/web"), ca.issue("/web"));
    let (publisher, source) = ca.publish(&first);
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .build()
        .unwrap();
    let connector = Connector::new(tls);
    let to = https(server.addr);

    let _before = within(connector.connect(&to)).await.unwrap();
    let seen = server.next().await;
    assert_eq!(seen.peer().unwrap().identity().serial(), first.serial());
    publisher.publish_credentials(second.material()).unwrap();
    let after = within(connector.connect(&to)).await.unwrap();
    assert_eq!(
        server.next().await.peer().unwrap().identity().serial(),
        second.serial()
    );
    assert_eq!(after.peer().generation(), 2);
    // The open connection goes on as who it was.
    assert_eq!(seen.peer().unwrap().identity().serial(), first.serial());
}

#[tokio::test]
async fn after_trust_narrowed_new_connections_refuse_the_server() {
    let (ca, next) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let addr = serving(listen(), server(&ca));
    let (publisher, source) = ca.publish(&ca.issue("/web"));
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .build()
        .unwrap();
    let connector = Connector::new(tls);
    assert!(within(connector.connect(&https(addr))).await.is_ok());
    publisher
        .publish(next.issue("/web").material(), next.trust_material())
        .unwrap();
    let refused = within(connector.connect(&https(addr))).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::UnknownIssuer));
}
