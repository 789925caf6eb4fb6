//! A client that holds tickets of its previous certificate comes with its new one: it is never refused for that.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::openssl_client::s_client;
use crate::pki::{Ca, Issued, Leaf};
use crate::server::Server;
use crate::tools::Tool::{Go, Openssl3};
use crate::tools::{LIMIT, absent, run};

/// What becomes of the old certificate before its holder comes with the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is still good, and so is its session.
    Good,
    /// It is on the next list.
    Revoked,
    /// The server has another leaf of its own since.
    ServerRotated,
}

const FATES: [Fate; 5] = [
    Fate::Good,
    Fate::Revoked,
    Fate::Good,
    Fate::ServerRotated,
    Fate::Revoked,
];

/// Our server, and the list of its CA.
struct World {
    ca: Ca,
    dir: TempDir,
    server: Server,
    generation: u32,
}

impl World {
    async fn new() -> Self {
        let ca = Ca::new("foreign-ca").await;
        let dir = TempDir::new().unwrap();
        ca.issue(&Leaf::server()).await.lay_out(&ca, dir.path());
        let list = dir.path().join("ca.crl");
        ca.write_list(&list, 24 * 60 * 60).await;
        let flags = ["--tls12", "--crl", list.to_str().unwrap()];
        let server = Server::start(dir.path(), &flags).await;
        let generation = 1;
        Self {
            ca,
            dir,
            server,
            generation,
        }
    }

    async fn client(&self) -> Issued {
        self.ca.issue(&Leaf::client("/web")).await
    }

    async fn meet(&mut self, fate: Fate, old: &Issued) {
        match fate {
            Fate::Good => return,
            Fate::Revoked => {
                self.ca.revoke(old).await;
                let list = self.dir.path().join("ca.crl");
                self.ca.write_list(&list, 24 * 60 * 60).await;
            }
            Fate::ServerRotated => {
                let next = self.ca.issue(&Leaf::server()).await;
                next.lay_out(&self.ca, self.dir.path());
            }
        }
        self.generation += 1;
        let generation = format!("mtls.generation={}", self.generation);
        let rotated = ["rotated", &generation];
        self.server.process.stderr.line(&rotated).await;
    }
}

#[tokio::test]
async fn s_client_with_a_ticket_of_its_previous_certificate_is_let_in_with_its_new_one() {
    if absent(&[Openssl3]) {
        return;
    }
    for version in ["-tls1_3", "-tls1_2"] {
        let mut world = World::new().await;
        let session = world.dir.path().join("session.pem");
        let session = session.to_str().unwrap();
        let mut old = world.client().await;
        let (mut resumed, mut full) = (0, 0);
        for fate in FATES {
            let flags = [version, "-sess_out", session];
            let said = s_client(&world.server.port, &world.ca, &old, &flags).await;
            said.line("HTTP/1.1 200 OK");
            world.meet(fate, &old).await;
            let new = world.client().await;
            let flags = [version, "-sess_in", session];
            let said = s_client(&world.server.port, &world.ca, &new, &flags).await;
            assert_eq!(said.code, Some(0), "{version} {fate:?}: {said:#?}");
            said.line("HTTP/1.1 200 OK");
            match fate {
                Fate::Good => {
                    said.line("Reused, TLSv1.");
                    resumed += 1;
                }
                Fate::Revoked | Fate::ServerRotated => {
                    said.line("New, TLSv1.");
                    full += 1;
                }
            }
            old = new;
        }
        assert_eq!((resumed, full), (2, 3));
        let refused = ["handshake refused"];
        world.server.process.stderr.never_said(&refused);
    }
}

/// A process of the client in `go/main.go`.
struct GoClient {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl GoClient {
    fn start(program: &Path, world: &World, version: &str) -> Self {
        let mut process = Command::new(program)
            .arg(format!("127.0.0.1:{}", world.server.port))
            .arg(world.ca.bundle())
            .arg(version)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            _process: process,
            input,
            output,
        }
    }

    /// Three connections by a certificate: what came of each.
    async fn call(&mut self, caller: &Issued) -> Vec<String> {
        let line = format!("{} {}\n", caller.chain.display(), caller.key.display());
        self.input.write_all(line.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        loop {
            let line = timeout(LIMIT, self.output.next_line()).await;
            let line = line.unwrap().unwrap();
            match line.unwrap().as_str() {
                "done" => return answers,
                answer => answers.push(answer.to_owned()),
            }
        }
    }
}

/// Builds the client. The compiler's cache outlives the test: at first it has all of Go's library to compile.
async fn go_client(dir: &Path) -> PathBuf {
    let program = dir.join("client");
    let build = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/go/main.go"))
        .env(
            "GOCACHE",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"),
        )
        .env("GO111MODULE", "off")
        .kill_on_drop(true)
        .output();
    let built = timeout(10 * LIMIT, build).await.unwrap();
    let built = built.unwrap();
    assert!(built.status.success(), "{built:?}");
    program
}

/// Whether the compiler is `go1.N` with a smaller N.
async fn go_is_older_than(minor: u32) -> bool {
    let said = run("go", ["version"], Path::new("."), "").await;
    let (_, version) = said.stdout.split_once("go version go1.").unwrap();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().unwrap() < minor
}

#[tokio::test]
async fn gos_client_with_tickets_of_its_previous_certificate_is_let_in_with_its_new_one() {
    if absent(&[Openssl3, Go]) {
        return;
    }
    let dir = TempDir::new().unwrap();
    let program = go_client(dir.path()).await;
    for version in ["1.3", "1.2"] {
        let mut world = World::new().await;
        let mut client = GoClient::start(&program, &world, version);
        let mut old = world.client().await;
        let first = client.call(&old).await;
        if version == "1.2" && go_is_older_than(21).await {
            // It knows no extended master secret (RFC 7627) and is let in by nobody who asks for that.
            assert!(first[0].starts_with("refused: "), "{first:?}");
            world.server.refusal("no_common_parameters", &[]).await;
            continue;
        }
        assert!(first[0].starts_with("full, HTTP/1.1 200 OK, "), "{first:?}");
        for fate in FATES {
            world.meet(fate, &old).await;
            let new = world.client().await;
            let answers = client.call(&new).await;
            assert_eq!(answers.len(), 3);
            for (at, answer) in answers.iter().enumerate() {
                // A session that stands is who it was made for.
                let (kind, who) = match fate {
                    // In TLS 1.2 Go resumes by tickets alone, which hold all of a session; we hand out none of those.
                    _ if version == "1.2" => ("full", &new),
                    Fate::Good => ("resumed", &old),
                    Fate::Revoked | Fate::ServerRotated if at == 0 => ("full", &new),
                    Fate::Revoked | Fate::ServerRotated => ("resumed", &new),
                };
                let expected = format!("{kind}, HTTP/1.1 200 OK, spiffe://example.org/web");
                assert!(
                    answer.starts_with(&expected),
                    "{version} {fate:?}: {answers:?}"
                );
                assert!(
                    answer.contains(&who.serial),
                    "{version} {fate:?}: {answers:?}"
                );
            }
            // Whose session the client holds.
            if fate != Fate::Good || version == "1.2" {
                old = new;
            }
        }
        world
            .server
            .process
            .stderr
            .never_said(&["handshake refused"]);
    }
}
