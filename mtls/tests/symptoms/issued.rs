//! Chains below a root that OpenSSL has made, and that rustls does not take.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use mtls_core::rustls::RootCertStore;
use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::rustls::pki_types::PrivateKeyDer;
use mtls_core::rustls::pki_types::pem::PemObject;
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::testing::TestCa;
use rcgen::{CertificateParams, Issuer, KeyPair};

use crate::plain::{Own, Told, certificates, client, provider, ring, roots_of, server_by, shake};
use crate::tools::{Tool, absent, must};
use crate::{checked, leads_to, shows};

/// A root and a leaf below it, as `tls/tls.crt`, `tls/tls.key` and `tls/ca.crt`.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    /// The root has such a key, as `openssl genpkey` is told, and signs by this hash; its name is this.
    fn by_openssl(key: &str, hash: &str, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tls")).unwrap();
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        write("ca.cnf", &format!("{CA}[name]\n{name}"));
        write("leaf.ext", LEAF);
        for command in [
            format!("genpkey {key} -out ca.key"),
            format!("req -x509 -new -key ca.key -{hash} -config ca.cnf -days 9 -out tls/ca.crt"),
            format!("req -new -newkey ec {P256} -nodes -subj /CN=web -keyout tls/tls.key -out csr"),
            format!(
                "x509 -req -in csr -CA tls/ca.crt -CAkey ca.key {SIGNED} -{hash} -out tls/tls.crt"
            ),
        ] {
            must("openssl", &command, dir.path());
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn roots(&self) -> Arc<RootCertStore> {
        roots_of(certificates(self.text("tls/ca.crt").as_bytes()))
    }

    fn own(&self) -> Own {
        Own {
            chain: certificates(self.text("tls/tls.crt").as_bytes()),
            key: PrivateKeyDer::from_pem_file(self.path("tls/tls.key")).unwrap(),
        }
    }
}

/// What is said of these credentials by a server that trusts the root, and by their bearer.
fn judged(roots: Arc<RootCertStore>, own: Own, provider: Arc<CryptoProvider>) -> Told {
    let ca = TestCa::new("example.org");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let server = server_by(provider, verifier, Own::of(&ca.issue("/server")));
    shake(server, client(&ca, Some(own)).unwrap(), "localhost")
}

#[test]
fn roots_that_the_provider_does_not_verify_with_are_told_by_text_and_by_check() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    for (key, hash, words, rule) in [
        // It is the one that says nothing of the cause: a wrong key has the same text.
        (RSA_1024, "sha256", "BadSignature", "sig-weak"),
        (
            EC_P256,
            "sha1",
            "UnsupportedSignatureAlgorithmContext",
            "sig-weak",
        ),
        (
            EC_SECP256K1,
            "sha256",
            "UnsupportedSignatureAlgorithmForPublicKeyContext",
            "sig-provider",
        ),
    ] {
        let made = Made::by_openssl(key, hash, "CN = Orders Root\n");
        let told = judged(made.roots(), made.own(), provider());
        assert!(told.server().contains(words), "{key} {hash}: {told:?}");
        shows(told.server(), "unsupported_algorithm");
        assert!(told.client().contains("DecryptError"), "{told:?}");
        leads_to(told.client(), "refused_by_peer");
        let found = checked(&made.path("tls"));
        assert!(found.iter().any(|found| found == rule), "{rule}: {found:?}");
        leads_to(rule, "unsupported_algorithm");
    }
}

/// Of two providers one has the pair of curve and hash, and the other has not. Until rustls 0.23.28 it was `BadSignature`.
#[test]
fn a_pair_of_curve_and_hash_that_ring_lacks_is_told_as_one_that_it_does_not_support() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    for (key, hash, words) in [
        (EC_P256, "sha512", "UnsupportedSignatureAlgorithmContext"),
        (
            EC_P521,
            "sha256",
            "UnsupportedSignatureAlgorithmForPublicKeyContext",
        ),
    ] {
        let made = Made::by_openssl(key, hash, "CN = Orders Root\n");
        let told = judged(made.roots(), made.own(), provider());
        assert!(told.server.is_none(), "{key} {hash}: {told:?}");
        let told = judged(made.roots(), made.own(), ring());
        assert!(told.server().contains(words), "{key} {hash}: {told:?}");
        leads_to(told.server(), "unsupported_algorithm");
    }
}

/// rcgen keeps one attribute of a kind, so of a root with two organizational units it writes another name than it read.
#[test]
fn a_leaf_by_a_ca_whose_name_was_read_and_written_anew_has_an_unknown_issuer() {
    if absent(&[Tool::Openssl3]) {
        return;
    }
    for (name, is_taken) in [
        ("O = Orders\nOU = one\nCN = Root\n", true),
        ("O = Orders\n0.OU = one\n1.OU = two\nCN = Root\n", false),
    ] {
        let made = Made::by_openssl(EC_P256, "sha256", name);
        let ca_key = KeyPair::from_pem(&made.text("ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&made.text("tls/ca.crt"), ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["web.example.org".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let own = Own {
            chain: certificates(leaf.pem().as_bytes()),
            key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        };
        let told = judged(made.roots(), own, provider());
        if is_taken {
            assert!(told.server.is_none(), "{told:?}");
        } else {
            assert!(told.server().contains("UnknownIssuer"), "{told:?}");
            leads_to(told.server(), "unknown_issuer");
        }
    }
}

const CA: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = ca\n[ca]\n\
    basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash\n";

const LEAF: &str = "basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\n\
    extendedKeyUsage = serverAuth, clientAuth\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
    subjectAltName = URI:spiffe://example.org/web, DNS:web.example.org\n";

const SIGNED: &str = "-CAcreateserial -days 3 -extfile leaf.ext";
const P256: &str = "-pkeyopt ec_paramgen_curve:P-256";
const EC_P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const EC_P521: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
const EC_SECP256K1: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1";
const RSA_1024: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:1024";
