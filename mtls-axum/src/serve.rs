//! An axum router by mutual TLS.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use mtls_core::{Forwarded, ServerNames};
use mtls_tower::{ConnectionLimits, HttpBuilder, Limits, Permissive, ProxyProtocol};
use tokio::net::TcpListener;
use tower_service::Service;

/// Serves `router` by mutual TLS, over HTTP/1.1 and HTTP/2, shaped like `axum::serve`.
///
/// `tls` is a [`ServerTls`](mtls_core::ServerTls), or several by the name that clients ask for ([`ServerNames`]): a request
/// for a host of another than its connection's is answered with 421 Misdirected Request.
///
/// Every request carries the connection's [`PeerInfo`](crate::PeerInfo), for [`Peer`](crate::Peer) and its kin, and
/// `ConnectInfo<SocketAddr>`. `.await` it; it ends only by [`Serve::with_graceful_shutdown`]. It runs in a task of its own,
/// which ends too when what was awaited is dropped.
///
/// A socket that is open already will do, such as one that systemd hands down: the example `axum_listener` takes it.
///
/// # WebSockets and other upgrades
///
/// A handler takes [`Peer`](crate::Peer) beside `WebSocketUpgrade`, over HTTP/1.1 and by HTTP/2's extended CONNECT (RFC 8441),
/// which is on. Route both with `any`, and guard that by `any(handler).layer(require(..)?)`: axum's `route_layer` takes `any`
/// for no route.
///
/// - The request that asks for an upgrade is a request like others: refused if its peer is let in no more, and rid of headers
///   that tell of a client behind it.
/// - A WebSocket whose peer is let in no more is cut at [`lost_peer_deadline`](Serve::lost_peer_deadline), be it idle or not;
///   reading and writing fail. To say a farewell before, wait for `PeerInfo::lost` beside `recv`. What bounds a connection by
///   time, [`max_age`](Serve::max_age) or the end of its peer's certificates, cuts it too, a deadline later.
/// - What a layer decides ([`require`](crate::require()), [`authorize_requests`](crate::authorize_requests)), it decides once,
///   when the upgrade is asked for: a rule that changes afterwards ends no WebSocket. Only the authorizer of the `ServerTls` does.
/// - At shutdown one over HTTP/2 is waited for, up to [`drain_deadline`](Serve::drain_deadline). One over HTTP/1.1 is its
///   handler's from the upgrade on: nobody waits for it, and no limit on connections counts it.
///
/// [`Listener`](crate::Listener) and [`make_service`](crate::make_service()) do the same, but for the shutdown, which is axum's.
pub fn serve(listener: TcpListener, tls: impl Into<ServerNames>, router: Router) -> Serve {
    let make: MakeService = Box::new(move |connection| WithAddr {
        inner: router.clone(),
        addr: connection.remote_addr,
    });
    Serve(mtls_tower::serve_with(listener, tls, make))
}

type MakeService = Box<dyn Fn(&mtls_tower::Connection) -> WithAddr + Send>;

/// A server, ready to run: set what you like, then `.await` it.
#[must_use = "a server runs when it is awaited"]
pub struct Serve(mtls_tower::Serve<MakeService>);

impl Serve {
    /// Stops accepting when `signal` completes, lets the requests in flight finish, and returns when the last connection
    /// is closed or [`drain_deadline`](Self::drain_deadline) has passed. Default: never.
    ///
    /// Handshakes in flight may finish too. What was open and what had to be cut is logged at the end.
    pub fn with_graceful_shutdown(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(self.0.with_graceful_shutdown(signal))
    }

    /// How long connections may take to finish at shutdown before they are cut. Default: 30 s.
    pub fn drain_deadline(self, deadline: Duration) -> Self {
        Self(self.0.drain_deadline(deadline))
    }

    /// How long a connection may last whose client would no longer be let in: its root, its certificate's time or its line
    /// of the policy is gone. Its requests are refused at once, with 401 or 403 or their gRPC equals; it is drained within
    /// half of this time (GOAWAY, or the end of keep-alive), not all such connections at once; what is left of it then is
    /// cut. Default: 10 s.
    ///
    /// A connection is drained this much, or up to twice this much, before its client's certificates expire: a client that
    /// renewed in time connects anew without losing a request.
    pub fn lost_peer_deadline(self, deadline: Duration) -> Self {
        Self(self.0.lost_peer_deadline(deadline))
    }

