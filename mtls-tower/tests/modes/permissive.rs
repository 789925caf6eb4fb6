//! Plaintext on the port of mutual TLS, while that is permitted.

use std::future::IntoFuture;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::testing::TestCa;
use mtls_core::{ClientCertificates, Forwarded, ForwardedFormat, Policy, ServerTls, Timestamp};
use mtls_tower::{Limits, Permissive, PermissiveReport, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio_rustls::client::TlsStream;
use tracing::Level;

use crate::common::{Foreign, HOUR, Log, connect, listen, patient, within};
use crate::rig::{Http, service, tcp_from, tls};

macro_rules! start {
    ($tls:expr, $permissive:expr $(, $with:ident($value:expr))*) => {{
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let serve = serve(listener, $tls, service())
            .limits(patient().first_byte_timeout(HOUR))
            .lost_peer_deadline(HOUR)
            .permissive($permissive.clone())
            $(.$with($value))*;
        tokio::spawn(serve.into_future());
        addr
    }};
}

fn required(ca: &TestCa) -> ServerTls {
    tls(ca, ClientCertificates::Required)
}

async fn plaintext(last: u8, addr: SocketAddr) -> Http<TcpStream> {
    Http(tcp_from(last, addr).await)
}

async fn peer(last: u8, ca: &TestCa, addr: SocketAddr) -> Http<TlsStream<TcpStream>> {
    let config = Foreign::presenting(&ca.issue("/web")).alpn(&["http/1.1"]);
    let tcp = tcp_from(last, addr).await;
    Http(connect(config.config(ca), tcp).await.unwrap())
}

fn in_plaintext(report: &PermissiveReport) -> Vec<(u8, u64, u64, u64)> {
    let last = |ip| match ip {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => panic!("{ip}"),
    };
    let mut found: Vec<_> = report
        .plaintext
        .iter()
        .map(|it| (last(it.ip), it.connections, it.open, it.downgrades))
        .collect();
    found.sort_unstable();
    found
}

/// A request, and what becomes of the connection: the server answers nothing in HTTP.
async fn is_refused(mut http: Http<TcpStream>) -> bool {
    let request = b"GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let _ = http.0.write_all(request).await;
    let mut answer = Vec::new();
    let _ = within(http.0.read_to_end(&mut answer)).await;
    // An alert of TLS, if it was not overtaken.
    answer.first().is_none_or(|first| *first == 21)
}

#[tokio::test]
async fn plaintext_and_mutual_tls_are_served_on_one_port_and_identity_rules_let_in_peers_alone() {
    let ca = TestCa::new("example.org");
    let addr = start!(required(&ca), Permissive::without_end());
    let mut old = plaintext(2, addr).await;
    assert_eq!(old.who().await, "anonymous plaintext");
    assert_eq!(old.get("/rules/open").await.status, 200);
    for path in ["/orders", "/rules/closed"] {
        assert_eq!(old.get(path).await.status, 401);
    }
    let mut new = peer(3, &ca, addr).await;
    assert_eq!(new.who().await, "peer spiffe://example.org/web");
    for path in ["/orders", "/rules/closed"] {
        assert_eq!(new.get(path).await.status, 200);
    }
}

#[tokio::test]
async fn http_2_in_plaintext_is_told_by_its_preface() {
    let ca = TestCa::new("example.org");
    let addr = start!(required(&ca), Permissive::without_end());
    let io = TokioIo::new(tcp_from(2, addr).await);
    let (mut http, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let _connection = tokio::spawn(connection);
    for (path, status, says) in [("/who", 200, "anonymous plaintext"), ("/orders", 401, "")] {
        let request = Request::get(format!("http://localhost{path}"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = within(http.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), status);
        let body = within(answer.into_body().collect()).await.unwrap();
        assert_eq!(body.to_bytes(), says);
    }
}

#[tokio::test]
async fn by_tls_a_permissive_server_refuses_whom_it_would_refuse_anyway() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let permissive = Permissive::without_end();
    let addr = start!(required(&ca), permissive);
    for (client, alert) in [
        (Foreign::nobody(), "certificate_required"),
        (Foreign::presenting(&other.issue("/web")), "unknown_ca"),
    ] {
        assert_eq!(
            crate::common::refusal(client.config(&ca), addr).await,
            alert
        );
    }
    assert_eq!(permissive.report().connections, 0);
}

#[tokio::test]
async fn the_report_names_who_is_still_in_plaintext_and_nobody_else() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let addr = start!(required(&ca), permissive);
    assert_eq!(in_plaintext(&permissive.report()), []);
    let (mut two, mut again) = (plaintext(2, addr).await, plaintext(2, addr).await);
    let mut three = plaintext(3, addr).await;
    for http in [&mut two, &mut again, &mut three] {
        http.who().await;
    }
    let mut four = peer(4, &ca, addr).await;
    four.who().await;
    let report = permissive.report();
    assert_eq!(in_plaintext(&report), [(2, 2, 2, 0), (3, 1, 1, 0)]);
    assert_eq!((report.connections, report.open), (3, 3));
    assert!(!report.is_safe_to_go_strict(Duration::ZERO));
    let text = report.to_string();
    assert!(
        text.contains("2 addresses in plaintext, 3 connections, 3 open"),
        "{text}"
    );
    assert!(
        text.contains("\n127.0.0.3: 1 connections, 1 open"),
        "{text}"
    );
    assert!(!text.contains("127.0.0.4"), "{text}");
    drop((two, again, three));
    within(async {
        while permissive.report().open > 0 {
            yield_now().await;
        }
    })
    .await;
    let report = permissive.report();
    assert_eq!(in_plaintext(&report), [(2, 2, 0, 0), (3, 1, 0, 0)]);
    assert!(report.is_safe_to_go_strict(Duration::ZERO));
    assert!(!report.is_safe_to_go_strict(HOUR));
}

#[tokio::test]
async fn going_strict_refuses_exactly_those_in_plaintext() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let addr = start!(required(&ca), permissive);
    let mut log = Log::start();
    let mut two = plaintext(2, addr).await;
    let mut three = plaintext(3, addr).await;
    let mut four = peer(4, &ca, addr).await;
    two.who().await;
    three.who().await;
    four.who().await;
    assert_eq!(
        in_plaintext(&permissive.report()),
        [(2, 1, 1, 0), (3, 1, 1, 0)]
    );

    permissive.go_strict();
    for http in [&mut two, &mut three] {
        let answer = http.get("/who").await;
        assert_eq!(answer.status, 401);
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
        assert_eq!(within(http.0.read(&mut [0])).await.unwrap(), 0);
    }
    assert!(is_refused(plaintext(2, addr).await).await);
    assert_eq!(log.next_refusal().await.reason(), "plaintext_peer");
    assert_eq!(four.who().await, "peer spiffe://example.org/web");
    let mut five = peer(5, &ca, addr).await;
    assert_eq!(five.get("/orders").await.status, 200);
    let report = permissive.report();
    assert!(report.strict);
    assert_eq!(in_plaintext(&report), [(2, 1, 0, 0), (3, 1, 0, 0)]);
}

