//! How long a well-behaved client takes for a new connection and a request on it: during floods, beside while nobody else is there.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use benches::ends::{Client, Server, Setting, Tickets};
use benches::measure::{Spread, quantile};
use benches::report::{Bar, Row};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use mtls_core::ClientTls;
use mtls_core::rustls::ClientConnection;
use mtls_core::testing::KeyKind;
use mtls_tower::Connector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_rustls::client::TlsStream;
use tower::service_fn;

/// By the wall clock, on whatever else the machine does: the unloaded row of the same run is what to compare with. The server
/// has one thread, with default limits; the attacker comes from an address of its own.
pub(crate) fn latencies() -> Vec<Row> {
    let place = Place::new();
    let row = |flood: Flood| {
        let (mut loaded, mut unloaded) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            unloaded.push(quantile(&place.ask(), 0.99));
            let _attack = Attack::start(flood, &place);
            loaded.push(quantile(&place.ask(), 0.99));
        }
        let ratio = loaded
            .iter()
            .zip(&unloaded)
            .map(|(with, without)| with / without);
        let ratio = Spread::of(ratio);
        let name = format!("p99 of a new connection and request, {}", flood.name());
        let row = Row::figure(name, "ms", Spread::of(loaded), Bar::None);
        row.beside(Spread::of(unloaded), ratio)
    };
    Flood::ALL.into_iter().map(row).collect()
}

/// What an attacker does so many times a second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flood {
    HalfOpen,
    SlowHandshake,
    ByteAtATime,
    Garbage,
    Pings,
}

impl Flood {
    const ALL: [Self; 5] = [
        Self::HalfOpen,
        Self::SlowHandshake,
        Self::ByteAtATime,
        Self::Garbage,
        Self::Pings,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "1,000 silent connections a second",
            Self::SlowHandshake => "1,000 half handshakes a second",
            Self::ByteAtATime => "2,000 clients that send a byte at a time, 1,000 bytes a second",
            Self::Garbage => "1,000 connections of plaintext a second",
            Self::Pings => "4 peers that send pings and read nothing",
        }
    }
}

/// A server, and a client of its.
struct Place {
    setting: Setting,
    addr: SocketAddr,
    client: ClientTls,
    here: Runtime,
    _there: Runtime,
}

impl Place {
    fn new() -> Self {
        let setting = Setting::new(KeyKind::EcdsaP256);
        let Server::Ours(tls) = setting.ours(Tickets::None) else {
            panic!("ours is ours")
        };
        let Client::Ours(client) = setting.our_client(&setting.issue("/web")) else {
            panic!("ours is ours")
        };
        let there = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener: TcpListener = there.block_on(async { socket.listen(4096) }).unwrap();
        let addr = listener.local_addr().unwrap();
        let hello = |_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        };
        there.spawn(async move { mtls_tower::serve(listener, tls, service_fn(hello)).await });
        Self {
            setting,
            addr,
            client: client.with_alpn(["http/1.1"]),
            here: one_thread(),
            _there: there,
        }
    }

    /// Milliseconds of each request, sorted. One that fails counts for as long as it took, and is told.
    fn ask(&self) -> Vec<f64> {
        let connector = Connector::new(self.client.clone());
        let url = format!("https://{}", self.addr).parse().unwrap();
        let mut took = self.here.block_on(async {
            let mut took = Vec::new();
            for _ in 0..REQUESTS {
                let began = Instant::now();
                if let Err(error) = ask(&connector, &url).await {
                    println!("a request failed: {error:?}");
                }
                took.push(began.elapsed().as_secs_f64() * 1e3);
            }
            took
        });
        took.sort_by(f64::total_cmp);
        took
    }
}

async fn ask(connector: &Connector, url: &http::Uri) -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = connector.connect(url).await?;
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.ends_with("hello"), "{answer}");
    Ok(())
}

