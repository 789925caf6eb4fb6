//! The server that ours is measured beside: rustls, tokio-rustls and hyper, as a careful engineer puts them together.
//!
//! It has the bounds and the timers of `mtls_tower::serve`: a deadline and a number for handshakes, a deadline for the
//! head of a request, keep-alive of TCP and of HTTP/2, a graceful shutdown with a deadline. It does not have what ours adds:
//! certificates are read once, a client is known to be good and not by name, and stays let in for as long as it is
//! connected. A client that finishes its handshake and then says nothing is held forever, since hyper has no timer for that.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::crypto::aws_lc_rs::default_provider;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::rustls::server::danger::ClientCertVerifier;
use mtls_core::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use mtls_core::rustls::{RootCertStore, ServerConfig, version};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::floor::ProofAlone;

/// Serves until `shutdown`, and then what has begun.
pub async fn serve<A, F, B>(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    answer: A,
    shutdown: impl Future<Output = ()>,
) where
    A: Fn(Request<Incoming>) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let http = Arc::new(http());
    let draining = watch::Sender::new(false);
    let ended = draining.subscribe();
    let accepting = accept_loop(listener, config, shutdown, move |tls, addr| {
        serve_connection(Arc::clone(&http), tls, addr, answer, ended.clone())
    });
    let connections = accepting.await;
    draining.send_replace(true);
    // What is left then is cut.
    let _ = timeout(DRAIN_DEADLINE, connections.join_all()).await;
}

/// Accepts until `shutdown`; each connection in a task of its own, from its first byte on. Returns those that are open.
pub async fn accept_loop<F>(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()>,
    serve: impl Fn(TlsStream<TcpStream>, SocketAddr) -> F + Clone + Send + 'static,
) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    let handshakes = Arc::new(Semaphore::new(PENDING_HANDSHAKES));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, addr)) = accepted else {
                    // Most often descriptors have run out.
                    sleep(BACK_OFF).await;
                    continue;
                };
                // At the bound the newest gives way.
                let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                    continue;
                };
                prepare(&tcp);
                let (acceptor, serve) = (acceptor.clone(), serve.clone());
                connections.spawn(async move {
                    let shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await;
                    drop(permit);
                    if let Ok(Ok(tls)) = shaken {
                        serve(tls, addr).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => return connections,
        }
    }
}

async fn serve_connection<A, F, B>(
    http: Arc<auto::Builder<TokioExecutor>>,
    tls: TlsStream<TcpStream>,
    addr: SocketAddr,
    answer: A,
    mut draining: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(addr));
        answer(request)
    });
    let connection = http.serve_connection_with_upgrades(TokioIo::new(tls), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = draining.wait_for(|draining| *draining) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// What any server tells its handlers of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectInfo(pub SocketAddr);

fn prepare(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE_PROBES);
    // A socket that refuses an option still works.
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .enable_connect_protocol();
    http
}

/// From `tls.crt`, `tls.key` and `ca.crt`: TLS 1.3, client certificates required, no sessions.
pub fn config(dir: &Path) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(dir.join("ca.crt")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    config_with(dir, provider, verifier)
}

/// The same, with a verifier that costs nothing.
pub fn floor(dir: &Path) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(ProofAlone(Arc::clone(&provider)));
    config_with(dir, provider, verifier)
}

fn config_with(
    dir: &Path,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(dir.join("tls.crt")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(dir.join("tls.key")).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const PENDING_HANDSHAKES: usize = 1024;
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_PROBES: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
const BACK_OFF: Duration = Duration::from_millis(50);
