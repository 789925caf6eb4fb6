//! What other tools issue is judged right: OpenSSL, GnuTLS' certtool, and what cert-manager makes of its defaults.

use std::fs;
use std::path::Path;

use mtls_core::{CredentialFiles, CredentialSource};

use crate::tools::{Tool, absent, must};
use crate::{it_lacks, judged, nothing_is_wrong};

/// A CA in `ca.pem`, and below it a leaf in `leaf.pem`, whose key in `leaf.key` one command makes.
#[derive(Debug, Clone, Copy)]
struct ByOpenssl {
    key: &'static str,
    subject: &'static str,
    extensions: &'static str,
}

impl ByOpenssl {
    fn make(self, dir: &Path) {
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        write("ca.cnf", CA);
        write("leaf.ext", &format!("{COMMON}{}", self.extensions));
        let subject = self.subject;
        for command in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config ca.cnf -days 365 -keyout ca.key -out ca.pem",
            self.key,
            &format!("req -new -key leaf.key -subj {subject} -out leaf.csr"),
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile leaf.ext -out leaf.pem",
        ] {
            must("openssl", command, dir);
        }
    }
}

const PLAIN: ByOpenssl = ByOpenssl {
    key: PKCS8,
    subject: "/CN=web",
    extensions: "keyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth, clientAuth\n\
        subjectAltName = URI:spiffe://example.org/web, DNS:web.example.org\n",
};

/// cert-manager's `usages` default to `digital signature` and `key encipherment`, which is no extended key usage, and its
/// `encoding` to PKCS#1; what has no `commonName` gets an empty subject, and so its SAN is critical (RFC 5280 §4.2.1.6).
const CERT_MANAGER: ByOpenssl = ByOpenssl {
    key: PKCS1,
    subject: "/",
    extensions: "keyUsage = critical, digitalSignature, keyEncipherment\n\
        subjectAltName = critical, DNS:web, DNS:web.shop, DNS:web.shop.svc, \
        DNS:web.shop.svc.cluster.local, URI:spiffe://cluster.local/ns/shop/sa/web\n",
};

/// The `usages` of the examples in its documentation.
const CERT_MANAGERS_EXAMPLES: ByOpenssl = ByOpenssl {
    extensions: "keyUsage = critical, digitalSignature, keyEncipherment\nextendedKeyUsage = serverAuth\n\
        subjectAltName = critical, DNS:web, DNS:web.shop, DNS:web.shop.svc, \
        DNS:web.shop.svc.cluster.local, URI:spiffe://cluster.local/ns/shop/sa/web\n",
    ..CERT_MANAGER
};

#[test]
fn what_openssl_issues_for_both_roles_yields_nothing_whatever_its_key_is_written_as() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    for key in [PKCS8, PKCS1, SEC1, ED25519] {
        let dir = tempfile::tempdir().unwrap();
        ByOpenssl { key, ..PLAIN }.make(dir.path());
        nothing_is_wrong(dir.path(), &[]);
        // With everything in words above each block, as many keep them.
        must(
            "openssl",
            "x509 -in leaf.pem -text -out leaf.txt",
            dir.path(),
        );
        fs::rename(dir.path().join("leaf.txt"), dir.path().join("leaf.pem")).unwrap();
        nothing_is_wrong(dir.path(), &["--role", "client"]);
    }
}

#[test]
fn what_openssl_issues_for_one_role_lacks_the_other() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let names = "subjectAltName = DNS:web.example.org\nkeyUsage = critical, digitalSignature\n";
    for (has, lacks, role, other) in [
        ("serverAuth", "clientAuth", "server", "client"),
        ("clientAuth", "serverAuth", "client", "server"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let extensions = format!("{names}extendedKeyUsage = {has}\n");
        let extensions = Box::leak(extensions.into_boxed_str());
        ByOpenssl {
            extensions,
            ..PLAIN
        }
        .make(dir.path());
        nothing_is_wrong(dir.path(), &["--role", role]);
        it_lacks(lacks, dir.path(), &[]);
        it_lacks(lacks, dir.path(), &["--role", other]);
    }
}

