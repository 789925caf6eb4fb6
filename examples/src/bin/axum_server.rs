//! An axum service by mutual TLS, from a directory of mounted credentials that may rotate at any time.
//!
//! `axum_server DIR [ADDR] [--allow PATTERN]... [--crl PATH]... [--tls12]`

use std::error::Error;
use std::process::ExitCode;

use axum::{Router, routing::get};
use examples::Arguments;
use mtls_axum::Peer;
use mtls_core::{CredentialFiles, CredentialSource, ServerTls, TlsVersions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, serve).await
}

async fn serve(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (policy, lists) = (arguments.allowed()?, arguments.values("--crl")?);
    let versions = match arguments.has("--tls12") {
        true => TlsVersions::Tls12AndTls13,
        false => TlsVersions::Tls13,
    };
    let mut files = CredentialFiles::detect(arguments.take()?)?;
    let addr = arguments.last_or("127.0.0.1:8443")?;
    for list in lists {
        files = files.revocation_lists(list);
    }

    let source = CredentialSource::watch(files).await?;
    let tls = ServerTls::builder(&source)
        .authorize(policy)
        .versions(versions)
        .build()?;
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/health", get("ok\n"));
    let mut terminate = signal(SignalKind::terminate())?;
    let server = mtls_axum::serve(TcpListener::bind(addr).await?, tls, app).with_graceful_shutdown(
        async move {
            tokio::select! { _ = terminate.recv() => {} _ = tokio::signal::ctrl_c() => {} }
        },
    );
    examples::listening(format_args!("https://{}", server.local_addr()?))?;
    Ok(server.await?)
}

async fn whoami(Peer(peer): Peer) -> String {
    let (serial, version) = (peer.identity().serial(), peer.tls_version());
    format!("{peer}, serial {serial}, TLS {version}\n")
}

const USAGE: &str = "usage: axum_server DIR [ADDR] [--allow PATTERN]... [--crl PATH]... [--tls12]";