    /// How old a connection may become, ±10 %, before it is drained; what is then in flight has the
    /// [`lost_peer_deadline`](Self::lost_peer_deadline) to finish. An HTTP/1.1 connection says so with its next response, and
    /// is closed while idle only after half of that. Default: as old as its client's certificates are valid.
    pub fn max_age(self, age: Duration) -> Self {
        Self(self.0.max_age(age))
    }

    /// How long a client may take to say which HTTP it speaks, and to send the head of an HTTP/1.1 request, the first one
    /// included; an HTTP/1.1 connection may be idle for as long. Default: 30 s.
    pub fn header_read_timeout(self, timeout: Duration) -> Self {
        Self(self.0.header_read_timeout(timeout))
    }

    /// Whose word is taken for who stands behind them: an ingress, a gateway. Default: nobody's. The headers that say so
    /// are taken out of every request either way; [`ForwardedPeer`](crate::ForwardedPeer) is what is believed.
    ///
    /// ```no_run
    /// # use mtls_axum::{Forwarded, ForwardedFormat};
    /// # async fn run(listener: tokio::net::TcpListener, tls: mtls_core::ServerTls, app: axum::Router)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let ingress = mtls_core::Policy::spiffe_id("spiffe://example.org/ns/ingress/sa/envoy")?;
    /// mtls_axum::serve(listener, tls, app)
    ///     .forwarded(Forwarded::accept_from(ingress, ForwardedFormat::Xfcc))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn forwarded(self, forwarded: Forwarded) -> Self {
        Self(self.0.forwarded(forwarded))
    }

    /// The bounds on handshakes.
    pub fn limits(self, limits: Limits) -> Self {
        Self(self.0.limits(limits))
    }

    /// The bounds on connections of clients that are known. Default: none.
    pub fn connection_limits(self, limits: ConnectionLimits) -> Self {
        Self(self.0.connection_limits(limits))
    }

    /// Takes clients' addresses from the PROXY protocol of a load balancer, which stands before the handshake. Default: none is
    /// spoken. `ConnectInfo<SocketAddr>` and the audit then have the client's address.
    pub fn proxy_protocol(self, proxy: ProxyProtocol) -> Self {
        Self(self.0.proxy_protocol(proxy))
    }

    /// Takes plaintext on the same port, for a migration. Default: none is taken. Say [`connection_limits`](Self::connection_limits)
    /// too: who is in plaintext is not known, and no handshake bounds how many there are.
    pub fn permissive(self, permissive: Permissive) -> Self {
        Self(self.0.permissive(permissive))
    }

    /// After how long without a word the system asks a client whether it is there. Default: 60 s; none is never.
    pub fn tcp_keepalive(self, after: impl Into<Option<Duration>>) -> Self {
        Self(self.0.tcp_keepalive(after))
    }

    /// How often an HTTP/2 client is pinged, and how long it may take to answer before it is taken for gone. Default: every
    /// 60 s, and 20 s; none for the first is never.
    pub fn http2_keep_alive(self, every: impl Into<Option<Duration>>, timeout: Duration) -> Self {
        Self(self.0.http2_keep_alive(every, timeout))
    }

    /// How many requests an HTTP/2 connection may have in flight. Default: hyper's, which is 200.
    pub fn max_concurrent_streams(self, bound: u32) -> Self {
        Self(self.0.max_concurrent_streams(bound))
    }

    /// Sets what has no option here: see [`mtls_tower::Serve::configure_http`].
    pub fn configure_http(self, hook: impl FnOnce(&mut HttpBuilder)) -> Self {
        Self(self.0.configure_http(hook))
    }

    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        self.0.into_future()
    }
}

/// Adds what axum's own `into_make_service_with_connect_info` would.
#[derive(Debug, Clone)]
pub(crate) struct WithAddr {
    pub(crate) inner: Router,
    pub(crate) addr: SocketAddr,
}

impl<B> Service<Request<B>> for WithAddr
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.addr));
        self.inner.call(request)
    }
}
