//! Callers that never stop, what they ask, and what they and the server saw.

mod http;
mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_core::{AuditEvent, AuditOutcome, AuditStage, Chained, Observer, PeerInfo};
use mtls_tower::tonic::channel;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::door::Door;
use crate::grpc;
use crate::party::{PATIENCE, Parties, Party};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a caller calls.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// hyper-util's client over one connection.
    Http1Kept,
    /// hyper-util's client, several requests at a time over one connection.
    Http2Multiplexed,
    /// A connection for each request.
    Http1Anew,
    /// A channel that is kept.
    GrpcUnary,
    /// A stream of a number of messages each way, over a channel that is kept.
    GrpcStream,
    /// A stream without HTTP.
    RawKept,
    /// The same, and a connection for each line.
    RawAnew,
    /// reqwest's client over HTTP/1.1.
    ReqwestKept,
    /// reqwest's client over HTTP/2, several requests at a time.
    ReqwestMultiplexed,
    /// A client for each request.
    ReqwestAnew,
}

/// What an answer told: who the server is, as the client knows it, and who the client is, as the server knows it.
pub struct Answer {
    server: Option<String>,
    client: String,
}

impl Answer {
    pub fn from(server: Option<String>, client: &str) -> Self {
        Self {
            server,
            client: client.trim().to_owned(),
        }
    }
}

/// The form in which both ends speak of a peer.
pub fn told(peer: &PeerInfo) -> String {
    format!("{peer} {}", peer.identity().serial())
}

/// What all callers saw, and the server's observer.
#[derive(Default)]
pub struct Tally {
    failed: AtomicU64,
    wrong: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// How many requests of each caller were answered.
    answered: Mutex<BTreeMap<usize, u64>>,
    /// What was amiss, the first few of each kind.
    amiss: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub fn requests(&self) -> u64 {
        self.answered.lock().unwrap().values().sum()
    }

    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn is_well(&self) -> bool {
        [&self.failed, &self.wrong, &self.refused]
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0)
    }

    pub fn amiss(&self) -> String {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut text = format!(
            "{} failed, {} wrong, {} handshakes refused",
            count(&self.failed),
            count(&self.wrong),
            count(&self.refused)
        );
        for (what, times) in &*self.amiss.lock().unwrap() {
            text.push_str(&format!("\n    {times} times: {what}\n"));
        }
        text
    }

    fn note(&self, count: &AtomicU64, what: String) {
        count.fetch_add(1, Ordering::Relaxed);
        let mut amiss = self.amiss.lock().unwrap();
        if amiss.len() < 20 || amiss.contains_key(&what) {
            *amiss.entry(what).or_default() += 1;
        }
    }

    fn counts(&self) -> BTreeMap<usize, u64> {
        self.answered.lock().unwrap().clone()
    }
}

impl Observer for Tally {
    fn observe(&self, event: &AuditEvent<'_>) {
        match (event.stage, event.outcome) {
            (AuditStage::Handshake, AuditOutcome::Allow) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
            (_, AuditOutcome::Deny) => {
                let reason = event.reason.map_or("no reason", |reason| reason.as_str());
                let what = format!("the server denied, {:?}, {reason}", event.stage);
                // An idle connection that a client has left behind ends as the trust in it does.
                if event.stage != AuditStage::Connection {
                    self.note(&self.refused, what);
                }
            }
            (_, AuditOutcome::Allow) => {}
        }
    }
}

/// Callers at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    callers: JoinSet<()>,
}

impl Load {
    pub fn start(door: Door, parties: &Parties, addr: SocketAddr, tally: &Arc<Tally>) -> Self {
        let (stop, mut callers) = (Arc::default(), JoinSet::new());
        for client in &parties.clients {
            for kind in door.mix() {
                let caller = Caller {
                    number: callers.len(),
                    client: Arc::clone(client),
                    server: Arc::clone(&parties.server),
                    addr,
                    stop: Arc::clone(&stop),
                    tally: Arc::clone(tally),
                };
                tally.answered.lock().unwrap().insert(caller.number, 0);
                callers.spawn(caller.call(*kind));
            }
        }
        Self {
            stop,
            tally: Arc::clone(tally),
            callers,
        }
    }

