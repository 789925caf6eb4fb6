//! hyper behind the accept loop.

mod established;
mod running;

use std::error::Error;
use std::future::{Future, IntoFuture, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use mtls_core::{Client, Forwarded, PeerInfo, ServerNames};
use tokio::net::TcpListener;
use tower_service::Service;

use crate::accept::Limits;
use crate::guard::LOST_PEER_DEADLINE;
use crate::listener::TCP_KEEPALIVE;
use crate::permissive::Permissive;
use crate::proxy::ProxyProtocol;

pub use established::ConnectionLimits;

/// Serves a tower service by mutual TLS, over HTTP/1.1 and HTTP/2.
///
/// `tls` is a [`ServerTls`](mtls_core::ServerTls), or several by the name that clients ask for ([`ServerNames`]): a request
/// for a host of another than its connection's is answered with 421 Misdirected Request.
///
/// Each request carries the [`PeerInfo`] of its connection among its extensions, or the
/// [`AnonymousClient`](mtls_core::AnonymousClient), where certificates are optional. `.await` it; it ends only by
/// [`Serve::with_graceful_shutdown`]. It runs in a task of its own, which ends too when what was awaited is dropped.
pub fn serve<S>(
    listener: TcpListener,
    tls: impl Into<ServerNames>,
    service: S,
) -> Serve<impl Fn(&Connection) -> S + Clone + Send + 'static>
where
    S: Clone + Send + 'static,
{
    serve_with(listener, tls, move |_: &Connection| service.clone())
}

/// Serves as [`serve`] does, with a service made for each connection.
pub fn serve_with<M>(
    listener: TcpListener,
    tls: impl Into<ServerNames>,
    make_service: M,
) -> Serve<M> {
    Serve {
        listener,
        names: tls.into(),
        make_service,
        forwarded: Forwarded::strip(),
        #[cfg(feature = "tonic")]
        for_tonic: false,
        proxy: None,
        permissive: None,
        options: Options::default(),
        http: auto::Builder::new(TokioExecutor::new()),
        shutdown: Box::pin(pending()),
    }
}

/// An accepted connection, for whoever makes a service for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The address that it connected from.
    pub remote_addr: SocketAddr,
    /// What tonic's requests are asked for, if tonic's services are served.
    #[cfg(feature = "tonic")]
    pub(crate) connect_info: Option<crate::tonic::ConnectInfo>,
}

impl Connection {
    /// The verified peer. There always is one where the [`ServerTls`](mtls_core::ServerTls) requires certificates, which is its
    /// default.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.client.peer()
    }
}

/// A server, ready to run: set what you like, then `.await` it.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<M> {
    listener: TcpListener,
    names: ServerNames,
    make_service: M,
    forwarded: Forwarded,
    #[cfg(feature = "tonic")]
    pub(crate) for_tonic: bool,
    proxy: Option<ProxyProtocol>,
    permissive: Option<Permissive>,
    options: Options,
    http: HttpBuilder,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// hyper-util's settings of both protocols, for [`Serve::configure_http`].
pub type HttpBuilder = auto::Builder<TokioExecutor>;

#[derive(Debug, Clone, Copy)]
struct Options {
    limits: Limits,
    connections: ConnectionLimits,
    tcp_keepalive: Option<Duration>,
    http2_keep_alive: Option<Duration>,
    http2_keep_alive_timeout: Duration,
    max_concurrent_streams: Option<u32>,
    header_read_timeout: Duration,
    drain_deadline: Duration,
    lost_peer_deadline: Duration,
    max_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections: ConnectionLimits::new(),
            tcp_keepalive: Some(TCP_KEEPALIVE),
            http2_keep_alive: Some(Duration::from_secs(60)),
            http2_keep_alive_timeout: Duration::from_secs(20),
            max_concurrent_streams: None,
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
    ///
    /// Handshakes in flight may finish too, and each connection has a second from its handshake on (or a
    /// quarter of the drain deadline, if that is shorter) to bring a first request.
    /// What was open, what came out of the handshakes and what had to be cut is logged at the end.
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

    /// The bounds on connections of clients that are known. Default: none.
    pub fn connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.options.connections = limits;
        self
    }

    /// Takes clients' addresses from the PROXY protocol of a load balancer, which stands before the handshake. Default: none is
    /// spoken. [`Connection::remote_addr`], the [`PeerInfo`] and the audit then have the client's address.
    pub fn proxy_protocol(mut self, proxy: ProxyProtocol) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Takes plaintext on the same port, for a migration. Default: none is taken. Say [`connection_limits`](Self::connection_limits)
    /// too: who is in plaintext is not known, and no handshake bounds how many there are.
    pub fn permissive(mut self, permissive: Permissive) -> Self {
        self.permissive = Some(permissive);
        self
    }

    /// After how long without a word the system asks a client whether it is there. Default: 60 s; none is never.
    pub fn tcp_keepalive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.options.tcp_keepalive = after.into();
        self
    }

    /// How often an HTTP/2 client is pinged, and how long it may take to answer before it is taken for gone. Default: every
    /// 60 s, and 20 s; none for the first is never.
    pub fn http2_keep_alive(
        mut self,
        every: impl Into<Option<Duration>>,
        timeout: Duration,
    ) -> Self {
        self.options.http2_keep_alive = every.into();
        self.options.http2_keep_alive_timeout = timeout;
        self
    }

    /// How many requests an HTTP/2 connection may have in flight. Default: hyper's, which is 200.
    pub fn max_concurrent_streams(mut self, bound: u32) -> Self {
        self.options.max_concurrent_streams = Some(bound);
        self
    }

    /// Sets what has no option here: the size and number of headers, windows, buffers. Timers, keep-alive and the time for a
    /// request's head are set by the options here, whatever the hook says of them.
    ///
    /// ```no_run
    /// # async fn run<M>(serve: mtls_tower::Serve<M>) {
    /// let serve = serve.configure_http(|http| {
    ///     http.http1().max_headers(50);
    ///     http.http2().max_header_list_size(8 * 1024);
    /// });
    /// # }
    /// ```
    pub fn configure_http(mut self, hook: impl FnOnce(&mut HttpBuilder)) -> Self {
        hook(&mut self.http);
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
        Box::pin(running::in_a_task(running::run(self)))
    }
}
