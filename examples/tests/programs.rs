//! Our examples as processes, on real directories, each asked by somebody who may and by somebody who may not; and how long
//! they are to read. `grpc`, `axum_server` and `reqwest_client` have tests of their own.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the files are the tests' own"
)]

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::{fs, iter};

use mtls_core::rustls::pki_types::ServerName;
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{Alert, ClientTls};
use mtls_reqwest::Client;
use mtls_tower::Connector;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

#[test]
fn every_example_is_a_file_of_less_than_60_lines() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut read = Vec::new();
    for entry in fs::read_dir(programs).unwrap() {
        let path = entry.unwrap().path();
        // The quickstart is one to run, not one to begin from.
        if path.is_file() {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines < 60, "{} has {lines} lines", path.display());
            read.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    for name in [
        "axum_listener",
        "axum_server",
        "behind_ingress",
        "grpc",
        "per_route_policy",
    ] {
        assert!(read.iter().any(|read| read == name), "{name} is gone");
    }
}

/// A running program.
#[derive(Debug)]
struct Server {
    _process: Child,
    /// Where it says that it listens.
    at: String,
}

impl Server {
    async fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::of(&mut command).await
    }

    async fn of(command: &mut Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = within(lines.next_line()).await.unwrap().unwrap();
        let at = ready.strip_prefix("listening on ").unwrap().to_owned();
        Self {
            _process: process,
            at,
        }
    }

    async fn ask(&self, http: &Client, path: &str) -> (u16, String) {
        answer(http.get(format!("{}{path}", self.at))).await
    }
}

async fn answer(request: mtls_reqwest::RequestBuilder) -> (u16, String) {
    let response = within(request.send()).await.unwrap();
    (
        response.status().as_u16(),
        within(response.text()).await.unwrap(),
    )
}

/// What a program that ends has said, and whether it succeeded.
async fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let command = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = within(command).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.unwrap()
}

fn client_tls(ca: &TestCa, path: &str) -> ClientTls {
    let source = ca.source(&ca.issue(path));
    ClientTls::builder(&source)
        .verify_server_name()
        .build()
        .unwrap()
}

fn client(ca: &TestCa, path: &str) -> Client {
    Client::new(client_tls(ca, path)).unwrap()
}

/// Credentials of another CA of the same trust domain, whose holder would accept ours.
fn stranger(ca: &TestCa) -> MountedDir {
    let theirs = TestCa::new("example.org");
    let issued = theirs.issue("/web");
    let both = [ca.bundle_pem(), theirs.bundle_pem()].concat();
    let dir = MountedDir::empty();
    dir.rotate_with(issued.chain_pem(), issued.key_pem(), both);
    dir
}

fn text(dir: &MountedDir) -> &str {
    dir.path().to_str().unwrap()
}

#[tokio::test]
async fn axum_listener_knows_its_peers_and_keeps_a_route_for_one() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(LISTENER, &[text(&mount), "127.0.0.1:0"]).await;
    let (web, admin) = (client(&ca, "/web"), client(&ca, "/admin"));
    let (status, said) = server.ask(&web, "/whoami").await;
    assert_eq!(status, 200);
    assert!(
        said.starts_with("spiffe://example.org/web at 127.0.0.1:"),
        "{said}"
    );
    assert_eq!(server.ask(&web, "/admin").await.0, 403);
    assert_eq!(server.ask(&admin, "/admin").await.0, 200);
}

/// systemd.socket(5): descriptors from 3 on, how many in `LISTEN_FDS`, and for whom in `LISTEN_PID`.
async fn handed_down(mount: &MountedDir, for_whom: &str) -> (Server, SocketAddr) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let script =
        format!("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID={for_whom}; exec \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh", LISTENER, text(mount), "127.0.0.1:0"])
        .stdin(Stdio::from(OwnedFd::from(socket)));
    (Server::of(&mut command).await, addr)
}

#[tokio::test]
async fn axum_listener_takes_the_socket_that_a_service_manager_hands_down() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let (server, addr) = handed_down(&mount, "$$").await;
    assert_eq!(server.at, format!("https://{addr}"));
    let (status, said) = server.ask(&client(&ca, "/web"), "/whoami").await;
    assert_eq!(status, 200);
    assert!(said.starts_with("spiffe://example.org/web at "), "{said}");
}

#[tokio::test]
async fn a_socket_that_was_handed_to_another_process_is_left_alone() {
    let mount = MountedDir::new(&TestCa::new("example.org").issue("/api"));
    let (server, addr) = handed_down(&mount, "1").await;
    assert_ne!(server.at, format!("https://{addr}"));
}

#[tokio::test]
async fn per_route_policy_decides_by_its_file_and_follows_it() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    let policy = include_str!("../policy.toml");
    fs::write(&file, policy).unwrap();
    let program = env!("CARGO_BIN_EXE_per_route_policy");
    let arguments = [text(&mount), file.to_str().unwrap(), "127.0.0.1:0"];
    let server = Server::start(program, &arguments).await;
    let orders = format!("{}/orders", server.at);

    let (web, till) = (client(&ca, "/shop/web"), client(&ca, "/shop/till"));
    let read = server.ask(&web, "/orders").await;
    assert_eq!(
        read,
        (
            200,
            "the orders, for spiffe://example.org/shop/web\n".into()
        )
    );
    assert_eq!(answer(till.post(&orders)).await.0, 200);
    assert_eq!(answer(web.post(&orders)).await.0, 403);
    let other = client(&ca, "/batch");
    assert_eq!(server.ask(&other, "/orders").await.0, 403);
    // The file lets everybody through to that one, and the code does not.
    assert_eq!(server.ask(&other, "/admin").await.0, 403);
    assert_eq!(server.ask(&client(&ca, "/admin"), "/admin").await.0, 200);

    let next = dir.path().join("next.toml");
    let changed = policy.replace(
        "spiffe://example.org/shop/till",
        "spiffe://example.org/shop/web",
    );
    fs::write(&next, changed).unwrap();
    fs::rename(next, &file).unwrap();
    let followed = async { while answer(web.post(&orders)).await.0 != 200 {} };
    within(followed).await;
    assert_eq!(answer(till.post(&orders)).await.0, 403);
}

