//! The other door: mutual TLS under axum's own `serve`.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready as ready_or_pending};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use http::{Extensions, Request, Response};
use mtls_core::{AnonymousClient, Client, Forwarded, PeerInfo, ServerNames};
use mtls_tower::{
    FirstBytes, Guard, GuardLayer, Guarded, GuardedBody, Limits, MtlsListener, Permissive,
    ProxyProtocol, ServerStream,
};
use pin_project_lite::pin_project;
use tokio::net::{TcpListener, TcpStream};
use tower_layer::Layer;
use tower_service::Service;

use crate::serve::WithAddr;

/// Hands connections to axum's own `serve`, when their handshake is done. Handshakes run beside it, bounded in number and
/// time, as under [`serve`](crate::serve()): a client that says nothing delays nobody.
///
/// ```no_run
/// # async fn run(tls: mtls_core::ServerTls, app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await?;
/// let serving = axum::serve(mtls_axum::Listener::new(listener, tls), mtls_axum::make_service(app));
/// tokio::spawn(serving.into_future()).await?
/// # }
/// ```
///
/// Prefer [`serve`](crate::serve()) where you can. axum's own has no place for the following:
///
/// - a deadline for the drain at shutdown; and handshakes in flight end with the listener;
/// - the time that the head of an HTTP/1.1 request may take, after its first byte;
/// - GOAWAY to one client alone: an HTTP/2 connection whose client is lost, or whose certificate expires, is cut;
/// - the greatest age of a connection, limits on connections, the settings of HTTP/2;
/// - a task of its own: awaited in `main`, it hands each connection from thread to thread. So it is spawned above.
#[derive(Debug)]
pub struct Listener {
    listener: MtlsListener,
    first_bytes: Duration,
}

/// What a [`Listener`] hands out; `get_ref` is the [`ServerStream`] that knows its peer.
pub type PeerStream = FirstBytes<ServerStream<TcpStream>>;

impl Listener {
    /// Accepts from `listener` with the default [`Limits`], for one identity (a [`ServerTls`](mtls_core::ServerTls)) or
    /// several ([`ServerNames`]).
    #[must_use]
    pub fn new(listener: TcpListener, tls: impl Into<ServerNames>) -> Self {
        Self {
            listener: MtlsListener::new(listener, tls),
            first_bytes: FIRST_BYTES,
        }
    }

    /// Sets the bounds on handshakes.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.listener = self.listener.with_limits(limits);
        self
    }

    /// Takes clients' addresses from the PROXY protocol of a load balancer. Default: none is spoken.
    #[must_use]
    pub fn with_proxy_protocol(mut self, proxy: ProxyProtocol) -> Self {
        self.listener = self.listener.with_proxy_protocol(proxy);
        self
    }

    /// Takes plaintext on the same port, for a migration. Default: none is taken.
    #[must_use]
    pub fn with_permissive(mut self, permissive: Permissive) -> Self {
        self.listener = self.listener.with_permissive(permissive);
        self
    }

    /// How long a client may take, once its handshake is done, to say which HTTP it speaks. Default: 30 s.
    #[must_use]
    pub fn first_bytes_timeout(mut self, timeout: Duration) -> Self {
        self.first_bytes = timeout;
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

impl axum::serve::Listener for Listener {
    type Io = PeerStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (PeerStream, SocketAddr) {
        let (stream, addr) = self.listener.accept().await;
        (FirstBytes::within(self.first_bytes, stream), addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client and its address, for `Router::into_make_service_with_connect_info::<ConnectedPeer>()` and
/// `ConnectInfo<ConnectedPeer>` behind a [`Listener`].
///
/// The extractors and layers of this crate find the peer in it. Prefer [`make_service`], which does more: without it nobody
/// asks before each request, neither whether the client would still be let in nor whether the identity that it connected to
/// answers for the request's host; a client that is lost is cut in the middle of its requests; and headers that tell of a client
/// behind the peer reach the handlers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectedPeer {
    /// The client.
    pub client: Client,
    /// The address that it connected from.
    pub remote_addr: SocketAddr,
}

impl Connected<IncomingStream<'_, Listener>> for ConnectedPeer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self {
            client: stream.io().get_ref().client().clone(),
            remote_addr: *stream.remote_addr(),
        }
    }
}

