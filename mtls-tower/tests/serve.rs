//! hyper behind the accept loop: identity per request, and how connections end.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Foreign, HOUR, Log, connect, https, listen, patient, server, server_for, within};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, PeerInfo, Policy};
use mtls_tower::{Connector, serve, serve_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tower::{Service, service_fn};

type Http = Client<Connector, Empty<Bytes>>;

fn http_client(ca: &TestCa, path: &str, alpn: &str) -> Http {
    let tls = ClientTls::builder(&ca.source(&ca.issue(path)))
        .verify_server_name()
        .alpn([alpn])
        .build()
        .unwrap();
    Client::builder(TokioExecutor::new()).build(Connector::new(tls))
}

const BOTH: [(&str, Version); 2] = [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)];

/// Answers with the peer's name.
fn whoami() -> impl Service<
    Request<hyper::body::Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    service_fn(|request: Request<_>| async move {
        let peer: &PeerInfo = request.extensions().get().unwrap();
        Ok(Response::new(Full::from(peer.to_string())))
    })
}

/// Tells the test of each request, which is never answered, and of its end.
fn hanging(
    tell: mpsc::UnboundedSender<&'static str>,
) -> impl Service<
    Request<hyper::body::Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send {
    struct Ended(mpsc::UnboundedSender<&'static str>);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.send("ended");
        }
    }
    service_fn(move |_: Request<_>| {
        let tell = tell.clone();
        async move {
            tell.send("begun").unwrap();
            let _ended = Ended(tell);
            pending().await
        }
    })
}

fn run<F>(serve: F, addr: SocketAddr) -> (SocketAddr, JoinHandle<std::io::Result<()>>)
where
    F: IntoFuture<Output = std::io::Result<()>, IntoFuture: Send + 'static>,
{
    (addr, tokio::spawn(serve.into_future()))
}

macro_rules! start {
    ($tls:expr, $service:expr $(, $with:ident($value:expr))*) => {{
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        run(serve(listener, $tls, $service).limits(patient())$(.$with($value))*, addr)
    }};
}

