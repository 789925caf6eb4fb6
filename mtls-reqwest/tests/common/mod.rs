//! A server that tells who its clients are and when their connections are over, and a client for it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a part of each test binary, which uses a part of it"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{
    ClientTls, CredentialMaterial, CredentialSource, PeerInfo, Policy, Publisher, ServerTls,
    TrustMaterial,
};
use mtls_reqwest::Client;
use mtls_tower::serve_with;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::service_fn;

pub const H1: &[&str] = &["http/1.1"];
pub const H2: &[&str] = &["h2"];
/// What a server speaks that would rather speak HTTP/2.
pub const ANY: &[&str] = &["h2", "http/1.1"];
/// What the client under test speaks, for a test of each.
pub const EACH: &[&[&str]] = if cfg!(feature = "http2") {
    &[H1, H2]
} else {
    &[H1]
};

/// A source that presents `issued` and trusts `anchors`.
pub fn source(issued: &Issued, anchors: &[&TestCa]) -> (Publisher, CredentialSource) {
    let builder = CredentialSource::builder().trust_domain("example.org".parse().unwrap());
    builder
        .publish(credentials(issued), trust(anchors))
        .unwrap()
}

pub fn credentials(issued: &Issued) -> CredentialMaterial {
    CredentialMaterial::new(issued.chain_der(), issued.key_der())
}

pub fn trust(anchors: &[&TestCa]) -> TrustMaterial {
    TrustMaterial::new(anchors.iter().map(|ca| ca.root_der()).collect())
}

/// A client `/web` of `ca` that verifies the name it dials.
pub fn client(ca: &TestCa) -> (Publisher, Client) {
    let (publisher, source) = source(&ca.issue("/web"), &[ca]);
    (publisher, Client::new(by_name(&source)).unwrap())
}

pub fn by_name(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .build()
        .unwrap()
}

/// A running server. Its paths: `/` answers with the client's serial; `/hold` does too, once [`Server::release`]d;
/// `/to?URL` redirects there, `/loop` to itself; `/missing` is not found.
pub struct Server {
    pub addr: SocketAddr,
    pub publisher: Publisher,
    pub events: mpsc::UnboundedReceiver<Event>,
    held: Arc<Semaphore>,
    task: JoinHandle<()>,
}

/// What a server has noticed.
#[derive(Debug)]
pub enum Event {
    Requested(PeerInfo, String),
    Closed(PeerInfo),
}

impl Server {
    /// A server `/orders` of `ca`, in any version of HTTP.
    pub async fn start(ca: &TestCa) -> Self {
        Self::of(&ca.issue("/orders"), &[ca], ANY).await
    }

    /// A server that lets in whoever verifies.
    pub async fn of(issued: &Issued, anchors: &[&TestCa], alpn: &[&str]) -> Self {
        Self::letting_in(Policy::any_verified_peer(), issued, anchors, alpn).await
    }

    pub async fn letting_in(
        policy: Policy,
        issued: &Issued,
        anchors: &[&TestCa],
        alpn: &[&str],
    ) -> Self {
        let (publisher, source) = source(issued, anchors);
        let tls = ServerTls::builder(&source).authorize(policy);
        let tls = tls.alpn(alpn.iter().copied()).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (events, told) = mpsc::unbounded_channel();
        let held = Arc::new(Semaphore::new(0));
        let hold = Arc::clone(&held);
        let serve = serve_with(listener, tls, move |connection: &mtls_tower::Connection| {
            // Dropped with the last clone of the connection's service: when the connection is over.
            let over = Arc::new(TellClosed(
                connection.peer().unwrap().clone(),
                events.clone(),
            ));
            let (events, hold) = (events.clone(), Arc::clone(&hold));
            service_fn(move |request: Request<Incoming>| {
                let peer = over.0.clone();
                let path = request.uri().to_string();
                let _ = events.send(Event::Requested(peer.clone(), path));
                let hold = Arc::clone(&hold);
                async move { Ok::<_, Infallible>(answer(&request, &peer, &hold).await) }
            })
        });
        Self {
            addr,
            publisher,
            events: told,
            held,
            task: tokio::spawn(async move { serve.await.unwrap() }),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    /// Lets one request to `/hold` finish.
    pub fn release(&self) {
        self.held.add_permits(1);
    }

    /// What it notices next. reqwest closes idle connections after 90 s; what is due has to come before that.
    pub async fn noticed(&mut self) -> Event {
        let event = timeout(Duration::from_secs(30), self.events.recv()).await;
        event.expect("noticed in time").unwrap()
    }

    /// The serial of the next client whose request arrives.
    pub async fn requested(&mut self) -> String {
        loop {
            if let Event::Requested(peer, _) = self.noticed().await {
                return peer.identity().serial().to_owned();
            }
        }
    }

    /// The serial of the client of the next connection that is over.
    pub async fn closed(&mut self) -> String {
        loop {
            if let Event::Closed(peer) = self.noticed().await {
                return peer.identity().serial().to_owned();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct TellClosed(PeerInfo, mpsc::UnboundedSender<Event>);

impl Drop for TellClosed {
    fn drop(&mut self) {
        let _ = self.1.send(Event::Closed(self.0.clone()));
    }
}

async fn answer(
    request: &Request<Incoming>,
    peer: &PeerInfo,
    held: &Semaphore,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(peer.identity().serial().to_owned()));
    match (request.uri().path(), request.uri().query()) {
        ("/hold", _) => held.acquire().await.unwrap().forget(),
        ("/to", Some(location)) => {
            *response.status_mut() = StatusCode::FOUND;
            let location = location.parse().unwrap();
            response.headers_mut().insert(header::LOCATION, location);
        }
        ("/loop", None) => {
            *response.status_mut() = StatusCode::FOUND;
            let again = header::HeaderValue::from_static("/loop");
            response.headers_mut().insert(header::LOCATION, again);
        }
        ("/missing", _) => *response.status_mut() = StatusCode::NOT_FOUND,
        _ => {}
    }
    response
}
