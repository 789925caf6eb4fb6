//! A [`Connector`](crate::Connector) in a pool that is built of services: `hyper_util::client::pool`, or one of your own.
//!
//! Such a pool keeps what a `Service` makes for a destination, and hands it out again. What is missing between it and a
//! connector is HTTP, and a word on when a connection is to be used no more: an [`HttpLayer`] makes of each connection an
//! [`HttpSender`], a service for requests, which says so by [`takes_requests`](HttpSender::takes_requests). Ask it before
//! each request, by the pool's `retain`, and the pool moves to new connections when our credentials were rotated and ahead
//! of the end of a server's certificates. Requests in flight finish where they are.
//!
//! ```
//! use http_body_util::Empty;
//! use hyper_util::client::pool::{cache, singleton::Singleton};
//! use hyper_util::rt::TokioExecutor;
//! use mtls_core::ClientTls;
//! use mtls_tower::Connector;
//! use mtls_tower::pool::HttpLayer;
//! use tower::{Layer, Service, ServiceExt};
//!
//! type Body = Empty<bytes::Bytes>;
//!
//! # type Error = Box<dyn std::error::Error + Send + Sync>;
//! # async fn doc(tls: ClientTls, orders: http::Uri, request: http::Request<Body>) -> Result<(), Error> {
//! // HTTP/2: one connection to each destination, for everybody.
//! let connector = Connector::new(tls.with_alpn(["h2"]));
//! let mut http2 = Singleton::new(HttpLayer::http2::<Body>().layer(connector));
//!
//! http2.retain(|http| http.takes_requests());
//! let mut http = http2.ready().await?.call(orders.clone()).await?;
//! let response = http.ready().await?.call(request.clone()).await?;
//! let server = response.extensions().get::<mtls_core::PeerInfo>();
//!
//! // HTTP/1.1: as many as there are requests at a time, kept for the next ones.
//! let connector = Connector::new(tls.with_alpn(["http/1.1"]));
//! let mut http1 = cache::builder()
//!     .executor(TokioExecutor::new())
//!     .build(HttpLayer::http1::<Body>().layer(connector));
//!
//! http1.retain(|http| http.takes_requests());
//! let mut http = http1.ready().await?.call(orders).await?;
//! let response = http.ready().await?.call(request).await?;
//! # let _ = (response, server);
//! # Ok(())
//! # }
//! ```
//!
//! One of them is for one destination; `pool::map` keeps one for each. `pool::negotiate`, which is told by
//! [`Connected::is_http2`](crate::Connected::is_http2), works too, with a limit of its own: when several connections to a
//! server of HTTP/2 are made at once, it keeps one more than it uses, unseen by `retain`, and takes that one next. If it is
//! of before a rotation by then, the layer leaves it for a new one; if its server has closed it, the first request fails.
//! Where that matters, offer one protocol.
//!
//! `pool::cache` goes on with a connection that nobody waits for any more: one that was begun before a rotation may come into it
//! after `retain`, and has one request. `pool::singleton` of hyper-util 0.1.21 numbers its callers anew for each connection, and
//! one of the connection before that comes to its end late takes another's place away, who then waits for ever: give whoever
//! calls it a deadline, after which they call again.

mod protocol;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use mtls_core::PeerInfo;
use tower_layer::Layer;
use tower_service::Service;

pub use protocol::{Http1, Http2, Protocol};

use crate::connect::{ConnectError, Connected};
use crate::destination::Destination;
use crate::lifeline::Lifeline;

/// Speaks HTTP on the connections that a service makes.
#[derive(Debug, Clone, Copy)]
pub struct HttpLayer<P>(P);

impl HttpLayer<()> {
    /// HTTP/1.1, as hyper speaks it by default, with requests whose body is a `B`.
    #[must_use]
    pub fn http1<B>() -> HttpLayer<Http1<B>> {
        HttpLayer(Http1::default())
    }

    /// HTTP/2, as hyper speaks it by default, with requests whose body is a `B`.
    #[must_use]
    pub fn http2<B>() -> HttpLayer<Http2<B>> {
        HttpLayer(Http2::default())
    }
}

impl<P: Protocol> HttpLayer<P> {
    /// A protocol that was configured.
    #[must_use]
    pub fn new(protocol: P) -> Self {
        Self(protocol)
    }
}

impl<P: Clone, S> Layer<S> for HttpLayer<P> {
    type Service = MakeHttp<P, S>;

    fn layer(&self, connect: S) -> MakeHttp<P, S> {
        MakeHttp {
            protocol: self.0.clone(),
            connect,
        }
    }
}

