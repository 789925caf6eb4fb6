//! An axum service by mutual TLS, from a directory of mounted credentials that may rotate at any time.
//!
//! `axum_server DIR [ADDR] [--allow PATTERN]... [--crl PATH]... [--tls12]`

use std::error::Error;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use axum::{Router, routing::get};
use mtls_axum::Peer;
use mtls_core::{
    Chained, CredentialFiles, CredentialSource, LoadError, Policy, ServerTls, TlsVersions,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| "info,mtls_core=debug,mtls_tower=debug".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .init();
    let Err(error) = run(std::env::args().skip(1)).await else {
        return ExitCode::SUCCESS;
    };
    let remedy = error.downcast_ref().map(LoadError::remedy);
    tracing::error!(mtls.remedy = remedy, error = %Chained(&*error), "stopped");
    ExitCode::FAILURE
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let dir = arguments.next().ok_or(USAGE)?;
    let (mut addr, mut allowed) = ("127.0.0.1:8443".to_owned(), Vec::new());
    let mut versions = TlsVersions::Tls13;
    let mut files = CredentialFiles::detect(dir)?;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--allow" => allowed.push(Policy::try_from(arguments.next().ok_or(USAGE)?)?),
            "--crl" => files = files.revocation_lists(arguments.next().ok_or(USAGE)?),
            "--tls12" => versions = TlsVersions::Tls12AndTls13,
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            _ => addr = argument,
        }
    }
    let policy = match allowed.is_empty() {
        true => Policy::any_verified_peer(),
        false => Policy::any(allowed)?,
    };

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
    writeln!(stdout(), "listening on https://{}", server.local_addr()?)?;
    Ok(server.await?)
}

async fn whoami(Peer(peer): Peer) -> String {
    let (serial, version) = (peer.identity().serial(), peer.tls_version());
    format!("{peer}, serial {serial}, TLS {version}\n")
}

const USAGE: &str = "usage: axum_server DIR [ADDR] [--allow PATTERN]... [--crl PATH]... [--tls12]";
