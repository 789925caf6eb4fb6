//! Mutual TLS on TCP alone, without HTTP: a server that echoes, and a client that prints what comes back. What both speak is
//! said by ALPN, or they would offer HTTP.
//!
//! `raw_tokio serve DIR ADDR` and `raw_tokio call DIR HOST:PORT SPIFFE_ID TEXT`

use std::{error::Error, process::ExitCode};

use examples::Arguments;
use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
use mtls_tower::{Connector, MtlsListener, ServerStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, either).await
}

async fn either(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (does, dir, addr) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    if does == "serve" {
        let tls = ServerTls::builder(&source).authorize(Policy::any_verified_peer());
        return serve(tls.alpn(["echo"]).build()?, &addr).await;
    }
    let tls = ClientTls::builder(&source).expect_server(arguments.take()?.parse()?)?;
    call(tls.alpn(["echo"]).build()?, &addr, &arguments.take()?).await
}

/// Handshakes run beside its loop, which is a task: from `main` each connection would be handed from thread to thread.
async fn serve(tls: ServerTls, addr: &str) -> Result<(), Box<dyn Error>> {
    let mut listener = MtlsListener::new(TcpListener::bind(addr).await?, tls);
    examples::listening(listener.local_addr()?)?;
    let accepting = async move {
        loop {
            tokio::spawn(echo(listener.accept().await.0));
        }
    };
    Ok(tokio::spawn(accepting).await?)
}

/// Until the client has said all, or would no longer be let in: then reading and writing fail.
async fn echo(stream: ServerStream<TcpStream>) -> std::io::Result<()> {
    tracing::info!(mtls.peer_id = %stream.client(), "connected");
    let (mut from, mut to) = split(stream);
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn call(tls: ClientTls, addr: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let to = format!("https://{addr}");
    let mut stream = Connector::new(tls).connect(&to.parse()?).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut echoed = String::new();
    stream.read_to_string(&mut echoed).await?;
    Ok(examples::say(echoed)?)
}
const USAGE: &str = "usage: raw_tokio serve DIR ADDR | raw_tokio call DIR HOST:PORT SPIFFE_ID TEXT";
