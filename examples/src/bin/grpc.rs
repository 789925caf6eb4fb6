//! gRPC by mutual TLS: the standard health service, asked by whoever may, from directories of mounted credentials.
//!
//! `grpc serve DIR [ADDR] [--allow PATTERN]...` and `grpc call DIR URL SPIFFE_ID`

use std::{error::Error, process::ExitCode};

use examples::{Arguments, say};
use mtls_core::{ClientTls, CredentialFiles, CredentialSource, ServerTls};
use mtls_tower::tonic::{PeerExt, channel, serve};
use tokio::net::TcpListener;
use tonic::service::{InterceptorLayer, LayerExt, Routes};
use tonic::{Request, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, either).await
}

async fn either(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (does, allowed) = (arguments.take()?, arguments.allowed()?);
    let source = CredentialSource::watch(CredentialFiles::detect(arguments.take()?)?).await?;
    if does == "serve" {
        let tls = ServerTls::builder(&source).authorize(allowed).build()?;
        let (_reporter, health) = tonic_health::server::health_reporter();
        let services = Routes::new(InterceptorLayer::new(known).named_layer(health));
        let addr = arguments.last_or("127.0.0.1:8443")?;
        let server = serve(TcpListener::bind(addr).await?, tls, services);
        examples::listening(format_args!("https://{}", server.local_addr()?))?;
        return Ok(server.await?);
    }
    let endpoint = Endpoint::from_shared(arguments.take()?)?;
    let tls = ClientTls::builder(&source).expect_server(arguments.take()?.parse()?)?;
    let mut health = HealthClient::new(channel(tls.build()?, endpoint));
    let answer = health.check(HealthCheckRequest::default()).await?;
    if let Some(server) = answer.peer_info() {
        say(format_args!(
            "{server}, serial {}",
            server.identity().serial()
        ))?;
    }
    Ok(say(answer.into_inner().status().as_str_name())?)
}

/// An interceptor: whatever a service decides by, it finds here.
fn known(call: Request<()>) -> Result<Request<()>, Status> {
    let Some(peer) = call.peer_info() else {
        return Err(Status::unauthenticated("who are you?"));
    };
    tracing::info!(mtls.peer_id = %peer, address = ?call.remote_addr(), "called");
    Ok(call)
}

const USAGE: &str =
    "usage: grpc serve DIR [ADDR] [--allow PATTERN]... | grpc call DIR URL SPIFFE_ID";
