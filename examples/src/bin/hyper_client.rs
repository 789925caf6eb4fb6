//! One GET by mutual TLS, by hyper-util's client: what the server answered and who it is, or why it did not and what to do.
//!
//! `hyper_client DIR URL`

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mtls_core::{Chained, ClientTls, CredentialFiles, CredentialSource, LoadError, PeerInfo};
use mtls_tower::{ConnectError, Connector, RetireLayer};
use tower::{Layer, ServiceExt};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run(std::env::args().skip(1)).await else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(stderr(), "error: {}", Chained(&*error));
    let remedy = Chained(&*error).causes().find_map(|cause| {
        let connecting = cause.downcast_ref().map(ConnectError::remedy);
        connecting.or_else(|| cause.downcast_ref().map(LoadError::remedy))
    });
    if let Some(remedy) = remedy {
        let _ = writeln!(stderr(), "remedy: {remedy}");
    }
    ExitCode::FAILURE
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let (Some(dir), Some(url), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: hyper_client DIR URL".into());
    };
    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    let tls = ClientTls::builder(&source).verify_server_name().build()?;
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(Connector::new(tls));
    // Of clones of this, each task has one: they share the pool, which moves on when the files are rotated.
    let http = RetireLayer::new().layer(client);

    let request = Request::get(url).body(Empty::<Bytes>::new())?;
    let response = http.oneshot(request).await?;
    let mut out = stdout();
    writeln!(out, "status: {}", response.status())?;
    if let Some(server) = response.extensions().get::<PeerInfo>() {
        let serial = server.identity().serial();
        writeln!(out, "server: {server}, serial {serial}")?;
    }
    out.write_all(&response.into_body().collect().await?.to_bytes())?;
    Ok(())
}
