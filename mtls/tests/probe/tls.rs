//! Whom servers of plain rustls let in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::server::{Asks, Serves, server};
use crate::{World, assert_verdict, probe};

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
    // Not the name gives this one away, but the signature.
    assert_eq!(report["namesake"]["how"], "by the alert decrypt_error");
    assert_eq!(report["namesake"]["of"], report["request"]["ca_names"][0]);
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
    assert_eq!(report.1["request"]["go_would_send"], false, "{report:?}");
    let means = report.1["verdict"]["means"].as_str().unwrap();
    assert!(means.contains("CA"), "{means}");
}

#[test]
fn a_server_that_compares_the_names_of_cas_alone_is_found_out_by_a_stranger() {
    let world = World::new();
    let web = world.text("web");
    let by_name = || Serves::of(&world, Asks::ByName).start(&world.ca.issue("/server"));
    let report = probe(by_name(), &["--dir", &web, "--no-cert", "--stranger"]);
    assert_verdict(&report, "not_enforced");
    assert_eq!(report.1["without_certificate"]["let_in"], false);
    assert_eq!(report.1["stranger"]["let_in"], false);
    assert_eq!(report.1["namesake"]["let_in"], true);
    let says = report.1["verdict"]["says"].as_str().unwrap();
    assert!(says.contains("a CA's name and not its signature"), "{says}");
    // Without our directory as well: the name is one that the server sends itself.
    let report = probe(by_name(), &["--stranger"]);
    assert_verdict(&report, "not_enforced");
}

#[test]
fn each_dial_is_one_connection_and_there_are_no_others() {
    let world = World::new();
    let web = world.text("web");
    for (arguments, dials) in [
        (&["--no-cert"][..], 1),
        (&["--dir", &web][..], 2),
        (&["--dir", &web, "--no-cert", "--stranger"][..], 4),
        (&["--dir", &web, "--every-address"][..], 2),
    ] {
        let serves = Serves::of(&world, Asks::Always);
        let served = Arc::clone(&serves.served);
        probe(serves.start(&world.ca.issue("/server")), arguments);
        assert_eq!(served.load(Ordering::SeqCst), dials, "{arguments:?}");
    }
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
