//! `gnutls-cli` calls our server, and our client calls `gnutls-serv`.

use std::path::Path;

use crate::curl::Version;
use crate::dialing::{self, Serving, free_port};
use crate::door::{Caller, Door, documented};
use crate::pki::{Ca, Issued};
use crate::process::Process;
use crate::tools::Tool::{GnuTls, Openssl3};
use crate::tools::{AtEnd, Said, absent, converse};

async fn gnutls_cli(door: &Door, caller: Caller, version: Version, flags: &[&str]) -> Said {
    let bundle = door.world.ca.bundle();
    let mut arguments = vec!["--x509cafile", bundle.to_str().unwrap()];
    if let Some(caller) = door.credentials(caller) {
        arguments.extend(["--x509certfile", caller.chain.to_str().unwrap()]);
        arguments.extend(["--x509keyfile", caller.key.to_str().unwrap()]);
    }
    arguments.extend(["--sni-hostname", "localhost"]);
    arguments.extend(["--verify-hostname", "localhost"]);
    let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{}", version.name());
    arguments.extend(["--priority", &priority, "--port", door.port()]);
    arguments.extend(flags);
    arguments.push("127.0.0.1");
    let request = "GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // When its input ends it hangs up, answered or not.
    let dir = Path::new(".");
    converse("gnutls-cli", arguments, dir, request, AtEnd::Hold).await
}

/// What it says of an alert.
fn words(caller: Caller) -> String {
    let (_, number) = caller.alert();
    let name = match number {
        45 => "Certificate is expired",
        48 => "CA is unknown",
        49 => "Access was denied",
        116 => "Certificate is required",
        _ => "",
    };
    format!("Received alert [{number}]: {name}")
}

#[tokio::test]
async fn gnutls_is_known_by_its_certificate_and_resumes_its_session() {
    if absent(&[Openssl3, GnuTls]) {
        return;
    }
    let door = Door::new().await;
    for version in Version::BOTH {
        let said = gnutls_cli(&door, Caller::Known, version, &[]).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        door.assert_let_in(&said, version);
        assert!(!said.has("This is a resumed session"), "{said:#?}");

        // It connects twice; who it is we still know.
        let twice = ["--resume", "--waitresumption"];
        let said = gnutls_cli(&door, Caller::Known, version, &twice).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.line("*** This is a resumed session");
        door.assert_let_in(&said, version);
    }
}

#[tokio::test]
async fn gnutls_is_told_why_it_is_refused() {
    if absent(&[Openssl3, GnuTls]) {
        return;
    }
    for version in Version::BOTH {
        let mut door = Door::new().await;
        for caller in Caller::REFUSED {
            let words = words(caller);
            let said = gnutls_cli(&door, caller, version, &[]).await;
            assert_eq!(said.code, Some(1), "{said:#?}");
            door.assert_refused(caller, &said, &words).await;
            documented("gnutls-cli", &words);
        }
    }
}

async fn gnutls_serv(leaf: &Issued, trusted: &Ca) -> Serving {
    let bundle = trusted.bundle();
    let mut arguments = vec!["--http", "--require-client-cert", "--verify-client-cert"];
    arguments.extend(["--x509cafile", bundle.to_str().unwrap()]);
    arguments.extend(["--x509certfile", leaf.chain.to_str().unwrap()]);
    arguments.extend(["--x509keyfile", leaf.key.to_str().unwrap()]);
    arguments.push("--port");
    loop {
        let port = free_port();
        let mut process = Process::start("gnutls-serv", [&arguments[..], &[&port]].concat());
        let said = process.stderr.line(&["listening on IPv4"]).await;
        if said.ends_with("done") {
            return Serving::new(process, port);
        }
        assert!(said.contains("Address already in use"), "{said}");
    }
}

#[tokio::test]
async fn gnutls_serv_and_our_client_know_each_other() {
    if absent(&[Openssl3, GnuTls]) {
        return;
    }
    dialing::both_know_each_other(gnutls_serv).await;
}

#[tokio::test]
async fn a_gnutls_serv_that_is_not_who_we_expect_is_refused() {
    if absent(&[Openssl3, GnuTls]) {
        return;
    }
    dialing::improper_servers_are_refused(gnutls_serv).await;
}

#[tokio::test]
async fn a_gnutls_serv_that_trusts_another_ca_refuses_us_by_an_alert_that_we_name() {
    if absent(&[Openssl3, GnuTls]) {
        return;
    }
    // Not unknown_ca: to GnuTLS itself the chain is what its caller makes of it.
    let words = "refused us by the alert access_denied";
    dialing::we_are_refused(gnutls_serv, words).await;
    documented("gnutls-serv", words);
}

#[tokio::test]
async fn gnutls_serv_sees_our_next_certificate_at_the_next_connection() {
    if absent(&[Openssl3, GnuTls]) {
        return;
    }
    dialing::our_rotation_shows(gnutls_serv).await;
}
