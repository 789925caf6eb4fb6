//! `openssl s_client` comes to our door as everybody may.

use std::path::Path;

use mtls_core::testing::TestCa;
use mtls_core::{Otherwise, Policy, ServerNames, ServerTls};
use mtls_tower::MtlsListener;
use tokio::net::TcpListener;

use crate::curl::Version;
use crate::door::{Caller, Door, documented};
use crate::tools::Tool::Openssl3;
use crate::tools::{Said, absent, run};

async fn s_client(door: &Door, caller: Caller, version: Version) -> Said {
    let (at, bundle) = (format!("127.0.0.1:{}", door.port()), door.world.ca.bundle());
    let version = match version {
        Version::Tls12 => "-tls1_2",
        Version::Tls13 => "-tls1_3",
    };
    let mut arguments = vec!["s_client", "-connect", &at, "-servername", "localhost"];
    arguments.extend(["-CAfile", bundle.to_str().unwrap(), "-verify_return_error"]);
    arguments.extend([version, "-ign_eof"]);
    if let Some(caller) = door.credentials(caller) {
        arguments.extend(["-cert", caller.chain.to_str().unwrap()]);
        arguments.extend(["-key", caller.key.to_str().unwrap()]);
    }
    let request = "GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    run("openssl", arguments, Path::new("."), request).await
}

#[tokio::test]
async fn s_client_is_told_why_it_is_refused_and_its_neighbour_is_let_in() {
    if absent(&[Openssl3]) {
        return;
    }
    for version in Version::BOTH {
        let mut door = Door::new().await;
        let said = s_client(&door, Caller::Known, version).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        door.assert_let_in(&said, version);
        for caller in Caller::REFUSED {
            let (alert, number) = caller.alert();
            let words = format!("alert {alert}");
            let said = s_client(&door, caller, version).await;
            assert_eq!(said.code, Some(1), "{said:#?}");
            said.line(&format!("SSL alert number {number}"));
            door.assert_refused(caller, &said, &words).await;
            documented("openssl s_client", &words);
        }
    }
}

/// Without a certificate it comes as far as to be asked for one, where it has asked for a name that somebody has.
#[tokio::test]
async fn s_client_is_told_that_nobody_has_the_name_that_it_asks_for() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let api = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let names = ServerNames::named("api.example.org", &api).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = tcp.local_addr().unwrap().to_string();
    let mut listener = MtlsListener::new(tcp, names.otherwise(Otherwise::Refuse));
    tokio::spawn(async move { listener.accept().await });
    let by_name = |name| ["-servername", name];
    for (asks, number, alert) in [
        (&by_name("api.example.org")[..], 116, "certificate required"),
        (&by_name("other.example.org"), 112, "unrecognized name"),
        (&["-noservername"], 112, "unrecognized name"),
    ] {
        let to = ["s_client", "-connect", &at, "-ign_eof"];
        let said = run("openssl", to.iter().chain(asks), Path::new("."), "").await;
        said.line(&format!("SSL alert number {number}"));
        assert!(
            said.has(&format!("alert {alert}")) || said.has(alert),
            "{said:#?}"
        );
    }
}
