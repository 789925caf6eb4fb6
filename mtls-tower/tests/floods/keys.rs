//! Peers that ask for new keys without end.

use std::io;

use mtls_core::Alert;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::within;
use crate::target::{Proper, target};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// rustls' bound on updates in a row.
const IN_A_ROW: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_updates_without_data_between_them_end_their_connection() {
    let target = target!();
    let proper = Proper::start(&target).await;
    let mut tls = target.attacker(&["http/1.1"]).await;
    let mut ended = None;
    for _ in 0..10 * IN_A_ROW {
        tls.get_mut().1.refresh_traffic_keys().unwrap();
        // Nothing is written with it.
        if let Err(error) = within(tls.flush()).await {
            ended = Some(error);
            break;
        }
    }
    let error = match ended {
        Some(error) => error,
        None => within(tls.read_u8()).await.unwrap_err(),
    };
    let alert = Alert::find(&error).map(|alert| alert.to_string());
    let is_cut = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    );
    assert!(is_cut || alert.is_some(), "{error:?}");
    proper.goes_on().await;
    // The attacker's connection is gone, though the attacker is not.
    proper.end().await;
    target.settles_at(0).await;
    drop(tls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_update_with_each_request_is_nobodys_harm() {
    let target = target!();
    let mut tls = target.attacker(&["http/1.1"]).await;
    for _ in 0..3 * IN_A_ROW {
        tls.get_mut().1.refresh_traffic_keys().unwrap();
        tls.write_all(REQUEST).await.unwrap();
        tls.flush().await.unwrap();
        let mut answer = [0; 15];
        within(tls.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            rest.push(within(tls.read_u8()).await.unwrap());
        }
    }
}
