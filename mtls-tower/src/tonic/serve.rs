//! tonic's services on our own `serve`, which can drain a connection.

use std::task::{Context, Poll};

use ::tonic::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use mtls_core::ServerNames;
use tokio::net::TcpListener;
use tower_service::Service;

use crate::serve::{Connection, Serve, serve_with};
use crate::tonic::ConnectInfo;

/// Serves tonic's services by mutual TLS: its `Routes`, one generated service, or either inside of layers.
///
/// A connection whose client would no longer be let in is drained, as [`serve`](crate::serve()) does it; the options are
/// its too. What tonic's own `Server` would add has to be added by layers here, and nobody enforces a client's
/// `grpc-timeout` but the client, which gives the call up.
pub fn serve<S>(
    listener: TcpListener,
    tls: impl Into<ServerNames>,
    services: S,
) -> Serve<impl Fn(&Connection) -> WithConnectInfo<S> + Clone + Send + 'static>
where
    S: Clone + Send + 'static,
{
    let mut serve = serve_with(listener, tls, move |connection: &Connection| {
        WithConnectInfo {
            inner: services.clone(),
            info: connection.connect_info.clone(),
        }
    });
    // It holds a copy of the client's chain, which nobody else's connections need.
    serve.for_tonic = true;
    serve
}

/// The service of one connection of [`serve`]: it gives requests the form in which tonic's services take them.
#[derive(Debug, Clone)]
pub struct WithConnectInfo<S> {
    inner: S,
    info: Option<ConnectInfo>,
}

impl<S, ResBody> Service<Request<Incoming>> for WithConnectInfo<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> S::Future {
        // The client itself is there already, and was checked.
        if let Some(info) = &self.info {
            info.add_addresses_and_chain(request.extensions_mut());
        }
        self.inner.call(request.map(Body::new))
    }
}
