//! The connections in the pool of hyper-util's client.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::testing::{Issued, LeafOptions};
use mtls_core::{
    ClientTls, CredentialSource, HandshakeError, PeerInfo, Publisher, Reason, Timestamp,
    TrustMaterial,
};
use mtls_tower::{ConnectError, Connected, Connector, Retire, RetireLayer};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{Layer, Service};

use crate::common::within;
use crate::server::{Live, Options};

type Http = Retire<Client<Counting, Empty<Bytes>>>;

/// Counts the connections that are made.
#[derive(Debug, Clone)]
struct Counting {
    inner: Connector,
    made: Arc<AtomicUsize>,
}

impl Service<Uri> for Counting {
    type Response = Connected;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.made.fetch_add(1, Ordering::SeqCst);
        self.inner.call(uri)
    }
}

struct Pool {
    http: Http,
    publisher: Publisher,
    made: Arc<AtomicUsize>,
}

/// A client that trusts both CAs of the server's.
fn pool(server: &Live, issued: &Issued, alpn: &str) -> Pool {
    let (publisher, source) = CredentialSource::builder()
        .publish(issued.material(), trust(server))
        .unwrap();
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .alpn([alpn])
        .build()
        .unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counting = Counting {
        inner: Connector::new(tls),
        made: Arc::clone(&made),
    };
    Pool {
        // Without it, of two requests that connect at once to a server of HTTP/2 hyper-util now and then fails one.
        http: RetireLayer::new().layer(
            Client::builder(TokioExecutor::new())
                .http2_only(alpn == "h2")
                .build(counting),
        ),
        publisher,
        made,
    }
}

fn trust(server: &Live) -> TrustMaterial {
    let from = &server.authorities;
    TrustMaterial::new(vec![from.ca.root_der(), from.second.root_der()])
}