    /// Waits until no request is under way that began before this was called: each caller makes one after the other.
    pub async fn settle(&self) {
        let before = self.tally.counts();
        let settled = async {
            while self
                .tally
                .counts()
                .iter()
                .zip(before.values())
                .any(|((_, now), before)| *now < before + 2)
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, settled)
            .await
            .expect("every caller goes on");
    }

    /// Lets each caller finish the request that it is at.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}

pub struct Caller {
    number: usize,
    client: Arc<Party>,
    server: Arc<Party>,
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl Caller {
    async fn call(self, kind: Kind) {
        let tls = self.client.tls();
        let endpoint = || Endpoint::from_shared(self.url("")).unwrap();
        match kind {
            Kind::Http1Kept => {
                let client = http::pool(&tls, "http/1.1");
                self.over(|| async { Ok(vec![http::ask(&client, &self.url("/who")).await?]) })
                    .await;
            }
            Kind::Http2Multiplexed => {
                let client = http::pool(&tls, "h2");
                self.over(|| http::ask_at_once(&client, self.url("/who")))
                    .await;
            }
            Kind::Http1Anew => {
                self.over(|| async { Ok(vec![http::connect_and_ask(&tls, self.addr).await?]) })
                    .await;
            }
            Kind::GrpcUnary => {
                let channel = channel(tls.clone(), endpoint());
                self.over(|| async { Ok(vec![grpc::unary(channel.clone()).await?]) })
                    .await;
            }
            Kind::GrpcStream => {
                let channel = channel(tls.clone(), endpoint());
                self.over(|| grpc::stream(channel.clone())).await;
            }
            Kind::RawKept => {
                let kept = raw::Kept::new(&tls, self.addr);
                self.over(|| async { Ok(vec![kept.ask().await?]) }).await;
            }
            Kind::RawAnew => {
                self.over(|| async { Ok(vec![raw::Kept::new(&tls, self.addr).ask().await?]) })
                    .await;
            }
            Kind::ReqwestKept => {
                let client = mtls_reqwest::Client::new(tls.with_alpn(["http/1.1"])).unwrap();
                self.over(|| async { Ok(vec![http::get(&client, self.url("/who")).await?]) })
                    .await;
            }
            Kind::ReqwestMultiplexed => {
                let client = mtls_reqwest::Client::new(tls).unwrap();
                self.over(|| http::get_at_once(&client, self.url("/who")))
                    .await;
            }
            Kind::ReqwestAnew => {
                self.over(|| async {
                    let client = mtls_reqwest::Client::new(tls.clone())?;
                    Ok(vec![http::get(&client, self.url("/who")).await?])
                })
                .await;
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    /// Asks until it is told to stop, and looks at each answer.
    async fn over<F>(&self, mut ask: impl FnMut() -> F)
    where
        F: Future<Output = Result<Vec<Answer>, BoxError>>,
    {
        while !self.stop.load(Ordering::Relaxed) {
            let answers = match timeout(PATIENCE, ask()).await {
                Ok(answers) => answers,
                Err(_) => Err("no answer in half a minute".into()),
            };
            let mut made = 1;
            match answers {
                Ok(answers) => {
                    made = answers.len() as u64;
                    answers.iter().for_each(|answer| self.look_at(answer));
                }
                Err(error) => {
                    let what = format!("{} of {}", Chained(&*error), self.client.name);
                    self.tally.note(&self.tally.failed, what);
                }
            }
            // Even where it failed: whoever waits for it to go on need not wait for what cannot be.
            let mut answered = self.tally.answered.lock().unwrap();
            *answered.entry(self.number).or_default() += made;
        }
    }

    fn look_at(&self, answer: &Answer) {
        let is = |party: &Party, told: &str| {
            let (name, serial) = told.split_once(' ').unwrap_or_default();
            party.is(name, serial)
        };
        // Where a gRPC channel has just connected anew it may not tell which server answered.
        let server = answer.server.as_deref();
        if !is(&self.client, &answer.client) || server.is_some_and(|told| !is(&self.server, told)) {
            let what = format!(
                "{} was taken for {}, and {:?} answered",
                self.client.name, answer.client, answer.server
            );
            self.tally.note(&self.tally.wrong, what);
        }
    }
}
