//! Go's crypto/tls and plain rustls, each as the other's peer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use mtls_core::testing::{Issued, LeafOptions, TestCa};
use tempfile::TempDir;

use crate::door::{ANSWERED, Door, dial};
use crate::leads_to;
use crate::plain::{Own, client, provider, server, server_by, verifier};
use crate::tools::{Tool, absent, must, run};

/// The program, compiled once.
static SAYS: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("main.go"), include_str!("go/main.go")).unwrap();
    std::fs::write(dir.path().join("go.mod"), "module says\n\ngo 1.22\n").unwrap();
    must("go", "build -o says .", dir.path());
    dir
});

fn lay_out(dir: &Path, issued: &Issued, trusted: &TestCa) {
    std::fs::write(dir.join("tls.crt"), issued.chain_pem()).unwrap();
    std::fs::write(dir.join("tls.key"), issued.key_pem()).unwrap();
    std::fs::write(dir.join("ca.crt"), trusted.bundle_pem()).unwrap();
}

/// What a Go client with these credentials prints, of this CA's servers.
fn go_client(port: u16, issued: &Issued, trusted: &TestCa) -> String {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), issued, trusted);
    let address = format!("127.0.0.1:{port}");
    let arguments = ["client", &address, "ca.crt", "tls.crt", "tls.key"];
    run(SAYS.path().join("says"), &arguments, dir.path()).text
}

/// What a Go server of this CA and a client of plain rustls print of one another.
fn go_server(mode: &str, ca: &TestCa, own: Option<Own>) -> (String, Result<String, String>) {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &ca.issue("/server"), ca);
    let mut server = Command::new(SAYS.path().join("says"))
        .args([mode, "tls.crt", "tls.key", "ca.crt"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap().parse().unwrap();
    let dialled = dial(client(ca, own).unwrap(), port);
    let said = lines.next().unwrap().unwrap();
    assert!(server.wait().unwrap().success());
    (said, dialled)
}

/// It keeps its certificate back where the issuer is not among the CA names of the request.
#[test]
fn a_go_client_whose_issuer_is_not_asked_for_seems_to_have_no_certificate() {
    if absent(&[Tool::Go]) {
        return;
    }
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let door = Door::open(server(&ca));
    let said = go_client(door.port, &ca.issue("/web"), &ca);
    assert!(said.ends_with("ok\n"), "{said}");
    assert_eq!(door.said(), ANSWERED);
    let said = go_client(door.port, &stranger.issue("/web"), &ca);
    let ours = door.said();
    assert!(ours.contains("peer sent no certificates"), "{ours}");
    leads_to(&ours, "no_peer_certificate");
    assert!(said.contains("certificate required"), "{said}");
    leads_to(&said, "refused_by_peer");
}

#[test]
fn a_go_client_does_not_take_a_common_name_for_a_name() {
    if absent(&[Tool::Go]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let own = Own::of(&ca.issue_with(LeafOptions::new().common_name("localhost")));
    let door = Door::open(server_by(provider(), verifier(&ca), own));
    let said = go_client(door.port, &ca.issue("/web"), &ca);
    assert!(said.contains("relies on legacy Common Name"), "{said}");
    leads_to(&said, "no_san");
    leads_to(&door.said(), "refused_by_peer");
}

#[test]
fn a_go_server_says_that_no_certificate_was_provided() {
    if absent(&[Tool::Go]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let known = Own::of(&ca.issue("/web"));
    assert_eq!(go_server("server", &ca, Some(known)).0, "<nil>");
    let (said, dialled) = go_server("server", &ca, None);
    assert!(
        said.contains("client didn't provide a certificate"),
        "{said}"
    );
    leads_to(&said, "no_peer_certificate");
    leads_to(&dialled.unwrap_err(), "refused_by_peer");
}

#[test]
fn a_go_server_that_breaks_has_an_internal_error() {
    if absent(&[Tool::Go]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let (_, dialled) = go_server("broken", &ca, None);
    let dialled = dialled.unwrap_err();
    assert!(dialled.contains("InternalError"), "{dialled}");
    leads_to(&dialled, "refused_by_peer");
}
