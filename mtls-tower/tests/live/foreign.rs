//! Streams of ours under somebody else's server or client: cut, since nobody drains them.

use std::io;
use std::time::Duration;

use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, HandshakeError, Policy, Publisher, Reason, ServerTls, TrustMaterial};
use mtls_tower::{Acceptor, ClientStream, Connector, ServerStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use crate::common::within;

struct Pair {
    server: ServerStream<DuplexStream>,
    client: ClientStream<DuplexStream>,
    /// Of the server's trust, and of the client's.
    publishers: [Publisher; 2],
    cas: [TestCa; 2],
}

/// Each side trusts two CAs; its peer is of the second.
async fn pair() -> Pair {
    let cas = [TestCa::new("example.org"), TestCa::new("example.org")];
    let trust = || TrustMaterial::new(cas.iter().map(TestCa::root_der).collect());
    let source = |path| {
        mtls_core::CredentialSource::builder()
            .publish(cas[1].issue(path).material(), trust())
            .unwrap()
    };
    let (of_server, server) = source("/api");
    let (of_client, client) = source("/web");
    let server = ServerTls::builder(&server)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build()
        .unwrap();
    let client = ClientTls::builder(&client)
        .verify_server_name()
        .build()
        .unwrap();
    let (near, far) = duplex(16 * 1024);
    let (server, client) = (Acceptor::new(server), Connector::new(client));
    let name = "localhost".try_into().unwrap();
    // In a box: the state of two handshakes is large.
    let both = Box::pin(async { tokio::join!(server.accept(near), client.handshake(name, far)) });
    let (server, client) = within(both).await;
    Pair {
        server: server.unwrap(),
        client: client.unwrap(),
        publishers: [of_server, of_client],
        cas,
    }
}

/// Without the CA of everybody's peers. Our own chain does not verify then either, which is told.
fn narrow(publisher: &Publisher, cas: &[TestCa; 2]) {
    let narrowed = publisher.publish_trust(TrustMaterial::new(vec![cas[0].root_der()]));
    assert!(narrowed.is_err());
}

fn assert_lost(error: &io::Error) {
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error:?}");
    let why = HandshakeError::find(error).unwrap();
    assert_eq!(why.reason(), Reason::UnknownIssuer);
}

#[tokio::test]
async fn reader_and_writer_in_two_tasks_both_hear_that_their_peer_is_lost() {
    macro_rules! both_hear {
        ($stream:expr, $publisher:expr, $cas:expr) => {{
            let (mut from, mut to) = split($stream);
            let reading = tokio::spawn(async move { from.read_u8().await.unwrap_err() });
            // Its peer takes nothing, so that it waits, and goes on waiting.
            let writing = tokio::spawn(async move {
                loop {
                    if let Err(error) = to.write_all(&[7; 4096]).await {
                        return error;
                    }
                }
            });
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!reading.is_finished() && !writing.is_finished());
            narrow(&$publisher, &$cas);
            assert_lost(&within(reading).await.unwrap());
            assert_lost(&within(writing).await.unwrap());
        }};
    }
    let Pair {
        server,
        client: _client,
        publishers,
        cas,
    } = pair().await;
    both_hear!(server, publishers[0], cas);
    let Pair {
        server: _server,
        client,
        publishers,
        cas,
    } = pair().await;
    both_hear!(client, publishers[1], cas);
}

#[tokio::test]
async fn what_was_sent_before_and_not_yet_read_is_not_taken_from_a_lost_peer() {
    let Pair {
        mut server,
        mut client,
        publishers,
        cas,
    } = pair().await;
    client.write_all(b"in time").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(within(server.read_u8()).await.unwrap(), b'i');
    narrow(&publishers[0], &cas);
    assert_lost(&within(server.read_u8()).await.unwrap_err());
    assert_lost(&within(server.write_all(b"answer")).await.unwrap_err());
    assert_lost(&within(server.flush()).await.unwrap_err());
    // It can be closed in order, and its peer hears of that.
    within(server.shutdown()).await.unwrap();
    assert_eq!(within(client.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn closing_waits_for_no_peer_that_is_lost() {
    let Pair {
        mut server,
        client: _client,
        publishers,
        cas,
    } = pair().await;
    // Until nothing goes through any more.
    while tokio::time::timeout(Duration::from_millis(50), server.write_all(&[7; 4096]))
        .await
        .is_ok()
    {}
    narrow(&publishers[0], &cas);
    let closed = within(server.shutdown()).await;
    assert_lost(&closed.unwrap_err());
}
