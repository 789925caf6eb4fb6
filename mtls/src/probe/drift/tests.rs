//! Two servers of one name, and clocks.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::{ServerConfig, ServerConnection, Stream};
use mtls_core::testing::{Issued, TestCa};

use super::*;

fn server(issued: &Issued) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(look::provider().unwrap())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain_der(), issued.key_der())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = Stream::new(&mut tls, &mut tcp);
            let _ = stream.flush();
            let _ = stream.read(&mut [0; 1]);
        }
    });
    address
}

#[test]
fn an_address_that_serves_another_certificate_is_told_and_no_more_than_three_are_asked() {
    let ca = TestCa::new("example.org");
    let (old, new) = (ca.issue("/api"), ca.issue("/api"));
    let (first, same) = (server(&new), server(&new));
    let stale = server(&old);
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let target = Target {
        address: first,
        name: &ServerName::try_from("localhost").unwrap(),
        host: "localhost",
        http: None,
        limit: Duration::from_secs(10),
    };
    let served = new.chain_der().remove(0);
    let mut drift = Drift::default();
    let all = [same, first, stale, closed, server(&new), server(&new)];
    drift.ask(&target, &all, &served).unwrap();
    let asked = drift.others.iter();
    let asked: Vec<_> = asked
        .map(|it| (it.address, it.same, it.serial.clone()))
        .collect();
    assert_eq!(
        asked,
        [
            (same, true, Some(new.serial())),
            (stale, false, Some(old.serial())),
            (closed, false, None)
        ]
    );
    assert_eq!(drift.unasked, 2);
}

#[test]
fn a_clock_is_off_by_more_than_three_minutes_either_way() {
    let clock = |head: &str| {
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT");
        let at = Timestamp::from_unix(784_111_777);
        Clock::of(&Answer { text, at })
    };
    let of = |date: &str| clock(&format!("server: x\r\nDATE: {date}")).unwrap();
    let exact = of("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(exact, Clock { ahead: 0 });
    assert!(!exact.is_off());
    assert_eq!(of("Sun, 06 Nov 1994 08:52:37 GMT").ahead, 180);
    assert!(!of("Sun, 06 Nov 1994 08:52:37 GMT").is_off());
    assert!(of("Sun, 06 Nov 1994 08:52:38 GMT").is_off());
    let behind = of("Sun, 06 Nov 1994 08:46:36 GMT");
    assert_eq!(behind.ahead, -181);
    assert!(behind.is_off());
    // Nothing is made up of a head without one, nor of one that is none.
    assert_eq!(clock("server: x"), None);
    assert_eq!(clock("date: yesterday"), None);
}
