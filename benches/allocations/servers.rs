//! Our server and the one that is written by hand, with the same bounds and timers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use benches::ends::{Server, Setting, Tickets};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mtls_core::rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::service_fn;

/// A server on threads of its own, until it is dropped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    _runtime: Runtime,
}

pub(crate) fn ours(setting: &Setting, tickets: Tickets) -> Running {
    let Server::Ours(tls) = setting.ours(tickets) else {
        panic!("ours is ours")
    };
    let (runtime, listener, addr) = bound();
    runtime.spawn(async move { mtls_tower::serve(listener, tls, service_fn(answer)).await });
    Running {
        addr,
        _runtime: runtime,
    }
}

pub(crate) fn bare(setting: &Setting, tickets: Tickets) -> Running {
    let Server::Bare(config) = setting.bare(tickets) else {
        panic!("bare is bare")
    };
    let (runtime, listener, addr) = bound();
    runtime.spawn(by_hand(listener, config));
    Running {
        addr,
        _runtime: runtime,
    }
}

fn bound() -> (Runtime, TcpListener, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    (runtime, listener, addr)
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

/// tokio-rustls and hyper: a deadline for the handshake, one for the head of a request, a graceful shutdown.
async fn by_hand(listener: TcpListener, config: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(config);
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT);
    http.http2().timer(TokioTimer::new());
    let http = Arc::new(http);
    let draining = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (tcp, _) = accepted.unwrap();
                tcp.set_nodelay(true).unwrap();
                let (acceptor, http) = (acceptor.clone(), Arc::clone(&http));
                connections.spawn(one_by_hand(tcp, acceptor, http, draining.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn one_by_hand(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    http: Arc<auto::Builder<TokioExecutor>>,
    mut draining: watch::Receiver<bool>,
) {
    let Ok(Ok(tls)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await else {
        return;
    };
    let service = TowerToHyperService::new(service_fn(answer));
    let connection = http.serve_connection_with_upgrades(TokioIo::new(tls), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = draining.wait_for(|draining| *draining) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
