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
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use mtls_core::{AuditEvent, Forwarded, PeerInfo, Reason, ServerTls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{debug, error, info};

use crate::accept::Limits;
use crate::first_bytes::FirstBytes;
use crate::guard::{GuardLayer, LOST_PEER_DEADLINE};
use crate::lifeline::{Cause, Lifeline};
use crate::listener::MtlsListener;

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
        forwarded: Forwarded::strip(),
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
    /// What tonic's requests are asked for.
    #[cfg(feature = "tonic")]
    pub(crate) connect_info: crate::tonic::ConnectInfo,
}

/// A server, ready to run: set what you like, then `.await` it.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<M> {
    listener: TcpListener,
    tls: ServerTls,
    make_service: M,
    forwarded: Forwarded,
    options: Options,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    limits: Limits,
    header_read_timeout: Duration,
    drain_deadline: Duration,
    lost_peer_deadline: Duration,
    max_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            header_read_timeout: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(30),
            lost_peer_deadline: LOST_PEER_DEADLINE,
            max_age: None,
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

    /// How long a connection may last whose client would no longer be let in: its root, its certificate's time or its line
    /// of the policy is gone. Its requests are refused at once, with 401 or 403 or their gRPC equals; it is drained within
    /// half of this time (GOAWAY, or the end of keep-alive), not all such connections at once; what is left of it then is
    /// cut. Default: 10 s.
    ///
    /// A connection is drained this much, or up to twice this much, before its client's certificates expire: a client that
    /// renewed in time connects anew without losing a request.
    pub fn lost_peer_deadline(mut self, deadline: Duration) -> Self {
        self.options.lost_peer_deadline = deadline;
        self
    }

    /// How old a connection may become, ±10 %, before it is drained; what is then in flight has the
    /// [`lost_peer_deadline`](Self::lost_peer_deadline) to finish. An HTTP/1.1 connection says so with its next response, and
    /// is closed while idle only after half of that. Default: as old as its client's certificates are valid.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.options.max_age = Some(age);
        self
    }

    /// How long a client may take to say which HTTP it speaks, and to send the head of an HTTP/1.1 request, the first one
    /// included; an HTTP/1.1 connection may be idle for as long. Default: 30 s.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.options.header_read_timeout = timeout;
        self
    }

    /// Whose word is taken for who stands behind them. Default: nobody's. The headers that say so (see [`Forwarded`]) are
    /// taken out of every request either way, before the service sees it; what is believed is a
    /// [`ForwardedIdentity`](mtls_core::ForwardedIdentity) among the request's extensions, beside the [`PeerInfo`] of the
    /// proxy. A header of a believed proxy that cannot be read is answered with 400 Bad Request.
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = forwarded;
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
            .field("forwarded", &self.forwarded)
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
        forwarded,
        options,
        mut shutdown,
    } = serve;
    let mut listener = MtlsListener::new(listener, tls).with_limits(options.limits);
    let builder = Arc::new(http_builder(&options));
    let draining = watch::Sender::new(false);
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
        let connection = Connection {
            peer,
            remote_addr,
            #[cfg(feature = "tonic")]
            connect_info: crate::tonic::ConnectInfo::new(&stream),
        };
        debug!(
            network.peer.address = %remote_addr,
            mtls.peer_id = %connection.peer,
            mtls.peer_serial = connection.peer.identity().serial(),
            mtls.generation = connection.peer.generation(),
            mtls.connection = connection.peer.connection_id().get(),
            tls.protocol.version = connection.peer.tls_version(),
            "connected"
        );
        // The user's code, which may trip over a peer that it did not think of: that is no reason to serve nobody else.
        let Ok(inner) = catch_unwind(AssertUnwindSafe(|| make_service(&connection))) else {
            error!(mtls.peer_id = %connection.peer, "making a service for a connection panicked");
            continue;
        };
        let lifeline = stream.lifeline().clone();
        let guard = GuardLayer::ending(&stream, options.lost_peer_deadline, options.max_age)
            .forwarded(forwarded.clone());
        let service = guard.layer(inner);
        let stream = FirstBytes::within(options.header_read_timeout, stream);
        let http = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        let shutdown = draining.subscribe();
        let deadline = options.lost_peer_deadline;
        connections.spawn(run_connection(
            http, connection, lifeline, deadline, shutdown,
        ));
    }
    // Nobody new from here on; handshakes in flight end with the listener.
    drop(listener);
    let open = still_open(&mut connections);
    draining.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(options.drain_deadline, drained).await.is_err() {
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

/// Serves one connection until it ends by itself, or has to.
async fn run_connection<C>(
    http: C,
    connection: Connection,
    lifeline: Lifeline,
    deadline: Duration,
    mut shutdown: watch::Receiver<bool>,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    tokio::pin!(http);
    let ended = tokio::select! {
        biased;
        ended = http.as_mut() => Some(ended),
        () = leaving(&connection, &lifeline, deadline) => None,
        // An error says that the server is gone: nobody is left to serve for.
        _ = shutdown.wait_for(|draining| *draining) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            http.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = http.as_mut() => ended,
                cause = lifeline.over() => {
                    info!(mtls.peer_id = %connection.peer, mtls.cause = %cause, "connection cut");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        // Most often a client that went away.
        debug!(%error, "connection ended");
    }
}

/// Until it is time for GOAWAY, or for an idle HTTP/1.1 connection to close.
async fn leaving(connection: &Connection, lifeline: &Lifeline, deadline: Duration) {
    let cause = lifeline.draining().await;
    told(connection, &cause);
    match cause {
        // Over HTTP/1.1 the next response says it. Only who asks nothing for so long is closed while idle.
        Cause::Age if connection.peer.alpn() != Some(b"h2") => sleep(deadline / 2).await,
        Cause::Age | Cause::Lost(_) => {}
        #[cfg(feature = "client")]
        Cause::Superseded => {}
    }
}

fn told(connection: &Connection, cause: &Cause) {
    if let Cause::Lost(why) = cause {
        let audit = connection.peer.audit();
        audit.record(|| AuditEvent::connection_lost(&connection.peer, why));
    }
    info!(
        network.peer.address = %connection.remote_addr,
        mtls.peer_id = %connection.peer,
        mtls.peer_serial = connection.peer.identity().serial(),
        mtls.cause = %cause,
        mtls.reason = cause.reason().map(Reason::as_str),
        "connection drained"
    );
}