impl ConnectedPeer {
    /// The verified peer. There always is one where the [`ServerTls`](mtls_core::ServerTls) requires certificates, which is its
    /// default.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.client.peer()
    }
}

pub(crate) fn connected_peer(extensions: &Extensions) -> Option<&PeerInfo> {
    let info: Option<&ConnectInfo<ConnectedPeer>> = extensions.get();
    info.and_then(|ConnectInfo(connected)| connected.peer())
}

pub(crate) fn connected_anonymous(extensions: &Extensions) -> Option<&AnonymousClient> {
    let info: Option<&ConnectInfo<ConnectedPeer>> = extensions.get();
    info.and_then(|ConnectInfo(connected)| connected.client.anonymous())
}

/// Makes a router serve the connections of a [`Listener`] as [`serve`](crate::serve()) would: each request carries the
/// connection's [`PeerInfo`], or its [`AnonymousClient`], and `ConnectInfo<SocketAddr>`, and is refused if its client would no longer be let in.
pub fn make_service(router: Router) -> MakeService {
    MakeService {
        router,
        forwarded: Forwarded::strip(),
        lost_peer_deadline: Duration::from_secs(10),
    }
}

/// A router for the connections of a [`Listener`], to be given to `axum::serve`. Made by [`make_service`].
#[derive(Debug, Clone)]
#[must_use = "give it to `axum::serve`"]
pub struct MakeService {
    router: Router,
    forwarded: Forwarded,
    lost_peer_deadline: Duration,
}

impl MakeService {
    /// How long a connection may last whose client would no longer be let in. Its requests are refused at once, with 401 or
    /// 403 or their gRPC equals; over HTTP/1.1 it is closed with the next response; what is left of it then is cut.
    /// Default: 10 s.
    pub fn lost_peer_deadline(mut self, deadline: Duration) -> Self {
        self.lost_peer_deadline = deadline;
        self
    }

    /// Whose word is taken for who stands behind them: see [`Serve::forwarded`](crate::Serve::forwarded). Default: nobody's.
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = forwarded;
        self
    }
}

// Not for `Listener` alone: axum's `ListenerExt` wraps it.
impl<L> Service<IncomingStream<'_, L>> for MakeService
where
    L: axum::serve::Listener<Io = PeerStream, Addr = SocketAddr>,
{
    type Response = PeerService;
    type Error = Infallible;
    type Future = Ready<Result<PeerService, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, L>) -> Self::Future {
        let guard = GuardLayer::new(stream.io().get_ref())
            .lost_peer_deadline(self.lost_peer_deadline)
            .forwarded(self.forwarded.clone());
        let inner = WithAddr {
            inner: self.router.clone(),
            addr: *stream.remote_addr(),
        };
        ready(Ok(PeerService(guard.layer(inner))))
    }
}

/// A router for one connection. Made by a [`MakeService`].
#[derive(Debug, Clone)]
pub struct PeerService(Guard<WithAddr>);

type Inner = <Router as Service<Request<Body>>>::Future;

impl Service<Request<Body>> for PeerService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = PeerResponse;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<Body>) -> PeerResponse {
        PeerResponse {
            future: self.0.call(request),
        }
    }
}

pin_project! {
    /// The future of a [`PeerService`].
    pub struct PeerResponse {
        #[pin]
        future: Guarded<Inner>,
    }
}

impl Future for PeerResponse {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready_or_pending!(self.project().future.poll(cx))?;
        // A refusal's is empty, as the default is.
        let body = |body: GuardedBody<Body>| body.into_inner().unwrap_or_default();
        Poll::Ready(Ok(response.map(body)))
    }
}

impl fmt::Debug for PeerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerResponse").finish_non_exhaustive()
    }
}

/// As long as the head of a request may take under `serve`.
const FIRST_BYTES: Duration = Duration::from_secs(30);
