//! A good set of every layout yields nothing.

use std::fs;
use std::path::Path;

use mtls_core::check::CheckRule;
use mtls_core::testing::{Issued, TestCa};
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

            let expired = mtls_core::testing::LeafOptions::service("/web").expired();
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
