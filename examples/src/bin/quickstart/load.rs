//! Callers that never stop, and what they saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mtls_core::ClientTls;
use mtls_reqwest::{Client, ResponseExt, explain};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Fallible;

/// What the callers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many each caller has made.
    pub(crate) made: BTreeMap<usize, u64>,
    pub(crate) failed: u64,
    pub(crate) connections: u64,
    /// The serials that the service has presented.
    pub(crate) orders: BTreeSet<String>,
    /// The serials that the caller was seen with by the service.
    pub(crate) web: BTreeSet<String>,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    callers: JoinSet<()>,
}

/// Whether a caller keeps its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connections {
    KeptAlive,
    NewEachTime,
}

const CALLERS: [Connections; 4] = [
    Connections::KeptAlive,
    Connections::KeptAlive,
    Connections::KeptAlive,
    Connections::NewEachTime,
];

impl Seen {
    pub(crate) fn requests(&self) -> u64 {
        self.made.values().sum()
    }
}

impl Load {
    /// Starts three callers that keep their connections and one that connects anew for each request.
    pub(crate) fn start(tls: &ClientTls, url: &str) -> Fallible<Self> {
        let (stop, seen) = (Arc::default(), Arc::default());
        let mut callers = JoinSet::new();
        for (index, kind) in CALLERS.into_iter().enumerate() {
            let caller = Caller {
                client: Client::new(tls.clone())?,
                tls: tls.clone(),
                url: format!("{url}/serial"),
                index,
                kind,
                seen: Arc::clone(&seen),
            };
            callers.spawn(caller.run(Arc::clone(&stop)));
        }
        Ok(Self {
            stop,
            seen,
            callers,
        })
    }

    /// Waits until each caller has made this many more requests: with two, no handshake is left that began before.
    pub(crate) async fn go_on_for(&self, requests: u64) {
        let made = || {
            self.seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .made
                .clone()
        };
        let before = made();
        let behind = |now: &BTreeMap<usize, u64>| {
            (0..CALLERS.len()).any(|caller| {
                let count = |counts: &BTreeMap<_, _>| counts.get(&caller).copied().unwrap_or(0);
                count(now) < count(&before) + requests
            })
        };
        while behind(&made()) {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets the callers finish the request that they are at, and tells what they saw.
    pub(crate) async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        while self.callers.join_next().await.is_some() {}
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Caller {
    index: usize,
    client: Client,
    tls: ClientTls,
    url: String,
    kind: Connections,
    seen: Arc<Mutex<Seen>>,
}

impl Caller {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let answer = self.call().await;
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen.made.entry(self.index).or_default() += 1;
            seen.connections += u64::from(self.kind == Connections::NewEachTime);
            match answer {
                Ok((orders, web)) => {
                    seen.orders.insert(orders);
                    seen.web.insert(web);
                }
                Err(error) => {
                    seen.failed += 1;
                    println!("  FAILED: {error}");
                }
            }
        }
    }

    /// The serial of the service, and the one that the service has seen us with.
    async fn call(&mut self) -> Result<(String, String), String> {
        if self.kind == Connections::NewEachTime {
            self.client = Client::new(self.tls.clone()).map_err(|error| error.to_string())?;
        }
        let response = self
            .client
            .get(&self.url)
            .send()
            .await
            .map_err(|e| explain(&e).to_string())?;
        let orders = response
            .peer_identity()
            .map(|identity| identity.serial().to_owned());
        let web = response
            .text()
            .await
            .map_err(|error| explain(&error).to_string())?;
        Ok((orders.ok_or("an answer from nobody")?, web))
    }
}
