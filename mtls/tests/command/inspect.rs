//! `mtls inspect`.

use mtls_core::check::CheckRule;
use mtls_core::testing::{Broken, KeyKind, LeafOptions, Rehearsal, TestCa};
use serde_json::{Value, json};

use crate::{lay_out, mtls, mtls_with, write_key};

fn inspected(dir: &std::path::Path, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["inspect", "--format", "json"];
    all.extend(arguments);
    let said = mtls(dir, &all);
    let value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    (said.code, value)
}

#[test]
fn a_directory_is_shown_with_whose_each_key_is() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/web");
    lay_out(&dir.path().join("tls"), &issued);
    let (code, value) = inspected(dir.path(), &["tls"]);
    assert_eq!(code, 0, "{value}");
    let names = value["files"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tls/ca.crt", "tls/tls.crt", "tls/tls.key"]);
    let root = &value["files"][0]["items"][0];
    assert_eq!(root["ca"], "yes", "{root}");
    let mut leaf = value["files"][1]["items"][0].clone();
    assert_eq!(leaf["serial"], issued.serial());
    assert_eq!(leaf["authority_key_id"], root["subject_key_id"]);
    let public = leaf["public_key_sha256"].clone();
    assert_eq!(public.as_str().unwrap().len(), 64);
    // What differs from run to run, and is held above.
    for varying in [
        "authority_key_id",
        "issuer",
        "left",
        "left_percent",
        "not_after",
        "not_before",
        "public_key_sha256",
        "serial",
        "sha256",
        "subject",
        "subject_key_id",
        "usages",
    ] {
        assert!(leaf.as_object_mut().unwrap().remove(varying).is_some());
    }
    assert_eq!(
        leaf,
        json!({
            "kind": "certificate",
            "number": 1,
            "spiffe_id": ["spiffe://example.org/web"],
            "names": [
                "URI spiffe://example.org/web",
                "DNS localhost",
                "IP 127.0.0.1",
                "IP ::1",
            ],
            "ca": "no",
            "key": "ECDSA P-256",
        })
    );
    assert_eq!(
        value["files"][2],
        json!({
            "name": "tls/tls.key",
            "items": [{
                "kind": "private key",
                "number": 1,
                "key": "ECDSA P-256",
                "public_key_sha256": public,
                "belongs_to": ["tls/tls.crt: certificate 1"],
            }],
            "problems": [],
        })
    );
}

#[test]
fn a_key_of_nobody_says_so_and_no_format_shows_a_piece_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    for kind in KeyKind::ALL
        .iter()
        .filter(|kind| **kind != KeyKind::Rsa4096)
    {
        let issued = ca.issue_with(LeafOptions::service("/web").key(*kind));
        let other = ca.issue_with(LeafOptions::service("/api").fresh_key());
        lay_out(dir.path(), &issued);
        write_key(&dir.path().join("tls.key"), other.key_pem());
        let (_, value) = inspected(dir.path(), &["tls.crt", "tls.key"]);
        assert_eq!(value["files"][1]["items"][0]["belongs_to"], json!([]));
        write_key(&dir.path().join("tls.key"), issued.key_pem());
        for format in ["human", "json"] {
            let said = mtls(
                dir.path(),
                &["inspect", "tls.crt", "tls.key", "--format", format],
            );
            assert_eq!(said.code, 0, "{said:?}");
            assert!(said.out.contains("tls.crt: certificate 1"), "{said:?}");
            let lines = issued
                .key_pem()
                .lines()
                .filter(|line| !line.starts_with('-'));
            for piece in lines.flat_map(|line| line.as_bytes().chunks_exact(12)) {
                let piece = std::str::from_utf8(piece).unwrap();
                assert!(!said.out.contains(piece), "{kind:?}: {said:?}");
            }
        }
    }
}

#[test]
fn a_revocation_list_shows_its_dates_and_whom_it_revokes() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/web");
    std::fs::write(dir.path().join("ca.crl"), ca.crl().revoke(&issued).pem()).unwrap();
    let (code, value) = inspected(dir.path(), &["ca.crl"]);
    assert_eq!(code, 0, "{value}");
    let list = &value["files"][0]["items"][0];
    assert_eq!(list["kind"], "revocation list");
    assert_eq!(list["revoked_serials"], json!([issued.serial()]));
    std::fs::write(dir.path().join("ca.crl"), ca.crl().stale().pem()).unwrap();
    let (_, value) = inspected(dir.path(), &["ca.crl"]);
    let left = value["files"][0]["items"][0]["left"].as_str().unwrap();
    assert!(left.starts_with("expired"), "{left}");
}

#[test]
fn what_cannot_be_used_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    for (broken, words) in [
        (Broken::BundlePkcs7, "PKCS"),
        (Broken::BundleEmpty, ""),
        (Broken::BundleTrustedCertificate, "TRUSTED CERTIFICATE"),
    ] {
        std::fs::write(dir.path().join("file"), broken.make(&ca).bundle_pem).unwrap();
        let (code, value) = inspected(dir.path(), &["file"]);
        assert_eq!(code, 1, "{broken:?}: {value}");
        let problem = &value["files"][0]["problems"][0];
        assert!(
            problem["found"].as_str().unwrap().contains(words),
            "{value}"
        );
        assert!(!problem["remedy"].as_str().unwrap().is_empty());
    }
    let said = mtls(dir.path(), &["inspect", "not-there"]);
    assert_eq!(said.code, 2, "{said:?}");
}

#[test]
fn an_encrypted_key_is_told_from_one_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    for broken in [Broken::KeyEncrypted, Broken::KeyEncryptedLegacy] {
        let key = broken.make(&ca).key_pem;
        let said = mtls_with(dir.path(), &["inspect", "-"], &key);
        assert!(said.out.contains("encrypted: decrypt it by"), "{said:?}");
    }
}

#[test]
fn policies_requests_and_spiffe_bundles_are_known_for_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    let policy = b"otherwise = \"deny\"\n[[allow]]\nname = \"web\"\npeer = { spiffe = \"spiffe://example.org/web\" }\n";
    std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
    std::fs::write(
        dir.path().join("request.pem"),
        Broken::ChainIsRequest.make(&ca).chain_pem,
    )
    .unwrap();
    use base64::Engine;
    let x5c = base64::engine::general_purpose::STANDARD.encode(ca.root_der());
    let bundle = json!({
        "spiffe_sequence": 3,
        "keys": [{ "kty": "EC", "use": "x509-svid", "x5c": [x5c] }],
    });
    std::fs::write(dir.path().join("bundle.json"), bundle.to_string()).unwrap();
    let (code, value) = inspected(dir.path(), &["policy.toml", "request.pem", "bundle.json"]);
    assert_eq!(code, 0, "{value}");
    assert_eq!(value["files"][0]["items"][0]["allow_rules"], 1);
    assert_eq!(value["files"][1]["items"][0]["kind"], "certificate request");
    assert_eq!(value["files"][2]["items"][0]["sequence"], 3);
    assert_eq!(value["files"][2]["items"][1]["ca"], "yes");
}

#[test]
fn every_rehearsal_is_shown_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("example.org");
    for rule in CheckRule::ALL {
        let Some(rehearsal) = Rehearsal::of(*rule, &ca) else {
            continue;
        };
        for (_, bytes) in rehearsal.files() {
            let said = mtls_with(dir.path(), &["inspect", "-"], bytes);
            assert!(said.code <= 1 && !said.out.is_empty(), "{rule}: {said:?}");
        }
    }
}