async fn get(http: &Http, addr: SocketAddr) -> Response<String> {
    let (parts, body) = within(http.get(https(addr))).await.unwrap().into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_request_knows_its_peer_over_http_1_and_http_2() {
    let ca = TestCa::new("example.org");
    let (addr, _serving) = start!(server(&ca), whoami());
    for (alpn, version) in BOTH {
        for path in ["/web", "/batch"] {
            let http = http_client(&ca, path, alpn);
            for _ in 0..2 {
                let answer = get(&http, addr).await;
                assert_eq!(answer.version(), version);
                assert_eq!(*answer.body(), ca.spiffe_id(path));
            }
        }
    }
}

#[tokio::test]
async fn no_request_of_a_refused_client_reaches_the_service() {
    let ca = TestCa::new("example.org");
    let policy = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let service = service_fn(move |_: Request<_>| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let (addr, _serving) = start!(server_for(&ca, policy), service);
    for (alpn, _) in BOTH {
        let refused = within(http_client(&ca, "/batch", alpn).get(https(addr))).await;
        assert!(refused.is_err());
        assert_eq!(handled.load(Ordering::SeqCst), 0);
    }
    get(&http_client(&ca, "/web", "h2"), addr).await;
    assert_eq!(handled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn at_shutdown_the_request_in_flight_finishes_and_nobody_new_is_let_in() {
    let ca = TestCa::new("example.org");
    for (alpn, _) in BOTH {
        let (stop, stopped) = oneshot::channel::<()>();
        let (begun, mut begins) = mpsc::unbounded_channel();
        let service = service_fn(move |_: Request<_>| {
            let (answer, answered) = oneshot::channel::<&str>();
            begun.send(answer).unwrap();
            async move {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answered.await.unwrap())))
            }
        });
        let signal = async { stopped.await.unwrap() };
        let (addr, serving) = start!(
            server(&ca),
            service,
            with_graceful_shutdown(signal),
            drain_deadline(HOUR)
        );
        let http = http_client(&ca, "/web", alpn);
        let asking = tokio::spawn(async move { get(&http, addr).await });
        let answer = within(begins.recv()).await.unwrap();
        let idle = connect(
            Foreign::presenting(&ca.issue("/idle")).config(&ca),
            dial(addr).await,
        );
        let mut idle = idle.await.unwrap();

        stop.send(()).unwrap();
        // A connection that has no request is closed.
        let _ = within(idle.read(&mut [0])).await;
        within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
        assert!(!serving.is_finished());
        answer.send("late, and whole").unwrap();
        assert_eq!(within(asking).await.unwrap().body(), "late, and whole");
        within(serving).await.unwrap().unwrap();
    }
}

async fn dial(addr: SocketAddr) -> TcpStream {
    within(TcpStream::connect(addr)).await.unwrap()
}

#[tokio::test]
async fn the_drain_deadline_cuts_a_request_that_hangs() {
    let ca = TestCa::new("example.org");
    for (alpn, _) in BOTH {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, mut told) = mpsc::unbounded_channel();
        let (addr, serving) = start!(
            server(&ca),
            hanging(tell),
            with_graceful_shutdown(async { stopped.await.unwrap() }),
            drain_deadline(Duration::from_millis(50))
        );
        let http = http_client(&ca, "/web", alpn);
        let asking = tokio::spawn(async move { http.get(https(addr)).await });
        assert_eq!(within(told.recv()).await, Some("begun"));
        stop.send(()).unwrap();
        within(serving).await.unwrap().unwrap();
        assert!(within(asking).await.unwrap().is_err());
        assert_eq!(within(told.recv()).await, Some("ended"));
    }
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections_and_their_requests() {
    let ca = TestCa::new("example.org");
    for (alpn, _) in BOTH {
        let (tell, mut told) = mpsc::unbounded_channel();
        let (addr, serving) = start!(server(&ca), hanging(tell));
        let http = http_client(&ca, "/web", alpn);
        let asking = tokio::spawn(async move { http.get(https(addr)).await });
        assert_eq!(within(told.recv()).await, Some("begun"));
        serving.abort();
        assert!(within(asking).await.unwrap().is_err());
        assert_eq!(within(told.recv()).await, Some("ended"));
        assert!(TcpStream::connect(addr).await.is_err());
    }
}

/// Or each connection would be handed from `main` to a worker, and back, and on.
#[test]
fn a_server_that_is_awaited_in_main_runs_on_a_worker() {
    let main = std::thread::current().id();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let ca = TestCa::new("example.org");
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let serving = serve_with(listener, server(&ca), move |_: &_| {
            tell.send(std::thread::current().id()).unwrap();
            whoami()
        });
        let http = http_client(&ca, "/web", "h2");
        let answer = tokio::select! {
            ended = serving.limits(patient()).into_future() => panic!("{ended:?}"),
            answer = get(&http, addr) => answer,
        };
        assert_eq!(*answer.body(), ca.spiffe_id("/web"));
        assert_ne!(within(told.recv()).await.unwrap(), main);
    });
}

#[tokio::test]
async fn a_client_that_falls_silent_after_its_handshake_is_closed() {
    let ca = TestCa::new("example.org");
    let limit = Duration::from_millis(50);
    let (addr, _serving) = start!(server(&ca), whoami(), header_read_timeout(limit));
    let said = [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nho"];
    for alpn in [&[][..], &["http/1.1"], &["h2"]] {
        for said in said {
            let config = Foreign::presenting(&ca.issue("/web"))
                .alpn(alpn)
                .config(&ca);
            let mut tls = connect(config, dial(addr).await).await.unwrap();
            tls.write_all(said).await.unwrap();
            let mut answer = Vec::new();
            // With a close_notify or without: it is closed.
            let _ = within(tls.read_to_end(&mut answer)).await;
            assert!(!answer.starts_with(b"HTTP/1.1 2"));
        }
    }
    assert_eq!(
        *get(&http_client(&ca, "/web", "h2"), addr).await.body(),
        ca.spiffe_id("/web")
    );
}

#[tokio::test]
async fn a_panic_while_a_request_or_a_connection_is_handled_ends_that_one_alone() {
    let ca = TestCa::new("example.org");
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    let make = |connection: &mtls_tower::Connection| {
        let peer = connection.client.clone();
        assert_ne!(
            peer.to_string(),
            "spiffe://example.org/bomb",
            "not thought of"
        );
        assert!(connection.remote_addr.ip().is_loopback());
        service_fn(move |request: Request<_>| {
            let peer = peer.to_string();
            async move {
                let _: &Request<hyper::body::Incoming> = &request;
                assert_ne!(peer, "spiffe://example.org/late-bomb", "not thought of");
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(peer)))
            }
        })
    };
    let (addr, serving) = run(
        serve_with(listener, server(&ca), make).limits(patient()),
        addr,
    );
    for (alpn, _) in BOTH {
        for bomb in ["/bomb", "/late-bomb"] {
            assert!(
                within(http_client(&ca, bomb, alpn).get(https(addr)))
                    .await
                    .is_err()
            );
        }
        assert_eq!(
            *get(&http_client(&ca, "/web", alpn), addr).await.body(),
            ca.spiffe_id("/web")
        );
    }
    assert!(!serving.is_finished());
}

