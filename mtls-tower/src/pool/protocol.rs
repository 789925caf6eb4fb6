//! The two versions of HTTP, as a sender uses them.

use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;

use super::{BoxError, BoxFuture};
use crate::connect::Connected;

/// A version of HTTP: [`Http1`] or [`Http2`], and nobody else's.
pub trait Protocol: sealed::Speaks {}

/// HTTP/1.1, with requests whose body is a `B`.
pub struct Http1<B> {
    builder: http1::Builder,
    body: PhantomData<fn(B)>,
}

/// HTTP/2, with requests whose body is a `B`.
pub struct Http2<B> {
    builder: http2::Builder<TokioExecutor>,
    body: PhantomData<fn(B)>,
}

impl<B> Http1<B> {
    /// As hyper's builder was told.
    #[must_use]
    pub fn new(builder: http1::Builder) -> Self {
        let body = PhantomData;
        Self { builder, body }
    }
}

impl<B> Http2<B> {
    /// As hyper's builder was told. Keep-alive is off by default, and needs a timer.
    #[must_use]
    pub fn new(builder: http2::Builder<TokioExecutor>) -> Self {
        let body = PhantomData;
        Self { builder, body }
    }
}

impl<B> Default for Http1<B> {
    fn default() -> Self {
        Self::new(http1::Builder::new())
    }
}

impl<B> Default for Http2<B> {
    fn default() -> Self {
        Self::new(http2::Builder::new(TokioExecutor::new()))
    }
}

impl<B> Clone for Http1<B> {
    fn clone(&self) -> Self {
        Self::new(self.builder.clone())
    }
}

impl<B> Clone for Http2<B> {
    fn clone(&self) -> Self {
        Self::new(self.builder.clone())
    }
}

impl<B> fmt::Debug for Http1<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Http2<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").finish_non_exhaustive()
    }
}

mod sealed {
    use super::*;

    pub trait Speaks: Clone + Send + 'static {
        type Body;
        type Sender: Send + Unpin + 'static;
        const IS_HTTP2: bool;

        fn handshake(self, io: Connected) -> BoxFuture<hyper::Result<Self::Sender>>;

        /// The request in the form that the protocol has for its target.
        fn addressed(request: Request<Self::Body>, to: &Authority) -> Request<Self::Body>;

        fn poll_ready(sender: &mut Self::Sender, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;

        fn send(
            sender: &mut Self::Sender,
            request: Request<Self::Body>,
        ) -> BoxFuture<hyper::Result<Response<Incoming>>>;

        fn is_closed(sender: &Self::Sender) -> bool;
    }
}

impl<B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static> Protocol for Http1<B> {}

impl<B> sealed::Speaks for Http1<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Body = B;
    type Sender = http1::SendRequest<B>;
    const IS_HTTP2: bool = false;

    fn handshake(self, io: Connected) -> BoxFuture<hyper::Result<Self::Sender>> {
        Box::pin(async move {
            let (sender, connection) = self.builder.handshake(io).await?;
            // What it fails of, the requests on it are told.
            tokio::spawn(async move { drop(connection.with_upgrades().await) });
            Ok(sender)
        })
    }

    /// RFC 9112 §3.2.1: the path alone, and the host in a header.
    fn addressed(mut request: Request<B>, to: &Authority) -> Request<B> {
        if let Ok(host) = HeaderValue::from_str(to.as_str()) {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(root));
        request
    }

    fn poll_ready(sender: &mut Self::Sender, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        sender.poll_ready(cx)
    }

    fn send(
        sender: &mut Self::Sender,
        request: Request<B>,
    ) -> BoxFuture<hyper::Result<Response<Incoming>>> {
        Box::pin(sender.send_request(request))
    }

    fn is_closed(sender: &Self::Sender) -> bool {
        sender.is_closed()
    }
}

impl<B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static> Protocol for Http2<B> {}

impl<B> sealed::Speaks for Http2<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Body = B;
    type Sender = http2::SendRequest<B>;
    const IS_HTTP2: bool = true;

    fn handshake(self, io: Connected) -> BoxFuture<hyper::Result<Self::Sender>> {
        Box::pin(async move {
            let (sender, connection) = self.builder.handshake(io).await?;
            tokio::spawn(async move { drop(connection.await) });
            Ok(sender)
        })
    }

    /// RFC 9113 §8.3.1: all of the URI, in the pseudo-header fields.
    fn addressed(mut request: Request<B>, to: &Authority) -> Request<B> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(to.clone());
        parts.path_and_query.get_or_insert_with(root);
        // A URI of those parts there is; hyper refuses the empty one.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request
    }

    fn poll_ready(sender: &mut Self::Sender, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        sender.poll_ready(cx)
    }

    fn send(
        sender: &mut Self::Sender,
        request: Request<B>,
    ) -> BoxFuture<hyper::Result<Response<Incoming>>> {
        Box::pin(sender.send_request(request))
    }

    fn is_closed(sender: &Self::Sender) -> bool {
        sender.is_closed()
    }
}

fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}
