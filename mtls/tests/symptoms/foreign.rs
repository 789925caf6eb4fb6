//! OpenSSL, curl and Python, where they are here, as peers of plain rustls: what they print leads on, as it is printed.

use std::path::Path;

use mtls_core::check::CheckRule;
use mtls_core::testing::{LeafOptions, TestCa};
use tempfile::TempDir;

use crate::door::{ANSWERED, Door};
use crate::plain::{Own, provider, server, server_by, verifier};
use crate::tools::{Tool, absent, run};
use crate::{leads_to, shows};

/// A directory with this CA's bundle and, for whoever has a certificate, `web.crt` and `web.key`.
fn files(ca: &TestCa) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let issued = ca.issue("/web");
    std::fs::write(dir.path().join("ca.crt"), ca.bundle_pem()).unwrap();
    std::fs::write(dir.path().join("web.crt"), issued.chain_pem()).unwrap();
    std::fs::write(dir.path().join("web.key"), issued.key_pem()).unwrap();
    dir
}

/// All that `openssl s_client` prints, of a server at this port whose CA is in `ca.crt`.
fn s_client(port: u16, dir: &Path, more: &[&str]) -> String {
    let at = format!("127.0.0.1:{port}");
    let fixed = [
        "s_client",
        "-connect",
        &at,
        "-servername",
        "localhost",
        "-ign_eof",
        "-CAfile",
        "ca.crt",
    ];
    run("openssl", &[&fixed[..], more].concat(), dir).text
}

#[test]
fn s_client_prints_a_good_return_code_and_then_the_alert() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let (door, dir) = (Door::open(server(&ca)), files(&ca));
    let said = s_client(door.port, dir.path(), &[]);
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    assert!(said.contains("alert certificate required"), "{said}");
    leads_to(&said, "refused_by_peer");
    leads_to("Verify return code: 0 (ok)", "refused_by_peer");
    assert!(door.said().contains("peer sent no certificates"));
}

/// In TLS 1.3 OpenSSL's client sends that alert in plaintext, which rustls reads as long as nothing encrypted has come.
#[test]
fn a_server_hears_of_an_openssl_client_that_does_not_trust_it() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    for version in ["-tls1_2", "-tls1_3"] {
        let (door, dir) = (Door::open(server(&ca)), files(&stranger));
        let said = s_client(door.port, dir.path(), &["-verify_return_error", version]);
        leads_to(&said, "unknown_issuer");
        let ours = door.said();
        assert!(ours.contains("UnknownCA"), "{ours}");
        leads_to(&ours, "refused_by_peer");
    }
}

/// All that curl prints; with the client's certificate if it is given.
fn curl(port: u16, dir: &Path, more: &[&str]) -> String {
    let url = format!("https://localhost:{port}/");
    let fixed = [
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--cacert",
        "ca.crt",
    ];
    run("curl", &[&fixed[..], more, &[&url]].concat(), dir).text
}

#[test]
fn curl_says_of_each_refusal_whose_it_is() {
    if absent(&[Tool::CurlWithOpenssl3]) {
        return;
    }
    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let door = Door::open(server(&ca));
    let dir = files(&ca);
    let own = ["--cert", "web.crt", "--key", "web.key"];
    assert_eq!(curl(door.port, dir.path(), &own), "ok");
    assert_eq!(door.said(), ANSWERED);
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let said = curl(door.port, dir.path(), version);
        assert!(said.contains("alert certificate required"), "{said}");
        leads_to(&said, "refused_by_peer");
        assert!(door.said().contains("peer sent no certificates"));
        // Of another CA, whose servers it would trust.
        let foreign = files(&stranger);
        std::fs::write(foreign.path().join("ca.crt"), ca.bundle_pem()).unwrap();
        let said = curl(door.port, foreign.path(), &[&own[..], version].concat());
        assert!(said.contains("alert unknown ca"), "{said}");
        shows(&said, "unknown_issuer");
        leads_to(&door.said(), "unknown_issuer");
    }
    let said = curl(door.port, files(&stranger).path(), &own);
    assert!(said.contains("unable to get local issuer"), "{said}");
    leads_to(&said, "unknown_issuer");
    leads_to(&door.said(), "refused_by_peer");
}