#[tokio::test]
async fn a_plaintext_connection_that_asks_nothing_is_closed_after_going_strict() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let soon = Duration::from_millis(200);
    let addr = start!(required(&ca), permissive, lost_peer_deadline(soon));
    let mut idle = plaintext(2, addr).await;
    idle.who().await;
    let mut silent = plaintext(3, addr).await;
    silent.0.write_all(b"G").await.unwrap();
    within(async {
        while permissive.report().open < 2 {
            yield_now().await;
        }
    })
    .await;
    let mut new = peer(4, &ca, addr).await;
    new.who().await;
    permissive.go_strict();
    for http in [&mut idle, &mut silent] {
        let mut rest = Vec::new();
        let _ = within(http.0.read_to_end(&mut rest)).await;
    }
    assert_eq!(new.who().await, "peer spiffe://example.org/web");
    within(async {
        while permissive.report().open > 0 {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn at_its_end_date_it_goes_strict_by_itself_and_before_it_it_does_not() {
    let ca = TestCa::new("example.org");
    let end = Timestamp::from_unix(Timestamp::now().as_unix() + 3);
    let permissive = Permissive::until(end);
    let soon = Duration::from_millis(50);
    let addr = start!(required(&ca), permissive, lost_peer_deadline(soon));
    let mut idle = plaintext(2, addr).await;
    idle.who().await;
    assert!(Timestamp::now() < end, "it was asked in time");
    // Nobody asks anything: the date alone closes it.
    assert_eq!(within(idle.0.read(&mut [0])).await.unwrap_or(0), 0);
    assert!(Timestamp::now() >= end);
    assert!(is_refused(plaintext(2, addr).await).await);

    let past = Permissive::until(Timestamp::from_unix(Timestamp::now().as_unix() - 1));
    let addr = start!(required(&ca), past);
    assert!(is_refused(plaintext(2, addr).await).await);
    assert_eq!(past.report().connections, 0);
    assert_eq!(peer(3, &ca, addr).await.get("/orders").await.status, 200);
}

#[tokio::test]
async fn tls_and_then_plaintext_from_one_address_is_counted_as_a_downgrade() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let permissive = Permissive::without_end();
    let addr = start!(required(&ca), permissive);
    peer(2, &ca, addr).await.who().await;
    // Who was refused has not come in by TLS.
    let stranger = Foreign::presenting(&other.issue("/web")).config(&ca);
    let mut refused = connect(stranger, tcp_from(3, addr).await).await.unwrap();
    assert!(within(refused.read_u8()).await.is_err());
    let mut open = Vec::new();
    for last in [2, 3, 2] {
        let mut http = plaintext(last, addr).await;
        http.who().await;
        open.push(http);
    }
    let report = permissive.report();
    assert_eq!(in_plaintext(&report), [(2, 2, 2, 2), (3, 1, 1, 0)]);
    assert_eq!(report.downgrades, 2);
    assert!(report.to_string().contains("2 after TLS"));
}

#[tokio::test]
async fn who_does_not_say_which_it_speaks_is_given_up_and_delays_nobody() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let mut log = Log::start();
    let bound = Duration::from_millis(300);
    let limits = Limits::default()
        .first_byte_timeout(bound)
        .handshake_timeout(bound * 2);
    let addr = start!(
        required(&ca),
        permissive,
        limits(limits),
        header_read_timeout(bound)
    );
    let mut silent = tcp_from(2, addr).await;
    let mut half_a_record = tcp_from(2, addr).await;
    half_a_record.write_all(&[0x16]).await.unwrap();
    let mut half_a_method = tcp_from(2, addr).await;
    half_a_method.write_all(b"P").await.unwrap();
    assert_eq!(peer(3, &ca, addr).await.get("/orders").await.status, 200);
    assert_eq!(plaintext(4, addr).await.get("/who").await.status, 200);
    for stalled in [&mut silent, &mut half_a_record, &mut half_a_method] {
        assert_eq!(within(stalled.read(&mut [0])).await.unwrap_or(0), 0);
    }
    for after in ["300 ms", "ms"] {
        let refusal = log.next_refusal().await;
        assert_eq!(refusal.reason(), "timeout");
        assert!(refusal.get("error").unwrap().contains(after));
    }
}

#[tokio::test]
async fn what_is_neither_is_refused_as_it_always_was_and_is_in_no_report() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let mut log = Log::start();
    let addr = start!(required(&ca), permissive);
    for garbage in [
        &b"\0\0\0\0\0\0\0\0"[..],
        b"get / http/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"\xff",
    ] {
        let mut tcp = tcp_from(2, addr).await;
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = within(tcp.read_to_end(&mut answer)).await;
        assert!(
            answer.first().is_none_or(|first| *first == 21),
            "{answer:?}"
        );
        let reason = log.next_refusal().await.reason().to_owned();
        assert!(
            ["plaintext_peer", "peer_closed", "tls_protocol"].contains(&&*reason),
            "{reason}"
        );
    }
    // Who connects and says nothing is a probe.
    drop(tcp_from(2, addr).await);
    assert_eq!(log.next_refusal().await.reason(), "peer_closed");
    assert_eq!(permissive.report().connections, 0);
}

