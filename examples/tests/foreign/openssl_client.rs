//! `openssl s_client` calls our server.

use tempfile::TempDir;

use crate::openssl_server::OpensslServer;
use crate::pki::{Ca, Issued, Leaf};
use crate::server::World;
use crate::tools::Tool::Openssl3;
use crate::tools::{Said, absent, run};

/// Calls `/health` at a port of this machine.
pub(crate) async fn s_client(port: &str, ca: &Ca, caller: &Issued, flags: &[&str]) -> Said {
    let at = format!("127.0.0.1:{port}");
    let bundle = ca.bundle();
    let mut arguments = vec!["s_client", "-connect", &at, "-servername", "localhost"];
    arguments.extend(["-CAfile", bundle.to_str().unwrap(), "-verify_return_error"]);
    arguments.extend(["-verify_hostname", "localhost"]);
    arguments.extend(["-cert", caller.chain.to_str().unwrap()]);
    arguments.extend(["-key", caller.key.to_str().unwrap()]);
    // It goes on reading when its input has ended, until the server closes.
    arguments.push("-ign_eof");
    arguments.extend(flags);
    let dir = bundle.parent().unwrap();
    run("openssl", arguments, dir, REQUEST).await
}

const REQUEST: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn s_client_verifies_us_and_is_told_which_cas_we_accept() {
    if absent(&[Openssl3]) {
        return;
    }
    let world = World::new(&["--tls12"]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    for version in ["-tls1_3", "-tls1_2"] {
        let said = s_client(&world.server.port, &world.ca, &caller, &[version]).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.line("HTTP/1.1 200 OK");
        said.line("Verify return code: 0 (ok)");
        let (_, named) = said
            .stdout
            .split_once("Acceptable client certificate CA names\n")
            .unwrap();
        assert_eq!(named.lines().next(), Some("CN = foreign-ca"));
    }
}

#[tokio::test]
async fn our_sessions_are_resumed_and_nobody_elses() {
    if absent(&[Openssl3]) {
        return;
    }
    let world = World::new(&["--tls12"]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    let leaf = world.ca.issue(&Leaf::server()).await;
    let theirs = OpensslServer::start(&leaf, &world.ca, &[]).await;
    for version in ["-tls1_3", "-tls1_2"] {
        let dir = TempDir::new().unwrap();
        let session = dir.path().join("session.pem");
        let file = session.to_str().unwrap();

        let said = s_client(
            &world.server.port,
            &world.ca,
            &caller,
            &[version, "-sess_out", file],
        )
        .await;
        said.line("HTTP/1.1 200 OK");
        said.line("New, TLSv1.");
        assert!(session.exists(), "openssl has no session: {said:#?}");
        let said = s_client(
            &world.server.port,
            &world.ca,
            &caller,
            &[version, "-sess_in", file],
        )
        .await;
        said.line("Reused, TLSv1.");
        said.line("HTTP/1.1 200 OK");

        // Somebody else's, which that one resumes.
        s_client(
            &theirs.port,
            &world.ca,
            &caller,
            &[version, "-sess_out", file],
        )
        .await;
        let said = s_client(
            &theirs.port,
            &world.ca,
            &caller,
            &[version, "-sess_in", file],
        )
        .await;
        said.line("Reused, TLSv1.");
        // A session that we have not handed out is nothing to us.
        let said = s_client(
            &world.server.port,
            &world.ca,
            &caller,
            &[version, "-sess_in", file],
        )
        .await;
        said.line("HTTP/1.1 200 OK");
        said.line("New, TLSv1.");
    }
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    if absent(&[Openssl3]) {
        return;
    }
    let mut world = World::new(&["--tls12"]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    // At its default security level openssl would not even ask for it.
    let old = ["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"];
    let said = s_client(&world.server.port, &world.ca, &caller, &old).await;
    assert_eq!(said.code, Some(1), "{said:#?}");
    // Not protocol_version: rustls misses the signature algorithms, which TLS 1.1 has not, before it looks at the version.
    said.line("alert handshake failure");
    world.server.refusal("no_common_parameters", &[]).await;
}

#[tokio::test]
async fn cipher_suites_without_forward_secrecy_or_aead_are_refused() {
    if absent(&[Openssl3]) {
        return;
    }
    let mut world = World::new(&["--tls12"]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    for suites in [
        "AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
        "DHE-RSA-AES128-GCM-SHA256",
    ] {
        let flags = ["-tls1_2", "-cipher", suites];
        let said = s_client(&world.server.port, &world.ca, &caller, &flags).await;
        assert_eq!(said.code, Some(1), "{said:#?}");
        said.line("alert handshake failure");
        world.server.refusal("no_common_parameters", &[]).await;
    }
}