#[tokio::test]
async fn cert_managers_default_usages_yield_nothing_and_those_of_its_examples_lack_client_auth() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    CERT_MANAGER.make(dir.path());
    nothing_is_wrong(dir.path(), &[]);
    for key in [PKCS1, SEC1] {
        let dir = tempfile::tempdir().unwrap();
        ByOpenssl {
            key,
            ..CERT_MANAGERS_EXAMPLES
        }
        .make(dir.path());
        nothing_is_wrong(dir.path(), &["--role", "server"]);
        it_lacks("clientAuth", dir.path(), &[]);

        // The loader agrees: it starts, and its status tells.
        let path = |name: &str| dir.path().join(name);
        let files = CredentialFiles::paths(path("leaf.pem"), path("leaf.key"), path("ca.pem"));
        let source = CredentialSource::watch(files).await.unwrap();
        assert!(!source.status().issuance_findings.is_empty());
    }
}

/// `openssl x509 -req` without `-extfile` issues version 1 before OpenSSL 3.2, and later one without any name.
#[test]
fn what_openssl_issues_without_an_extension_file_is_told() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    PLAIN.make(dir.path());
    must(
        "openssl",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out leaf.pem",
        dir.path(),
    );
    let judged = judged(dir.path(), &[]);
    assert_eq!(judged.code, 1, "{judged:?}");
    let is_told = |rule: &str| judged.rules.iter().any(|told| told == rule);
    assert!(is_told("cert-v1") || is_told("san-missing"), "{judged:?}");
}

/// `openssl req -x509`, which many take for the way to make a certificate: it is a CA, and its own.
#[test]
fn what_openssl_signs_with_its_own_key_is_told_to_be_a_ca() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    must(
        "openssl",
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=web \
         -addext subjectAltName=DNS:web.example.org -keyout leaf.key -out leaf.pem",
        dir.path(),
    );
    fs::copy(dir.path().join("leaf.pem"), dir.path().join("ca.pem")).unwrap();
    let judged = judged(dir.path(), &[]);
    assert_eq!(judged.code, 1, "{judged:?}");
    assert!(
        judged.rules.iter().any(|rule| rule == "leaf-is-ca"),
        "{judged:?}"
    );
}

/// certtool makes a CA and a leaf with the usages of this template, keys of this kind, and writes what they are above them.
fn by_certtool(dir: &Path, key: &str, usages: &str) {
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    write(
        "ca.tmpl",
        "cn = \"Orders Root\"\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 365\n",
    );
    let names = "uri = \"spiffe://example.org/web\"\ndns_name = \"web.example.org\"";
    write(
        "leaf.tmpl",
        &format!("cn = \"web\"\n{names}\nexpiration_days = 30\nsigning_key\n{usages}"),
    );
    for command in [
        &format!("--generate-privkey {key} --outfile ca.key"),
        &format!("--generate-privkey {key} --outfile leaf.key"),
        "--generate-self-signed --load-privkey ca.key --template ca.tmpl --outfile ca.pem",
        "--generate-certificate --load-privkey leaf.key --load-ca-certificate ca.pem --load-ca-privkey ca.key \
         --template leaf.tmpl --outfile leaf.pem",
    ] {
        must("certtool", command, dir);
    }
}

#[test]
fn what_certtool_issues_is_judged_by_what_it_says() {
    if absent(&[Tool::Certtool]) {
        return;
    }
    let (server, client) = ("tls_www_server\n", "tls_www_client\n");
    for key in [
        "--key-type ecdsa --curve secp256r1",
        "--key-type rsa --bits 2048",
    ] {
        let dir = tempfile::tempdir().unwrap();
        by_certtool(dir.path(), key, &format!("{server}{client}"));
        nothing_is_wrong(dir.path(), &[]);

        let dir = tempfile::tempdir().unwrap();
        by_certtool(dir.path(), key, server);
        nothing_is_wrong(dir.path(), &["--role", "server"]);
        it_lacks("clientAuth", dir.path(), &[]);

        let dir = tempfile::tempdir().unwrap();
        by_certtool(dir.path(), key, client);
        it_lacks("serverAuth", dir.path(), &[]);
    }
}

const CA: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = ca\n[name]\nCN = Orders Root\n[ca]\n\
    basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n";

const COMMON: &str = "basicConstraints = critical, CA:FALSE\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n";

const PKCS8: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out leaf.key";
const PKCS1: &str = "genrsa -traditional -out leaf.key 2048";
/// With the block `EC PARAMETERS` before it.
const SEC1: &str = "ecparam -name prime256v1 -genkey -out leaf.key";
const ED25519: &str = "genpkey -algorithm ED25519 -out leaf.key";
