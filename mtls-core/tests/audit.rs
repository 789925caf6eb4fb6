//! What an audit is told, and the lines that it writes.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use mtls_core::rustls::crypto::aws_lc_rs::default_provider;
use mtls_core::rustls::{ClientConfig, RootCertStore};
use mtls_core::testing::{LeafOptions, TestCa, handshake_with_foreign};
use mtls_core::{
    AuditEvent, AuditOutcome, AuditRequest, AuditSubject, ConnectionFacts, Forwarded,
    ForwardedFormat, HandshakeError, JsonLines, Observer, PeerInfo, Policy, ServerTls,
};

/// A writer to look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn peer(leaf: LeafOptions) -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue_with(leaf))
}

/// Why a server of `ca` refuses what `issuer` issued.
fn refused(ca: &TestCa, issuer: &TestCa, leaf: LeafOptions) -> HandshakeError {
    let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::spiffe_id("spiffe://example.org/web").unwrap())
        .build()
        .unwrap();
    let issued = issuer.issue_with(leaf);
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(issued.chain_der(), issued.key_der())
        .unwrap();
    handshake_with_foreign(&server, Arc::new(client), "localhost").unwrap_err()
}

fn a_probe() -> HandshakeError {
    HandshakeError::PeerClosed
}

#[test]
fn whom_nobody_has_proven_is_presented_and_no_peer() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let facts = ConnectionFacts::new(Some(([192, 0, 2, 7], 51000).into()));
    let stranger = refused(&ca, &other, LeafOptions::new().spiffe("/web"));
    let event = AuditEvent::handshake_refused(facts, None, &stranger);
    assert_eq!(event.outcome, AuditOutcome::Deny);
    let AuditSubject::Presented(presented) = event.who else {
        panic!("{event:?}");
    };
    assert_eq!(presented.name, "spiffe://example.org/web");
    assert_eq!(
        (event.policy_version, event.generation, event.rule),
        (None, None, None)
    );

    let batch = refused(&ca, &ca, LeafOptions::new().spiffe("/batch"));
    let event = AuditEvent::handshake_refused(facts, None, &batch);
    let AuditSubject::Peer(peer) = event.who else {
        panic!("{event:?}");
    };
    assert_eq!(peer.to_string(), "spiffe://example.org/batch");
    assert!(event.rule.unwrap().contains("spiffe://example.org/web"));
    assert_eq!(event.connection, facts.id());

    let probe = a_probe();
    let event = AuditEvent::handshake_refused(facts, None, &probe);
    assert!(matches!(event.who, AuditSubject::Nobody));
}

#[test]
fn no_two_connections_have_one_number() {
    let facts = [ConnectionFacts::new(None), ConnectionFacts::new(None)];
    assert_ne!(facts[0].id(), facts[1].id());
    let ca = TestCa::new("example.org");
    let web = ca.issue("/web");
    assert_ne!(ca.peer(&web).connection_id(), ca.peer(&web).connection_id());
}

