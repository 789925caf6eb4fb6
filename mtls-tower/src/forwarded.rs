//! Who stands behind a proxy: read from requests, and written into them.

use std::task::{Context, Poll};

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use mtls_core::metrics::request_refused;
use mtls_core::{ForwardAs, Forwarded, ForwardedError, PeerInfo, SpiffeId};
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use crate::audit;
use crate::refusal::{Refusal, ResponseFuture};

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
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        match take(&self.forwarded, peer.as_ref(), &mut request) {
            Ok(()) => ResponseFuture::inner(self.inner.call(request)),
            Err(why) => {
                if let Some(peer) = &peer {
                    let audit = peer.audit();
                    audit.record(|| audit::of(&request, peer.into()).malformed(&why));
                }
                ResponseFuture::refused(refusal(&request, why))
            }
        }
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
                mtls.reason = why.reason().as_str(),
                mtls.remedy = why.remedy(),
                error = %mtls_core::Chained(&why),
                "request refused: who stands behind the proxy cannot be told"
            );
            Err(why)
        }
    }
}

pub(crate) fn strip(headers: &mut HeaderMap) {
    let is_ours = |name: &&HeaderName| Forwarded::is_header(name.as_str());
    // Most requests have none. There are few such names, so that looking again for each is cheap, whoever sends them all.
    while let Some(name) = headers.keys().find(is_ours).cloned() {
        headers.remove(name);
    }
}

pub(crate) fn refusal<ReqBody, ResBody: Default>(
    request: &Request<ReqBody>,
    why: ForwardedError,
) -> Response<ResBody> {
    request_refused(why.reason());
    let refusal = Refusal {
        status: StatusCode::BAD_REQUEST,
        grpc_status: GRPC_INVALID,
        message: "malformed client identity header",
    };
    let mut response = refusal.of(request);
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

/// gRPC's `INVALID_ARGUMENT`, in digits as it travels.
const GRPC_INVALID: &str = "3";
