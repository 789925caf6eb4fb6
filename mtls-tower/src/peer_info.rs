//! The peer of a connection, among the extensions of each of its requests.

use std::task::{Context, Poll};

use http::Request;
use mtls_core::PeerInfo;
use tower_layer::Layer;
use tower_service::Service;

/// Adds a connection's [`PeerInfo`] to each request, for whoever serves connections in a loop of their own: one layer for
/// each connection, with [`ServerStream::peer`](crate::ServerStream::peer). Of an anonymous client there is no such value; see
/// [`GuardLayer`](crate::GuardLayer), which knows both. [`serve`](crate::serve()) does it by itself.
///
/// It is one insert of one reference-counted value, and replaces a `PeerInfo` that is there already.
#[derive(Debug, Clone)]
pub struct PeerInfoLayer {
    peer: PeerInfo,
}

impl PeerInfoLayer {
    /// Adds `peer`.
    #[must_use]
    pub fn new(peer: PeerInfo) -> Self {
        Self { peer }
    }
}

impl<S> Layer<S> for PeerInfoLayer {
    type Service = WithPeer<S>;

    fn layer(&self, inner: S) -> WithPeer<S> {
        WithPeer::new(inner, self.peer.clone())
    }
}

/// The service of a [`PeerInfoLayer`].
#[derive(Debug, Clone)]
pub struct WithPeer<S> {
    inner: S,
    peer: PeerInfo,
}

impl<S> WithPeer<S> {
    /// Adds `peer` to each request that `inner` gets.
    #[must_use]
    pub fn new(inner: S, peer: PeerInfo) -> Self {
        Self { inner, peer }
    }
}

impl<S, B> Service<Request<B>> for WithPeer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.inner.call(request)
    }
}
