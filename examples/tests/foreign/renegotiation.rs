//! `openssl s_client` asks for a new handshake within the old one, as TLS 1.2 had it.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use crate::openssl_client::s_client;
use crate::pki::Leaf;
use crate::process::Process;
use crate::server::World;
use crate::tools::Tool::Openssl3;
use crate::tools::absent;

#[tokio::test]
async fn who_asks_for_a_renegotiation_gets_none_and_others_are_served_on() {
    if absent(&[Openssl3]) {
        return;
    }
    let mut world = World::new(&["--tls12"]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    let (at, bundle) = (
        format!("127.0.0.1:{}", world.server.port),
        world.ca.bundle(),
    );
    let mut arguments = vec![
        "s_client",
        "-tls1_2",
        "-connect",
        &at,
        "-servername",
        "localhost",
    ];
    arguments.extend(["-CAfile", bundle.to_str().unwrap(), "-verify_return_error"]);
    arguments.extend(["-cert", caller.chain.to_str().unwrap()]);
    arguments.extend(["-key", caller.key.to_str().unwrap()]);
    let mut asks = Process::start_on(Stdio::piped(), "openssl", arguments);
    asks.stdout.line(&["Extended master secret: yes"]).await;
    // A line that begins with R is a command to it. What it sends then is a ClientHello, and it waits for the answer.
    let stdin = asks.child.stdin.as_mut().unwrap();
    stdin.write_all(b"R\n").await.unwrap();
    asks.stderr.one_of(&["RENEGOTIATING"]).await;

    let port = world.server.port.clone();
    for _ in 0..3 {
        let said = s_client(&port, &world.ca, &caller, &["-tls1_2"]).await;
        said.line("HTTP/1.1 200 OK");
    }
    // It verifies a server's chain as often as one is presented.
    let verified = asks
        .stderr
        .all()
        .iter()
        .filter(|line| line.starts_with("depth=0"))
        .count();
    assert_eq!(verified, 1);
    // To us it is a connection that says nothing: when it goes, it has not asked for anything.
    asks.child.kill().await.unwrap();
    let ended = ["connection ended"];
    world.server.process.stderr.line(&ended).await;
}
