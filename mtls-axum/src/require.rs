//! Routes that want a certain peer, and a peer for tests.

use axum::extract::OriginalUri;
use axum::{Extension, Router};
use mtls_core::{PeerInfo, Policy, PolicyError, RequestAuthorizer};
use mtls_tower::AuthorizeLayer;

use crate::listener::connected_peer;

/// A layer that lets through the peers of `policy` alone: for `route_layer` and `layer`.
///
/// Others are answered with 403 Forbidden, and gRPC requests with `PERMISSION_DENIED`. A text is a SPIFFE ID or a
/// pattern; for anything else give a [`Policy`].
///
/// # Errors
///
/// The text is no policy.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use mtls_axum::require;
/// # use mtls_core::Policy;
/// # async fn list() {}
/// let app: Router = Router::new()
///     .route("/orders", get(list).route_layer(require("spiffe://example.org/ns/shop/sa/*")?))
///     .route("/backup", get(list).route_layer(require(Policy::dns_name("backup.example.org")?)?));
/// # Ok::<(), mtls_core::PolicyError>(())
/// ```
pub fn require<P>(policy: P) -> Result<AuthorizeLayer, PolicyError>
where
    P: TryInto<Policy, Error: Into<PolicyError>>,
{
    let policy = policy.try_into().map_err(Into::into)?;
    Ok(AuthorizeLayer::new(policy).find_peer(connected_peer))
}

/// A layer that lets through what a [`RequestPolicy`](mtls_core::RequestPolicy) lets through, by peer, method, path, host
/// and gRPC call: for `layer` and `route_layer`.
///
/// The path that the policy sees is the one that was asked for, wherever the layer stands: in a nested router too, whose
/// own paths are shorter. With `Router::route_layer` a path without a route is 404 to everyone; with `Router::layer` the
/// policy decides about it as well.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use mtls_axum::authorize_requests;
/// # use mtls_core::{AccessPolicy, Effect, Fact, Rule};
/// # async fn list() {}
/// let policy = AccessPolicy::builder()
///     .allow(Rule::named("health").anyone().is(Fact::Path, ["/healthz"]))
///     .allow(Rule::named("orders").is(Fact::TrustDomain, ["example.org"]).is(Fact::Path, ["/orders/**"]))
///     .otherwise(Effect::Deny)
///     .build_for_requests()?;
/// let app: Router = Router::new()
///     .route("/healthz", get(list))
///     .nest("/orders", Router::new().route("/{id}", get(list)))
///     .layer(authorize_requests(policy));
/// # Ok::<(), mtls_core::RuleError>(())
/// ```
pub fn authorize_requests(policy: impl RequestAuthorizer) -> AuthorizeLayer {
    let layer = AuthorizeLayer::for_requests(policy).find_peer(connected_peer);
    layer.original_uri(|extensions| {
        let original: Option<&OriginalUri> = extensions.get();
        original.map(|original| &original.0)
    })
}

/// Lets every request of `router` come from `peer`, for tests of handlers.
///
/// The peer comes from a handshake in memory, made by `mtls_core::testing::TestCa::peer`: what the handler sees is what
/// it would see in production.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, routing::get};
/// use mtls_axum::{Peer, as_peer};
/// use mtls_core::testing::TestCa;
/// use tower::ServiceExt;
///
/// let app = Router::new().route("/", get(|Peer(peer): Peer| async move { peer.to_string() }));
/// let ca = TestCa::new("example.org");
/// let app = as_peer(app, ca.peer(&ca.issue("/web")));
/// let response = app.oneshot(http::Request::get("/").body(Body::empty())?).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
pub fn as_peer(router: Router, peer: PeerInfo) -> Router {
    router.layer(Extension(peer))
}
