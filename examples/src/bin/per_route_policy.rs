//! Routes by identity: who may do what is in a file (`examples/policy.toml`), and is changed there while the service runs.
//! What must not be changed from outside is in the code.
//!
//! `per_route_policy DIR POLICY_FILE [ADDR]`

use std::error::Error;
use std::process::ExitCode;

use axum::{Router, routing::get};
use examples::Arguments;
use mtls_axum::{Peer, authorize_requests, require};
use mtls_core::{CredentialFiles, CredentialSource, Policy, PolicyFile, ServerTls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, serve).await
}

async fn serve(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let files = CredentialFiles::detect(arguments.take()?)?;
    let policy = PolicyFile::at(arguments.take()?).watch_requests().await?;
    let addr = arguments.last_or("127.0.0.1:8443")?;

    // At the handshake everybody of our own; what each may do is asked of each request.
    let source = CredentialSource::watch(files).await?;
    let tls = ServerTls::builder(&source)
        .authorize(Policy::trust_domain("example.org")?)
        .build()?;
    let admin = require("spiffe://example.org/admin")?;
    let app = Router::new()
        .route("/orders", get(orders).post(order))
        .route("/admin", get("hello, admin\n").route_layer(admin))
        .layer(authorize_requests(policy));
    let server = mtls_axum::serve(TcpListener::bind(addr).await?, tls, app);
    examples::listening(format_args!("https://{}", server.local_addr()?))?;
    Ok(server.await?)
}

async fn orders(Peer(peer): Peer) -> String {
    format!("the orders, for {peer}\n")
}

async fn order(Peer(peer): Peer) -> String {
    format!("ordered by {peer}\n")
}

const USAGE: &str = "usage: per_route_policy DIR POLICY_FILE [ADDR]";
