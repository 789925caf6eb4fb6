//! A service by mutual TLS, and beside it a plaintext port for what has no certificate: Prometheus, and a kubelet's probes.
//!
//! `prometheus DIR [ADDR] [--plain ADDR] [--allow PATTERN]... [--crl PATH]...`

use std::error::Error;
use std::future::{IntoFuture, ready};
use std::process::ExitCode;

use axum::{Router, routing::get};
use examples::Arguments;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use mtls_axum::{Peer, probes};
use mtls_core::metrics::{HANDSHAKE_BUCKETS, describe};
use mtls_core::{CredentialFiles, CredentialSource, ServerTls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, serve).await
}

async fn serve(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (policy, lists) = (arguments.allowed()?, arguments.values("--crl")?);
    let plain = arguments.values("--plain")?.pop();
    let mut files = CredentialFiles::detect(arguments.take()?)?;
    let addr = arguments.last_or("127.0.0.1:8443")?;
    for list in lists {
        files = files.revocation_lists(list);
    }

    // Before the source is opened: what was counted without a recorder is lost.
    let duration = Matcher::Full("mtls_handshake_duration_seconds".into());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(duration, HANDSHAKE_BUCKETS)?
        .install_recorder()?;
    describe();

    let source = CredentialSource::watch(files).await?;
    let tls = ServerTls::builder(&source).authorize(policy).build()?;
    let app = Router::new().route("/whoami", get(whoami));
    let server = mtls_axum::serve(TcpListener::bind(addr).await?, tls, app);
    let plain = TcpListener::bind(plain.as_deref().unwrap_or("127.0.0.1:9090")).await?;
    let (https, http) = (server.local_addr()?, plain.local_addr()?);
    let beside = probes(&source).route("/metrics", get(move || ready(recorder.render())));
    examples::listening(format_args!("https://{https} and http://{http}"))?;
    tokio::select! {
        served = server.into_future() => Ok(served?),
        served = axum::serve(plain, beside).into_future() => Ok(served?),
    }
}

async fn whoami(Peer(peer): Peer) -> String {
    format!("{peer}\n")
}

const USAGE: &str =
    "usage: prometheus DIR [ADDR] [--plain ADDR] [--allow PATTERN]... [--crl PATH]...";
