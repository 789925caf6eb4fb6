//! Lists that openssl makes, and openssl's word on ours.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use rustls_pki_types::pem::PemObject;

use super::*;

/// A CA in a directory, as `openssl ca` wants it; `None`, and a word about it, where there is no openssl.
struct Ca {
    dir: tempfile::TempDir,
}

impl Ca {
    fn new(key: &[&str], digest: &str, extensions: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: no openssl on this machine");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ncertificate=ca.pem\nprivate_key=ca.key\n\
             default_md={digest}\ndefault_crl_days=7\n{extensions}\n[x]\nauthorityKeyIdentifier=keyid\n\
             [req]\ndistinguished_name=n\nx509_extensions=v\n[n]\n[v]\nbasicConstraints=critical,CA:TRUE\n\
             keyUsage=keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
        );
        fs::write(dir.path().join("ca.cnf"), config).unwrap();
        fs::write(dir.path().join("index.txt"), REVOKED).unwrap();
        fs::write(dir.path().join("crlnumber"), "0A\n").unwrap();
        let ca = Self { dir };
        let make = "req -new -x509 -nodes -config ca.cnf -subj /O=test/CN=openssl -days 30 -keyout ca.key -out ca.pem";
        ca.run(&[&make.split(' ').collect::<Vec<_>>(), key].concat(), b"");
        Some(ca)
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new("openssl")
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        output
    }

    fn certificate(&self) -> Certificate {
        let pem = self.run(&["x509", "-in", "ca.pem"], b"").stdout;
        facts(&CertificateDer::from_pem_slice(&pem).unwrap())
    }

    fn list(&self) -> Vec<u8> {
        let pem = self
            .run(&["ca", "-gencrl", "-config", "ca.cnf"], b"")
            .stdout;
        let list = CertificateRevocationListDer::from_pem_slice(&pem).unwrap();
        list.to_vec()
    }
}

#[test]
fn lists_that_openssl_makes_are_taken_for_every_kind_of_key() {
    let p256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let rsa: &[&str] = &["-newkey", "rsa:2048"];
    let ed25519: &[&str] = &["-newkey", "ed25519"];
    let kinds = [
        (p256, "sha256"),
        (p256, "sha384"),
        (p384, "sha384"),
        (rsa, "sha256"),
        (rsa, "sha512"),
        (ed25519, "default"),
    ];
    for (key, digest) in kinds {
        let Some(ca) = Ca::new(key, digest, "crl_extensions=x") else {
            return;
        };
        let mut load = Load::der(ca.list());
        load.issuers.push(ca.certificate());
        let lists = load.taken();
        let status = &lists.status()[0];
        assert!(status.is_bound, "{key:?} {digest}");
        assert_eq!((status.number.as_deref(), status.entries), (Some("0a"), 2));
        let list = &lists.lists()[0];
        let revoked = list.contents.entries.find(&[0xfe, 0xdc]).unwrap();
        assert_eq!(revoked.reason.as_str(), "keyCompromise");
        assert_eq!(revoked.since.to_string(), "2026-01-02T03:04:05Z");
        assert!(list.contents.entries.find(&[0x10]).is_some());
        assert!(list.contents.entries.find(&[0x11]).is_none());
    }
}

#[test]
fn lists_that_openssl_makes_without_extensions_are_refused_by_name() {
    let key = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let Some(ca) = Ca::new(key, "sha256", "") else {
        return;
    };
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncertificate=ca.pem\nprivate_key=ca.key\n\
                  default_md=sha256\ndefault_crl_days=7\n";
    fs::write(ca.dir.path().join("ca.cnf"), config).unwrap();
    let fault = || {
        let mut load = Load::der(ca.list());
        load.issuers.push(ca.certificate());
        load.fault()
    };
    // An entry with a reason makes it version 2, and the list still says nothing of itself.
    assert_eq!(fault(), CrlFault::NoExtensions);
    fs::write(ca.dir.path().join("index.txt"), "").unwrap();
    assert_eq!(fault(), CrlFault::UnsupportedVersion { found: 1 });
}

#[test]
fn openssl_agrees_about_the_lists_that_the_test_ca_makes() {
    let ca = ca();
    let Some(openssl) = Ca::new(&["-newkey", "ed25519"], "default", "crl_extensions=x") else {
        return;
    };
    fs::write(openssl.dir.path().join("test.pem"), ca.certificate_pem()).unwrap();
    let (web, path) = issued(&ca, "/web");
    let serial = facts(&path[0]).serial.bytes().to_vec();
    let list = ca
        .crl()
        .number(0x1ff)
        .revoke_because(&serial, at(-HOUR), 4)
        .pem();
    let verify = ["crl", "-noout", "-text", "-CAfile", "test.pem"];
    let output = openssl.run(&verify, list.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("verify OK"), "{said}");
    assert!(text.contains(&web.serial().to_uppercase()), "{text}");
    assert!(
        text.contains("Superseded") && text.contains("511"),
        "{text}"
    );
    let broken = ca.crl().bad_signature().pem();
    let output = openssl.run(&verify, broken.as_bytes());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("verify failure"), "{said}");
}

/// Two revoked certificates, one of them with a serial number whose top bit is set; tabs part the columns.
const REVOKED: &str = "R\t300101000000Z\t260102030405Z,keyCompromise\tFEDC\tunknown\t/CN=a\n\
                       R\t300101000000Z\t260102030405Z\t10\tunknown\t/CN=b\n\
                       V\t300101000000Z\t\t11\tunknown\t/CN=c\n";
