//! The plaintext port for probes.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{CredentialSource, Health};
use mtls_tower::{Probes, health};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{listen, within};
use crate::rig::{Answer, Http};

fn start(source: &CredentialSource) -> SocketAddr {
    let server = health(listen(), source);
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.into_future());
    addr
}

async fn ask(addr: SocketAddr, request: &str) -> Answer {
    let mut http = Http(within(TcpStream::connect(addr)).await.unwrap());
    let answer = http.try_ask(request).await.expect("an answer");
    assert_eq!(
        within(http.0.read(&mut [0])).await.unwrap_or(0),
        0,
        "one each"
    );
    answer
}

async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let answer = ask(addr, &request).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_source_that_can_serve_is_alive_and_ready() {
    let ca = TestCa::new("example.org");
    let addr = start(&ca.source(&ca.issue("/api")));
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(get(addr, path).await, (200, "ok".into()));
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(ask(addr, &head).await.status, 200);
    }
    let (status, body) = get(addr, "/readyz?verbose").await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        "[+]ping ok\n[+]credentials ok\n[+]source ok\nreadyz check passed\n"
    );
}

#[tokio::test]
async fn when_no_new_handshake_can_succeed_it_is_alive_and_not_ready() {
    let ca = TestCa::new("example.org");
    let now = SystemTime::UNIX_EPOCH
        + Duration::from_secs(u64::try_from(mtls_core::Timestamp::now().as_unix()).unwrap());
    let second = Duration::from_secs(1);
    let leaf = LeafOptions::service("/api").validity(now - second, now + 2 * second);
    let source = ca.source(&ca.issue_with(leaf));
    let addr = start(&source);
    within(async {
        while source.status().health != Health::Expired {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (status, body) = get(addr, "/readyz").await;
    assert_eq!(status, 503);
    assert!(body.contains("[-]credentials expired\n"), "{body}");
    assert!(body.ends_with("readyz check failed\n"), "{body}");
    assert!(!body.contains("example.org"), "{body}");
    assert_eq!(get(addr, "/livez").await, (200, "ok".into()));
}

#[tokio::test]
async fn of_several_sources_the_worst_decides_and_each_is_named() {
    let ca = TestCa::new("example.org");
    let named = |name: &str, leaf: LeafOptions| {
        let builder = CredentialSource::builder().name(name);
        let material = ca.issue_with(leaf).material();
        let (_publisher, source) = builder.publish(material, ca.trust_material()).unwrap();
        source
    };
    let sound = || LeafOptions::service("/api");
    let ends = || sound().expires_in(Duration::from_secs(60));
    let ask = |probes: Probes| async move {
        let server = health(listen(), probes.ready_margin(Duration::from_secs(3600)));
        let addr = server.local_addr().unwrap();
        let task = tokio::spawn(server.into_future());
        let (status, body) = get(addr, "/readyz?verbose").await;
        assert_eq!(get(addr, "/livez").await, (200, "ok".into()));
        task.abort();
        (status, body)
    };
    let (server, client) = (named("server", sound()), named("client", sound()));
    let both = "[+]ping ok\n[+]server/credentials ok\n[+]server/source ok\n\
                [+]client/credentials ok\n[+]client/source ok\nreadyz check passed\n";
    let answer = ask(Probes::of(&server).and(&client)).await;
    assert_eq!(answer, (200, both.to_owned()));

    // Whichever it is.
    let ending = named("client", ends());
    let failed = "[+]ping ok\n[+]server/credentials ok\n[+]server/source ok\n\
                  [-]client/credentials about to expire\n[+]client/source ok\nreadyz check failed\n";
    let answer = ask(Probes::of(&server).and(&ending)).await;
    assert_eq!(answer, (503, failed.to_owned()));
    let (status, body) = ask(Probes::of(&ending).and(&server)).await;
    assert_eq!(status, 503);
    assert!(
        body.contains("[-]client/credentials about to expire\n"),
        "{body}"
    );
    assert!(body.contains("[+]server/credentials ok\n"), "{body}");

    // Two that nobody has named are told apart all the same.
    let (one, other) = (named("default", sound()), named("default", ends()));
    let (status, body) = ask(Probes::of(&one).and(&other)).await;
    assert_eq!(status, 503);
    assert!(body.contains("[+]default/credentials ok\n"), "{body}");
    assert!(
        body.contains("[-]default-2/credentials about to expire\n"),
        "{body}"
    );
}

#[tokio::test]
async fn it_serves_nothing_else() {
    let ca = TestCa::new("example.org");
    let addr = start(&ca.source(&ca.issue("/api")));
    for path in [
        "/",
        "/orders",
        "/livez/",
        "/readyz/../orders",
        "/LIVEZ",
        "//livez",
        "/livez%2f",
        "*",
    ] {
        assert_eq!(get(addr, path).await.0, 404, "{path}");
    }
    for method in ["POST", "PUT", "OPTIONS", "CONNECT", "TRACE", "DELETE"] {
        let target = if method == "CONNECT" {
            "localhost:1"
        } else {
            "/livez"
        };
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(ask(addr, &request).await.status, 404, "{method}");
    }
    let upgrade =
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    assert_eq!(ask(addr, upgrade).await.status, 200);
}

#[tokio::test]
async fn a_body_is_not_waited_for_and_a_large_head_is_refused() {
    let ca = TestCa::new("example.org");
    let addr = start(&ca.source(&ca.issue("/api")));
    let large = "POST /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n";
    assert_eq!(ask(addr, large).await.status, 404);
    let mut tcp = within(TcpStream::connect(addr)).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nx: {}", "a".repeat(64 * 1024));
    let _ = tcp.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = within(tcp.read_to_end(&mut answer)).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn whoever_holds_connections_open_keeps_no_probe_out() {
    let ca = TestCa::new("example.org");
    let addr = start(&ca.source(&ca.issue("/api")));
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(within(TcpStream::connect(addr)).await.unwrap());
    }
    assert_eq!(get(addr, "/livez").await, (200, "ok".into()));
    let first = &mut silent[0];
    assert_eq!(
        within(first.read(&mut [0])).await.unwrap_or(0),
        0,
        "gave way"
    );
}
