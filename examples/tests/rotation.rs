//! Two hundred rotations under load: no request is lost, no handshake fails, and the last certificate is what everybody
//! sees in the end.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mtls_axum::Peer;
use mtls_core::testing::{Issued, MountedDir, TestCa};
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, Health, PeerInfo, Policy, ServerTls, Status,
};
use mtls_reqwest::ResponseExt;
use mtls_tower::Connector;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One of the two services: its mounted directory and its source.
struct Party {
    path: &'static str,
    dir: MountedDir,
    source: CredentialSource,
}

impl Party {
    async fn new(path: &'static str, ca: &TestCa) -> Self {
        let dir = MountedDir::new(&ca.issue(path));
        let files = CredentialFiles::detect(dir.path()).unwrap();
        let source = CredentialSource::watch(files).await.unwrap();
        Self { path, dir, source }
    }

    /// Swaps a new leaf in and waits until the status shows it.
    async fn rotate(&self, ca: &TestCa, bundle: &str) -> Issued {
        let leaf = ca.issue(self.path);
        let mut changes = self.source.subscribe();
        self.dir
            .rotate_with(leaf.chain_pem(), leaf.key_pem(), bundle);
        let served = async {
            while self.source.current().credentials().serial() != leaf.serial() {
                changes.changed().await.unwrap();
            }
        };
        timeout(Duration::from_secs(20), served)
            .await
            .expect("the rotation is noticed");
        leaf
    }

    fn status(&self) -> Status {
        self.source.status()
    }
}

/// How often each caller has been answered: two keep their connections, two connect anew.
#[derive(Default)]
struct Tally {
    kept: [AtomicU64; 2],
    anew: [AtomicU64; 2],
}

impl Tally {
    fn counts(&self) -> [u64; 4] {
        let [a, b] = &self.kept;
        let [c, d] = &self.anew;
        [a, b, c, d].map(|count| count.load(Ordering::Relaxed))
    }

    /// Waits until no handshake is under way that began before this was called: each caller makes one at a time.
    async fn settle(&self) {
        let before = self.counts();
        let settled = async {
            while self
                .counts()
                .iter()
                .zip(before)
                .any(|(now, before)| *now < before + 2)
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), settled)
            .await
            .expect("the callers go on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_rotations_lose_no_request_and_fail_no_handshake() {
    let mut ca = TestCa::new("example.org");
    let api = Party::new("/api", &ca).await;
    let web = Party::new("/web", &ca).await;

    let server = ServerTls::builder(&api.source)
        .authorize(Policy::spiffe_id("spiffe://example.org/web").unwrap())
        .build()
        .unwrap();
    let app = Router::new().route(
        "/serial",
        get(|Peer(peer): Peer| async move { peer.identity().serial().to_owned() }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/serial",
        listener.local_addr().unwrap().port()
    );
    let service = tokio::spawn(mtls_axum::serve(listener, server, app).into_future());

    let tls = ClientTls::builder(&web.source)
        .verify_server_name()
        .build()
        .unwrap();
    let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
    let mut load = JoinSet::new();
    for index in 0..2 {
        let caller = || Caller {
            tls: tls.clone(),
            url: url.clone(),
            stop: Arc::clone(&stop),
            tally: Arc::clone(&tally),
            index,
        };
        load.spawn(caller().keep_alive());
        load.spawn(caller().connect_anew());
    }

    let mut rotations = 0;
    while rotations < 200 {
        for _ in 0..7 {
            let bundle = ca.bundle_pem();
            tokio::join!(api.rotate(&ca, &bundle), web.rotate(&ca, &bundle));
        }
        let next = TestCa::new("example.org");
        let both = format!("{}{}", ca.bundle_pem(), next.bundle_pem());
        tokio::join!(api.rotate(&ca, &both), web.rotate(&ca, &both));
        // Only once every party trusts the new CA may anybody present a leaf of it; a handshake that began a moment
        // before that is still under way with the old trust.
        tally.settle().await;
        // Only once every party presents a leaf of the new CA may the old one go; the same holds for a handshake that is
        // still under way with a leaf of the old one.
        tokio::join!(api.rotate(&next, &both), web.rotate(&next, &both));
        tally.settle().await;
        let alone = next.bundle_pem();
        tokio::join!(api.rotate(&next, &alone), web.rotate(&next, &alone));
        ca = next;
        rotations += 10;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        // A caller panics at the first request that is lost.
        ended.unwrap();
    }
    let [kept_a, kept_b, anew_a, anew_b] = tally.counts();
    let (kept, anew) = (kept_a + kept_b, anew_a + anew_b);
    assert!(
        kept > 200 && anew > 200,
        "the load was no load: {kept} and {anew}"
    );

    let bundle = ca.bundle_pem();
    let (last_api, last_web) = tokio::join!(api.rotate(&ca, &bundle), web.rotate(&ca, &bundle));
    for _ in 0..20 {
        let (server, seen_as) =
            connect_once(&Connector::new(tls.with_alpn(["http/1.1"])), &url).await;
        assert_eq!(server.identity().serial(), last_api.serial());
        assert_eq!(seen_as, last_web.serial());
    }
    for party in [&api, &web] {
        let status = party.status();
        assert_eq!(status.health, Health::Healthy, "{status:?}");
        assert!(status.generation > 200);
    }
    service.abort();
    eprintln!("{kept} requests kept alive, {anew} on new connections, 0 failed");
}

struct Caller {
    tls: ClientTls,
    url: String,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    index: usize,
}

impl Caller {
    /// One reqwest client for all requests: it moves to the new credentials by itself.
    async fn keep_alive(self) {
        let client = mtls_reqwest::Client::new(self.tls).unwrap();
        let mut serials = BTreeSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            let response = client
                .get(&self.url)
                .send()
                .await
                .expect("no request is lost");
            serials.insert(response.peer_identity().unwrap().serial().to_owned());
            assert_eq!(response.status(), 200);
            response.text().await.expect("no answer is cut");
            self.tally
                .kept
                .get(self.index)
                .unwrap()
                .fetch_add(1, Ordering::Relaxed);
        }
        assert!(
            serials.len() > 10,
            "kept-alive connections never moved: {serials:?}"
        );
    }

    /// A handshake for every request, over HTTP/1.1.
    async fn connect_anew(self) {
        let connector = Connector::new(self.tls.with_alpn(["http/1.1"]));
        while !self.stop.load(Ordering::Relaxed) {
            connect_once(&connector, &self.url).await;
            self.tally
                .anew
                .get(self.index)
                .unwrap()
                .fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The server, and the serial that it has seen us with.
async fn connect_once(connector: &Connector, url: &str) -> (PeerInfo, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let connector = connector.clone();
    let mut stream = connector
        .connect(&url.parse().unwrap())
        .await
        .expect("no handshake fails");
    let request = b"GET /serial HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("no answer is cut");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let serial = answer.rsplit("\r\n").next().unwrap().to_owned();
    (stream.peer().clone(), serial)
}