#[tokio::test]
async fn what_a_plaintext_client_forwards_is_taken_out_and_believed_by_nobody() {
    let ca = TestCa::new("example.org");
    let believing = Forwarded::accept_from(Policy::any_verified_peer(), ForwardedFormat::Xfcc);
    let addr = start!(
        required(&ca),
        Permissive::without_end(),
        forwarded(believing)
    );
    let mut old = plaintext(2, addr).await;
    for header in [
        "x-forwarded-client-cert: By=spiffe://example.org/api;URI=spiffe://example.org/admin\r\n",
        "X_Forwarded_Client_Cert: URI=spiffe://example.org/admin\r\n",
        "x-forwarded-client-cert: =\"broken\r\n",
        "client-cert: :YQ==:\r\nl5d-client-id: admin\r\n",
    ] {
        assert_eq!(
            old.get_with("/who", header).await.body,
            "anonymous plaintext"
        );
        assert_eq!(old.get_with("/orders", header).await.status, 401);
    }
    // The twin: a peer's word counts here.
    let mut new = peer(3, &ca, addr).await;
    let header = "x-forwarded-client-cert: URI=spiffe://example.org/admin\r\n";
    let said = new.get_with("/who", header).await.body;
    assert_eq!(said, "peer spiffe://example.org/web, claimed");
}

