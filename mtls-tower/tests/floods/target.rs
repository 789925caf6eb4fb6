//! The server under attack, and a proper client that is served throughout.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::testing::TestCa;
use mtls_core::{AuditEvent, AuditOutcome, AuditStage, Observer, Policy, ServerTls};
use mtls_tower::{Connector, serve};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tower::service_fn;

use crate::common::{Foreign, HOUR, client, connect, https, listen, patient, within};

/// A server that counts what it is made to do. Its limits are those that a test sets; its deadlines never pass.
pub struct Target {
    pub ca: TestCa,
    pub addr: SocketAddr,
    pub seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
pub struct Seen {
    /// Handshakes that were refused, by their reason.
    refused: Mutex<BTreeMap<&'static str, usize>>,
    /// Requests to `/endless` that are being answered, and the most there were.
    answering: AtomicUsize,
    most: AtomicUsize,
    /// Bytes of `/endless` that hyper has asked for.
    asked: AtomicU64,
}

impl Seen {
    pub fn refused(&self, reason: &str) -> usize {
        let refused = self.refused.lock().unwrap();
        refused.get(reason).copied().unwrap_or(0)
    }

    pub fn reasons(&self) -> BTreeMap<&'static str, usize> {
        self.refused.lock().unwrap().clone()
    }

    pub fn answering(&self) -> usize {
        self.answering.load(Ordering::SeqCst)
    }

    pub fn most_at_a_time(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Observer for Seen {
    fn observe(&self, event: &AuditEvent<'_>) {
        if event.stage == AuditStage::Handshake && event.outcome == AuditOutcome::Deny {
            let reason = event.reason.map_or("none", |reason| reason.as_str());
            *self.refused.lock().unwrap().entry(reason).or_default() += 1;
        }
    }
}

/// A body without an end, in pieces; or an empty one.
#[derive(Debug)]
pub struct Endless(Option<Arc<Seen>>);

pub const PIECE: usize = 16 * 1024;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROES: [u8; PIECE] = [0; PIECE];
        Poll::Ready(self.0.as_ref().map(|seen| {
            seen.asked.fetch_add(PIECE as u64, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from_static(&ZEROES)))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or(SizeHint::with_exact(0), |_| SizeHint::default())
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        if let Some(seen) = &self.0 {
            seen.answering.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

macro_rules! target {
    () => {
        target!(|serve| serve)
    };
    ($set:expr) => {{
        let (ca, seen) = (
            mtls_core::testing::TestCa::new("example.org"),
            std::sync::Arc::default(),
        );
        $crate::target::Target::start(ca, seen, $set)
    }};
}
pub(crate) use target;

impl Target {
    pub fn start<F>(ca: TestCa, seen: Arc<Seen>, set: F) -> Self
    where
        F: FnOnce(Options) -> Options,
    {
        let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
            .authorize(Policy::trust_domain("example.org").unwrap())
            .audit(Arc::clone(&seen))
            .build()
            .unwrap();
        let tcp = listen();
        let addr = tcp.local_addr().unwrap();
        let counting = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&counting);
            async move { Ok::<_, Infallible>(answer(&request, &seen)) }
        });
        let options = set(Options::default());
        let server = serve(tcp, tls, service)
            .limits(options.limits)
            .connection_limits(options.connections)
            .lost_peer_deadline(options.lost_peer_deadline)
            .http2_keep_alive(options.http2_keep_alive, options.http2_keep_alive);
        let server = match options.max_age {
            Some(age) => server.max_age(age),
            None => server,
        };
        let task = tokio::spawn(async move { server.into_future().await.unwrap() });
        Self {
            ca,
            addr,
            seen,
            task,
        }
    }

    /// TLS as `/attacker`, whose certificate is let in.
    pub async fn attacker(&self, alpn: &'static [&'static str]) -> TlsStream<TcpStream> {
        let config = Foreign::presenting(&self.ca.issue("/attacker")).alpn(alpn);
        let tcp = within(TcpStream::connect(self.addr)).await.unwrap();
        connect(config.config(&self.ca), tcp).await.unwrap()
    }

    /// How many connections the process holds at the server's end, whatever state they are in. Those that wait in the
    /// system's queue are nobody's yet, and those that were closed nobody's any more: neither has an inode.
    #[allow(clippy::disallowed_methods, reason = "/proc is no file of anybody's")]
    pub fn held(&self) -> usize {
        const LISTEN: &str = "0A";
        let local = format!("0100007F:{:04X}", self.addr.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let held = table.lines().skip(1).filter(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            columns[1] == local && columns[3] != LISTEN && columns[9] != "0"
        });
        held.count()
    }

    /// Until no more than so many are held.
    pub async fn settles_at(&self, most: usize) {
        within(async {
            while self.held() > most {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a test sets.
#[derive(Debug)]
pub struct Options {
    pub limits: mtls_tower::Limits,
    pub connections: mtls_tower::ConnectionLimits,
    pub lost_peer_deadline: Duration,
    pub max_age: Option<Duration>,
    pub http2_keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: patient(),
            connections: mtls_tower::ConnectionLimits::new(),
            lost_peer_deadline: HOUR,
            max_age: None,
            http2_keep_alive: HOUR,
        }
    }
}

fn answer(request: &Request<Incoming>, seen: &Arc<Seen>) -> Response<Endless> {
    let body = if request.uri().path() == "/endless" {
        let now = seen.answering.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        Endless(Some(Arc::clone(seen)))
    } else {
        Endless(None)
    };
    Response::new(body)
}

/// A client that keeps a connection and makes another for each request; none of them may fail, or take long.
pub struct Proper {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proper {
    pub async fn start(target: &Target) -> Self {
        let (stop, served) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let calling = Self::call(
            client(&target.ca, "/web").with_alpn(["http/1.1"]),
            https(target.addr),
            Arc::clone(&stop),
            Arc::clone(&served),
        );
        let this = Self {
            stop,
            served,
            task: tokio::spawn(calling),
        };
        // The flood comes over a server that serves.
        this.goes_on().await;
        this
    }

    async fn call(
        tls: mtls_core::ClientTls,
        url: Uri,
        stop: Arc<AtomicBool>,
        served: Arc<AtomicUsize>,
    ) {
        let client = || Client::builder(TokioExecutor::new()).build(Connector::new(tls.clone()));
        let kept: Client<_, Empty<Bytes>> = client();
        while !stop.load(Ordering::SeqCst) {
            for client in [&kept, &client()] {
                let answer = timeout(DEADLINE, async {
                    let answer = client.get(url.clone()).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    answer.into_body().collect().await.unwrap();
                });
                answer.await.expect("a proper client is served in time");
            }
            served.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Until it was served five times more, by both kinds of connection.
    pub async fn goes_on(&self) {
        let before = self.served.load(Ordering::SeqCst);
        within(async {
            while self.served.load(Ordering::SeqCst) < before + 5 {
                assert!(!self.task.is_finished(), "a proper client was not served");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// It was served to the end.
    pub async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        within(self.task).await.unwrap();
    }
}

/// For one request, a handshake included, on a machine that runs other tests beside this one.
const DEADLINE: Duration = Duration::from_secs(20);
