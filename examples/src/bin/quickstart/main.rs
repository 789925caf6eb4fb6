//! Mutual TLS from nothing: a development CA, a service, a caller, rotation under load, and two who are refused.
//!
//! Everything is real but the CA: files in directories laid out as kubelet does it, sockets on loopback, and the same
//! calls that a service makes. It needs no configuration, leaves nothing behind, and ends by itself.

#![allow(clippy::print_stdout, reason = "it is there to be read")]

mod handshake;
mod load;
mod refused;
mod rotation;

use std::error::Error;
use std::future::IntoFuture;
use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use mtls_axum::Peer;
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
use mtls_reqwest::ResponseExt;
use tokio::net::TcpListener;

type Fallible<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("\nthe quickstart stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Fallible<bool> {
    println!(
        "mtls quickstart: two services that authenticate each other, rotating while they talk\n"
    );

    // What cert-manager, SPIRE or Vault do for you in production: a CA, and a mounted directory for each service.
    let ca = TestCa::new("example.org");
    let orders_dir = MountedDir::new(&ca.issue("/ns/shop/sa/orders"));
    let web_dir = MountedDir::new(&ca.issue("/ns/shop/sa/web"));
    println!("A development CA for the trust domain `example.org`, and two mounted directories:");
    println!(
        "  orders  {}/{{tls.crt,tls.key,ca.crt}}",
        orders_dir.path().display()
    );
    println!(
        "  web     {}/{{tls.crt,tls.key,ca.crt}}\n",
        web_dir.path().display()
    );

    // The service. These are the lines that you would write.
    let orders = CredentialSource::watch(CredentialFiles::detect(orders_dir.path())?).await?;
    let server = ServerTls::builder(&orders)
        .authorize(Policy::pattern("spiffe://example.org/ns/shop/sa/*")?)
        .build()?;
    let app = Router::new()
        .route(
            "/whoami",
            get(|Peer(peer): Peer| async move { peer.to_string() }),
        )
        .route(
            "/serial",
            get(|Peer(peer): Peer| async move { peer.identity().serial().to_owned() }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    let service = tokio::spawn(mtls_axum::serve(listener, server.clone(), app).into_future());

    // The caller. So are these.
    let web = CredentialSource::watch(CredentialFiles::detect(web_dir.path())?).await?;
    let tls = ClientTls::builder(&web).verify_server_name().build()?;
    let client = mtls_reqwest::Client::new(tls.clone())?;

    handshake::show(&server, &tls)?;

    let response = client.get(format!("{url}/whoami")).send().await?;
    let answered_by = response
        .peer_identity()
        .map(ToString::to_string)
        .unwrap_or_default();
    println!("GET {url}/whoami");
    println!(
        "  {}, answered by {answered_by}: you are {}\n",
        response.status(),
        response.text().await?
    );

    let parties = rotation::Parties {
        orders: &orders,
        orders_dir,
        web: &web,
        web_dir,
    };
    let report = rotation::under_load(ca, &parties, &tls, &url).await?;
    let ca = &report.last_ca;
    refused::show(ca, &server).await?;

    service.abort();
    println!("Summary");
    println!(
        "  rotations      {} leaf, {} CA (overlap, move, removal)",
        report.leaves, report.cas
    );
    println!(
        "  serials seen   {} of orders, {} of web",
        report.load.orders.len(),
        report.load.web.len()
    );
    println!(
        "  connections    {} new, the others kept alive",
        report.load.connections
    );
    println!(
        "\n{} requests, {} failed",
        report.load.requests(),
        report.load.failed
    );
    Ok(report.load.failed == 0)
}
