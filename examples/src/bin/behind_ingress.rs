//! A service behind an ingress that ends its clients' mutual TLS and speaks mutual TLS of its own to us. The peer is the
//! ingress; whom it has verified, it says in `x-forwarded-client-cert`. From anybody else that header is worth nothing.
//!
//! `behind_ingress DIR INGRESS_ID [ADDR] [--proxy-protocol BALANCER_IP]...`

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use axum::{Router, extract::ConnectInfo, routing::get};
use examples::Arguments;
use mtls_axum::{Forwarded, ForwardedFormat, ForwardedPeer, Peer, ProxyProtocol};
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, serve).await
}

async fn serve(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let balancers = arguments.values("--proxy-protocol")?;
    let files = CredentialFiles::detect(arguments.take()?)?;
    let ingress = Policy::spiffe_id(arguments.take()?)?;
    let addr = arguments.last_or("127.0.0.1:8443")?;

    let source = CredentialSource::watch(files).await?;
    // Others may call directly: each is a peer, and none of them speaks for anybody.
    let tls = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()?;
    let app = Router::new().route("/whoami", get(whoami)).route(
        "/direct",
        get(|Peer(peer): Peer| async move { format!("{peer}\n") }),
    );
    let mut server = mtls_axum::serve(TcpListener::bind(addr).await?, tls, app)
        .forwarded(Forwarded::accept_from(ingress, ForwardedFormat::Xfcc));
    if !balancers.is_empty() {
        // Before TLS, a balancer in between may say from which address a client comes.
        let balancers: Result<Vec<IpAddr>, _> = balancers.iter().map(|ip| ip.parse()).collect();
        server = server.proxy_protocol(ProxyProtocol::from_addresses(balancers?));
    }
    examples::listening(format_args!("https://{}", server.local_addr()?))?;
    Ok(server.await?)
}

async fn whoami(
    Peer(ingress): Peer,
    ForwardedPeer(client): ForwardedPeer,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> String {
    let client = client.spiffe_id().map_or("nobody", |id| id.as_str());
    format!("{client} by way of {ingress} at {from}\n")
}

const USAGE: &str = "usage: behind_ingress DIR INGRESS_ID [ADDR] [--proxy-protocol BALANCER_IP]...";
