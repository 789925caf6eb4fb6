//! A layer that lets requests through by identity.

use std::iter;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Extensions, Request, Response, StatusCode, Uri};
use mtls_core::metrics::request_refused;
use mtls_core::{
    AnonymousClient, Authorizer, Client, Denial, HandshakeError, PeerInfo, Reason,
    RequestAuthorizer, RequestFacts,
};
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use crate::audit;
use crate::refusal::{Refusal, ResponseFuture};

/// Lets a request through if its peer is authorized, and answers it with a refusal if not.
///
/// A refusal is a response, not an error of the service: 403 Forbidden for a peer that may not, 401 Unauthorized for a
/// request without a peer; to a gRPC request, `PERMISSION_DENIED` and `UNAUTHENTICATED` in gRPC's form. It tells the
/// peer no more. [`Denied`] is among its extensions, for an access log in front of this layer.
///
/// A peer that was let in when it connected and would not be now is denied too, by 401 or 403 as the reason has it.
///
/// To [`new`](Self::new) a request without a [`PeerInfo`] is denied, whatever the reason: the layer then stands where no
/// mutual TLS is. To [`for_requests`](Self::for_requests) it is anonymous, and the policy decides.
#[derive(Debug, Clone)]
pub struct AuthorizeLayer {
    decider: Decider,
    find_peer: FindPeer,
}

/// Who decides, and about what.
#[derive(Debug, Clone)]
enum Decider {
    Peers(Arc<dyn Authorizer>),
    Requests(Arc<dyn RequestAuthorizer>, OriginalUri),
}

/// Where else than by itself a peer may be.
type FindPeer = fn(&Extensions) -> Option<&PeerInfo>;

/// Where a router that shortens the path keeps what it was.
type OriginalUri = fn(&Extensions) -> Option<&Uri>;

impl AuthorizeLayer {
    /// Lets through whom `authorizer` lets through.
    #[must_use]
    pub fn new(authorizer: impl Authorizer) -> Self {
        Self {
            decider: Decider::Peers(Arc::new(authorizer)),
            find_peer: |_| None,
        }
    }

    /// Lets through what `policy` lets through, by peer, method, path, host and gRPC call.
    ///
    /// The path is that of the request as it gets here. A router that strips a prefix for what it nests has changed it by
    /// then: put the layer before the router, or see [`original_uri`](Self::original_uri).
    #[must_use]
    pub fn for_requests(policy: impl RequestAuthorizer) -> Self {
        Self {
            decider: Decider::Requests(Arc::new(policy), |_| None),
            find_peer: |_| None,
        }
    }

    /// Says where the router keeps the URI as it came; without one there, the request's own counts.
    #[must_use]
    pub fn original_uri(mut self, find: fn(&Extensions) -> Option<&Uri>) -> Self {
        if let Decider::Requests(_, original) = &mut self.decider {
            *original = find;
        }
        self
    }

    /// Says where else a server may keep a connection's [`PeerInfo`], for requests that have none among their extensions. What
    /// is found is among them from there on.
    #[must_use]
    pub fn find_peer(mut self, find: fn(&Extensions) -> Option<&PeerInfo>) -> Self {
        self.find_peer = find;
        self
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            decider: self.decider.clone(),
            find_peer: self.find_peer,
        }
    }
}

/// The service of an [`AuthorizeLayer`].
#[derive(Debug, Clone)]
pub struct Authorize<S> {
    inner: S,
    decider: Decider,
    find_peer: FindPeer,
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
    /// The request is for a host that another identity of this server answers for, or nobody: see
    /// [`Client::answers_for`].
    Misdirected {
        /// Who sent it.
        client: Client,
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
    /// The client is in plaintext, which was permitted when it connected and is no more.
    TlsRequired {
        /// How it came.
        client: AnonymousClient,
    },
}

impl Denied {
    /// The stable name of why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Lost { why, .. } => why.reason(),
            Self::Misdirected { .. } => Reason::Misdirected,
            Self::NoPeer => Reason::NoPeerCertificate,
            Self::NotAuthorized { .. } => Reason::NotAuthorized,
            Self::TlsRequired { .. } => Reason::PlaintextPeer,
        }
    }
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

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let extensions = request.extensions_mut();
        if extensions.get::<PeerInfo>().is_none()
            && let Some(peer) = (self.find_peer)(extensions).cloned()
        {
            extensions.insert(peer);
        }
        let decision = self.decider.decide(&request);
        audit::decided(&request, || self.decider.version(), &decision);
        match decision {
            Ok(()) => ResponseFuture::inner(self.inner.call(request)),
            Err(denied) => ResponseFuture::refused(refusal(&request, denied)),
        }
    }
}

