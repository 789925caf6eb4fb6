//! What is wrong with a server's chain.

use mtls_core::rustls::pki_types::CertificateDer;
use mtls_core::testing::{Issued, LeafOptions};

use crate::server::{Asks, Serves};
use crate::{World, assert_verdict, probe};

/// The rules by which something is wrong with the server's chain.
fn rules(report: &serde_json::Value) -> Vec<&str> {
    let faults = report["faults"].as_array().unwrap();
    let errors = faults.iter().filter(|fault| fault["severity"] == "error");
    let mut rules: Vec<_> = errors
        .map(|fault| fault["rule"].as_str().unwrap())
        .collect();
    rules.sort_unstable();
    rules
}

#[test]
fn everything_that_is_wrong_with_the_servers_chain_is_listed_and_not_the_first_alone() {
    let world = World::new();
    let web = world.text("web");
    let look = |own: &Issued, arguments: &[&str]| {
        let port = Serves::of(&world, Asks::Always).start(own);
        let dir = ["--dir", web.as_str()];
        probe(port, &[&dir, arguments].concat())
    };
    let sound = look(&world.ca.issue("/server"), &[]);
    assert_verdict(&sound, "accepted");
    assert_eq!(rules(&sound.1), [""; 0]);
    assert_eq!(sound.1["name_matches"], true);

    let bad = LeafOptions::new()
        .spiffe("/server")
        .dns("elsewhere.example.org");
    let bad = bad.client_only().expired();
    let report = look(&world.ca.issue_with(bad.clone()), &[]);
    assert_eq!(report.0, 1);
    assert_eq!(
        rules(&report.1),
        ["eku-missing-role", "expired", "san-server-name"]
    );
    // The verdict is the verifier's, which has one.
    assert_eq!(report.1["verdict"]["reason"], "expired");
    // Where an ID is expected, no name is; and the ID is another.
    let other = ["--as", "spiffe://example.org/other"];
    let report = look(&world.ca.issue_with(bad), &other);
    assert_eq!(
        rules(&report.1),
        ["eku-missing-role", "expired", "identity-unmatched"]
    );
    assert_eq!(report.1["name_matches"], false);

    // The end hides who has signed from every verifier, and not from this.
    let again = world.ca.same_name_other_key();
    let leaf = LeafOptions::service("/server");
    let report = look(&again.issue_with(leaf.clone().expired()), &[]);
    assert_eq!(rules(&report.1), ["expired", "issuer-other-key"]);
    let report = look(&again.issue_with(leaf.clone()), &[]);
    assert_eq!(rules(&report.1), ["issuer-other-key"]);
    let for_clients = leaf.clone().client_only().expired();
    let report = look(&again.issue_with(for_clients), &[]);
    assert_eq!(
        rules(&report.1),
        ["eku-missing-role", "expired", "issuer-other-key"]
    );

    let elsewhere = World::new();
    let report = look(&elsewhere.ca.issue_with(leaf.expired()), &[]);
    assert_eq!(rules(&report.1), ["chain-incomplete", "expired"]);
    // That its root is there changes the rule, and not who has to trust it: the remedy is ours.
    let own = elsewhere.ca.issue("/server");
    let mut chain = own.chain_der();
    chain.push(elsewhere.ca.root_der());
    let port = Serves::of(&world, Asks::Always).start_with(chain, &own);
    let report = probe(port, &["--dir", &web]);
    assert_eq!(rules(&report.1), ["bundle-missing-own"]);
    let remedy = report.1["faults"][0]["remedy"].as_str().unwrap();
    assert!(remedy.contains("add its CA to our bundle"), "{remedy}");
    // People read the same.
    let port = Serves::of(&world, Asks::Always).start(&elsewhere.ca.issue("/server"));
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_mtls"))
        .args(["probe", &format!("localhost:{port}"), "--dir", &web])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("\nfault     chain-incomplete: "), "{said}");
}

#[test]
fn a_chain_in_the_wrong_order_is_noted_by_whom_it_concerns() {
    let world = World::new();
    let web = world.text("web");
    let below = world.ca.intermediate().intermediate();
    let sound = below.issue("/server");
    let has = |report: &serde_json::Value, rule: &str| {
        let faults = report["faults"].as_array().unwrap();
        faults.iter().any(|fault| fault["rule"] == rule)
    };
    let noted = |report: &serde_json::Value| has(report, "chain-order");
    let start = |chain: Vec<CertificateDer<'static>>| {
        Serves::of(&world, Asks::Always).start_with(chain, &sound)
    };
    let report = probe(start(sound.chain_der()), &["--dir", &web]);
    assert_verdict(&report, "accepted");
    assert!(!noted(&report.1), "{report:?}");
    let mut mixed = sound.chain_der();
    mixed.swap(1, 2);
    let report = probe(start(mixed), &["--dir", &web]);
    assert_verdict(&report, "accepted");
    assert!(noted(&report.1), "{report:?}");
    assert!(!has(&report.1, "chain-root-included"), "{report:?}");
    let mut rooted = sound.chain_der();
    rooted.push(world.ca.root_der());
    let report = probe(start(rooted), &["--dir", &web]);
    assert_verdict(&report, "accepted");
    assert!(has(&report.1, "chain-root-included"), "{report:?}");
    assert!(!noted(&report.1), "{report:?}");
}
