//! A service that moves from plaintext to mutual TLS, on one port and without a restart.
//!
//! `permissive_migration DIR ADDR [END]`: END is the second since 1970 from which plaintext is refused. SIGUSR1 prints who is
//! still in plaintext, SIGUSR2 goes strict at once.

use std::error::Error;
use std::future::IntoFuture;
use std::io::{Write, stdout};

use axum::{Router, routing::get};
use mtls_axum::{Peer, Permissive, health, require, serve};
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls, Timestamp};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (dir, addr, permissive) = match arguments.as_slice() {
        [dir, addr] => (dir, addr, Permissive::without_end()),
        [dir, addr, end] => (
            dir,
            addr,
            Permissive::until(Timestamp::from_unix(end.parse()?)),
        ),
        _ => return Err("usage: permissive_migration DIR ADDR [END]".into()),
    };

    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    let anybody = Policy::any_verified_peer();
    let tls = ServerTls::builder(&source)
        .authorize(anybody.clone())
        .build()?;
    let whoami = |peer: Option<Peer>| async { peer.map_or("somebody".into(), |it| it.to_string()) };
    let app = Router::new()
        .route("/whoami", get(whoami))
        // What was moved already: nobody gets it in plaintext.
        .route("/orders", get("none\n").route_layer(require(anybody)?));
    let server = serve(TcpListener::bind(addr).await?, tls, app).permissive(permissive.clone());
    let probes = health(TcpListener::bind("127.0.0.1:0").await?, &source);
    let addrs = (server.local_addr()?, probes.local_addr()?);
    writeln!(stdout(), "listening on {}, probes on {}", addrs.0, addrs.1)?;
    tokio::spawn(probes.into_future());
    let mut serving = tokio::spawn(server.into_future());

    let mut report = signal(SignalKind::user_defined1())?;
    let mut strict = signal(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            _ = report.recv() => {}
            _ = strict.recv() => permissive.go_strict(),
            ended = &mut serving => return Ok(ended??),
        }
        writeln!(stdout(), "{}\n", permissive.report())?;
    }
}
