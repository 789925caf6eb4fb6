//! Mutual TLS on a Unix socket, or on any other stream of bytes: the file's permissions say who can reach it, and the
//! certificate who it is. The server greets who called.
//!
//! `unix_socket serve DIR PATH` and `unix_socket call DIR PATH SPIFFE_ID`

use std::{error::Error, process::ExitCode};

use examples::Arguments;
use mtls_core::rustls::pki_types::ServerName;
use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
use mtls_tower::{Acceptor, Connector};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

#[tokio::main]
async fn main() -> ExitCode {
    examples::run(USAGE, either).await
}

async fn either(mut arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (does, dir, path) = (arguments.take()?, arguments.take()?, arguments.take()?);
    let source = CredentialSource::watch(CredentialFiles::detect(dir)?).await?;
    if does == "serve" {
        let tls = ServerTls::builder(&source).authorize(Policy::any_verified_peer());
        let (acceptor, listener) = (Acceptor::new(tls.build()?), UnixListener::bind(&path)?);
        examples::listening(path)?;
        loop {
            let (acceptor, io) = (acceptor.clone(), listener.accept().await?.0);
            // Beside this loop: a client that says nothing delays nobody.
            tokio::spawn(async move {
                if let Err(why) = greet(acceptor, io).await {
                    tracing::info!(%why, "not greeted");
                }
            });
        }
    }
    let tls = ClientTls::builder(&source).expect_server(arguments.take()?.parse()?)?;
    // A name has to be asked for; who the server has to be is its SPIFFE ID.
    let (name, io) = (
        ServerName::try_from("localhost")?,
        UnixStream::connect(path).await?,
    );
    let mut stream = Connector::new(tls.build()?).handshake(name, io).await?;
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).await?;
    Ok(examples::say(greeting)?)
}

async fn greet(acceptor: Acceptor, io: UnixStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut stream = acceptor.accept(io).await?;
    let greeting = format!("hello, {}", stream.client());
    stream.write_all(greeting.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}
const USAGE: &str = "usage: unix_socket serve DIR PATH | unix_socket call DIR PATH SPIFFE_ID";
