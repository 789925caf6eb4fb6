//! Bytes that are no handshake.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::within;
use crate::handshakes::client_hello;
use crate::target::{Proper, target};

/// A record of a handshake with this inside.
fn record(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[22, 3, 1][..], &length, payload].concat()
}

/// Pseudo-random, the same every time: what fails once fails again.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(byte).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_its_own_connection_at_once_and_is_named() {
    let target = target!();
    let proper = Proper::start(&target).await;
    let largest = vec![0; 16_384 + 2048];
    let empty = record(&[]);
    // Nothing of this needs the deadline of the handshake, which is an hour here.
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("noise", noise(4096), "plaintext_peer"),
        // RFC 5246 §E.2: the length's high bit, then CLIENT-HELLO.
        (
            "a hello of SSLv2",
            [&[0x80, 0x2e, 1, 0, 2][..], &noise(43)].concat(),
            "plaintext_peer",
        ),
        (
            "HTTP/1.1",
            b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            "plaintext_peer",
        ),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            "plaintext_peer",
        ),
        ("a record without content", empty.clone(), "tls_protocol"),
        ("many of those", empty.repeat(1000), "tls_protocol"),
        (
            "a record of the greatest length that says nothing",
            record(&largest),
            "tls_protocol",
        ),
        (
            "a record longer than may be",
            [&[22, 3, 1, 0xff, 0xff][..], &vec![0; 0xffff]].concat(),
            "tls_protocol",
        ),
        (
            "a message of 16 MB, by its own account",
            record(&[1, 0xff, 0xff, 0xff, 3, 3]),
            "tls_protocol",
        ),
        (
            "application data",
            vec![23, 3, 3, 0, 4, 1, 2, 3, 4],
            "tls_protocol",
        ),
        ("an alert", vec![21, 3, 1, 0, 2, 2, 40], "tls_protocol"),
    ];
    for (what, bytes, reason) in cases {
        let before = target.seen.refused(reason);
        let mut tcp = within(TcpStream::connect(target.addr)).await.unwrap();
        // It may be closed before all of it is written.
        let _ = within(tcp.write_all(&bytes)).await;
        // An alert, perhaps; then the end, with what has not been read as a reset.
        let mut answer = Vec::new();
        let _ = within(tcp.read_to_end(&mut answer)).await;
        assert!(answer.len() < 16, "{what} was answered {answer:?}");
        let reasons = target.seen.reasons();
        assert_eq!(
            target.seen.refused(reason),
            before + 1,
            "{what}: {reasons:?}"
        );
    }
    proper.goes_on().await;
    proper.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_in_records_of_one_byte_is_a_hello() {
    let target = target!();
    let hello = client_hello(&target.ca);
    let pieces: Vec<u8> = hello[5..]
        .iter()
        .flat_map(|byte| record(&[*byte]))
        .collect();
    let mut tcp = within(TcpStream::connect(target.addr)).await.unwrap();
    tcp.write_all(&pieces).await.unwrap();
    assert_eq!(within(tcp.read_u8()).await.unwrap(), 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_grows_without_end_is_ended_before_64_kib() {
    let target = target!();
    let proper = Proper::start(&target).await;
    // A hello of the greatest size that is allowed, which never is complete, and then more than that.
    let mut message = vec![1, 0, 0xff, 0xfb];
    message.resize(0xffff + 1, 0);
    let mut tcp = within(TcpStream::connect(target.addr)).await.unwrap();
    for part in message.chunks(16_000) {
        let _ = within(tcp.write_all(&record(part))).await;
    }
    let mut answer = Vec::new();
    let _ = within(tcp.read_to_end(&mut answer)).await;
    assert_eq!(target.seen.reasons().values().sum::<usize>(), 1);
    proper.end().await;
}
