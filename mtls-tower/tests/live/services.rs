//! The pool that is built of services, with our connections in it.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::pool::{cache, map, negotiate, singleton::Singleton};
use hyper_util::rt::TokioExecutor;
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{ClientTls, HandshakeError, PeerInfo, Publisher, Reason, Role};
use mtls_tower::pool::{Http1, Http2, HttpLayer, HttpSender, MakeHttp, SendError};
use mtls_tower::{ConnectError, Connector};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt, layer::layer_fn};

use crate::common::{client, https, within};
use crate::server::{Live, Options};

type Body = Empty<Bytes>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn client_of(server: &Live, issued: &Issued) -> (Publisher, ClientTls) {
    let (publisher, source) = server.authorities.ca.publish(issued);
    let tls = ClientTls::builder(&source).verify_server_name();
    (publisher, tls.build().unwrap())
}

fn http1(tls: &ClientTls) -> MakeHttp<Http1<Body>, Connector> {
    HttpLayer::http1().layer(Connector::new(tls.with_alpn(["http/1.1"])))
}

fn http2(tls: &ClientTls) -> MakeHttp<Http2<Body>, Connector> {
    HttpLayer::http2().layer(Connector::new(tls.with_alpn(["h2"])))
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Empty::new()).unwrap()
}

/// The serial that the server knows us by, and the server.
async fn ask<P, S>(pool: &mut P, addr: SocketAddr, path: &str) -> (String, PeerInfo)
where
    P: Service<Uri, Response = S, Error: Debug>,
    S: Service<Request<Body>, Response = Response<Incoming>, Error: Debug>,
{
    let to: Uri = format!("https://{addr}{path}").parse().unwrap();
    let mut http = within(pool.ready().await.unwrap().call(to.clone()))
        .await
        .unwrap();
    let request = Request::get(to).body(Empty::new()).unwrap();
    let answer = within(http.ready().await.unwrap().call(request))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let server = answer.extensions().get::<PeerInfo>().unwrap().clone();
    let body = within(answer.into_body().collect()).await.unwrap();
    let serial = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    (serial, server)
}

/// The same of somebody who does not wait for ever.
///
/// hyper-util's singleton (0.1.21) numbers its callers anew for each connection. One of the connection before that is done only
/// then takes the place of its namesake away, and that one is never woken.
async fn ask_again<P, S>(pool: &mut P, addr: SocketAddr) -> (String, PeerInfo)
where
    P: Service<Uri, Response = S, Error: Debug>,
    S: Service<Request<Body>, Response = Response<Incoming>, Error: Debug>,
{
    for _ in 0..5 {
        if let Ok(answer) = timeout(FORGOTTEN, ask(pool, addr, "/")).await {
            return answer;
        }
    }
    panic!("forgotten five times")
}

/// Far longer than a request takes on any machine that runs tests.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// How many connections the server has had, by what it presents them as.
fn counted<S>(
    connect: S,
    made: &Arc<AtomicUsize>,
) -> impl Service<Uri, Response = S::Response, Error = S::Error, Future = S::Future> + Clone + use<S>
where
    S: Service<Uri> + Clone,
{
    let made = Arc::clone(made);
    tower::util::MapRequest::new(connect, move |to: Uri| {
        made.fetch_add(1, Ordering::SeqCst);
        to
    })
}