/// All that Python prints, the traceback too; as from 3.13 on if it is strict.
fn python(port: u16, dir: &Path, strict: &str, more: &[&str]) -> String {
    let port = port.to_string();
    let fixed = ["-I", "-c", PYTHON, &port, strict];
    run("python3", &[&fixed[..], more].concat(), dir).text
}

#[test]
fn python_says_by_which_alert_it_was_refused() {
    if absent(&[Tool::Python3WithOpenssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let (door, dir) = (Door::open(server(&ca)), files(&ca));
    let own = ["web.crt", "web.key"];
    let said = python(door.port, dir.path(), "strict", &own);
    assert!(said.ends_with("ok\n"), "{said}");
    assert_eq!(door.said(), ANSWERED);
    let said = python(door.port, dir.path(), "lax", &[]);
    assert!(said.contains("alert certificate required"), "{said}");
    leads_to(&said, "refused_by_peer");
}

#[test]
fn strict_python_does_not_take_a_leaf_without_a_key_identifier() {
    if absent(&[Tool::Python3WithOpenssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::service("/server").no_authority_key_id();
    let own = Own::of(&ca.issue_with(leaf));
    let (door, dir) = (
        Door::open(server_by(provider(), verifier(&ca), own)),
        files(&ca),
    );
    let own = ["web.crt", "web.key"];
    let said = python(door.port, dir.path(), "lax", &own);
    assert!(said.ends_with("ok\n"), "{said}");
    assert_eq!(door.said(), ANSWERED);
    let said = python(door.port, dir.path(), "strict", &own);
    assert!(said.contains("Missing Authority Key Identifier"), "{said}");
    leads_to(&said, "malformed_certificate");
    leads_to(&door.said(), "refused_by_peer");
}

/// rustls tries every CA of the issuer's name; OpenSSL takes one of them, and holds the chain to it.
#[test]
fn of_two_cas_with_one_subject_openssl_takes_one() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let ca = TestCa::new("example.org");
    let old = ca.same_name_other_key();
    let leaf = |ca: &TestCa| ca.issue_with(LeafOptions::service("/web").no_authority_key_id());
    let both = ca.bundle_pem() + &old.bundle_pem();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.crt"), both).unwrap();
    let refused: Vec<_> = [leaf(&ca), leaf(&old)]
        .iter()
        .filter_map(|issued| {
            std::fs::write(dir.path().join("tls.crt"), issued.chain_pem()).unwrap();
            let verify = [
                "verify",
                "-no-CApath",
                "-no-CAstore",
                "-CAfile",
                "ca.crt",
                "tls.crt",
            ];
            let said = run("openssl", &verify, dir.path());
            (!said.success).then_some(said.text)
        })
        .collect();
    // One of the two, whichever is the first in its store.
    let [said] = &refused[..] else {
        panic!("{refused:?}");
    };
    assert!(said.contains("certificate signature failure"), "{said}");
    leads_to(said, "untrusted_key");
    leads_to(CheckRule::BundleSameName.as_str(), "untrusted_key");
}

/// What other stacks say that are no peer here: GnuTLS, nginx, and Go and OpenSSL in other moods.
#[test]
fn the_words_of_other_stacks_lead_to_their_section() {
    for (text, section) in [
        // Of rustls before it had the words of today.
        (
            "no process-level CryptoProvider available",
            "crypto_provider",
        ),
        // reqwest with native-tls beside rustls.
        ("incompatible TLS identity type", "identity_kind"),
        (
            "x509: certificate signed by unknown authority",
            "unknown_issuer",
        ),
        ("remote error: tls: bad certificate", "refused_by_peer"),
        (
            "error:0A00010B:SSL routines::wrong version number",
            "plaintext_peer",
        ),
        (
            "Received alert [116]: Certificate is required",
            "refused_by_peer",
        ),
        (
            "400 No required SSL certificate was sent",
            "no_peer_certificate",
        ),
    ] {
        leads_to(text, section);
    }
}

const PYTHON: &str = r#"
import socket, ssl, sys
port, strict, *own = sys.argv[1:]
context = ssl.create_default_context(cafile="ca.crt")
if strict == "strict":
    context.verify_flags |= ssl.VERIFY_X509_STRICT
if own:
    context.load_cert_chain(*own)
with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as tcp:
    with context.wrap_socket(tcp, server_hostname="localhost") as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        print(tls.recv(4096).decode().splitlines()[-1])
"#;
