//! The verified peer in a handler's arguments.
//!
//! Each has an `Option` form for routes that also serve peers that lack it.

use std::convert::Infallible;
use std::ops::Deref;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use mtls_core::{ForwardedIdentity, KubernetesServiceAccount, PeerInfo, SpiffeId};
use tracing::error;

use crate::listener::connected_peer;

/// The peer of the connection that a request came by.
///
/// A request without a peer is answered with 401 Unauthorized. If that happens to every request, the router is not
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

/// Why there is no peer, or no identity of the kind that a handler wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPeer {
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
            Self::NotMutualTls => StatusCode::UNAUTHORIZED.into_response(),
            Self::OtherKind { .. } => StatusCode::FORBIDDEN.into_response(),
        }
    }
}

impl std::fmt::Display for NoPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
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
        // Behind `mtls_axum::serve` and `mtls_axum::Listener` every request has one.
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