/// The service of an [`HttpLayer`]: it makes an [`HttpSender`] for a destination.
///
/// The task that moves a connection's bytes ends with the last sender of the connection and the last response on it.
/// It has to be called within a tokio runtime.
#[derive(Debug, Clone)]
pub struct MakeHttp<P, S> {
    protocol: P,
    connect: S,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<P, S, Target> Service<Target> for MakeHttp<P, S>
where
    P: Protocol,
    S: Service<Target, Response = Connected> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    Target: Clone + Send + 'static,
{
    type Response = HttpSender<P>;
    /// What connecting failed of, as it was; else a [`SendError`].
    type Error = BoxError;
    type Future = Making<P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connect.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Target) -> Making<P> {
        let connecting = self.connect.call(target.clone());
        let mut connect = self.connect.clone();
        let protocol = self.protocol.clone();
        Making(Box::pin(async move {
            let mut connected = connecting.await.map_err(Into::into)?;
            // Not all that are handed out were made for it: `pool::negotiate` may have kept one since before a rotation.
            if connected.lifeline().is_ending() {
                poll_fn(|cx| connect.poll_ready(cx))
                    .await
                    .map_err(Into::into)?;
                connected = connect.call(target).await.map_err(Into::into)?;
            }
            let peer = connected.peer().clone();
            if P::IS_HTTP2 != connected.is_http2() {
                let found = peer.alpn();
                let found = found.map(|name| String::from_utf8_lossy(name).into_owned());
                return Err(SendError::WrongProtocol { found }.into());
            }
            let (lifeline, to) = (connected.lifeline().clone(), connected.to().clone());
            let sender = protocol.handshake(connected).await;
            let sender = sender.map_err(|source| SendError::Http { source })?;
            Ok(HttpSender {
                sender,
                peer,
                lifeline,
                to,
            })
        }))
    }
}

/// A connection to come.
#[must_use = "futures do nothing unless they are polled"]
pub struct Making<P: Protocol>(BoxFuture<Result<HttpSender<P>, BoxError>>);

impl<P: Protocol> Future for Making<P> {
    type Output = Result<HttpSender<P>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<P: Protocol> fmt::Debug for Making<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making").finish_non_exhaustive()
    }
}

/// Sends requests on one connection, whose server is known. Over HTTP/2 a clone sends on the same.
///
/// A request's URI says the destination of the connection, as for a client, or is a path alone; any other destination is
/// refused, for it was not verified. Over HTTP/1.1 a request without `Host` gets one. Every response has the server's
/// [`PeerInfo`] among its extensions.
pub struct HttpSender<P: Protocol> {
    sender: P::Sender,
    peer: PeerInfo,
    lifeline: Lifeline,
    to: Destination,
}

impl<P: Protocol> HttpSender<P> {
    /// The server.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Whether it is to get new requests: for a pool's `retain`. Not when a new connection would present newer credentials of
    /// ours, shortly before the server's certificates end, when the server would no longer be let in, and when the
    /// connection is closed.
    ///
    /// It is an atomic load or two while nothing has changed.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        !self.lifeline.is_ending() && !P::is_closed(&self.sender)
    }
}

impl<P: Protocol<Sender: Clone>> Clone for HttpSender<P> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            peer: self.peer.clone(),
            lifeline: self.lifeline.clone(),
            to: self.to.clone(),
        }
    }
}

impl<P: Protocol> fmt::Debug for HttpSender<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSender")
            .field("peer", &self.peer)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl<P: Protocol> Service<Request<P::Body>> for HttpSender<P> {
    type Response = Response<Incoming>;
    type Error = SendError;
    type Future = Sending;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        P::poll_ready(&mut self.sender, cx).map_err(|source| SendError::Http { source })
    }

    fn call(&mut self, request: Request<P::Body>) -> Sending {
        let peer = self.peer.clone();
        let sending = self.is_for_us(&request).map(|()| {
            let request = P::addressed(request, self.to.authority());
            P::send(&mut self.sender, request)
        });
        Sending(Box::pin(async move {
            let answer = sending?.await;
            let mut response = answer.map_err(|source| SendError::Http { source })?;
            response.extensions_mut().insert(peer);
            Ok(response)
        }))
    }
}

impl<P: Protocol> HttpSender<P> {
    fn is_for_us<B>(&self, request: &Request<B>) -> Result<(), SendError> {
        let uri = request.uri();
        if uri.scheme().is_none() && uri.authority().is_none() {
            return Ok(());
        }
        let asked = Destination::of(uri).map_err(|source| SendError::Uri { source })?;
        if asked == self.to {
            return Ok(());
        }
        Err(SendError::WrongDestination {
            expected: self.to.authority().to_string(),
            found: asked.authority().to_string(),
        })
    }
}

/// A response to come.
#[must_use = "futures do nothing unless they are polled"]
pub struct Sending(BoxFuture<Result<Response<Incoming>, SendError>>);

impl Future for Sending {
    type Output = Result<Response<Incoming>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

/// Why a request on a connection of a pool got no answer, or the connection could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// HTTP failed, or the connection did.
    #[error("the request was not answered")]
    Http {
        /// hyper's word.
        #[source]
        source: hyper::Error,
    },
    /// The URI of the request is none that can be sent.
    #[error("the request's URI cannot be sent")]
    Uri {
        /// What is wrong with it.
        #[source]
        source: ConnectError,
    },
    /// The request is for another destination than the connection.
    #[error("the request is for {found}, and the connection goes to {expected}")]
    WrongDestination {
        /// Where the connection goes to.
        expected: String,
        /// Where the request should.
        found: String,
    },
    /// The server has agreed to another version of HTTP than this layer speaks.
    #[error("the server negotiated {}, which is not what this layer speaks", found.as_deref().unwrap_or("no protocol"))]
    WrongProtocol {
        /// What it chose, if it knows ALPN.
        found: Option<String>,
    },
}

impl SendError {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Http { .. } => "look at the cause, and at the server's log",
            Self::Uri { source } => source.remedy(),
            Self::WrongDestination { .. } => {
                "keep one pool for each host and port, as pool::map does"
            }
            Self::WrongProtocol { .. } => "offer what the layer speaks, by ClientTls::with_alpn",
        }
    }
}
