//! Routes for probes.

use axum::Router;
use mtls_tower::Probes;

/// `/livez`, `/readyz` and `/healthz` about a source, for a plaintext router beside the server: with `?verbose` a line for each
/// thing that was looked at. [`Probes`] says what each answers.
///
/// Never merge it into the router that is served by mutual TLS alone: a kubelet has no certificate.
///
/// ```no_run
/// # async fn run(source: mtls_core::CredentialSource) -> std::io::Result<()> {
/// use axum::routing::get;
///
/// let plain = mtls_axum::probes(&source).route("/metrics", get(|| async { "what a recorder renders" }));
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:9090").await?;
/// axum::serve(listener, plain).await
/// # }
/// ```
pub fn probes(probes: impl Into<Probes>) -> Router {
    let probes = probes.into();
    let paths = ["/livez", "/readyz", "/healthz"];
    paths.iter().fold(Router::new(), |router, path| {
        router.route_service(path, probes.clone())
    })
}