/// What a client asks on a connection of its own, by hyper's HTTP/2 or in so many words.
async fn ask_on(
    tls: tokio_rustls::client::TlsStream<TcpStream>,
    alpn: &str,
    addr: SocketAddr,
) -> String {
    if alpn == "h2" {
        let io = TokioIo::new(tls);
        let (mut http, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(https(addr)).body(Empty::<Bytes>::new());
        let answer = within(http.send_request(request.unwrap())).await.unwrap();
        let body = within(answer.into_body().collect()).await.unwrap();
        return String::from_utf8(body.to_bytes().to_vec()).unwrap();
    }
    let mut tls = tls;
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    tls.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(tls.read_to_string(&mut answer)).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn a_handshake_in_flight_at_shutdown_finishes_and_its_client_is_served() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    for (alpn, _) in BOTH {
        let mut log = Log::start();
        let (stop, stopped) = oneshot::channel::<()>();
        let (addr, serving) = start!(
            server(&ca),
            whoami(),
            with_graceful_shutdown(async { stopped.await.unwrap() }),
            drain_deadline(HOUR)
        );
        let (proper, stranger) = (dial(addr).await, dial(addr).await);
        stop.send(()).unwrap();
        within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;

        let config = Foreign::presenting(&ca.issue("/web")).alpn(match alpn {
            "h2" => &["h2"],
            _ => &["http/1.1"],
        });
        let tls = connect(config.config(&ca), proper).await.unwrap();
        assert_eq!(ask_on(tls, alpn, addr).await, ca.spiffe_id("/web"));
        assert!(!serving.is_finished(), "the other handshake is in flight");
        let config = Foreign::presenting(&other.issue("/web")).config(&ca);
        let mut tls = connect(config, stranger).await.unwrap();
        let refused = within(tls.read_u8()).await.unwrap_err();
        assert_eq!(common::alert(&refused), "unknown_ca");
        drop(tls);
        within(serving).await.unwrap().unwrap();
        let told = log.next("shut down").await;
        // Those that knocked while we waited may be among the handshakes.
        assert_eq!(told.get("mtls.late"), Some("1"));
        assert_eq!(told.get("mtls.cut"), Some("0"));
        assert_eq!(told.get("mtls.handshakes_cut"), Some("0"));
    }
}

#[tokio::test]
async fn the_drain_deadline_cuts_handshakes_too_and_what_was_cut_is_told() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (addr, serving) = start!(
        server(&ca),
        hanging(tell),
        with_graceful_shutdown(async { stopped.await.unwrap() }),
        drain_deadline(Duration::from_millis(50))
    );
    let http = http_client(&ca, "/web", "h2");
    let asking = tokio::spawn(async move { http.get(https(addr)).await });
    assert_eq!(within(told.recv()).await, Some("begun"));
    let mut silent = dial(addr).await;
    stop.send(()).unwrap();
    within(serving).await.unwrap().unwrap();
    assert!(within(asking).await.unwrap().is_err());
    assert!(matches!(
        within(silent.read(&mut [0])).await,
        Ok(0) | Err(_)
    ));
    let told = log.next("drain deadline passed").await;
    for field in [
        "mtls.open",
        "mtls.handshakes",
        "mtls.cut",
        "mtls.handshakes_cut",
    ] {
        assert_eq!(told.get(field), Some("1"), "{field}");
    }
    assert_eq!(told.get("mtls.late"), Some("0"));
}