/// Events of every shape, with texts that would break a careless writer.
fn tell_everything(observer: &impl Observer) -> usize {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let facts = ConnectionFacts::new(Some("[2001:db8::1]:443".parse().unwrap()));
    let hostile = "a\"b\\c\r\n{\"outcome\":\"allow\"}\u{7f}\u{2028}\u{202e}\u{fc}\u{1f600}";
    let errors = [
        refused(
            &ca,
            &other,
            LeafOptions::new().no_san().common_name(hostile),
        ),
        refused(
            &ca,
            &other,
            LeafOptions::new().uri("https://example.org/\"}"),
        ),
        refused(&ca, &ca, LeafOptions::new().spiffe("/batch").expired()),
        refused(&ca, &ca, LeafOptions::new().spiffe("/batch")),
        HandshakeError::PeerClosed,
        HandshakeError::PlaintextPeer,
    ];
    for error in &errors {
        observer.observe(&AuditEvent::handshake_refused(facts, None, error));
    }
    observer.observe(&AuditEvent::handshake_panicked(facts));
    let web = peer(LeafOptions::new().spiffe("/web").common_name(hostile));
    observer.observe(&AuditEvent::handshake_allowed(&web));
    observer.observe(&AuditEvent::connection_lost(&web, &errors[0]));
    let client = Forwarded::accept_from(Policy::any_verified_peer(), ForwardedFormat::Xfcc)
        .read(Some(&web), |_| {
            [&b"Subject=\"a\\\"b\\\";URI=spiffe://example.org/c"[..]]
        })
        .unwrap_err();
    let long = format!("/{}", "a\"".repeat(5000));
    for path in ["/", "/orders/\"", hostile, "", &long] {
        let request = AuditRequest::new("GET", path);
        observer.observe(&AuditEvent::request(&web, request).policy_version(u64::MAX));
        observer.observe(&AuditEvent::request(&web, request).malformed(&client));
        observer.observe(&AuditEvent::request(&web, request).lost(&errors[3]));
    }
    let client = Forwarded::accept_from(Policy::any_verified_peer(), ForwardedFormat::Xfcc)
        .read(Some(&web), |_| {
            [&b"Subject=\"a\\\"b\";URI=spiffe://example.org/c"[..]]
        })
        .unwrap();
    let request = AuditRequest::new("POST", "/");
    observer.observe(&AuditEvent::request(&web, request).forwarded(client.as_ref()));
    errors.len() + 3 + 15 + 1
}

#[test]
fn every_line_is_one_object_to_a_foreign_reader() {
    let written = Shared::default();
    let lines = JsonLines::start(written.clone()).unwrap();
    let count = tell_everything(&lines);
    drop(lines);
    let text = written.text();
    assert_eq!(text.matches('\n').count(), count);
    assert!(!text.contains("-----BEGIN") && !text.contains("PRIVATE"));
    let Some(read) = python(&text) else {
        return;
    };
    // As it was counted and understood over there.
    let expected = format!("{count} lines\n");
    assert!(read.starts_with(&expected), "{read}");
    for said in [
        "forwarded spiffe://example.org/c",
        "peer spiffe://example.org/web allow None",
        "presented https://example.org/\"} deny unknown_issuer",
        "peer spiffe://example.org/batch deny not_authorized",
        "presented spiffe://example.org/batch deny expired",
        "nobody deny peer_closed",
        "nobody deny handshake_panicked",
        "path /orders/\"",
        "path of 2049",
    ] {
        assert!(
            read.lines().any(|line| line == said),
            "{said} is not in {read}"
        );
    }
}

