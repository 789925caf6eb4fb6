//! What attackers may make a server hold in memory: the formulas of `Limits` and `ConnectionLimits`, and that nothing else grows.
//!
//! Alone in its process, because it counts what the process has allocated. The attackers are a second process: this binary
//! again, told by the environment which part to play.

#![cfg(target_os = "linux")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "an attack says what it does, and nothing of the rest"
)]
#![allow(clippy::print_stdout, reason = "the two processes talk by it")]

mod common;

use std::alloc::System;
use std::convert::Infallible;
use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{listen, patient};
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{Policy, Resumption, ServerTls};
use mtls_tower::serve;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower::service_fn;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;
/// As `Limits::pending_handshakes` has it.
const OF_A_HANDSHAKE: usize = 96 * KIB;
/// As `Limits::linger` has it.
const OF_ONE_THAT_LINGERS: usize = 16 * KIB;
/// As `ConnectionLimits` has it.
const OF_A_CONNECTION: usize = 96 * KIB;
const OF_ITS_HTTP_1: usize = 1024 * KIB;
const OF_A_REQUEST_OVER_HTTP_2: usize = 448 * KIB;
/// What is there whoever comes, and tables that have grown.
const OF_THE_SERVER: usize = 1024 * KIB;

const PENDING: usize = 64;
const LINGERING: usize = 256;
const STREAMS: usize = 16;
const PIECE: usize = 16 * KIB;

/// What an attacker does, and then holds on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Attack {
    Silent,
    Hello,
    HugeHello,
    Garbage,
    Idle,
    HalfAHead,
    NeverReadsHttp1,
    NeverReadsHttp2,
    PingsAndNeverReads,
}

impl Attack {
    const ALL: [Self; 9] = [
        Self::Silent,
        Self::Hello,
        Self::HugeHello,
        Self::Garbage,
        Self::Idle,
        Self::HalfAHead,
        Self::NeverReadsHttp1,
        Self::NeverReadsHttp2,
        Self::PingsAndNeverReads,
    ];

    /// The formula, for so many attackers.
    fn most(self, attackers: usize) -> usize {
        OF_THE_SERVER
            + match self {
                Self::Silent | Self::Hello | Self::HugeHello => {
                    attackers.min(PENDING) * OF_A_HANDSHAKE
                }
                Self::Garbage => attackers.min(LINGERING) * OF_ONE_THAT_LINGERS,
                Self::Idle => attackers * OF_A_CONNECTION,
                Self::HalfAHead | Self::NeverReadsHttp1 => {
                    attackers * (OF_A_CONNECTION + OF_ITS_HTTP_1)
                }
                Self::NeverReadsHttp2 | Self::PingsAndNeverReads => {
                    attackers * (OF_A_CONNECTION + STREAMS * OF_A_REQUEST_OVER_HTTP_2)
                }
            }
    }

    fn is_known(self) -> bool {
        !matches!(
            self,
            Self::Silent | Self::Hello | Self::HugeHello | Self::Garbage
        )
    }

    fn alpn(self) -> &'static [u8] {
        match self {
            Self::NeverReadsHttp2 | Self::PingsAndNeverReads | Self::Idle => b"h2",
            _ => b"http/1.1",
        }
    }

    /// What it sends before it is known.
    fn before(self, config: &Arc<ClientConfig>) -> Vec<u8> {
        match self {
            Self::Hello => {
                let name = "localhost".try_into().unwrap();
                let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
                let mut hello = Vec::new();
                tls.write_tls(&mut hello).unwrap();
                hello
            }
            // The largest that is allowed, all but its end, in records of 16 KiB.
            Self::HugeHello => {
                let mut message = vec![1, 0, 0xf0, 0];
                message.resize(60_000, 0);
                let records = message.chunks(16_000).map(|part| {
                    let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                    [&[22, 3, 1][..], &length, part].concat()
                });
                records.flatten().collect()
            }
            Self::Garbage => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            _ => Vec::new(),
        }
    }

    /// What it sends when it is.
    fn after(self) -> Vec<u8> {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let head = [length[1], length[2], length[3], kind, flags];
            [&head[..], &stream.to_be_bytes(), payload].concat()
        };
        match self {
            Self::HalfAHead => format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(400_000)).into_bytes(),
            Self::NeverReadsHttp1 => b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            Self::Idle => [PREFACE, &frame(4, 0, 0, &[])].concat(),
            Self::NeverReadsHttp2 => {
                // Windows that never close.
                let mut all = [PREFACE, &frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])].concat();
                all.extend(frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
                for stream in 0..u32::try_from(STREAMS).unwrap() {
                    let get = [0x82, 0x87, 0x84, 0x01, 1, b'a'];
                    all.extend(frame(1, 5, 2 * stream + 1, &get));
                }
                all
            }
            Self::PingsAndNeverReads => {
                let pings = frame(6, 0, 0, &[7; 8]).repeat(100_000);
                [PREFACE, &frame(4, 0, 0, &[]), &pings].concat()
            }
            _ => Vec::new(),
        }
    }
}

