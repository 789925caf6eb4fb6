//! Ports where no TLS is spoken.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::{World, assert_verdict, probe};

/// A port, and what becomes of whoever comes to it.
fn serve(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream);
        }
    });
    port
}

#[test]
fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let report = probe(port, &[]);
    assert_verdict(&report, "unreachable");
    assert!(report.1["reached"].is_null(), "{report:?}");
}

#[test]
fn a_silent_port_is_told_from_a_closed_one() {
    let kept = std::sync::Mutex::new(Vec::new());
    let port = serve(move |stream| kept.lock().unwrap().push(stream));
    let report = probe(port, &["--timeout", "1"]);
    assert_verdict(&report, "timeout");
    assert!(report.1["reached"].is_object(), "{report:?}");
}

#[test]
fn a_port_of_plain_http_does_not_speak_tls() {
    let port = serve(|mut stream| {
        let mut hello = [0; 5];
        let _ = stream.read_exact(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        // Until the other side is done, so that it reads this and no reset.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let report = probe(port, &[]);
    assert_verdict(&report, "plaintext_peer");
    assert_eq!(report.1["verdict"]["reason"], "plaintext_peer");
    let says = report.1["verdict"]["says"].as_str().unwrap();
    assert!(says.contains("plain HTTP"), "{says}");
}

#[test]
fn a_port_that_speaks_first_and_something_else_is_known_by_its_greeting() {
    for (greeting, what) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        ("220 mail.example.org ESMTP\r\n", "SMTP"),
        ("+OK ready\r\n", "does not speak TLS"),
    ] {
        let port = serve(move |mut stream| {
            let _ = stream.write_all(greeting.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let report = probe(port, &[]);
        assert_verdict(&report, "plaintext_peer");
        let says = report.1["verdict"]["says"].as_str().unwrap();
        assert!(says.contains(what), "{says}");
    }
}

#[test]
fn a_port_that_hangs_up_closed_the_connection() {
    let port = serve(|mut stream| {
        let mut hello = [0; 2048];
        let _ = stream.read(&mut hello);
    });
    assert_verdict(&probe(port, &[]), "peer_closed");
}

#[test]
fn with_credentials_it_is_the_same_and_without_good_ones_nobody_is_asked() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert_verdict(&probe(port, &["--dir", &world.text("web")]), "unreachable");
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["probe", "localhost:1", "--dir", &world.text("not-there")])
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(2), "{said:?}");
}
