//! Who stands behind a proxy: read from requests, and written into them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use mtls_core::{ForwardAs, Forwarded, ForwardedError, PeerInfo, SpiffeId};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use crate::audit;
use crate::authorize::is_grpc;

/// Takes the headers by which proxies tell who their client is out of each request, and gives the request the
/// [`ForwardedIdentity`](mtls_core::ForwardedIdentity) of a proxy that is believed, among its extensions.
///
/// It is for a connection loop of your own, inside of [`PeerInfoLayer`](crate::PeerInfoLayer), which says who the direct
/// peer is. [`serve`](crate::serve()) does all of this by itself and has an option for it: there is nothing left for a layer
/// to read behind that.
///
/// A proxy that is believed and whose header cannot be read gets 400 Bad Request, with the [`ForwardedError`] among the
/// response's extensions; a gRPC request gets `INVALID_ARGUMENT`.
#[derive(Debug, Clone, Default)]
pub struct ForwardedLayer {
    forwarded: Forwarded,
}

impl ForwardedLayer {
    /// Takes the headers out, and believes whom `forwarded` says.
    #[must_use]
    pub fn new(forwarded: Forwarded) -> Self {
        Self { forwarded }
    }

    /// Takes the headers out, and believes nobody.
    #[must_use]
    pub fn strip() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for ForwardedLayer {
    type Service = WithForwarded<S>;

    fn layer(&self, inner: S) -> WithForwarded<S> {
        WithForwarded {
            inner,
            forwarded: self.forwarded.clone(),
        }
    }
}

/// The service of a [`ForwardedLayer`].
#[derive(Debug, Clone)]
pub struct WithForwarded<S> {
    inner: S,
    forwarded: Forwarded,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WithForwarded<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ForwardedFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        let kind = match take(&self.forwarded, peer.as_ref(), &mut request) {
            Ok(()) => Kind::Inner {
                future: self.inner.call(request),
            },
            Err(why) => {
                if let Some(peer) = &peer {
                    let audit = peer.audit();
                    audit.record(|| audit::of(&request, peer).malformed(&why));
                }
                Kind::Refused {
                    response: Some(refusal(&request, why)),
                }
            }
        };
        ForwardedFuture { kind }
    }
}

/// Leaves of what the request says about a client behind its direct peer only what `forwarded` takes.
pub(crate) fn take<B>(
    forwarded: &Forwarded,
    peer: Option<&PeerInfo>,
    request: &mut Request<B>,
) -> Result<(), ForwardedError> {
    let values = |name: &'static str| {
        let values = request.headers().get_all(name);
        values.into_iter().map(HeaderValue::as_bytes)
    };
    let read = forwarded.read(peer, values);
    strip(request.headers_mut());
    request
        .extensions_mut()
        .remove::<mtls_core::ForwardedIdentity>();
    match read {
        Ok(Some(client)) => {
            request.extensions_mut().insert(client);
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(why) => {
            debug!(
                mtls.peer_id = peer.map(tracing::field::display),
                mtls.remedy = why.remedy(),
                error = %mtls_core::Chained(&why),
                "request refused: who stands behind the proxy cannot be told"
            );
            Err(why)
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    let is_ours = |name: &&HeaderName| Forwarded::is_header(name.as_str());
    // Most requests have none, and then nothing is moved.
    let found: Vec<_> = headers.keys().filter(is_ours).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

pub(crate) fn refusal<ReqBody, ResBody: Default>(
    request: &Request<ReqBody>,
    why: ForwardedError,
) -> Response<ResBody> {
    let mut response = Response::new(ResBody::default());
    if is_grpc(request) {
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/grpc");
        headers.insert(http::header::CONTENT_TYPE, content_type);
        headers.insert("grpc-status", HeaderValue::from_static(GRPC_INVALID));
        let message = HeaderValue::from_static("malformed client identity header");
        headers.insert("grpc-message", message);
    } else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    response.extensions_mut().insert(why);
    response
}

/// Tells whoever stands behind us who our client is: for a proxy that is built on this. `by` is our own SPIFFE ID, which
/// XFCC names beside the client's.
///
/// Every header that tells of a client is taken out first, whoever wrote it. Call it for each request that is passed on; for
/// one without a peer, `None` still takes them out (RFC 9440 §2.1). The connection to whoever reads them has to be
/// mutual TLS, and has to carry this client's requests under no other name.
///
/// A response that depends on the client's certificate must not be kept for another client: let it have `Vary:
/// Client-Cert`, or be `no-store` (RFC 9440 §2.4).
///
/// ```
/// # use mtls_core::{ForwardAs, PeerInfo, SpiffeId};
/// fn pass_on<B>(request: &mut http::Request<B>, us: &SpiffeId) {
///     let peer = request.extensions().get::<PeerInfo>().cloned();
///     mtls_tower::forward(request.headers_mut(), peer.as_ref(), Some(us), ForwardAs::Xfcc);
/// }
/// ```
pub fn forward(
    headers: &mut HeaderMap,
    peer: Option<&PeerInfo>,
    by: Option<&SpiffeId>,
    how: ForwardAs,
) {
    strip(headers);
    let Some(peer) = peer else {
        return;
    };
    for (name, value) in how.headers(peer.identity(), by) {
        // What is rendered is printable ASCII, so it always is a value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

pin_project! {
    /// The future of a [`WithForwarded`] service.
    #[derive(Debug)]
    pub struct ForwardedFuture<F, ResBody> {
        #[pin]
        kind: Kind<F, ResBody>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<F, ResBody> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<ResBody>> },
    }
}

impl<F, ResBody, E> Future for ForwardedFuture<F, ResBody>
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
            KindProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after it was ready")))
            }
        }
    }
}

/// gRPC's `INVALID_ARGUMENT`, in digits as it travels.
const GRPC_INVALID: &str = "3";
