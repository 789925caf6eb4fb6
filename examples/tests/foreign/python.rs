//! Python's `ssl` calls our server, and our client calls its.

use std::path::Path;

use crate::curl::Version;
use crate::dialing::{self, Marks, Serving};
use crate::door::{Caller, Door, documented};
use crate::pki::{Ca, Issued};
use crate::process::Process;
use crate::tools::Tool::{Openssl3, Python3WithOpenssl3};
use crate::tools::{Said, absent, run};

const CLIENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/foreign/python/client.py"
);
const SERVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/foreign/python/server.py"
);

/// Calls `/whoami` of our server, `times` times.
async fn python(door: &Door, caller: Caller, version: Version, times: &str) -> Said {
    let version = match version {
        Version::Tls12 => "TLSv1_2",
        Version::Tls13 => "TLSv1_3",
    };
    let bundle = door.world.ca.bundle();
    let bundle = bundle.to_str().unwrap();
    let mut arguments = vec!["-I", CLIENT, door.port(), version, times, bundle];
    if let Some(caller) = door.credentials(caller) {
        arguments.push(caller.chain.to_str().unwrap());
        arguments.push(caller.key.to_str().unwrap());
    }
    run("python3", arguments, Path::new("."), "").await
}

#[tokio::test]
async fn python_is_known_by_its_certificate_and_resumes_its_session() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    let door = Door::new().await;
    for version in Version::BOTH {
        let said = python(&door, Caller::Known, version, "2").await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        let welcome = door.welcome(version);
        let expected = format!("200 {welcome} reused: False\n200 {welcome} reused: True\n");
        assert_eq!(said.stdout, expected);
    }
}

#[tokio::test]
async fn python_is_told_why_it_is_refused() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    for version in Version::BOTH {
        let mut door = Door::new().await;
        for caller in Caller::REFUSED {
            let said = python(&door, caller, version, "1").await;
            assert_eq!(said.code, Some(1), "{said:#?}");
            let (alert, _) = caller.alert();
            let words = format!("alert {alert}");
            door.assert_refused(caller, &said, &words).await;
            documented("Python's ssl", &words);
        }
    }
}

async fn server(leaf: &Issued, trusted: &Ca) -> Serving {
    let bundle = trusted.bundle();
    let [chain, key, bundle] = [&leaf.chain, &leaf.key, &bundle].map(|file| file.to_str().unwrap());
    let mut process = Process::start("python3", ["-I", SERVER, chain, key, bundle]);
    let ready = process.stdout.line(&["serving at port "]).await;
    let port = ready.rsplit(' ').next().unwrap().to_owned();
    Serving::new(process, port)
}

#[tokio::test]
async fn python_and_our_client_know_each_other() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    let page = dialing::both_know_each_other(server).await;
    assert!(
        page.contains("('URI', 'spiffe://example.org/web')"),
        "{page}"
    );
}

#[tokio::test]
async fn a_python_that_is_not_who_we_expect_is_refused() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    dialing::improper_servers_are_refused(server).await;
}

#[tokio::test]
async fn a_python_that_trusts_another_ca_refuses_us_by_an_alert_that_we_name() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    let words = "refused us by the alert unknown_ca";
    dialing::we_are_refused(server, words).await;
    documented("Python's ssl", words);
}

#[tokio::test]
async fn python_sees_our_next_certificate_at_the_next_connection() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    dialing::our_rotation_shows(server).await;
}

#[tokio::test]
async fn python_resumes_our_sessions_until_we_rotate() {
    if absent(&[Openssl3, Python3WithOpenssl3]) {
        return;
    }
    let marks = Marks {
        new: "reused: False",
        resumed: "reused: True",
    };
    dialing::sessions_are_resumed_until_we_rotate(server, marks).await;
}
