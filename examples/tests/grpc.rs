//! The gRPC example, as processes: our client and one that we did not write, Python's `grpcio`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mtls_core::testing::{MountedDir, TestCa};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running `grpc serve`.
#[derive(Debug)]
struct Server {
    _process: Child,
    addr: String,
}

impl Server {
    async fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_grpc"))
            .args(["serve", dir.to_str().unwrap(), "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
        let (_, addr) = ready.as_deref().unwrap().split_once("https://").unwrap();
        Self {
            addr: addr.to_owned(),
            _process: process,
        }
    }
}

#[derive(Debug)]
struct Said {
    success: bool,
    stdout: String,
    stderr: String,
}

async fn run(program: &str, arguments: &[&str]) -> Said {
    let command = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = timeout(LIMIT, command).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

async fn call(server: &Server, dir: &Path) -> Said {
    let url = format!("https://{}", server.addr);
    let arguments = [
        "call",
        dir.to_str().unwrap(),
        &url,
        "spiffe://example.org/api",
    ];
    run(env!("CARGO_BIN_EXE_grpc"), &arguments).await
}

#[tokio::test]
async fn the_client_is_answered_and_says_who_answered() {
    let ca = TestCa::new("example.org");
    let (api, web) = (ca.issue("/api"), MountedDir::new(&ca.issue("/web")));
    let mount = MountedDir::new(&api);
    let server = Server::start(mount.path(), &["--allow", &ca.spiffe_id("/web")]).await;
    let said = call(&server, web.path()).await;
    assert!(said.success, "{said:?}");
    assert!(said.stdout.contains("\nSERVING\n"), "{said:?}");
    assert!(said.stdout.contains(&api.serial()), "{said:?}");
}

#[tokio::test]
async fn a_client_that_may_not_is_told_by_the_alert() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(mount.path(), &["--allow", &ca.spiffe_id("/web")]).await;
    let batch = MountedDir::new(&ca.issue("/batch"));
    let said = call(&server, batch.path()).await;
    assert!(!said.success, "{said:?}");
    assert!(said.stderr.contains("AccessDenied"), "{said:?}");
}

/// Left out, aloud, where Python has no `grpcio`; no CI is asked to have it.
#[tokio::test]
async fn grpcio_is_answered_with_a_certificate_and_not_without() {
    let python = std::env::var("MTLS_GRPCIO_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).args(["-c", "import grpc"]).output();
    if !there.await.is_ok_and(|output| output.status.success()) {
        // Not `eprintln!`: the harness keeps that to itself when a test passes.
        let said = b"left out: the test against grpcio: Python has none (pip install grpcio)\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let server = Server::start(mount.path(), &[]).await;
    let web = MountedDir::new(&ca.issue("/web"));
    let dir = web.path().to_str().unwrap();
    for (presents, expected) in [("certificate", "SERVING"), ("nothing", "UNAVAILABLE")] {
        let said = run(&python, &["-c", CHECK, &server.addr, dir, presents]).await;
        assert_eq!(said.stdout.trim(), expected, "{said:?}");
    }
}

/// The health service's answer is one field: number 1, and 1 is SERVING.
const CHECK: &str = r#"
import sys, grpc
addr, folder, presents = sys.argv[1:]
read = lambda name: open(folder + "/" + name, "rb").read()
pair = (read("tls.key"), read("tls.crt")) if presents == "certificate" else (None, None)
credentials = grpc.ssl_channel_credentials(read("ca.crt"), *pair)
with grpc.secure_channel(addr, credentials) as channel:
    try:
        answer = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20)
        print("SERVING" if answer == b"\x08\x01" else answer)
    except grpc.RpcError as error:
        print(error.code().name)
"#;

const LIMIT: Duration = Duration::from_secs(30);
