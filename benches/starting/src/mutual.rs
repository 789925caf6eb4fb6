//! The same by mutual TLS.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use mtls_axum::Peer;
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let source = CredentialSource::watch(CredentialFiles::detect("/var/run/secrets/tls")?).await?;
    let server = ServerTls::builder(&source)
        .authorize(Policy::trust_domain("example.org")?)
        .build()?;
    let app = Router::new().route("/", get(|Peer(peer): Peer| async move { peer.to_string() }));
    mtls_axum::serve(TcpListener::bind("127.0.0.1:8443").await?, server, app).await?;
    Ok(())
}