#[test]
fn what_attackers_hold_is_bounded_by_the_stated_formula_and_given_back() {
    // One thread: an allocator that counts has one truth.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for attack in Attack::ALL {
            under(attack).await;
        }
    });
}

async fn under(attack: Attack) {
    let ca = TestCa::new("example.org");
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::trust_domain("example.org").unwrap())
        .resumption(Resumption::Off)
        .build()
        .unwrap();
    let mount = MountedDir::new(&ca.issue("/attacker"));
    let tcp = listen();
    let addr = tcp.local_addr().unwrap();
    let endless =
        service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(Endless)) });
    let server = serve(tcp, tls, endless)
        .limits(patient().pending_handshakes(PENDING))
        .max_concurrent_streams(u32::try_from(STREAMS).unwrap())
        .header_read_timeout(common::HOUR)
        .http2_keep_alive(None, common::HOUR)
        .lost_peer_deadline(common::HOUR);
    let server = tokio::spawn(server.into_future());
    let few = if attack.is_known() { 4 } else { PENDING };
    let dir = mount.path().to_str().unwrap();
    // What is filled once is full after a first round.
    drop(Attackers::come(attack, addr, dir, few).await);
    let before = settled().await;
    for attackers in [few, 4 * few] {
        let there = Attackers::come(attack, addr, dir, attackers).await;
        let held = settled().await - before;
        let most = attack.most(attackers);
        println!(
            "{attack:?}, {attackers} attackers: {held} bytes, {} each, of at most {most}",
            held / isize::try_from(attackers).unwrap()
        );
        assert!(
            held <= isize::try_from(most).unwrap(),
            "{attack:?}: {held} > {most}"
        );
        drop(there);
        let left = settled().await - before;
        let most = isize::try_from(OF_THE_SERVER).unwrap();
        assert!(left <= most, "{attack:?}: {left} bytes are left");
    }
    server.abort();
}

/// The bytes that are allocated, when they have stopped changing.
async fn settled() -> isize {
    let (mut last, mut same) = (live(), 0);
    while same < 5 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = live();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

fn live() -> isize {
    let counted = ALLOCATOR.stats();
    isize::try_from(counted.bytes_allocated).unwrap()
        - isize::try_from(counted.bytes_deallocated).unwrap()
}

/// A body without an end.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; PIECE])))))
    }
}

/// The second process. It ends when this is dropped.
struct Attackers {
    child: Child,
    _said: BufReader<ChildStdout>,
}

impl Attackers {
    async fn come(attack: Attack, addr: SocketAddr, dir: &str, count: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "attackers",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PART, format!("{attack:?} {addr} {count} {dir}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let said = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while !line.contains(HERE) {
                line.clear();
                assert!(said.read_line(&mut line).unwrap() > 0, "they ended");
            }
            said
        });
        Self {
            child,
            _said: said.await.unwrap(),
        }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Comes, does its worst, and holds on until its input ends, or a minute has passed.
#[test]
#[ignore = "the second process of the test above"]
fn attackers() {
    let Ok(told) = std::env::var(PART) else {
        return;
    };
    let told: Vec<_> = told.splitn(4, ' ').collect();
    let attack = Attack::ALL
        .into_iter()
        .find(|it| format!("{it:?}") == told[0])
        .unwrap();
    let (addr, count): (SocketAddr, usize) = (told[1].parse().unwrap(), told[2].parse().unwrap());
    let config = config(told[3], attack.alpn());
    let mut held = Vec::new();
    for _ in 0..count {
        let mut tcp = TcpStream::connect(addr).unwrap();
        tcp.write_all(&attack.before(&config)).unwrap();
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut tls = StreamOwned::new(tls, tcp);
        if attack.is_known() {
            tls.flush().unwrap();
            // A server that reads no further is what it may be, too.
            tls.sock
                .set_write_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            let _ = tls.write_all(&attack.after()).and_then(|()| tls.flush());
        }
        held.push(tls);
    }
    println!("{HERE}");
    std::io::stdout().flush().unwrap();
    let (tell, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    let _ = ended.recv_timeout(Duration::from_secs(60));
}

fn config(dir: &str, alpn: &[u8]) -> Arc<ClientConfig> {
    let file = |name: &str| std::path::Path::new(dir).join(name);
    let certificates = |name: &str| -> Vec<_> {
        let all = CertificateDer::pem_file_iter(file(name)).unwrap();
        all.map(Result::unwrap).collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.crt"));
    let key = PrivateKeyDer::from_pem_file(file("tls.key")).unwrap();
    let mut config = ClientConfig::builder_with_provider(common::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("tls.crt"), key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

const PART: &str = "MTLS_TEST_PART";
const HERE: &str = "the attackers are here";