#[tokio::test]
async fn an_upgrade_in_plaintext_leads_to_no_identity_and_ends_when_it_goes_strict() {
    let ca = TestCa::new("example.org");
    let permissive = Permissive::without_end();
    let soon = Duration::from_millis(200);
    let addr = start!(required(&ca), permissive, lost_peer_deadline(soon));
    let mut old = plaintext(2, addr).await;
    // RFC 2817 would have us go on in TLS, RFC 7540 in HTTP/2: neither happens.
    for upgrade in ["TLS/1.3", "h2c\r\nhttp2-settings: AAMAAABkAAQAAP__"] {
        let header = format!("connection: upgrade\r\nupgrade: {upgrade}\r\n");
        assert_eq!(
            old.get_with("/who", &header).await.body,
            "anonymous plaintext"
        );
        assert_eq!(old.get_with("/orders", &header).await.status, 401);
    }
    let header = "connection: upgrade\r\nupgrade: echo\r\n";
    let answer = old.get_with("/upgrade", header).await;
    assert_eq!(answer.status, 101);
    assert!(
        answer.head.contains("anonymous: plaintext"),
        "{}",
        answer.head
    );
    old.0.write_all(b"a").await.unwrap();
    assert_eq!(within(old.0.read_u8()).await.unwrap(), b'a');
    assert_eq!(permissive.report().open, 1);
    permissive.go_strict();
    assert_eq!(within(old.0.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn it_is_loud_without_an_end_date_and_says_nothing_of_a_single_connection() {
    let ca = TestCa::new("example.org");
    let log = Log::start();
    let far = Timestamp::from_unix(Timestamp::now().as_unix() + 3600);
    for (permissive, expected) in [(Permissive::without_end(), 1), (Permissive::until(far), 0)] {
        let before = log.at(Level::WARN).len();
        let addr = start!(required(&ca), permissive);
        for last in 2..7 {
            plaintext(last, addr).await.who().await;
        }
        let warned = &log.at(Level::WARN)[before..];
        assert_eq!(warned.len(), expected, "{warned:?}");
        assert!(warned.iter().all(|it| it.message().contains("no end date")));
    }
}