/// What python makes of the lines; it is said if there is none.
fn python(text: &str) -> Option<String> {
    const READ: &str = r#"
import json, sys
lines = sys.stdin.buffer.read().decode('utf-8').splitlines()
print(len(lines), 'lines')
for line in lines:
    event = json.loads(line)
    for kind in ('peer', 'presented'):
        if kind in event:
            print(kind, event[kind]['name'], event['outcome'], event.get('reason'))
    if 'peer' not in event and 'presented' not in event:
        print('nobody', event['outcome'], event.get('reason'))
    if 'forwarded' in event:
        print('forwarded', event['forwarded']['spiffe_id'])
    if 'request' in event:
        path = event['request']['path']
        print('path', path if len(path) < 2000 else 'of %d' % len(path))
"#;
    let child = Command::new("python3")
        .args(["-c", READ])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        let said = "left out: every_line_is_one_object_to_a_foreign_reader: no python3 here\n";
        let required = std::env::var_os("MTLS_REQUIRE_FOREIGN").is_some_and(|value| value == "1");
        assert!(!required, "{said}");
        // Not `eprintln!`: the harness keeps that to itself when a test passes.
        io::stderr().write_all(said.as_bytes()).unwrap();
        return None;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Writes when it is let, and tells when it begins to.
struct Slow {
    begun: Sender<()>,
    go: Receiver<()>,
    into: Shared,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        // When nobody holds it back any more, it writes on.
        let _ = self.go.recv();
        self.into.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_writer_delays_nobody_and_what_it_loses_is_counted_in_the_next_line() {
    let (begun, begins) = channel();
    let (go, gone) = channel();
    let into = Shared::default();
    let slow = Slow {
        begun,
        go: gone,
        into: into.clone(),
    };
    let lines = JsonLines::with_queue(slow, 1000).unwrap();
    let error = a_probe();
    let observe = || {
        let facts = ConnectionFacts::new(None);
        lines.observe(&AuditEvent::handshake_refused(facts, None, &error));
    };
    observe();
    begins.recv().unwrap();
    // The writer hangs; whoever observes does not.
    for _ in 0..100 {
        observe();
    }
    let lost = lines.dropped();
    assert!((90..100).contains(&lost), "{lost}");
    drop(go);
    drop(lines);
    let text = into.text();
    let told: Vec<_> = text
        .lines()
        .filter(|line| line.contains("\"dropped\""))
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(
        told[0].ends_with(&format!(",\"dropped\":{lost}}}")),
        "{}",
        told[0]
    );
    assert_eq!(text.lines().count() as u64, 101 - lost);
}

/// Fails the first time, in the middle of a line.
struct Failing {
    failed: bool,
    into: Shared,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.failed, true) {
            let (half, _) = bytes.split_at(10);
            self.into.write_all(half).unwrap();
            return Err(io::Error::other("disk full"));
        }
        self.into.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_was_torn_spoils_no_other_and_is_counted() {
    let into = Shared::default();
    let failing = Failing {
        failed: false,
        into: into.clone(),
    };
    let lines = JsonLines::start(failing).unwrap();
    let error = a_probe();
    for _ in 0..3 {
        let facts = ConnectionFacts::new(None);
        lines.observe(&AuditEvent::handshake_refused(facts, None, &error));
    }
    drop(lines);
    let text = into.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0].len(), 10);
    assert!(lines[1].starts_with('{') && lines[1].ends_with(",\"dropped\":1}"));
    assert!(lines[2].starts_with('{') && !lines[2].contains("dropped"));
}

#[test]
fn the_thread_ends_with_its_observer() {
    struct Told {
        _alive: Sender<()>,
    }
    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_alive, ended) = channel();
    let lines = JsonLines::start(Told { _alive }).unwrap();
    assert!(matches!(
        ended.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Empty)
    ));
    drop(lines);
    // Its writer went with it.
    assert!(ended.recv().is_err());
}

#[test]
fn an_anonymous_client_is_told_as_one_without_a_peer() {
    let ca = TestCa::new("example.org");
    let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let from = Some("192.0.2.7:4711".parse().unwrap());
    let client = server.plaintext_client(ConnectionFacts::new(from));
    let written = Shared::default();
    let lines = JsonLines::start(written.clone()).unwrap();
    lines.observe(&AuditEvent::handshake_allowed(&client));
    let request = AuditRequest::new("GET", "/orders");
    lines.observe(&AuditEvent::request(&client, request).no_peer());
    drop(lines);
    let text = written.text();
    let (allowed, denied) = text.split_once('\n').unwrap();
    for said in [
        r#""stage":"handshake","outcome":"allow""#,
        r#""remote_addr":"192.0.2.7:4711","anonymous":"plaintext"}"#,
    ] {
        assert!(allowed.contains(said), "{allowed}");
    }
    for said in [
        r#""stage":"request","outcome":"deny""#,
        r#""anonymous":"plaintext","reason":"no_peer_certificate""#,
    ] {
        assert!(denied.contains(said), "{denied}");
    }
    assert!(!text.contains("\"peer\""), "{text}");
}
