//! What it prints.

use std::process::Command;

use crate::server::{Asks, server};
use crate::{World, probe};

#[test]
fn the_shape_of_its_json_is_this() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let (_, report) = probe(port, &["--dir", &world.text("web")]);
    let keys = |value: &serde_json::Value| {
        let object = value.as_object().unwrap();
        object.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        keys(&report),
        "by_hand chain drift faults http_status name_matches namesake reached request stranger target tls verdict version without_certificate"
    );
    assert_eq!(
        keys(&report["reached"]),
        "address addresses resolved tcp_ms"
    );
    assert_eq!(
        keys(&report["tls"]),
        "alpn group handshake_ms ocsp_stapled resumption suite version"
    );
    assert_eq!(
        keys(&report["request"]),
        "ca_names fits_ours go_would_send required scheme_fits_ours schemes"
    );
    assert_eq!(
        keys(&report["verdict"]),
        "alert good means reason remedy says word"
    );
    assert_eq!(keys(&report["without_certificate"]), "how let_in");
    assert_eq!(
        keys(&report["drift"]),
        "addresses_not_asked clock_ahead_s on_disk other_addresses"
    );
    assert_eq!(report["version"], 1);
}

#[test]
fn for_people_it_is_a_line_for_each_thing() {
    let world = World::new();
    let port = server(&world, Asks::Always, 2);
    let output = Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args([
            "probe",
            &format!("localhost:{port}"),
            "--dir",
            &world.text("web"),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let words: Vec<_> = said
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert_eq!(
        words,
        [
            "reach", "tls", "presents", "asks", "no cert", "verdict", "by hand"
        ],
        "{said}"
    );
    assert!(
        said.contains("requires a client certificate, of "),
        "{said}"
    );
    assert!(
        said.contains("openssl s_client -connect localhost:"),
        "{said}"
    );
}
