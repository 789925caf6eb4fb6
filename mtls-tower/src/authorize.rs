//! A layer that lets requests through by identity.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use mtls_core::{Authorizer, Denial, HandshakeError, PeerInfo};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

/// Lets a request through if its peer is authorized, and answers it with a refusal if not.
///
/// A refusal is a response, not an error of the service: 403 Forbidden for a peer that may not, 401 Unauthorized for a
/// request without a peer; to a gRPC request, `PERMISSION_DENIED` and `UNAUTHENTICATED` in gRPC's form. It tells the
/// peer no more. [`Denied`] is among its extensions, for an access log in front of this layer.
///
/// A peer that was let in when it connected and would not be now is denied too, by 401 or 403 as the reason has it.
///
/// A request without a [`PeerInfo`] is denied, whatever the reason: the layer then stands where no mutual TLS is.
#[derive(Debug, Clone)]
pub struct AuthorizeLayer {
    authorizer: Arc<dyn Authorizer>,
}

impl AuthorizeLayer {
    /// Lets through whom `authorizer` lets through.
    #[must_use]
    pub fn new(authorizer: impl Authorizer) -> Self {
        Self {
            authorizer: Arc::new(authorizer),
        }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            authorizer: Arc::clone(&self.authorizer),
        }
    }
}

/// The service of an [`AuthorizeLayer`].
#[derive(Debug, Clone)]
pub struct Authorize<S> {
    inner: S,
    authorizer: Arc<dyn Authorizer>,
}

/// Why a request was answered with a refusal; among the response's extensions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Denied {
    /// The peer was let in, and would not be any more: its chain verifies no longer, or a policy was changed.
    Lost {
        /// Who it is.
        peer: PeerInfo,
        /// Why a new handshake would be refused.
        why: HandshakeError,
    },
    /// There is no peer.
    NoPeer,
    /// The peer is known, and may not.
    NotAuthorized {
        /// Who it is.
        peer: PeerInfo,
        /// What was expected.
        denial: Denial,
    },
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Authorize<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let kind = match decide(&*self.authorizer, request.extensions().get()) {
            Ok(()) => Kind::Inner {
                future: self.inner.call(request),
            },
            Err(denied) => Kind::Denied {
                response: Some(refusal(&request, denied)),
            },
        };
        ResponseFuture { kind }
    }
}

fn decide(authorizer: &dyn Authorizer, peer: Option<&PeerInfo>) -> Result<(), Denied> {
    let Some(peer) = peer else {
        debug!(
            mtls.reason = "no_peer_certificate",
            "request without a peer denied"
        );
        return Err(Denied::NoPeer);
    };
    if let Err(why) = peer.check() {
        debug!(mtls.peer_id = %peer, mtls.reason = why.reason().as_str(), error = %why, "request denied");
        let peer = peer.clone();
        return Err(Denied::Lost { peer, why });
    }
    authorizer.authorize(peer.identity()).map_err(|denial| {
        debug!(mtls.peer_id = %peer, mtls.reason = "not_authorized", %denial, "request denied");
        Denied::NotAuthorized {
            peer: peer.clone(),
            denial,
        }
    })
}

pub(crate) fn refusal<ReqBody, ResBody: Default>(
    request: &Request<ReqBody>,
    denied: Denied,
) -> Response<ResBody> {
    let (status, code, message) = match denied {
        Denied::NoPeer => (
            StatusCode::UNAUTHORIZED,
            GRPC_UNAUTHENTICATED,
            "no client identity",
        ),
        Denied::Lost { why: ref lost, .. }
            if !matches!(lost, HandshakeError::NotAuthorized { .. }) =>
        {
            (
                StatusCode::UNAUTHORIZED,
                GRPC_UNAUTHENTICATED,
                "the client certificate is no longer accepted",
            )
        }
        Denied::Lost { .. } | Denied::NotAuthorized { .. } => (
            StatusCode::FORBIDDEN,
            GRPC_PERMISSION_DENIED,
            "not authorized",
        ),
    };
    let mut response = Response::new(ResBody::default());
    // gRPC reads its status from trailers, or from the headers of a response without a body; the HTTP status is 200
    // either way.
    if is_grpc(request) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(code));
        headers.insert("grpc-message", HeaderValue::from_static(message));
    } else {
        *response.status_mut() = status;
    }
    response.extensions_mut().insert(denied);
    response
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

pin_project! {
    /// The future of an [`Authorize`] service.
    #[derive(Debug)]
    pub struct ResponseFuture<F, ResBody> {
        #[pin]
        kind: Kind<F, ResBody>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<F, ResBody> {
        Inner { #[pin] future: F },
        Denied { response: Option<Response<ResBody>> },
    }
}

impl<F, ResBody, E> Future for ResponseFuture<F, ResBody>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<ResBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future } => Poll::Ready(ready!(future.poll(cx))),
            #[expect(
                clippy::expect_used,
                reason = "polling a finished future is its caller's bug"
            )]
            KindProj::Denied { response } => {
                Poll::Ready(Ok(response.take().expect("polled after it was ready")))
            }
        }
    }
}

/// gRPC status codes, in digits as they travel.
const GRPC_PERMISSION_DENIED: &str = "7";
const GRPC_UNAUTHENTICATED: &str = "16";
