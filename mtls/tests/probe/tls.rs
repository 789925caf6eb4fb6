//! Servers of plain rustls, which can be told what to require.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use mtls_core::rustls::crypto::aws_lc_rs;
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};
use mtls_core::testing::LeafOptions;

use crate::{World, assert_verdict, probe};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asks {
    Nobody,
    Optionally,
    Always,
}

/// A server of one, which says nothing but what TLS says, and reads until its client is gone.
pub(crate) fn server(world: &World, asks: Asks, tickets: usize) -> u16 {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(world.ca.root_der()).unwrap();
    let own = world.ca.issue_with(LeafOptions::service("/server"));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        Asks::Nobody => builder.with_no_client_auth(),
        Asks::Optionally => {
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        Asks::Always => builder.with_client_cert_verifier(verifier.build().unwrap()),
    };
    let mut config = builder
        .with_single_cert(own.chain_der(), own.key_der())
        .unwrap();
    config.send_tls13_tickets = tickets;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = Stream::new(&mut tls, &mut tcp);
            let _ = stream.flush();
            let _ = stream.read(&mut [0; 1]);
            // What is on its way to a refused client gets there.
            let _ = tcp.shutdown(std::net::Shutdown::Write);
            let _ = tcp.read_to_end(&mut Vec::new());
        }
    });
    port
}

#[test]
fn a_server_that_requires_certificates_accepts_ours_and_refuses_nobody_and_strangers() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let web = world.text("web");
    let report = probe(port, &["--dir", &web, "--no-cert", "--stranger"]);
    assert_verdict(&report, "accepted");
    let report = report.1;
    assert_eq!(report["request"]["required"], true);
    assert_eq!(report["request"]["fits_ours"], true);
    assert_eq!(
        report["without_certificate"]["how"],
        "by the alert certificate_required"
    );
    assert_eq!(report["stranger"]["how"], "by the alert unknown_ca");
    assert_eq!(
        report["chain"][0]["spiffe_id"][0],
        "spiffe://example.org/server"
    );
}

#[test]
fn a_server_that_refuses_us_is_heard_in_tls_1_3_too() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let report = probe(port, &["--dir", &world.text("stranger")]);
    assert_verdict(&report, "refused_by_peer");
    assert_eq!(report.1["verdict"]["alert"], "unknown_ca", "{report:?}");
    assert_eq!(report.1["request"]["fits_ours"], false, "{report:?}");
}

#[test]
fn a_server_that_lets_in_whoever_comes_is_found_out_if_asked() {
    let world = World::new();
    let web = world.text("web");
    for asks in [Asks::Nobody, Asks::Optionally] {
        let port = server(&world, asks, 2);
        assert_verdict(&probe(port, &["--dir", &web]), "accepted");
        assert_verdict(&probe(port, &["--dir", &web, "--no-cert"]), "not_enforced");
    }
    // One that asks and verifies refuses a stranger; one that does not ask lets it in.
    let optional = server(&world, Asks::Optionally, 2);
    assert_verdict(&probe(optional, &["--dir", &web, "--stranger"]), "accepted");
    let open = server(&world, Asks::Nobody, 2);
    assert_verdict(&probe(open, &["--dir", &web, "--stranger"]), "not_enforced");
}

#[test]
fn a_server_that_says_nothing_has_not_accepted_us() {
    let world = World::new();
    let port = server(&world, Asks::Always, 0);
    let report = probe(port, &["--dir", &world.text("web"), "--timeout", "1"]);
    assert_verdict(&report, "unconfirmed");
    // A refusal is heard all the same.
    let refused = probe(port, &["--dir", &world.text("stranger"), "--timeout", "1"]);
    assert_verdict(&refused, "refused_by_peer");
}

#[test]
fn a_server_that_is_somebody_else_is_not_trusted() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let web = world.text("web");
    let ours = ["--dir", &web, "--as", "spiffe://example.org/server"];
    assert_verdict(&probe(port, &ours), "accepted");
    let other = probe(port, &["--dir", &web, "--as", "spiffe://example.org/other"]);
    assert_eq!(other.0, 1, "{other:?}");
    assert_eq!(other.1["verdict"]["reason"], "name_mismatch", "{other:?}");
    // One of another CA.
    let elsewhere = World::new();
    let foreign = probe(port, &["--dir", &elsewhere.text("web")]);
    assert_verdict(&foreign, "peer_not_trusted");
    assert_eq!(foreign.1["verdict"]["reason"], "unknown_issuer");
}

#[test]
fn without_credentials_it_is_looked_at() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let report = probe(port, &["--no-cert"]);
    assert_verdict(&report, "looked");
    assert_eq!(report.1["tls"]["version"], "1.3");
}

#[test]
fn what_was_not_seen_is_not_called_refused_nor_let_in() {
    let world = World::new();
    // It asks for nothing and says nothing: nobody knows whether it has let anybody in.
    let port = server(&world, Asks::Nobody, 0);
    let report = probe(port, &["--no-cert", "--timeout", "1"]);
    assert_verdict(&report, "unproven");
    assert!(report.1["without_certificate"]["let_in"].is_null());
    // One that requires certificates says so by its alert, tickets or not.
    let port = server(&world, Asks::Always, 0);
    assert_verdict(&probe(port, &["--no-cert", "--timeout", "1"]), "looked");
}
