//! A good set of every layout yields nothing.

use std::fs;
use std::path::Path;

use mtls_core::check::{CheckRule, CheckSet};
use mtls_core::testing::{Issued, KeyKind, LeafOptions, TestCa};
use mtls_core::{CredentialFiles, Layout};

use crate::{checked, options, rules};

/// What of a set a file holds.
#[derive(Clone, Copy)]
enum Holds {
    Chain,
    Key,
    Bundle,
    /// Key, then chain.
    Both,
}

use Holds::{Both, Bundle, Chain, Key};

const LAYOUTS: &[(&str, &[(&str, Holds)])] = &[
    (
        "kubernetes-tls",
        &[("tls.crt", Chain), ("tls.key", Key), ("ca.crt", Bundle)],
    ),
    (
        "cert-manager-combined",
        &[("tls-combined.pem", Both), ("ca.crt", Bundle)],
    ),
    (
        "consul",
        &[
            ("dc1-server-consul-0.pem", Chain),
            ("dc1-server-consul-0-key.pem", Key),
            ("consul-agent-ca.pem", Bundle),
        ],
    ),
    (
        "gke-workload",
        &[
            ("certificates.pem", Chain),
            ("private_key.pem", Key),
            ("ca_certificates.pem", Bundle),
        ],
    ),
    (
        "istio-output-certs",
        &[
            ("cert-chain.pem", Chain),
            ("key.pem", Key),
            ("root-cert.pem", Bundle),
        ],
    ),
    (
        "linkerd-issuer",
        &[("crt.pem", Chain), ("key.pem", Key), ("ca.crt", Bundle)],
    ),
    (
        "pod-certificate",
        &[("credentialbundle.pem", Both), ("trust-bundle.pem", Bundle)],
    ),
    (
        "spiffe-filesystem",
        &[
            ("credential-bundle.private-key.pem", Both),
            ("example.org.spiffe-trust-bundle.pem", Bundle),
        ],
    ),
    (
        "spiffe-helper",
        &[
            ("svid.pem", Chain),
            ("svid_key.pem", Key),
            ("svid_bundle.pem", Bundle),
        ],
    ),
    (
        "step",
        &[("site.crt", Chain), ("site.key", Key), ("root.crt", Bundle)],
    ),
    (
        "vault-agent",
        &[("cert.pem", Chain), ("key.pem", Key), ("ca.pem", Bundle)],
    ),
];

fn lay_out(dir: &Path, files: &[(&str, Holds)], issued: &Issued) {
    for (name, holds) in files {
        let text = match holds {
            Chain => issued.chain_pem(),
            Key => issued.key_pem().to_owned(),
            Bundle => issued.bundle_pem().to_owned(),
            Both => format!("{}{}", issued.key_pem(), issued.chain_pem()),
        };
        fs::write(dir.join(name), text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(dir.join(name), mode).unwrap();
        }
    }
}

#[test]
fn a_good_set_of_every_layout_yields_nothing_and_a_bad_one_its_rule() {
    let root = TestCa::new("example.org");
    for ca in [&root, &root.intermediate()] {
        for (layout, names) in LAYOUTS {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), names, &ca.issue("/web"));
            let files = CredentialFiles::detect(dir.path()).unwrap();
            assert_eq!(files.layout().as_str(), *layout);
            let report = checked(&files, &options());
            assert_eq!(report.findings(), [], "{layout}");

            let expired = LeafOptions::service("/web").expired();
            lay_out(dir.path(), names, &ca.issue_with(expired));
            let report = checked(&files, &options());
            assert_eq!(rules(&report), [CheckRule::Expired], "{layout}");
        }
    }
}

#[test]
fn certbots_files_and_given_paths_yield_nothing() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let names = [
        ("fullchain.pem", Chain),
        ("privkey.pem", Key),
        ("b", Bundle),
    ];
    lay_out(dir.path(), &names, &ca.issue("/web"));
    let bundle = dir.path().join("b");
    let certbot = CredentialFiles::certbot(dir.path(), &bundle);
    let paths = CredentialFiles::paths(
        dir.path().join("fullchain.pem"),
        dir.path().join("privkey.pem"),
        bundle,
    );
    assert_eq!(
        (certbot.layout(), paths.layout()),
        (Layout::Certbot, Layout::Paths)
    );
    for files in [certbot, paths] {
        assert_eq!(checked(&files, &options()).findings(), []);
    }
}