impl Pool {
    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

/// The serial that the server knows us by, and the server.
async fn ask<S>(http: &S, addr: SocketAddr, path: &str) -> Result<(String, PeerInfo), S::Error>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<Incoming>> + Clone,
{
    let uri = format!("https://{addr}{path}");
    let request = Request::get(uri).body(Empty::new()).unwrap();
    let answer = within(http.clone().call(request)).await?;
    assert_eq!(answer.status(), 200);
    let server = answer.extensions().get::<PeerInfo>().unwrap().clone();
    let body = within(answer.into_body().collect()).await.unwrap();
    let serial = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    Ok((serial, server))
}

#[tokio::test]
async fn after_our_credentials_rotated_the_very_next_request_is_made_with_the_new_ones() {
    for alpn in ["http/1.1", "h2"] {
        let server = Live::with(Options::default());
        let (old, new) = (server.issue("/web"), server.issue("/web"));
        let pool = pool(&server, &old, alpn);
        for _ in 0..5 {
            let (serial, _) = ask(&pool.http, server.addr, "/").await.unwrap();
            assert_eq!(serial, old.serial());
        }
        assert_eq!(pool.made(), 1);
        let held = {
            let (http, addr) = (pool.http.clone(), server.addr);
            tokio::spawn(async move { ask(&http, addr, "/hold").await })
        };
        within(server.holding.notified()).await;

        pool.publisher.publish_credentials(new.material()).unwrap();
        for _ in 0..5 {
            let (serial, _) = ask(&pool.http, server.addr, "/").await.unwrap();
            assert_eq!(serial, new.serial());
        }
        assert_eq!(pool.made(), 2);
        // What was in flight is on the old connection, and finishes.
        assert!(!held.is_finished());
        server.release.notify_one();
        let (serial, peer) = within(held).await.unwrap().unwrap();
        assert_eq!(serial, old.serial());
        assert!(peer.is_superseded());
    }
}

#[tokio::test]
async fn without_the_layer_an_http_2_connection_is_retired_all_the_same() {
    let server = Live::with(Options::default());
    let (old, new) = (server.issue("/web"), server.issue("/web"));
    let (publisher, source) = server.authorities.ca.publish(&old);
    let tls = ClientTls::builder(&source)
        .verify_server_name()
        .build()
        .unwrap();
    let http = Client::builder(TokioExecutor::new()).build(Connector::new(tls));
    let held = {
        let (http, addr) = (http.clone(), server.addr);
        tokio::spawn(async move { ask(&http, addr, "/hold").await })
    };
    within(server.holding.notified()).await;
    assert_eq!(ask(&http, server.addr, "/").await.unwrap().0, old.serial());
    publisher.publish_credentials(new.material()).unwrap();
    // As soon as the connection's task has had its turn.
    within(async { while ask(&http, server.addr, "/").await.unwrap().0 != new.serial() {} }).await;
    assert!(!held.is_finished());
    server.release.notify_one();
    assert_eq!(within(held).await.unwrap().unwrap().0, old.serial());
}

#[tokio::test]
async fn a_new_trust_that_lets_the_server_in_all_the_same_costs_no_connection() {
    for alpn in ["http/1.1", "h2"] {
        let server = Live::with(Options::default());
        let web = server.issue("/web");
        let pool = pool(&server, &web, alpn);
        let (_, peer) = ask(&pool.http, server.addr, "/").await.unwrap();
        let narrower = TrustMaterial::new(vec![server.authorities.ca.root_der()]);
        pool.publisher.publish_trust(narrower).unwrap();
        // The same credentials again are none that are new.
        pool.publisher.publish_credentials(web.material()).unwrap();
        for _ in 0..5 {
            ask(&pool.http, server.addr, "/").await.unwrap();
        }
        assert_eq!(pool.made(), 1);
        assert!(!peer.is_superseded());
    }
}

#[tokio::test]
async fn a_server_that_is_trusted_no_more_is_cut_off_at_once() {
    for alpn in ["http/1.1", "h2"] {
        let server = Live::with(Options::default());
        server.rotate(&server.authorities.second.issue("/api"));
        let pool = pool(&server, &server.issue("/web"), alpn);
        ask(&pool.http, server.addr, "/").await.unwrap();
        let held = {
            let (http, addr) = (pool.http.clone(), server.addr);
            tokio::spawn(async move { ask(&http, addr, "/hold").await })
        };
        within(server.holding.notified()).await;
        let narrower = TrustMaterial::new(vec![server.authorities.ca.root_der()]);
        pool.publisher.publish_trust(narrower).unwrap();
        for request in [
            within(held).await.unwrap(),
            ask(&pool.http, server.addr, "/").await,
        ] {
            let error = request.unwrap_err();
            let why = HandshakeError::find(&error).map(HandshakeError::reason);
            // h2 keeps the text of an I/O error, and no more.
            let by_text = format!("{error:?}").contains("no trust anchor leads to its issuer");
            assert!(why == Some(Reason::UnknownIssuer) || by_text, "{error:?}");
        }
    }
}

#[tokio::test]
async fn ahead_of_its_servers_end_a_pool_moves_on_and_no_request_is_lost() {
    let server = Live::with(Options::default());
    let short = LeafOptions::service("/api").expires_in(Duration::from_secs(3));
    server.rotate(&server.authorities.ca.issue_with(short));
    let pool = pool(&server, &server.issue("/web"), "h2");
    let (_, first) = ask(&pool.http, server.addr, "/").await.unwrap();
    // It renewed in time; nothing tells of that but a new connection.
    server.rotate(&server.issue("/api"));
    loop {
        let (_, peer) = ask(&pool.http, server.addr, "/").await.unwrap();
        if peer.identity().serial() != first.identity().serial() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(
        Timestamp::now() <= first.deadline(),
        "it moved on before the end"
    );
    assert_eq!(pool.made(), 2);
}

// On one thread: on several, hyper's client fails a request that it sends in the very microseconds in which a GOAWAY of
// its server arrives, which no server can help.
#[tokio::test]
async fn connections_that_end_by_age_lose_no_request() {
    let age = Duration::from_millis(150);
    let server = Live::with(Options {
        lost_peer_deadline: Duration::from_secs(1),
        max_age: Some(age),
        ..Options::default()
    });
    let mut pools = Vec::new();
    let mut asking = JoinSet::new();
    for alpn in ["http/1.1", "h2"] {
        let pool = pool(&server, &server.issue("/web"), alpn);
        for _ in 0..4 {
            let (http, addr) = (pool.http.clone(), server.addr);
            asking.spawn(async move {
                let begun = tokio::time::Instant::now();
                while begun.elapsed() < age * 8 {
                    ask(&http, addr, "/").await.unwrap();
                }
            });
        }
        pools.push(pool);
    }
    asking.join_all().await;
    for pool in pools {
        assert!(pool.made() > 4, "{}", pool.made());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_under_load_lose_no_request() {
    for alpn in ["http/1.1", "h2"] {
        let server = Live::with(Options::default());
        let pool = pool(&server, &server.issue("/web"), alpn);
        let mut asking = JoinSet::new();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        for _ in 0..4 {
            let (http, addr, stopped) = (pool.http.clone(), server.addr, stopped.clone());
            asking.spawn(async move {
                while !*stopped.borrow() {
                    ask(&http, addr, "/").await.unwrap();
                }
            });
        }
        for _ in 0..30 {
            let renewed = server.issue("/web");
            pool.publisher
                .publish_credentials(renewed.material())
                .unwrap();
            // The very next one may be on a connection whose first answer is only just coming.
            while ask(&pool.http, server.addr, "/").await.unwrap().0 != renewed.serial() {}
        }
        stop.send(true).unwrap();
        asking.join_all().await;
        assert!(pool.made() >= 30, "{}", pool.made());
    }
}
