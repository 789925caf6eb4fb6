//! How long requests take while certificates rotate once a second, and while none do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::ends::Setting;
use benches::load::{Dial, Open};
use benches::measure::{Samples, effort, quantile};
use benches::report::{Bar, Row};
use benches::servers::{Kind, Process};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use mtls_core::ClientTls;
use mtls_core::testing::{Issued, KeyKind};
use mtls_tower::{Connector, Retire, RetireLayer};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::{Layer, Service};

/// The windows without rotation stand beside those with it. By the clock, with some 1,600 requests a second.
pub(crate) fn latencies() -> Vec<Row> {
    let mut rows = Vec::new();
    for alpn in ["http/1.1", "h2"] {
        let name = format!("rotation of the server's leaf each second, over {alpn}");
        rows.extend(compared(&name, 1.1, of_our_server(alpn)));
    }
    // It makes a new connection each second, which the pool without rotation does not.
    rows.extend(compared(
        "rotation of a client's leaf each second, its pool moves, over h2",
        None,
        of_our_pool(),
    ));
    rows
}

/// Whether leaves rotate in a window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Stays,
    Rotates,
}

/// Median and 99th percentile of one window, in milliseconds.
type Window = [f64; 2];

fn compared(
    name: &str,
    bar: impl Into<Option<f64>>,
    mut window: impl FnMut(Leaf) -> Window,
) -> [Row; 2] {
    window(Leaf::Rotates);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..effort(12, 2) {
        let mut order = [Leaf::Rotates, Leaf::Stays];
        order.rotate_left(round % 2);
        for leaf in order {
            let into = match leaf {
                Leaf::Rotates => &mut with,
                Leaf::Stays => &mut without,
            };
            into.push(window(leaf));
        }
    }
    let of_each = |windows: &[Window], of: usize| windows.iter().map(|window| window[of]).collect();
    let samples = |of: usize| Samples::beside_each_other(of_each(&with, of), of_each(&without, of));
    let bar = bar.into().map_or(Bar::None, Bar::Ratio);
    [
        Row::pair(format!("{name}: median"), "ms", &samples(0), Bar::None),
        Row::pair(format!("{name}: 99th percentile"), "ms", &samples(1), bar),
    ]
}

fn of_our_server(alpn: &'static str) -> impl FnMut(Leaf) -> Window {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let runtime = Runtime::new().unwrap();
    let dir = Arc::new(setting.mount());
    let server = Process::start(Kind::Ours, &dir);
    let dial = Dial::bare(&setting, "/web", alpn);
    move |leaf| {
        // All of it: by its address alone it would be gone.
        let server = &server;
        let leaves = leaves(&setting, "/api", leaf);
        let dir = Arc::clone(&dir);
        let rotating = std::thread::spawn(move || {
            for leaf in leaves {
                dir.rotate(&leaf);
                std::thread::sleep(SECOND);
            }
        });
        let window = runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..CLIENTS {
                clients.push(Client::Open(Open::connect(&dial, server.addr, alpn).await));
            }
            paced(clients).await
        });
        rotating.join().unwrap();
        window
    }
}

fn of_our_pool() -> impl FnMut(Leaf) -> Window {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let runtime = Runtime::new().unwrap();
    let dir = setting.mount();
    let server = Process::start(Kind::Bare, &dir);
    let (publisher, source) = setting.publish_for(&setting.issue("/web"));
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .alpn(["h2"])
        .build()
        .unwrap();
    let pool = Pool::builder(TokioExecutor::new())
        .http2_only(true)
        .build::<_, Empty<Bytes>>(Connector::new(tls));
    let pool = RetireLayer::new().layer(pool);
    move |leaf| {
        // All of them: by its address alone the server would be gone.
        let (server, _dir) = (&server, &dir);
        let leaves = leaves(&setting, "/web", leaf);
        runtime.block_on(async {
            let rotating = async {
                for leaf in leaves {
                    publisher.publish_credentials(leaf.material()).unwrap();
                    sleep(SECOND).await;
                }
            };
            let client = |_| Client::Pool(Box::new(pool.clone()), server.addr);
            let busy = paced((0..CLIENTS).map(client).collect());
            tokio::join!(busy, rotating).0
        })
    }
}

/// Who asks.
enum Client {
    Open(Open),
    Pool(Box<Retire<Pool<Connector, Empty<Bytes>>>>, SocketAddr),
}

impl Client {
    /// How long the answer took, in milliseconds.
    async fn ask(&mut self) -> f64 {
        match self {
            Self::Open(open) => open.ask().await,
            Self::Pool(pool, addr) => {
                let uri = format!("https://localhost:{}/", addr.port());
                let request = Request::get(uri).body(Empty::new()).unwrap();
                let began = Instant::now();
                let response = pool.call(request).await.unwrap();
                response.into_body().collect().await.unwrap();
                began.elapsed().as_secs_f64() * 1e3
            }
        }
    }
}

/// As many as a window needs; made before it, since making them takes time.
fn leaves(setting: &Setting, path: &str, leaf: Leaf) -> Vec<Issued> {
    let some = if leaf == Leaf::Rotates {
        effort(5, 1)
    } else {
        0
    };
    (0..some).map(|_| setting.issue(path)).collect()
}

/// A request of each client each ten milliseconds, through one window.
async fn paced(clients: Vec<Client>) -> Window {
    let end = Instant::now() + SECOND * effort(5, 1);
    let mut busy = JoinSet::new();
    for mut client in clients {
        busy.spawn(async move {
            let mut ticks = interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut took = Vec::new();
            while Instant::now() < end {
                ticks.tick().await;
                took.push(client.ask().await);
            }
            took
        });
    }
    let mut took = busy.join_all().await.concat();
    took.sort_by(f64::total_cmp);
    [quantile(&took, 0.5), quantile(&took, 0.99)]
}

const CLIENTS: usize = 16;
const PACE: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