impl Decider {
    fn version(&self) -> u64 {
        match self {
            Self::Peers(authorizer) => authorizer.version(),
            Self::Requests(policy, _) => policy.version(),
        }
    }

    fn decide<B>(&self, request: &Request<B>) -> Result<(), Denied> {
        let peer: Option<&PeerInfo> = request.extensions().get();
        if let Some(peer) = peer
            && let Err(why) = peer.check()
        {
            debug!(mtls.peer_id = %peer, mtls.reason = why.reason().as_str(), error = %why, "request denied");
            let peer = peer.clone();
            return Err(Denied::Lost { peer, why });
        }
        let decided = match (self, peer) {
            (Self::Peers(authorizer), Some(peer)) => authorizer.authorize(peer.identity()),
            (Self::Peers(_), None) => Err(Denial::expected("a peer")),
            (Self::Requests(policy, original), peer) => {
                let identity = peer.map(PeerInfo::identity);
                policy.authorize_request(identity, &facts(request, *original))
            }
        };
        decided.map_err(|denial| match peer {
            None => {
                debug!(mtls.reason = Reason::NoPeerCertificate.as_str(), %denial, "request without a peer denied");
                Denied::NoPeer
            }
            Some(peer) => {
                debug!(mtls.peer_id = %peer, mtls.reason = Reason::NotAuthorized.as_str(), %denial, "request denied");
                let peer = peer.clone();
                Denied::NotAuthorized { peer, denial }
            }
        })
    }
}

fn facts<B>(request: &Request<B>, original: OriginalUri) -> RequestFacts<'_> {
    let uri = original(request.extensions()).unwrap_or(request.uri());
    let mut facts = RequestFacts::new(request.method().as_str(), uri.path());
    if let Some(authority) = uri.authority() {
        facts = facts.authority(authority.as_str());
    }
    for host in request.headers().get_all(HOST) {
        facts = facts.host_header(host);
    }
    match request.headers().get(CONTENT_TYPE) {
        Some(content_type) => facts.content_type(content_type),
        None => facts,
    }
}

/// The refusal of a request for a host that the identity of its connection does not answer for.
#[cfg_attr(
    not(feature = "server"),
    expect(dead_code, reason = "only what is served has several identities")
)]
pub(crate) fn misdirected<B>(request: &Request<B>, client: &Client) -> Option<Denied> {
    let authority = request.uri().authority().map(|it| it.as_str().as_bytes());
    // Looked up only where somebody asks: most servers have one identity, which answers for any host.
    let hosts = iter::once_with(|| request.headers().get_all(HOST)).flatten();
    let hosts = hosts.map(HeaderValue::as_bytes);
    if client.answers_for(authority.into_iter().chain(hosts)) {
        return None;
    }
    debug!(
        mtls.peer_id = %client,
        mtls.reason = Reason::Misdirected.as_str(),
        tls.client.server_name = client.server_name(),
        "request refused: the identity of its connection does not answer for its host"
    );
    let audit = client.audit();
    audit.record(|| audit::of(request, client.into()).misdirected());
    let client = client.clone();
    Some(Denied::Misdirected { client })
}

pub(crate) fn refusal<ReqBody, ResBody: Default>(
    request: &Request<ReqBody>,
    denied: Denied,
) -> Response<ResBody> {
    request_refused(denied.reason());
    let (status, grpc_status, message) = match denied {
        Denied::Misdirected { .. } => (
            StatusCode::MISDIRECTED_REQUEST,
            GRPC_PERMISSION_DENIED,
            "this connection is to another server name",
        ),
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
        Denied::TlsRequired { .. } => (
            StatusCode::UNAUTHORIZED,
            GRPC_UNAUTHENTICATED,
            "plaintext is taken no more",
        ),
        Denied::Lost { .. } | Denied::NotAuthorized { .. } => (
            StatusCode::FORBIDDEN,
            GRPC_PERMISSION_DENIED,
            "not authorized",
        ),
    };
    let refusal = Refusal {
        status,
        grpc_status,
        message,
    };
    let mut response = refusal.of(request);
    response.extensions_mut().insert(denied);
    response
}

/// gRPC status codes, in digits as they travel.
const GRPC_PERMISSION_DENIED: &str = "7";
const GRPC_UNAUTHENTICATED: &str = "16";
