//! Mutual TLS under axum's own `serve`, for a program that is built around it: one line for the listener, one for the router.
//! `mtls_axum::serve`, as in `axum_server`, can do more.
//!
//! `axum_listener DIR [ADDR]`

use std::error::Error;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::{Router, routing::get};
use mtls_axum::{Listener, Peer, make_service, require};
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: axum_listener DIR [ADDR]")?;
    let addr = arguments.next();
    let addr = addr.as_deref().unwrap_or("127.0.0.1:8443");

    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    let tls = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()?;
    let app = Router::new().route("/whoami", get(whoami)).route(
        "/admin",
        get("hello, admin\n").route_layer(require("spiffe://example.org/admin")?),
    );

    let listener = Listener::new(TcpListener::bind(addr).await?, tls);
    tracing::info!("listening on https://{}", listener.local_addr()?);
    axum::serve(listener, make_service(app))
        .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
        .await?;
    Ok(())
}

async fn whoami(Peer(peer): Peer, ConnectInfo(from): ConnectInfo<SocketAddr>) -> String {
    format!("{peer} at {from}\n")
}
