//! What other tools issue is judged right: OpenSSL, GnuTLS' certtool, and cert-manager's default usages.

use std::fs;
use std::path::Path;

use mtls_core::check::CheckRule;
use mtls_core::{CredentialFiles, CredentialSource};

use crate::tools::{Tool, absent, must};
use crate::{checked, rules};

const CA: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = ca\n[name]\nCN = Orders Root\n[ca]\n\
    basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n";

/// `openssl` makes a CA in `ca.pem`, and with it a leaf in `leaf.pem` whose extensions are these.
fn by_openssl(dir: &Path, extensions: &str) {
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    write("ca.cnf", CA);
    let common = "basicConstraints = critical, CA:FALSE\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
        subjectAltName = URI:spiffe://example.org/web, DNS:web.example.org\n";
    write("leaf.ext", &format!("{common}{extensions}"));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    must(
        "openssl",
        &format!("req -x509 {key} -config ca.cnf -days 365 -keyout ca.key -out ca.pem"),
        dir,
    );
    must(
        "openssl",
        &format!("req -new {key} -subj /CN=web -keyout leaf.key -out leaf.csr"),
        dir,
    );
    must(
        "openssl",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile leaf.ext -out leaf.pem",
        dir,
    );
}

#[test]
fn what_openssl_issues_for_both_roles_yields_nothing() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    by_openssl(
        dir.path(),
        "keyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth, clientAuth\n",
    );
    assert_eq!(checked(dir.path()).findings(), []);
}

/// cert-manager's default is `digital signature` and `key encipherment`, and no extended key usage; its documentation's
/// examples say `server auth` alone.
#[tokio::test]
async fn cert_managers_default_usages_yield_nothing_and_those_of_its_examples_lack_client_auth() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let usage = "keyUsage = critical, digitalSignature, keyEncipherment\n";
    let dir = tempfile::tempdir().unwrap();
    by_openssl(dir.path(), usage);
    assert_eq!(checked(dir.path()).findings(), []);

    let dir = tempfile::tempdir().unwrap();
    by_openssl(
        dir.path(),
        &format!("{usage}extendedKeyUsage = serverAuth\n"),
    );
    let report = checked(dir.path());
    assert_eq!(rules(&report), [CheckRule::EkuMissingRole]);
    let found = &report.findings()[0].found;
    assert!(found.contains("without clientAuth"), "{found}");

    // The loader agrees: it starts, and its status tells.
    let path = |name: &str| dir.path().join(name);
    let files = CredentialFiles::paths(path("leaf.pem"), path("leaf.key"), path("ca.pem"));
    let source = CredentialSource::watch(files).await.unwrap();
    assert!(!source.status().issuance_findings.is_empty());
}

/// `openssl x509 -req` without `-extfile` issues version 1 before OpenSSL 3.2, and later one without any name.
#[test]
fn what_openssl_issues_without_an_extension_file_is_told() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    by_openssl(dir.path(), "");
    must(
        "openssl",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out leaf.pem",
        dir.path(),
    );
    let found = rules(&checked(dir.path()));
    let version_1 = found == [CheckRule::CertV1];
    assert!(
        version_1 || found.contains(&CheckRule::SanMissing),
        "{found:?}"
    );
}

/// certtool makes a CA and a leaf with the usages of this template.
fn by_certtool(dir: &Path, usages: &str) {
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
    let key = "--generate-privkey --key-type ecdsa --curve secp256r1 --no-text --outfile";
    must("certtool", &format!("{key} ca.key"), dir);
    must("certtool", &format!("{key} leaf.key"), dir);
    must(
        "certtool",
        "--generate-self-signed --load-privkey ca.key --template ca.tmpl --outfile ca.pem",
        dir,
    );
    must(
        "certtool",
        "--generate-certificate --load-privkey leaf.key --load-ca-certificate ca.pem --load-ca-privkey ca.key \
         --template leaf.tmpl --outfile leaf.pem",
        dir,
    );
}

#[test]
fn what_certtool_issues_is_judged_by_what_it_says() {
    if absent(&[Tool::Certtool]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    by_certtool(dir.path(), "tls_www_server\ntls_www_client\n");
    assert_eq!(checked(dir.path()).findings(), []);

    let dir = tempfile::tempdir().unwrap();
    by_certtool(dir.path(), "tls_www_server\n");
    let report = checked(dir.path());
    assert_eq!(rules(&report), [CheckRule::EkuMissingRole]);
    assert!(report.findings()[0].found.contains("without clientAuth"));
}