/// A flood on a thread of its own, until it is dropped.
struct Attack {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    fn start(flood: Flood, place: &Place) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (begun, begins) = std::sync::mpsc::channel();
        let addr = place.addr;
        let Client::Bare(config) = place
            .setting
            .bare_client(&place.setting.issue("/attacker"), Tickets::None)
        else {
            panic!("a bare one is bare")
        };
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(&config));
        let name = || "localhost".try_into().unwrap();
        let mut hello = Vec::new();
        let mut tls = ClientConnection::new(config, name()).unwrap();
        tls.write_tls(&mut hello).unwrap();
        let flooding = async move {
            match flood {
                Flood::HalfOpen => again_and_again(addr, begun, &[]).await,
                Flood::SlowHandshake => again_and_again(addr, begun, &hello).await,
                Flood::Garbage => again_and_again(addr, begun, b"GET / HTTP/1.1\r\n\r\n").await,
                Flood::ByteAtATime => byte_by_byte(addr, begun, &hello).await,
                Flood::Pings => {
                    let dial = || async {
                        let tcp = dial(addr).await.unwrap();
                        connector.connect(name(), tcp).await.unwrap()
                    };
                    let (mut a, mut b) = (dial().await, dial().await);
                    let (mut c, mut d) = (dial().await, dial().await);
                    tokio::join!(pings(&mut a), pings(&mut b), pings(&mut c), pings(&mut d));
                    // It reads no further: from here on they just are there, and try.
                    begun.send(()).unwrap();
                    while more(&mut a).await && more(&mut b).await && more(&mut c).await {}
                }
            }
        };
        let thread = thread::spawn(move || {
            one_thread().block_on(async {
                tokio::select! { () = flooding => {} _ = stopped => {} }
            });
        });
        begins.recv().unwrap();
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn dial(addr: SocketAddr) -> impl Future<Output = std::io::Result<TcpStream>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 66], 0).into()).unwrap();
    socket.connect(addr)
}

/// Begins so many connections a second, says this on each, and holds it until the server has closed it.
async fn again_and_again(addr: SocketAddr, begun: std::sync::mpsc::Sender<()>, words: &[u8]) {
    let mut ticks = ticks();
    let mut held = std::collections::VecDeque::new();
    loop {
        ticks.tick().await;
        let Ok(mut tcp) = dial(addr).await else {
            continue;
        };
        let _ = tcp.write_all(words).await;
        held.push_back(tcp);
        // As many as the server holds, and some that it gave up.
        if held.len() > 1500 {
            held.pop_front();
        }
        // It is a flood once the server is at its bound.
        if held.len() == 1200 {
            let _ = begun.send(());
        }
    }
}

async fn byte_by_byte(addr: SocketAddr, begun: std::sync::mpsc::Sender<()>, hello: &[u8]) {
    let mut slow = Vec::new();
    for _ in 0..2000 {
        slow.extend(dial(addr).await);
    }
    begun.send(()).unwrap();
    let mut ticks = ticks();
    for byte in hello.iter().cycle() {
        for tcp in &mut slow {
            ticks.tick().await;
            if tcp.write_u8(*byte).await.is_err() {
                // It was given up, and comes again.
                if let Ok(again) = dial(addr).await {
                    *tcp = again;
                }
            }
        }
    }
}

/// As many as the server takes before it waits for its answers to be read.
async fn pings(tls: &mut TlsStream<TcpStream>) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tls.write_all(preface).await.unwrap();
    while let Ok(Ok(())) = timeout(PATIENCE, tls.write_all(&PING.repeat(1000))).await {}
}

/// Whether the connection is there. To write is not cancel safe, and what becomes of these bytes is no matter.
async fn more(tls: &mut TlsStream<TcpStream>) -> bool {
    !matches!(timeout(PATIENCE, tls.write_all(PING)).await, Ok(Err(_)))
}

/// A thousand a second, and no more to make up for a slow moment: it would measure the machine, and not the flood.
fn ticks() -> Interval {
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Each takes the 99th percentile of so many requests with the flood, and of as many without.
const ROUNDS: usize = 3;
const REQUESTS: usize = 200;
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\x07\x07\x07\x07\x07\x07\x07\x07";
const PATIENCE: Duration = Duration::from_millis(100);