#[test]
fn a_directory_without_one_known_layout_is_a_finding() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    for (expected, names) in [
        (
            "holds no layout we know",
            [("web.crt", Chain), ("web.key", Key)],
        ),
        (
            "brings no trust bundle",
            [("fullchain.pem", Chain), ("privkey.pem", Key)],
        ),
        ("several candidates", [("tls.crt", Chain), ("tls.key", Key)]),
    ] {
        lay_out(dir.path(), &names, &ca.issue("/web"));
        let error = CredentialFiles::detect(dir.path()).unwrap_err();
        let report = mtls_core::check::check_error(&error, dir.path(), &options());
        assert_eq!(rules(&report), [CheckRule::LayoutUnknown]);
        let found = &report.findings()[0].found;
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn a_second_bundle_of_ones_own_domain_that_differs_is_told() {
    let ca = TestCa::new("example.org");
    let dir = tempfile::tempdir().unwrap();
    let (_, names) = LAYOUTS[0];
    lay_out(dir.path(), names, &ca.issue("/web"));
    let second = dir.path().join("second.pem");
    fs::write(&second, TestCa::new("example.org").root_pem()).unwrap();
    let files = CredentialFiles::kubernetes(dir.path())
        .federated_bundle("example.org".parse().unwrap(), &second);
    let report = checked(&files, &options());
    assert_eq!(rules(&report), [CheckRule::BundleFederated]);
    fs::write(&second, ca.root_pem()).unwrap();
    assert_eq!(checked(&files, &options()).findings(), []);
}

/// What is in a PKCS#8 key: PKCS#1 of an RSA key, SEC1 of one on a curve.
fn inner(pkcs8: &[u8]) -> Vec<u8> {
    /// The contents of the first value, and what follows it.
    fn open(der: &[u8]) -> (&[u8], &[u8]) {
        let (start, len) = match usize::from(der[1]) {
            0x81 => (3, usize::from(der[2])),
            0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
            len => (2, len),
        };
        der[start..].split_at(len)
    }
    let (sequence, _) = open(pkcs8);
    let (_, after_version) = open(sequence);
    let (_, after_algorithm) = open(after_version);
    open(after_algorithm).0.to_vec()
}

#[test]
fn every_form_in_which_producers_write_yields_nothing() {
    let root = TestCa::new("example.org");
    let ca = root.intermediate().intermediate();
    let bundle = root.root_pem();
    let found = |chain: &[u8], key: &[u8], bundle: &str| {
        let set = CheckSet::of_credentials(("tls.crt", chain), ("tls.key", key));
        let set = set.with_bundle("ca.crt", bundle.as_bytes());
        mtls_core::check::check(&set, &options()).unwrap()
    };
    for kind in [
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::Ed25519,
        KeyKind::Rsa2048,
    ] {
        let web = ca.issue_with(LeafOptions::service("/web").key(kind));
        let pkcs8 = web.key_der().secret_der().to_vec();
        let mut keys = vec![web.key_pem().as_bytes().to_vec(), pkcs8.clone()];
        if kind != KeyKind::Ed25519 {
            keys.push(inner(&pkcs8));
        }
        for (form, key) in keys.iter().enumerate() {
            let report = found(web.chain_pem().as_bytes(), key, &bundle);
            assert_eq!(report.findings(), [], "{kind:?} {form}");
        }
    }
    let web = ca.issue("/web");
    let (chain, key) = (web.chain_pem(), web.key_pem());
    let other_root = TestCa::new("example.org").root_pem();
    let curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for (name, chain, key, bundle) in [
        (
            "CRLF",
            chain.replace('\n', "\r\n"),
            key.replace('\n', "\r\n"),
            bundle.replace('\n', "\r\n"),
        ),
        (
            "blank lines",
            format!("\n{chain}\n\n"),
            format!("{key}\n"),
            format!("{bundle}\n\n"),
        ),
        (
            "text between",
            chain.replace("-----BEGIN", "subject=CN = web\nissuer=CN = CA\n-----BEGIN"),
            format!("Bag Attributes\n    localKeyID: 01\n{key}"),
            format!("# roots\n{bundle}"),
        ),
        (
            "another label",
            chain.clone(),
            key.replace("PRIVATE KEY", "EC PRIVATE KEY"),
            bundle.clone(),
        ),
        (
            "a curve before the key",
            chain.clone(),
            format!("{curve}{key}"),
            bundle.clone(),
        ),
        (
            "two roots",
            chain.clone(),
            key.to_owned(),
            format!("{bundle}{other_root}"),
        ),
    ] {
        let report = found(chain.as_bytes(), key.as_bytes(), &bundle);
        assert_eq!(report.findings(), [], "{name}");
    }
    // One file for both, key first as Pod Certificates have it, or last; and the key of another leaf in each.
    let other = ca.issue("/other");
    for (first, last) in [(key.to_owned(), chain.clone()), (chain, key.to_owned())] {
        let both = format!("{first}{last}");
        let combined = |both: &str| {
            let file = ("both.pem", both.as_bytes());
            let set = CheckSet::of_credentials(file, file);
            let set = set.with_bundle("ca.crt", bundle.as_bytes());
            mtls_core::check::check(&set, &options()).unwrap()
        };
        assert_eq!(combined(&both).findings(), []);
        let mismatched = combined(&both.replace(key, other.key_pem()));
        assert_eq!(rules(&mismatched), [CheckRule::KeyMismatch]);
    }
}