/// Ten rotations under the load of four, then what is in flight while one more comes: `retain` is what a user writes.
async fn rotates<P, S, E>(
    make: impl Fn() -> P,
    retain: impl Fn(&mut P) + Clone + Send + 'static,
    alpn: &str,
    made: &AtomicUsize,
    publisher: Publisher,
    server: &Live,
) where
    P: Service<Uri, Response = S, Error = E, Future: Send> + Clone + Send + Sync + 'static,
    S: Service<Request<Body>, Response = Response<Incoming>, Error: Debug + Send, Future: Send>
        + Send
        + 'static,
    E: Debug + Send + 'static,
{
    let addr = server.addr;
    let pool = make();
    let mut asking = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..4 {
        let (mut pool, stopped, retain) = (pool.clone(), stopped.clone(), retain.clone());
        asking.spawn(async move {
            while !*stopped.borrow() {
                retain(&mut pool);
                ask_again(&mut pool, addr).await;
            }
        });
    }
    let mut mine = pool.clone();
    let mut last = String::new();
    for _ in 0..10 {
        let renewed = server.issue("/web");
        publisher.publish_credentials(renewed.material()).unwrap();
        // Another's connection may have been begun before.
        let served = async {
            loop {
                retain(&mut mine);
                let (serial, peer) = ask_again(&mut mine, addr).await;
                assert_eq!(peer.alpn(), Some(alpn.as_bytes()));
                assert_eq!(peer.role(), Role::Server);
                if serial == renewed.serial() {
                    break;
                }
            }
        };
        within(served).await;
        last = renewed.serial();
    }
    stop.send(true).unwrap();
    asking.join_all().await;
    assert!(made.load(Ordering::SeqCst) >= 10);

    // The pool before goes on with connections that nobody waits for any more. One that was begun with credentials of before
    // may come into it behind the back of whoever has looked through it.
    let pool = make();
    let mut mine = pool.clone();
    let held = {
        let mut pool = pool.clone();
        tokio::spawn(async move { ask(&mut pool, addr, "/hold").await })
    };
    within(server.holding.notified()).await;
    assert_eq!(ask(&mut mine, addr, "/").await.0, last);
    let renewed = server.issue("/web");
    publisher.publish_credentials(renewed.material()).unwrap();
    retain(&mut mine);
    // The very next one.
    assert_eq!(ask(&mut mine, addr, "/").await.0, renewed.serial());
    assert!(!held.is_finished());
    server.release.notify_one();
    let (serial, peer) = within(held).await.unwrap();
    assert_eq!(serial, last);
    assert!(peer.is_superseded());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_retire_connections_of_http_1_and_lose_no_request() {
    let server = Live::with(Options::default());
    let (publisher, tls) = client_of(&server, &server.issue("/web"));
    let made = Arc::default();
    let pool = || {
        let cache = cache::builder().executor(TokioExecutor::new());
        cache.build(counted(http1(&tls), &made))
    };
    rotates(
        pool,
        |pool| pool.retain(|http| http.takes_requests()),
        "http/1.1",
        &made,
        publisher,
        &server,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_retire_the_connection_of_http_2_and_lose_no_request() {
    let server = Live::with(Options::default());
    let (publisher, tls) = client_of(&server, &server.issue("/web"));
    let made = Arc::default();
    rotates(
        || Singleton::new(counted(http2(&tls), &made)),
        |pool| pool.retain(|http| http.takes_requests()),
        "h2",
        &made,
        publisher,
        &server,
    )
    .await;
}

#[tokio::test]
async fn connections_are_kept_while_nothing_speaks_against_them() {
    let server = Live::with(Options::default());
    let web = server.issue("/web");
    let (publisher, tls) = client_of(&server, &web);
    let (ones, twos) = (Arc::default(), Arc::default());
    let mut one = cache::builder().build(counted(http1(&tls), &ones));
    let mut two = Singleton::new(counted(http2(&tls), &twos));
    for _ in 0..5 {
        one.retain(|http| http.takes_requests());
        two.retain(|http| http.takes_requests());
        assert_eq!(ask(&mut one, server.addr, "/").await.0, web.serial());
        assert_eq!(ask(&mut two, server.addr, "/").await.0, web.serial());
        publisher.publish_credentials(web.material()).unwrap();
    }
    assert_eq!(ones.load(Ordering::SeqCst), 1);
    assert_eq!(twos.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_is_trusted_no_more_is_cut_off_and_its_connection_retired() {
    let server = Live::with(Options::default());
    let (publisher, tls) = client_of(&server, &server.issue("/web"));
    let mut pool = Singleton::new(http2(&tls));
    ask(&mut pool, server.addr, "/").await;
    let other = TestCa::new("example.org");
    publisher
        .publish(other.issue("/web").material(), other.trust_material())
        .unwrap();
    pool.retain(|http| http.takes_requests());
    assert!(pool.is_empty());
    let refused = within(pool.call(https(server.addr))).await.unwrap_err();
    let refused = HandshakeError::find(&refused).unwrap();
    assert_eq!(refused.reason(), Reason::UnknownIssuer);
}

#[tokio::test]
async fn negotiation_and_a_map_of_destinations_work_with_it() {
    let server = Live::with(Options::default());
    let (_publisher, tls) = client_of(&server, &server.issue("/web"));
    for (alpn, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        // The server would rather speak HTTP/2; the client decides here what there is to negotiate.
        let connector = Connector::new(tls.with_alpn([alpn]));
        let mut pools = map::Map::builder()
            .keys(|to: &Uri| to.authority().cloned())
            .values(move |_| {
                negotiate::builder()
                    .connect(connector.clone())
                    .inspect(|connected: &mtls_tower::Connected| connected.is_http2())
                    .fallback(layer_fn(|connect| {
                        cache::builder().build(HttpLayer::http1::<Body>().layer(connect))
                    }))
                    .upgrade(layer_fn(|connect| {
                        Singleton::new(HttpLayer::http2::<Body>().layer(connect))
                    }))
                    .build::<Uri>()
            })
            .build();
        for host in ["localhost", "127.0.0.1"] {
            let to: Uri = format!("https://{host}:{}/", server.addr.port())
                .parse()
                .unwrap();
            let pool = pools.service(&to);
            for _ in 0..2 {
                pool.fallback_mut().retain(|http| http.takes_requests());
                pool.upgrade_mut().retain(|http| http.takes_requests());
                let mut http = within(pool.ready().await.unwrap().call(to.clone()))
                    .await
                    .unwrap();
                let answer = within(http.ready().await.unwrap().call(get(&to.to_string())));
                let answer = answer.await.unwrap();
                assert_eq!(answer.version(), version);
                let peer = answer.extensions().get::<PeerInfo>().unwrap();
                assert_eq!(peer.to_string(), "spiffe://example.org/api");
            }
        }
        let to = Uri::from_static("http://127.0.0.1:9/");
        let refused = pools.service(&to).call(to).await.unwrap_err();
        assert!(below::<ConnectError>(&*refused), "{refused:?}");
    }
}

async fn sender<P: mtls_tower::pool::Protocol<Body = Body>>(
    make: &mut MakeHttp<P, Connector>,
    addr: SocketAddr,
) -> Result<HttpSender<P>, BoxError> {
    within(make.call(https(addr))).await
}

fn below<T: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<T>() {
            return true;
        }
        next = error.source();
    }
    false
}

#[tokio::test]
async fn there_is_no_plaintext() {
    let ca = TestCa::new("example.org");
    let tls = client(&ca, "/web");
    let plain = Uri::from_static("http://127.0.0.1:9/");
    let refused = http1(&tls).call(plain.clone()).await.unwrap_err();
    assert!(
        matches!(refused.downcast_ref(), Some(ConnectError::NotHttps { found }) if found == "http")
    );
    let refused = http2(&tls).call(plain).await.unwrap_err();
    assert!(
        matches!(refused.downcast_ref(), Some(ConnectError::NotHttps { found }) if found == "http")
    );
}

/// Another host may be expected to be somebody else: that this server was verified for its own says nothing of it.
#[tokio::test]
async fn a_connection_takes_no_request_for_another_destination_than_its_own() {
    let server = Live::with(Options::default());
    let (_publisher, tls) = client_of(&server, &server.issue("/web"));
    let port = server.addr.port();
    let mut one = sender(&mut http1(&tls), server.addr).await.unwrap();
    let mut two = sender(&mut http2(&tls), server.addr).await.unwrap();
    for uri in [
        format!("https://localhost:{port}/"),
        "https://127.0.0.1/".to_owned(),
        format!("http://127.0.0.1:{port}/"),
    ] {
        for refused in [
            within(one.call(get(&uri))).await.unwrap_err(),
            within(two.call(get(&uri))).await.unwrap_err(),
        ] {
            let by_scheme = matches!(
                &refused,
                SendError::Uri {
                    source: ConnectError::NotHttps { .. }
                }
            );
            let by_host = matches!(&refused, SendError::WrongDestination { .. });
            assert!(
                if uri.starts_with("http:") {
                    by_scheme
                } else {
                    by_host
                },
                "{refused:?}"
            );
        }
    }
    for uri in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}"),
        "/".to_owned(),
    ] {
        let answer = within(one.ready().await.unwrap().call(get(&uri)))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        within(answer.into_body().collect()).await.unwrap();
        let answer = within(two.ready().await.unwrap().call(get(&uri)))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn a_layer_speaks_no_other_protocol_than_was_negotiated() {
    let server = Live::with(Options::default());
    let (_publisher, tls) = client_of(&server, &server.issue("/web"));
    let (h1, h2) = (tls.with_alpn(["http/1.1"]), tls.with_alpn(["h2"]));
    let mut one = HttpLayer::http1::<Body>().layer(Connector::new(h2));
    let mut two = HttpLayer::http2::<Body>().layer(Connector::new(h1));
    for (refused, negotiated) in [
        (sender(&mut one, server.addr).await.err(), "h2"),
        (sender(&mut two, server.addr).await.err(), "http/1.1"),
    ] {
        let refused = refused.unwrap();
        let Some(SendError::WrongProtocol { found }) = refused.downcast_ref() else {
            panic!("{refused:?}");
        };
        assert_eq!(found.as_deref(), Some(negotiated));
    }
}

/// hyper-util's `negotiate` keeps the connection that lost the race for itself, and hands it out when it needs the next.
#[tokio::test]
async fn a_connection_that_negotiation_kept_over_a_rotation_is_left_for_a_new_one() {
    let server = Live::with(Options::default());
    let (publisher, tls) = client_of(&server, &server.issue("/web"));
    let made = Arc::default();
    let mut pool = negotiate::builder()
        .connect(counted(Connector::new(tls), &made))
        .inspect(|connected: &mtls_tower::Connected| connected.is_http2())
        .fallback(layer_fn(|connect| {
            cache::builder().build(HttpLayer::http1::<Body>().layer(connect))
        }))
        .upgrade(layer_fn(|connect| {
            Singleton::new(HttpLayer::http2::<Body>().layer(connect))
        }))
        .build::<Uri>();
    let mut other = pool.clone();
    let to = https(server.addr);
    let raced = within(async { tokio::join!(pool.call(to.clone()), other.call(to.clone())) });
    assert!(matches!(raced.await, (Ok(_), Ok(_))));
    assert_eq!(made.load(Ordering::SeqCst), 2);

    let renewed = server.issue("/web");
    publisher.publish_credentials(renewed.material()).unwrap();
    pool.upgrade_mut().retain(|http| http.takes_requests());
    assert_eq!(ask(&mut pool, server.addr, "/").await.0, renewed.serial());
    assert_eq!(made.load(Ordering::SeqCst), 3);
}
