//! The six steps of a mutual handshake, with the values of a real one.

use std::io::{Read, Write};

use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::server::{Acceptor, ClientHello};
use mtls_core::rustls::{ClientConnection, ServerConnection};
use mtls_core::{ClientTls, PeerInfo, ServerTls};

use super::Fallible;

/// Makes a handshake in memory between the quickstart's own client and server, and tells it.
pub(crate) fn show(server: &ServerTls, client: &ClientTls) -> Fallible<()> {
    println!("One handshake, in six steps (TLS 1.3, RFC 8446)");
    let dial = client.handshake();
    let name = ServerName::try_from("localhost")?;
    let mut client = ClientConnection::new(dial.config(), name.clone())?;

    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut flight(|buffer| client.write_tls(buffer))?.as_slice())?;
    let accepted = acceptor
        .accept()
        .map_err(|(error, _)| error)?
        .ok_or("half a client hello")?;
    println!(
        "  1  client hello         {}",
        hello(&accepted.client_hello())
    );

    let accept = server.handshake();
    let mut server = accepted
        .into_connection(accept.config())
        .map_err(|(error, _)| error)?;
    pump(&mut client, &mut server)?;
    let seen_server = dial.established(&client, &name)?;
    let seen_client = accept.established(&server)?;

    println!("  2  server certificate   {}", certificate(&seen_server));
    println!(
        "  3  server verified      {}",
        verified(&seen_server, "its SAN has `localhost`")
    );
    println!("  4  client certificate   {}", certificate(&seen_client));
    println!(
        "  5  client verified      {}",
        verified(&seen_client, "the policy lets it in")
    );

    client.writer().write_all(b"hello over the channel")?;
    pump(&mut client, &mut server)?;
    let mut heard = [0; 22];
    server.reader().read_exact(&mut heard)?;
    println!(
        "  6  secure channel       TLS {}, {}, {}; the server reads \"{}\"\n",
        seen_client.tls_version(),
        seen_client.cipher_suite(),
        seen_client.key_exchange(),
        String::from_utf8_lossy(&heard)
    );
    Ok(())
}

fn hello(hello: &ClientHello<'_>) -> String {
    let alpn: Vec<_> = hello
        .alpn()
        .into_iter()
        .flatten()
        .map(|name| String::from_utf8_lossy(name))
        .collect();
    let groups = hello.named_groups().into_iter().flatten().next();
    format!(
        "to `{}`, offering {}, {} cipher suites, first group {}",
        hello.server_name().unwrap_or("(no name)"),
        alpn.join(" and "),
        hello.cipher_suites().len(),
        groups.map_or_else(|| "unknown".into(), |group| format!("{group:?}"))
    )
}

fn certificate(peer: &PeerInfo) -> String {
    let identity = peer.identity();
    format!(
        "{identity}, serial {}, until {}",
        identity.serial(),
        identity.not_after()
    )
}

fn verified(peer: &PeerInfo, then: &str) -> String {
    format!(
        "issued by `{}`, holds its key, {then}",
        peer.identity().issuer()
    )
}

fn pump(client: &mut ClientConnection, server: &mut ServerConnection) -> Fallible<()> {
    loop {
        let to_server = flight(|buffer| client.write_tls(buffer))?;
        feed(&to_server, |bytes| {
            server.read_tls(bytes)?;
            Ok(server.process_new_packets().map(drop)?)
        })?;
        let to_client = flight(|buffer| server.write_tls(buffer))?;
        feed(&to_client, |bytes| {
            client.read_tls(bytes)?;
            Ok(client.process_new_packets().map(drop)?)
        })?;
        if to_server.is_empty() && to_client.is_empty() {
            return Ok(());
        }
    }
}

fn flight(mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>) -> Fallible<Vec<u8>> {
    let mut bytes = Vec::new();
    while write(&mut bytes)? > 0 {}
    Ok(bytes)
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> Fallible<()>) -> Fallible<()> {
    while !bytes.is_empty() {
        read(&mut bytes)?;
    }
    Ok(())
}
