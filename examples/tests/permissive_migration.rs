//! The migration example, as a process.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Stdio;
use std::time::Duration;

use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{ClientTls, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

#[derive(Debug)]
struct Server {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    addr: String,
    probes: String,
}

impl Server {
    async fn start(ca: &TestCa, end: Option<Timestamp>) -> (Self, MountedDir) {
        let mount = MountedDir::new(&ca.issue("/api"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_permissive_migration"))
            .args([mount.path().to_str().unwrap(), "127.0.0.1:0"])
            .args(end.map(|end| end.as_unix().to_string()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = timeout(LIMIT, said.next_line()).await.unwrap().unwrap();
        let ready = ready.unwrap();
        let (addr, probes) = ready.split_once(", probes on ").unwrap();
        let server = Self {
            addr: addr.strip_prefix("listening on ").unwrap().to_owned(),
            probes: probes.to_owned(),
            process,
            said,
        };
        (server, mount)
    }

    /// What it prints when it gets this signal.
    async fn signal(&mut self, signal: &str) -> String {
        let pid = self.process.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.await.unwrap().success());
        let mut report = String::new();
        loop {
            let line = timeout(LIMIT, self.said.next_line()).await.unwrap();
            match line.unwrap().as_deref() {
                Some("") => return report,
                line => report = format!("{report}{}\n", line.unwrap()),
            }
        }
    }
}

async fn plaintext(tcp: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let _ = tcp.write_all(request.as_bytes()).await;
    let mut answer = vec![0; 4096];
    let read = timeout(LIMIT, tcp.read(&mut answer)).await.unwrap();
    answer.truncate(read.unwrap_or(0));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn mutual_tls(ca: &TestCa, server: &Server, path: &str) -> (u16, String) {
    let tls = ClientTls::builder(&ca.source(&ca.issue("/web")))
        .verify_server_name()
        .build()
        .unwrap();
    let http = mtls_reqwest::Client::new(tls).unwrap();
    let url = format!("https://{}{path}", server.addr);
    let answer = timeout(LIMIT, http.get(&url).send())
        .await
        .unwrap()
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn the_report_names_who_is_in_plaintext_and_going_strict_refuses_them_alone() {
    let ca = TestCa::new("example.org");
    let (mut server, _mount) = Server::start(&ca, None).await;
    let mut old = TcpStream::connect(&server.addr).await.unwrap();
    let said = plaintext(&mut old, "/whoami").await;
    assert!(said.ends_with("somebody"), "{said}");
    let said = plaintext(&mut old, "/orders").await;
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    let report = server.signal("-USR1").await;
    assert!(report.starts_with("permissive, "), "{report}");
    assert!(
        report.contains("\n127.0.0.1: 1 connections, 1 open"),
        "{report}"
    );

    let report = server.signal("-USR2").await;
    assert!(report.starts_with("strict, "), "{report}");
    let said = plaintext(&mut old, "/whoami").await;
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    let mut new = TcpStream::connect(&server.addr).await.unwrap();
    assert!(!plaintext(&mut new, "/whoami").await.contains("HTTP"));
    let answer = mutual_tls(&ca, &server, "/whoami").await;
    assert_eq!(answer, (200, ca.spiffe_id("/web")));
    assert_eq!(mutual_tls(&ca, &server, "/orders").await.0, 200);
    let mut probe = TcpStream::connect(&server.probes).await.unwrap();
    let said = plaintext(&mut probe, "/readyz").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[tokio::test]
async fn an_end_date_that_has_passed_is_strict_from_the_start() {
    let ca = TestCa::new("example.org");
    let past = Timestamp::from_unix(Timestamp::now().as_unix() - 1);
    let (server, _mount) = Server::start(&ca, Some(past)).await;
    let mut old = TcpStream::connect(&server.addr).await.unwrap();
    assert!(!plaintext(&mut old, "/whoami").await.contains("HTTP"));
    assert_eq!(mutual_tls(&ca, &server, "/orders").await.0, 200);
}

const LIMIT: Duration = Duration::from_secs(30);
