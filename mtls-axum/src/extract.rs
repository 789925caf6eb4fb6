//! The verified peer in a handler's arguments.
//!
//! Each has an `Option` form for routes that also serve peers that lack it.

use std::convert::Infallible;
use std::ops::Deref;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use mtls_core::{AnonymousClient, ForwardedIdentity, KubernetesServiceAccount, PeerInfo, SpiffeId};
use tracing::error;

use crate::listener::{connected_anonymous, connected_peer};

/// The peer of the connection that a request came by.
///
/// A request without a peer is answered with 401 Unauthorized. Where client certificates are optional, `Option<Peer>` takes
/// those too, and [`Anonymous`] tells how they came. If 401 happens to every request, the router is not
/// served by [`serve`](crate::serve()), nor by axum's own through [`make_service`](crate::make_service()).
///
/// ```
/// # use mtls_axum::Peer;
/// async fn whoami(Peer(peer): Peer) -> String {
///     format!("{peer}, serial {}", peer.identity().serial())
/// }
/// # let _ = axum::Router::<()>::new().route("/whoami", axum::routing::get(whoami));
/// ```
#[derive(Debug, Clone)]
pub struct Peer(pub PeerInfo);

/// The peer's SPIFFE ID. A peer without one is answered with 403 Forbidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpiffeId(pub SpiffeId);

/// The Kubernetes service account that the peer's identity stands for, in Istio's or Linkerd's form. A peer without one
/// is answered with 403 Forbidden.
///
/// Two clusters may have the same namespace and account: read its
/// [`domain`](KubernetesServiceAccount::domain) before you decide by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount(pub KubernetesServiceAccount);

/// Who a listed proxy says its client is, where [`Serve::forwarded`](crate::Serve::forwarded) names proxies. It is
/// hearsay: [`Peer`] is the proxy itself.
///
/// A request without one is answered with 401 Unauthorized: it came from a proxy that told of nobody, or from somebody
/// who is no listed proxy. Take an `Option` where those may come too, and decide then by [`Peer`].
///
/// ```
/// # use mtls_axum::{ForwardedPeer, Peer};
/// async fn whoami(Peer(proxy): Peer, ForwardedPeer(client): ForwardedPeer) -> String {
///     format!("{} by way of {proxy}", client.spiffe_id().map_or("nobody", |id| id.as_str()))
/// }
/// # let _ = axum::Router::<()>::new().route("/whoami", axum::routing::get(whoami));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedPeer(pub ForwardedIdentity);

/// No proxy that is believed has told who stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoForwarded;

impl IntoResponse for NoForwarded {
    fn into_response(self) -> Response {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

impl std::fmt::Display for NoForwarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no proxy that is believed has told who its client is")
    }
}

impl std::error::Error for NoForwarded {}

impl<S: Send + Sync> FromRequestParts<S> for ForwardedPeer {
    type Rejection = NoForwarded;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoForwarded> {
        let client = parts.extensions.get::<ForwardedIdentity>();
        client.cloned().map(Self).ok_or(NoForwarded)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for ForwardedPeer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned().map(Self))
    }
}

impl Deref for ForwardedPeer {
    type Target = ForwardedIdentity;

    fn deref(&self) -> &ForwardedIdentity {
        &self.0
    }
}

/// The client of a request that came without a certificate, where that is optional: how it came, and no identity.
///
/// A request of a peer is answered with 403 Forbidden. Take an `Option` beside an `Option<Peer>` where both may come.
///
/// ```
/// # use mtls_axum::{Anonymous, Peer};
/// async fn greet(peer: Option<Peer>, client: Option<Anonymous>) -> String {
///     match (peer, client) {
///         (Some(Peer(peer)), _) => format!("hello {peer}"),
///         (None, Some(Anonymous(client))) => format!("hello {client}"),
///         (None, None) => "hello".into(),
///     }
/// }
/// # let _ = axum::Router::<()>::new().route("/", axum::routing::get(greet));
/// ```
#[derive(Debug, Clone)]
pub struct Anonymous(pub AnonymousClient);

/// The client of a request is not anonymous, or the request came by no server of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotAnonymous;

impl IntoResponse for NotAnonymous {
    fn into_response(self) -> Response {
        StatusCode::FORBIDDEN.into_response()
    }
}

