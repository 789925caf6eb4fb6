//! The memory of connections that are idle, on the server's side: the clients are another process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use benches::ends::{Server, Setting, Tickets, held};
use benches::measure::{Spread, effort};
use benches::report::{Bar, Row};
use benches::servers;
use mtls_core::testing::KeyKind;

use crate::{ALLOCATOR, clients};

pub(crate) fn rows() -> Vec<Row> {
    let of = |connections, protocol: &str, tickets| {
        let setting = Setting::new(KeyKind::EcdsaP256);
        let ours = bytes(&setting, servers::ours, connections, protocol, tickets);
        let bare = bytes(&setting, servers::bare, connections, protocol, tickets);
        let sessions = match tickets {
            Tickets::None => "",
            Tickets::One | Tickets::Default => ", sessions as by default",
        };
        let name =
            format!("idle connection of {PEERS} peers, {connections} of {protocol}{sessions}");
        Row::figure(name, "bytes", Spread::one(ours), Bar::Ratio(1.02))
            .beside(Spread::one(bare), Spread::one(ours / bare))
    };
    vec![
        in_memory(),
        of(effort(1_000, 100), "http/1.1", Tickets::None),
        of(effort(1_000, 100), "h2", Tickets::None),
        of(effort(1_000, 100), "h2", Tickets::Default),
        of(effort(10_000, 200), "http/1.1", Tickets::None),
        of(effort(10_000, 200), "h2", Tickets::None),
    ]
}

/// What rustls and mtls-core keep of one, without sockets and HTTP.
fn in_memory() -> Row {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let client = setting.bare_client(&setting.issue("/web"), Tickets::None);
    let bytes = |server: &Server| {
        let first = held(&client, server);
        let before = live();
        let others: Vec<_> = (0..SOME).map(|_| held(&client, server)).collect();
        let kept = live() - before;
        drop((first, others));
        kept as f64 / SOME as f64
    };
    let (ours, bare) = (
        bytes(&setting.ours(Tickets::None)),
        bytes(&setting.bare(Tickets::None)),
    );
    let name = "of an idle connection: rustls and mtls-core";
    Row::figure(name, "bytes", Spread::one(ours), Bar::None)
        .beside(Spread::one(bare), Spread::one(ours / bare))
}

/// What one more connection holds, once it has had its answer.
fn bytes(
    setting: &Setting,
    serve: fn(&Setting, Tickets) -> servers::Running,
    connections: usize,
    protocol: &str,
    tickets: Tickets,
) -> f64 {
    let server = serve(setting, tickets);
    let dir = clients::Credentials::write(setting, PEERS);
    let mut clients = Clients::start(&[
        &server.addr.to_string(),
        dir.path().to_str().unwrap(),
        protocol,
        &PEERS.to_string(),
        &connections.to_string(),
    ]);
    // The first ones fill what is filled once.
    clients.ready();
    let before = settled();
    clients.go_on();
    let after = settled();
    (after - before) as f64 / connections as f64
}

/// The bytes that are allocated, when they have stopped changing: a server has a last thing to do when its client is done.
fn settled() -> isize {
    let mut last = live();
    loop {
        sleep(Duration::from_millis(200));
        let now = live();
        if now == last {
            return now;
        }
        last = now;
    }
}

fn live() -> isize {
    let counted = ALLOCATOR.stats();
    counted.bytes_allocated as isize - counted.bytes_deallocated as isize
}

/// The process of the clients. It ends when its input does.
struct Clients {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Clients {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(clients::FLAG)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn ready(&mut self) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), clients::READY);
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.ready();
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

const PEERS: usize = 10;
const SOME: usize = 100;
