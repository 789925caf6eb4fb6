//! What a server tells of itself without being asked, and what it serves against what it should.

use mtls_core::testing::{KeyKind, LeafOptions};

use crate::server::{Asks, Serves, server};
use crate::{World, assert_verdict, lay_out, probe};

#[test]
fn what_a_handshake_offers_is_told() {
    let world = World::new();
    let web = world.text("web");
    let own = world.ca.issue("/server");
    let tls = |serves: Serves| {
        let report = probe(serves.start(&own), &["--dir", &web, "--timeout", "1"]);
        report.1["tls"].clone()
    };
    let plain = tls(Serves::of(&world, Asks::Always).tickets(0));
    assert_eq!(plain["ocsp_stapled"], false);
    // It said nothing at all, and whoever looked was refused before that.
    assert!(plain["resumption"].is_null(), "{plain}");
    let offers = tls(Serves::of(&world, Asks::Always).ocsp(b"a response"));
    assert_eq!(offers["ocsp_stapled"], true);
    assert_eq!(offers["resumption"], true);
    assert!(offers["handshake_ms"].is_u64(), "{offers}");
    // Without credentials of ours it is seen where a server gets as far as that with whoever looks.
    let looked = |asks, tickets| {
        let port = Serves::of(&world, asks).tickets(tickets).start(&own);
        probe(port, &["--timeout", "1"]).1["tls"]["resumption"].clone()
    };
    assert_eq!(looked(Asks::Nobody, 2), true);
    assert_eq!(looked(Asks::Nobody, 0), false);
    assert!(looked(Asks::Always, 2).is_null());
}

#[test]
fn whether_go_would_send_our_certificate_is_told_by_names_and_by_schemes() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let report = probe(port, &["--dir", &world.text("web")]);
    assert_eq!(report.1["request"]["go_would_send"], true, "{report:?}");
    let p384 = LeafOptions::service("/web").key(KeyKind::EcdsaP384);
    lay_out(&world.path("p384"), &world.ca.issue_with(p384));
    let report = probe(port, &["--dir", &world.text("p384")]);
    assert_eq!(report.1["request"]["scheme_fits_ours"], true, "{report:?}");
}

#[test]
fn a_process_that_serves_what_its_disk_has_no_more_is_stale() {
    let world = World::new();
    let (web, dir) = (world.text("web"), world.text("own"));
    let own = world.ca.issue("/server");
    lay_out(&world.path("own"), &own);
    let port = Serves::of(&world, Asks::Always).start(&own);
    let report = probe(port, &["--dir", &web, "--served", &dir]);
    assert_verdict(&report, "accepted");
    assert_eq!(report.1["drift"]["on_disk"]["same"], true);
    // Renewed, and not taken. Its key is nobody's business here.
    let renewed = world.ca.issue("/server");
    lay_out(&world.path("own"), &renewed);
    std::fs::write(world.path("own").join("tls.key"), "").unwrap();
    let report = probe(port, &["--dir", &web, "--served", &dir]);
    assert_verdict(&report, "stale");
    assert_eq!(report.1["drift"]["on_disk"]["serial"], renewed.serial());
    let says = report.1["verdict"]["says"].as_str().unwrap();
    assert!(says.contains(&renewed.serial()), "{says}");
    // Nor does it take credentials of ours to see it.
    assert_verdict(&probe(port, &["--served", &dir]), "stale");
    let nothing = std::process::Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["probe", "localhost:1", "--served", &world.text("none")])
        .output()
        .unwrap();
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

#[test]
fn a_server_whose_clock_is_off_is_told_by_the_date_of_its_answer() {
    let world = World::new();
    let web = world.text("web");
    let own = world.ca.issue("/server");
    let ask = |date: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\ndate: {date}\r\n\r\nhello");
        let port = Serves::of(&world, Asks::Always).answer(answer).start(&own);
        probe(port, &["--dir", &web, "--http", "/"])
    };
    let off = ask("Sun, 06 Nov 1994 08:49:37 GMT");
    assert_verdict(&off, "clock_off");
    assert_eq!(off.1["verdict"]["reason"], "not_yet_valid");
    assert!(off.1["drift"]["clock_ahead_s"].as_i64().unwrap() < -180);
    let none = ask("never");
    assert_verdict(&none, "accepted");
    assert!(none.1["drift"]["clock_ahead_s"].is_null());
}