#[tokio::test]
async fn raw_tokio_echoes_for_whom_it_knows_and_its_client_talks_to_whom_it_expects() {
    let ca = TestCa::new("example.org");
    let [api, web] = ["/api", "/web"].map(|path| MountedDir::new(&ca.issue(path)));
    let program = env!("CARGO_BIN_EXE_raw_tokio");
    let server = Server::start(program, &["serve", text(&api), "127.0.0.1:0"]).await;
    let called = |dir, expected| [text(dir), &server.at, expected, "ping"];
    let call = |arguments: [&str; 4]| {
        let arguments: Vec<String> = iter::once("call")
            .chain(arguments)
            .map(Into::into)
            .collect();
        async move { run(program, &arguments.iter().map(|a| &**a).collect::<Vec<_>>()).await }
    };
    assert_eq!(call(called(&web, API)).await, (true, "ping\n".into()));
    let (done, said) = call(called(&web, "spiffe://example.org/db")).await;
    assert!(!done && said.contains("spiffe://example.org/db"), "{said}");
    let (done, said) = call(called(&stranger(&ca), API)).await;
    assert!(!done && said.contains("unknown_ca"), "{said}");
}

#[tokio::test]
async fn unix_socket_greets_whom_it_knows_and_its_client_hears_whom_it_expects() {
    let ca = TestCa::new("example.org");
    let [api, web] = ["/api", "/web"].map(|path| MountedDir::new(&ca.issue(path)));
    let program = env!("CARGO_BIN_EXE_unix_socket");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let socket = socket.to_str().unwrap();
    let _server = Server::start(program, &["serve", text(&api), socket]).await;
    let greeted = run(program, &["call", text(&web), socket, API]).await;
    assert_eq!(greeted, (true, "hello, spiffe://example.org/web\n".into()));
    let db = "spiffe://example.org/db";
    let (done, said) = run(program, &["call", text(&web), socket, db]).await;
    assert!(!done && said.contains(db), "{said}");
    let (done, said) = run(program, &["call", text(&stranger(&ca)), socket, API]).await;
    assert!(!done && said.contains("unknown_ca"), "{said}");
}

#[tokio::test]
async fn behind_ingress_takes_the_ingress_at_its_word_and_nobody_else() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(INGRESS, &[text(&mount), INGRESS_ID, "127.0.0.1:0"]).await;
    let whoami = format!("{}/whoami", server.at);
    let claim = |http: &Client| {
        http.get(&whoami)
            .header(XFCC, "URI=spiffe://example.org/web")
    };

    let ingress = client(&ca, "/ingress");
    let (status, said) = answer(claim(&ingress)).await;
    assert_eq!(status, 200);
    let expected = format!("spiffe://example.org/web by way of {INGRESS_ID} at 127.0.0.1:");
    assert!(said.starts_with(&expected), "{said}");
    // It may have requests of its own, and then there is nobody behind it.
    assert_eq!(server.ask(&ingress, "/whoami").await.0, 401);
    let other = client(&ca, "/batch");
    assert_eq!(answer(claim(&other)).await.0, 401);
    let direct = server.ask(&other, "/direct").await;
    assert_eq!(direct, (200, "spiffe://example.org/batch\n".into()));
}

#[tokio::test]
async fn behind_ingress_takes_addresses_from_its_balancer_by_the_proxy_protocol() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let flags = ["--proxy-protocol", "127.0.0.1"];
    let arguments = [text(&mount), INGRESS_ID, "127.0.0.1:0"];
    let server = Server::start(INGRESS, &[&arguments[..], &flags].concat()).await;
    let addr = server.at.strip_prefix("https://").unwrap();
    let tls = client_tls(&ca, "/ingress").with_alpn(["http/1.1"]);
    let connect = async |header: &[u8]| {
        let mut tcp = within(TcpStream::connect(addr)).await.unwrap();
        tcp.write_all(header).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        within(Connector::new(tls.clone()).handshake(name, tcp)).await
    };

    let mut stream = connect(b"PROXY TCP4 192.0.2.1 192.0.2.2 8080 443\r\n")
        .await
        .unwrap();
    let request = format!(
        "GET /whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{XFCC}: URI=spiffe://example.org/web\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    within(stream.read_to_string(&mut said)).await.unwrap();
    assert!(said.contains("at 192.0.2.1:8080\n"), "{said}");

    let refused = connect(b"").await.unwrap_err();
    assert!(Alert::find(&refused).is_none(), "before TLS: {refused}");
}

const API: &str = "spiffe://example.org/api";
const INGRESS_ID: &str = "spiffe://example.org/ingress";
const XFCC: &str = "x-forwarded-client-cert";

const LISTENER: &str = env!("CARGO_BIN_EXE_axum_listener");
const INGRESS: &str = env!("CARGO_BIN_EXE_behind_ingress");
