//! Ten thousand connections that say nothing, and a server without descriptors.
//!
//! Both ends of ten thousand connections are more than one process may hold, so each test has a second process: this
//! binary again, told by the environment which part to play. Neither outlives its test: the second ends when its stdin
//! does, and after a minute in any case.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the two processes talk by it")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Accepting, Log, client, https, listen, patient, server, within};
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
use mtls_tower::{Connector, MtlsListener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::Level;

#[tokio::test]
async fn ten_thousand_idle_connections_do_not_stop_a_proper_client() {
    const PENDING: usize = 1024;
    let ca = TestCa::new("example.org");
    let mut server = Accepting::start(server(&ca), patient().pending_handshakes(PENDING)).await;
    let before = descriptors();
    let count = 10_000.min(descriptor_limit() - 200);
    let crowd = Second::play("crowd", &format!("{} {count}", server.addr), None);
    let mut crowd = crowd.says("the crowd is here").await;

    let connector = Connector::new(client(&ca, "/web"));
    let to = https(server.addr);
    let (connected, accepted) = tokio::join!(within(connector.connect(&to)), server.next());
    assert_eq!(
        accepted.peer().unwrap().to_string(),
        "spiffe://example.org/web"
    );
    assert!(connected.is_ok());
    // Each connection that was accepted before this client's has been shed by now, but for the bound. The other test has
    // a few descriptors of its own.
    let held = descriptors() - before;
    assert!(held <= PENDING + 50, "{held} descriptors");
    if count > PENDING {
        assert!(held >= PENDING - 50, "{held}: the crowd was not there");
    }
    crowd.end();
}

/// Connects as often as it is told, and holds on.
#[test]
#[ignore = "the second process of a test above"]
fn crowd() {
    let Ok(told) = std::env::var(PART) else {
        return;
    };
    let (addr, count) = told.split_once(' ').unwrap();
    let addr: SocketAddr = addr.parse().unwrap();
    let crowd: Vec<_> = (0..count.parse().unwrap())
        .map(|_| TcpStream::connect(addr).unwrap())
        .collect();
    say("the crowd is here");
    wait_for_end();
    drop(crowd);
}

#[tokio::test]
async fn a_server_out_of_descriptors_sheds_the_silent_and_serves_a_proper_client() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let dir = mount.path().to_str().unwrap();
    let starving = Second::play("starving_server", dir, Some(64));
    let starving = starving.says("listens at ").await;
    let addr: SocketAddr = starving.said.parse().unwrap();
    // More than it may hold, and fewer than its backlog.
    let silent = Second::play("crowd", &format!("{addr} 900"), None);
    let silent = silent.says("the crowd is here").await;

    let mut connected = within(Connector::new(client(&ca, "/web")).connect(&https(addr)))
        .await
        .unwrap();
    assert_eq!(within(connected.read_u8()).await.unwrap(), b'!');
    drop(silent);
    let starving = starving.says("warnings: ").await;
    assert_eq!(starving.said, "1");
}

/// Serves one client, from credentials in the directory that it is told.
#[test]
#[ignore = "the second process of a test above"]
fn starving_server() {
    let Ok(dir) = std::env::var(PART) else {
        return;
    };
    std::thread::spawn(|| {
        wait_for_end();
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let log = Log::start();
        let files = CredentialFiles::detect(&dir).unwrap();
        let source = CredentialSource::watch(files).await.unwrap();
        let tls = ServerTls::builder(&source)
            .authorize(Policy::trust_domain("example.org").unwrap())
            .build()
            .unwrap();
        let tcp = listen();
        let mut listener = MtlsListener::new(tcp, tls).with_limits(patient());
        say(&format!("listens at {}", listener.local_addr().unwrap()));
        let (mut stream, _) = listener.accept().await;
        stream.write_all(b"!").await.unwrap();
        stream.flush().await.unwrap();
        let warnings = log.at(Level::WARN);
        let starved = warnings
            .iter()
            .filter(|e| e.message().starts_with("cannot accept"));
        say(&format!("warnings: {}", starved.count()));
        stream.shutdown().await.unwrap();
    });
}

/// A second process, killed when this is dropped.
struct Second {
    child: Child,
    said: String,
}

impl Second {
    fn play(part: &str, told: &str, descriptors: Option<usize>) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = match descriptors {
            None => Command::new(own),
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command
                    .arg(format!("--nofile={limit}:{limit}"))
                    .arg("--")
                    .arg(own);
                command
            }
        };
        let child = command
            .args([
                "--ignored",
                "--exact",
                part,
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PART, told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            said: String::new(),
        }
    }

    /// Waits for a line with `what`, and keeps the rest of it.
    async fn says(mut self, what: &'static str) -> Self {
        let reading = tokio::task::spawn_blocking(move || {
            let stdout = self.child.stdout.take().unwrap();
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            loop {
                line.clear();
                assert!(
                    lines.read_line(&mut line).unwrap() > 0,
                    "it ended before it said {what}"
                );
                if let Some((_, rest)) = line.split_once(what) {
                    self.said = rest.trim().to_owned();
                    // One line at a time is written, and the next is not asked for before this has been read.
                    self.child.stdout = Some(lines.into_inner());
                    return self;
                }
            }
        });
        within(reading).await.unwrap()
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(what: &str) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

/// Until stdin ends, or a minute has passed.
fn wait_for_end() {
    let (tell, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    let _ = ended.recv_timeout(Duration::from_secs(60));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What this process may hold; the second one may hold as many.
#[allow(clippy::disallowed_methods, reason = "/proc is no file of anybody's")]
fn descriptor_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

const PART: &str = "MTLS_TEST_PART";
