//! hyper behind the accept loop.

use std::error::Error;
use std::future::{Future, IntoFuture, pending};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use mtls_core::{PeerInfo, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;
use tracing::{debug, error, info};

use crate::accept::Limits;
use crate::first_bytes::FirstBytes;
use crate::listener::MtlsListener;
use crate::peer_info::WithPeer;
use crate::stream::ServerStream;

/// Serves a tower service by mutual TLS, over HTTP/1.1 and HTTP/2.
///
/// Each request carries the [`PeerInfo`] of its connection among its extensions. `.await` it; it ends only by
/// [`Serve::with_graceful_shutdown`].
pub fn serve<S>(
    listener: TcpListener,
    tls: ServerTls,
    service: S,
) -> Serve<impl Fn(&Connection) -> S + Clone + Send + 'static>
where
    S: Clone + Send + 'static,
{
    serve_with(listener, tls, move |_: &Connection| service.clone())
}

/// Serves as [`serve`] does, with a service made for each connection.
pub fn serve_with<M>(listener: TcpListener, tls: ServerTls, make_service: M) -> Serve<M> {
    Serve {
        listener,
        tls,
        make_service,
        options: Options::default(),
        shutdown: Box::pin(pending()),
    }
}

/// An accepted connection, for whoever makes a service for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connection {
    /// The client.
    pub peer: PeerInfo,
    /// The address that it connected from.
    pub remote_addr: SocketAddr,
}

/// A server, ready to run: set what you like, then `.await` it.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<M> {
    listener: TcpListener,
    tls: ServerTls,
    make_service: M,
    options: Options,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    limits: Limits,
    header_read_timeout: Duration,
    drain_deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            header_read_timeout: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(30),
        }
    }
}

impl<M> Serve<M> {
    /// Stops accepting when `signal` completes, lets the requests in flight finish, and returns when the last connection
    /// is closed or [`drain_deadline`](Self::drain_deadline) has passed. Default: never.
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.shutdown = Box::pin(signal);
        self
    }

    /// How long connections may take to finish at shutdown before they are cut. Default: 30 s.
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.options.drain_deadline = deadline;
        self
    }

    /// How long a client may take to say which HTTP it speaks, and to send the head of an HTTP/1.1 request, the first one
    /// included; an HTTP/1.1 connection may be idle for as long. Default: 30 s.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.options.header_read_timeout = timeout;
        self
    }

    /// The bounds on handshakes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl<M> std::fmt::Debug for Serve<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<M, S, B> IntoFuture for Serve<M>
where
    M: Fn(&Connection) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run<M, S, B>(serve: Serve<M>) -> io::Result<()>
where
    M: Fn(&Connection) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Serve {
        listener,
        tls,
        make_service,
        options,
        mut shutdown,
    } = serve;
    let mut listener = MtlsListener::new(listener, tls).with_limits(options.limits);
    let builder = Arc::new(http_builder(&options));
    let graceful = GracefulShutdown::new();
    // INVARIANT: every connection's task is in here, so that dropping the server ends them all.
    let mut connections = JoinSet::new();
    loop {
        let (stream, remote_addr) = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(failed) = ended && failed.is_panic() {
                    error!("a connection panicked");
                }
                continue;
            }
            () = &mut shutdown => break,
        };
        let peer = stream.peer().clone();
        let connection = Connection { peer, remote_addr };
        debug!(
            network.peer.address = %remote_addr,
            mtls.peer_id = %connection.peer,
            mtls.peer_serial = connection.peer.identity().serial(),
            mtls.generation = connection.peer.generation(),
            tls.protocol.version = connection.peer.tls_version(),
            "connected"
        );
        // The user's code, which may trip over a peer that it did not think of: that is no reason to serve nobody else.
        let Ok(inner) = catch_unwind(AssertUnwindSafe(|| make_service(&connection))) else {
            error!(mtls.peer_id = %connection.peer, "making a service for a connection panicked");
            continue;
        };
        let service = WithPeer::new(inner, connection.peer);
        let stream = FirstBytes::within(options.header_read_timeout, stream);
        let task = serve_connection(Arc::clone(&builder), stream, service, graceful.watcher());
        connections.spawn(task);
    }
    // Nobody new from here on; handshakes in flight end with the listener.
    drop(listener);
    let open = still_open(&mut connections);
    if timeout(options.drain_deadline, graceful.shutdown())
        .await
        .is_err()
    {
        info!(
            mtls.cut = still_open(&mut connections),
            mtls.open = open,
            "drain deadline passed"
        );
    }
    connections.shutdown().await;
    Ok(())
}

/// A set counts what has ended until it is asked for it.
fn still_open(connections: &mut JoinSet<()>) -> usize {
    while connections.try_join_next().is_some() {}
    connections.len()
}

fn http_builder(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper's timeouts are inert.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .enable_connect_protocol();
    builder
}

async fn serve_connection<S, B>(
    builder: Arc<auto::Builder<TokioExecutor>>,
    stream: FirstBytes<ServerStream<TcpStream>>,
    service: WithPeer<S>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = TowerToHyperService::new(service);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // Most often a client that went away.
        debug!(error, "connection ended");
    }
}