impl std::fmt::Display for NotAnonymous {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client is not anonymous")
    }
}

impl std::error::Error for NotAnonymous {}

fn anonymous(parts: &Parts) -> Option<&AnonymousClient> {
    let known = parts.extensions.get();
    known.or_else(|| connected_anonymous(&parts.extensions))
}

impl<S: Send + Sync> FromRequestParts<S> for Anonymous {
    type Rejection = NotAnonymous;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotAnonymous> {
        anonymous(parts).cloned().map(Self).ok_or(NotAnonymous)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Anonymous {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(anonymous(parts).cloned().map(Self))
    }
}

impl Deref for Anonymous {
    type Target = AnonymousClient;

    fn deref(&self) -> &AnonymousClient {
        &self.0
    }
}

/// Why there is no peer, or no identity of the kind that a handler wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPeer {
    /// The client has presented no certificate, where that is optional.
    Anonymous,
    /// The request did not come by mutual TLS.
    NotMutualTls,
    /// The peer is known, and has no identity of this kind.
    OtherKind {
        /// The kind that is wanted.
        wanted: &'static str,
    },
}

impl IntoResponse for NoPeer {
    fn into_response(self) -> Response {
        match self {
            Self::Anonymous | Self::NotMutualTls => StatusCode::UNAUTHORIZED.into_response(),
            Self::OtherKind { .. } => StatusCode::FORBIDDEN.into_response(),
        }
    }
}

impl std::fmt::Display for NoPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("the client has presented no certificate"),
            Self::NotMutualTls => f.write_str("the request did not come by mutual TLS"),
            Self::OtherKind { wanted } => write!(f, "the peer has no {wanted}"),
        }
    }
}

impl std::error::Error for NoPeer {}

fn peer(parts: &Parts) -> Option<&PeerInfo> {
    let known = parts.extensions.get();
    known.or_else(|| connected_peer(&parts.extensions))
}

fn required(parts: &Parts) -> Result<&PeerInfo, NoPeer> {
    peer(parts).ok_or_else(|| {
        if anonymous(parts).is_some() {
            return NoPeer::Anonymous;
        }
        // Behind `mtls_axum::serve` and `mtls_axum::Listener` every request has one or the other.
        error!("a handler wants a peer, and its router is not served by mutual TLS");
        NoPeer::NotMutualTls
    })
}

fn spiffe_id(peer: &PeerInfo) -> Option<PeerSpiffeId> {
    peer.identity().spiffe_id().cloned().map(PeerSpiffeId)
}

fn service_account(peer: &PeerInfo) -> Option<ServiceAccount> {
    peer.identity().kubernetes().cloned().map(ServiceAccount)
}

macro_rules! extractor {
    ($type:ident, $required:expr, $optional:expr) => {
        impl<S: Send + Sync> FromRequestParts<S> for $type {
            type Rejection = NoPeer;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoPeer> {
                $required(parts)
            }
        }

        impl<S: Send + Sync> OptionalFromRequestParts<S> for $type {
            type Rejection = Infallible;

            async fn from_request_parts(
                parts: &mut Parts,
                _: &S,
            ) -> Result<Option<Self>, Infallible> {
                Ok(peer(parts).and_then($optional))
            }
        }
    };
}

extractor!(Peer, |parts| required(parts).cloned().map(Peer), |peer| {
    Some(Peer(peer.clone()))
});
extractor!(
    PeerSpiffeId,
    |parts| spiffe_id(required(parts)?).ok_or(NoPeer::OtherKind {
        wanted: "SPIFFE ID"
    }),
    spiffe_id
);
extractor!(
    ServiceAccount,
    |parts| {
        let wanted = "Kubernetes service account";
        service_account(required(parts)?).ok_or(NoPeer::OtherKind { wanted })
    },
    service_account
);

impl Deref for Peer {
    type Target = PeerInfo;

    fn deref(&self) -> &PeerInfo {
        &self.0
    }
}

impl Deref for PeerSpiffeId {
    type Target = SpiffeId;

    fn deref(&self) -> &SpiffeId {
        &self.0
    }
}

impl Deref for ServiceAccount {
    type Target = KubernetesServiceAccount;

    fn deref(&self) -> &KubernetesServiceAccount {
        &self.0
    }
}
