//! gRPC by mutual TLS: the standard health service, asked by whoever may, from directories of mounted credentials.
//!
//! `grpc serve DIR [ADDR] [--allow PATTERN]...` and `grpc call DIR URL [--expect SPIFFE_ID]`

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use mtls_core::{Chained, ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
use mtls_tower::tonic::{PeerExt, channel, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tonic::service::{InterceptorLayer, LayerExt, Routes};
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_health::server::health_reporter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(stderr).init();
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("serve") => server(arguments).await,
        Some("call") => client(arguments).await,
        _ => Err(USAGE.into()),
    };
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(stderr(), "error: {}", Chained(&*error));
    ExitCode::FAILURE
}

async fn server(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let dir = arguments.next().ok_or(USAGE)?;
    let (mut addr, mut allowed) = ("127.0.0.1:8443".to_owned(), Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--allow" => allowed.push(Policy::try_from(arguments.next().ok_or(USAGE)?)?),
            _ => addr = argument,
        }
    }
    let policy = match allowed.is_empty() {
        true => Policy::any_verified_peer(),
        false => Policy::any(allowed)?,
    };

    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    let tls = ServerTls::builder(&source).authorize(policy).build()?;
    let (_reporter, health) = health_reporter();
    let services = Routes::new(InterceptorLayer::new(known).named_layer(health));
    let mut terminate = signal(SignalKind::terminate())?;
    let server =
        serve(TcpListener::bind(addr).await?, tls, services).with_graceful_shutdown(async move {
            tokio::select! { _ = terminate.recv() => {} _ = tokio::signal::ctrl_c() => {} }
        });
    writeln!(stdout(), "listening on https://{}", server.local_addr()?)?;
    Ok(server.await?)
}

/// An interceptor: whatever a service decides by, it finds here.
fn known(call: Request<()>) -> Result<Request<()>, Status> {
    let peer = call
        .peer_info()
        .ok_or_else(|| Status::unauthenticated("who are you?"))?;
    tracing::info!(mtls.peer_id = %peer, address = ?call.remote_addr(), "called");
    Ok(call)
}

async fn client(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let dir = arguments.next().ok_or(USAGE)?;
    let endpoint = Endpoint::from_shared(arguments.next().ok_or(USAGE)?)?;
    let expected = match arguments.next().as_deref() {
        Some("--expect") => Some(arguments.next().ok_or(USAGE)?.parse()?),
        Some(_) => return Err(USAGE.into()),
        None => None,
    };

    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    let tls = match expected {
        Some(spiffe_id) => ClientTls::builder(&source).expect_server(spiffe_id)?,
        None => ClientTls::builder(&source).verify_server_name(),
    };
    let mut health = HealthClient::new(channel(tls.build()?, endpoint));
    let answer = health.check(HealthCheckRequest::default()).await?;
    if let Some(server) = answer.peer_info() {
        writeln!(
            stdout(),
            "server: {server}, serial {}",
            server.identity().serial()
        )?;
    }
    writeln!(
        stdout(),
        "status: {}",
        answer.into_inner().status().as_str_name()
    )?;
    Ok(())
}

const USAGE: &str = "usage: grpc serve DIR [ADDR] [--allow PATTERN]...
       grpc call DIR URL [--expect SPIFFE_ID]";
