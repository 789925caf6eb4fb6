//! Mutual TLS under axum's own `serve`, for a program that is built around it: one line for the listener, one for the router.
//! `mtls_axum::serve`, as in `axum_server`, can do more. Either takes a socket that is open already: here the one that systemd
//! hands down, if it does.
//!
//! `axum_listener DIR [ADDR]`

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use axum::extract::ConnectInfo;
use axum::{Router, routing::get};
use examples::Arguments;
use listenfd::ListenFd;
use mtls_axum::{Listener, Peer, make_service, require};
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    examples::run("usage: axum_listener DIR [ADDR]", serve).await
}

async fn serve(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let source = CredentialSource::watch(CredentialFiles::detect(arguments.take()?)?).await?;
    let tls = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()?;
    let app = Router::new().route("/whoami", get(whoami)).route(
        "/admin",
        get("hello, admin\n").route_layer(require("spiffe://example.org/admin")?),
    );

    let addr = arguments.last_or("127.0.0.1:8443")?;
    let socket = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(handed_down) => {
            handed_down.set_nonblocking(true)?;
            TcpListener::from_std(handed_down)?
        }
        None => TcpListener::bind(addr).await?,
    };
    let listener = Listener::new(socket, tls);
    examples::listening(format_args!("https://{}", listener.local_addr()?))?;
    let serving = axum::serve(listener, make_service(app))
        .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or(()) });
    // In a task: from `main` each connection would be handed from thread to thread.
    Ok(tokio::spawn(serving.into_future()).await??)
}

async fn whoami(Peer(peer): Peer, ConnectInfo(from): ConnectInfo<SocketAddr>) -> String {
    format!("{peer} at {from}\n")
}
