use std::fs;
use std::path::Path;

use super::*;

fn dir_with(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(dir.path().join(name), "").unwrap();
    }
    dir
}

/// A layout by the files that it is known by, and how it is named.
struct Row {
    name: &'static str,
    present: &'static [&'static str],
    said: fn(&Path) -> CredentialFiles,
    expected: [&'static str; 3],
}

const ROWS: &[Row] = &[
    Row {
        name: "kubernetes-tls",
        present: &["tls.crt", "tls.key"],
        said: |dir| CredentialFiles::kubernetes(dir),
        expected: ["tls.crt", "tls.key", "ca.crt"],
    },
    Row {
        name: "cert-manager-combined",
        present: &["tls-combined.pem"],
        said: |dir| CredentialFiles::cert_manager_combined(dir),
        expected: ["tls-combined.pem", "tls-combined.pem", "ca.crt"],
    },
    Row {
        name: "consul",
        present: &["dc1-client-consul-12.pem", "dc1-client-consul-12-key.pem"],
        said: |dir| CredentialFiles::consul(dir, "dc1-client-consul-12"),
        expected: [
            "dc1-client-consul-12.pem",
            "dc1-client-consul-12-key.pem",
            "consul-agent-ca.pem",
        ],
    },
    Row {
        name: "gke-workload",
        present: &["certificates.pem", "private_key.pem"],
        said: |dir| CredentialFiles::gke_workload(dir),
        expected: ["certificates.pem", "private_key.pem", "ca_certificates.pem"],
    },
    Row {
        name: "istio-output-certs",
        present: &["cert-chain.pem", "key.pem"],
        said: |dir| CredentialFiles::istio(dir),
        expected: ["cert-chain.pem", "key.pem", "root-cert.pem"],
    },
    Row {
        name: "linkerd-issuer",
        present: &["crt.pem", "key.pem"],
        said: |dir| CredentialFiles::linkerd_issuer(dir),
        expected: ["crt.pem", "key.pem", "ca.crt"],
    },
    Row {
        name: "pod-certificate",
        present: &["credentialbundle.pem", "trust-bundle.pem"],
        said: |dir| CredentialFiles::pod_certificate(dir, dir.join("trust-bundle.pem")),
        expected: [
            "credentialbundle.pem",
            "credentialbundle.pem",
            "trust-bundle.pem",
        ],
    },
    Row {
        name: "pod-certificate",
        present: &["credentialbundle.pem", "ca.crt"],
        said: |dir| CredentialFiles::pod_certificate(dir, dir.join("ca.crt")),
        expected: ["credentialbundle.pem", "credentialbundle.pem", "ca.crt"],
    },
    Row {
        name: "spiffe-helper",
        present: &["svid.pem", "svid_key.pem"],
        said: |dir| CredentialFiles::spiffe_helper(dir),
        expected: ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
    },
    Row {
        name: "step",
        present: &["site.crt", "site.key"],
        said: |dir| CredentialFiles::step(dir),
        expected: ["site.crt", "site.key", "root.crt"],
    },
    Row {
        name: "vault-agent",
        present: &["cert.pem", "key.pem"],
        said: |dir| CredentialFiles::vault_agent(dir),
        expected: ["cert.pem", "key.pem", "ca.pem"],
    },
];

#[test]
fn each_layout_is_detected_by_its_chain_and_key_and_can_be_named() {
    for row in ROWS {
        let dir = dir_with(row.present);
        let files = CredentialFiles::detect(dir.path()).unwrap();
        let expected = row.expected.map(|name| dir.path().join(name));
        assert_eq!(files.all_paths(), expected.each_ref(), "{}", row.name);
        assert_eq!(files.layout().as_str(), row.name);
        assert_eq!(files, (row.said)(dir.path()), "{}", row.name);
        let (found, said) = (files.to_string(), (row.said)(dir.path()).to_string());
        let chosen = format!("layout {} (chosen because", row.name);
        assert!(found.starts_with(&chosen), "{}: {found}", row.name);
        assert!(said.contains("(as configured)"), "{}: {said}", row.name);
    }
}

#[test]
fn a_layout_without_its_key_or_chain_is_not_detected() {
    for row in ROWS {
        let [chain, key, bundle] = row.expected;
        for lacking in [chain, key] {
            let rest: Vec<_> = [chain, key, bundle]
                .into_iter()
                .filter(|name| *name != lacking)
                .collect();
            let outcome = CredentialFiles::detect(dir_with(&rest).path());
            assert!(
                matches!(outcome, Err(LoadError::DirectoryUnrecognized { .. })),
                "{} without {lacking}: {outcome:?}",
                row.name
            );
        }
    }
}

#[test]
fn certbot_brings_no_bundle_and_is_given_one() {
    let dir = dir_with(&["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"]);
    let refused = CredentialFiles::detect(dir.path()).unwrap_err();
    assert!(
        matches!(
            refused,
            LoadError::BundleNotNamed {
                layout: Layout::Certbot,
                ..
            }
        ),
        "{refused}"
    );
    let files = CredentialFiles::detect_with_bundle(dir.path(), "/etc/trust.pem").unwrap();
    assert_eq!(
        files,
        CredentialFiles::certbot(dir.path(), "/etc/trust.pem")
    );
    assert_eq!(files.chain_path(), dir.path().join("fullchain.pem"));
    assert_eq!(files.key_path(), dir.path().join("privkey.pem"));
    assert_eq!(files.bundle_path(), Path::new("/etc/trust.pem"));
    let halved = dir_with(&["cert.pem", "chain.pem", "fullchain.pem"]);
    let outcome = CredentialFiles::detect_with_bundle(halved.path(), "/etc/trust.pem");
    assert!(matches!(
        outcome,
        Err(LoadError::DirectoryUnrecognized { .. })
    ));
}

#[test]
fn a_pod_certificate_needs_one_bundle_beside_it_or_a_given_one() {
    let alone = dir_with(&["credentialbundle.pem"]);
    let refused = CredentialFiles::detect(alone.path()).unwrap_err();
    assert!(
        matches!(refused, LoadError::BundleNotNamed { .. }),
        "{refused}"
    );
    let both = dir_with(&["credentialbundle.pem", "trust-bundle.pem", "ca.crt"]);
    let refused = CredentialFiles::detect(both.path()).unwrap_err();
    let LoadError::DirectoryAmbiguous { found, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(found, "bundle `trust-bundle.pem`, bundle `ca.crt`");
    for dir in [alone, both] {
        let files = CredentialFiles::detect_with_bundle(dir.path(), "/b").unwrap();
        assert_eq!(files, CredentialFiles::pod_certificate(dir.path(), "/b"));
    }
}

#[test]
fn a_directory_with_several_layouts_is_refused_and_lists_them() {
    let dir = dir_with(&["cert-chain.pem", "cert.pem", "crt.pem", "key.pem"]);
    for outcome in [
        CredentialFiles::detect(dir.path()),
        CredentialFiles::detect_with_bundle(dir.path(), "/b"),
    ] {
        let Err(LoadError::DirectoryAmbiguous { found, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            found,
            "`cert-chain.pem` and `key.pem` (istio-output-certs), `crt.pem` and `key.pem` (linkerd-issuer), \
             `cert.pem` and `key.pem` (vault-agent)"
        );
    }
}

#[test]
fn every_two_layouts_in_one_directory_are_ambiguous_but_for_cert_managers_copy() {
    for one in ROWS {
        for other in ROWS.iter().filter(|other| other.name > one.name) {
            let dir = dir_with(&[one.present, other.present].concat());
            let outcome = CredentialFiles::detect(dir.path());
            if (one.name, other.name) == ("cert-manager-combined", "kubernetes-tls") {
                let files = outcome.unwrap();
                assert_eq!(files, CredentialFiles::kubernetes(dir.path()));
                let shown = files.to_string();
                assert!(shown.contains("cert-manager-combined is a copy"), "{shown}");
                continue;
            }
            assert!(
                matches!(outcome, Err(LoadError::DirectoryAmbiguous { .. })),
                "{} and {}: {outcome:?}",
                one.name,
                other.name
            );
        }
    }
}

#[test]
fn several_consul_pairs_are_ambiguous_and_its_ca_is_no_pair() {
    let names = [
        "consul-agent-ca.pem",
        "consul-agent-ca-key.pem",
        "dc1-server-consul-0.pem",
        "dc1-server-consul-0-key.pem",
    ];
    let dir = dir_with(&names);
    let files = CredentialFiles::detect(dir.path()).unwrap();
    assert_eq!(
        files,
        CredentialFiles::consul(dir.path(), "dc1-server-consul-0")
    );

    for name in ["dc1-cli-consul-0.pem", "dc1-cli-consul-0-key.pem"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let refused = CredentialFiles::detect(dir.path()).unwrap_err();
    let LoadError::DirectoryAmbiguous { found, .. } = refused else {
        panic!("{refused}");
    };
    assert!(found.starts_with("`dc1-cli-consul-0.pem` and"), "{found}");
    assert!(found.contains("`dc1-server-consul-0.pem` and"), "{found}");
}

#[test]
fn what_only_resembles_consuls_names_is_not_taken_for_one() {
    for name in [
        "-server-consul-0",
        "dc1-server-consul-",
        "dc1-server-consul-x",
        "dc1-x-consul-0",
    ] {
        let dir = dir_with(&[&format!("{name}.pem"), &format!("{name}-key.pem")]);
        let outcome = CredentialFiles::detect(dir.path());
        assert!(
            matches!(outcome, Err(LoadError::DirectoryUnrecognized { .. })),
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn an_unknown_directory_is_refused_with_its_names_sorted_and_bounded() {
    let dir = dir_with(&["zebra.pem", "tls.crt"]);
    let refused = CredentialFiles::detect(dir.path()).unwrap_err();
    let LoadError::DirectoryUnrecognized { found, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(found, "`tls.crt`, `zebra.pem`");

    for n in 0..100 {
        fs::write(dir.path().join(format!("a{n:03}")), "").unwrap();
    }
    let refused = CredentialFiles::detect(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("found `a000`, `a001`"), "{refused}");
    assert!(refused.ends_with("`a015` and 86 more"), "{refused}");
}

#[test]
fn an_empty_or_absent_directory_is_not_guessed_at() {
    let dir = dir_with(&[]);
    let empty = CredentialFiles::detect(dir.path()).unwrap_err();
    assert!(matches!(empty, LoadError::DirectoryUnrecognized { found, .. } if found == "nothing"));
    let absent = CredentialFiles::detect(dir.path().join("later")).unwrap_err();
    assert!(matches!(absent, LoadError::FileMissing { .. }));
}

#[test]
fn what_was_named_is_not_looked_at() {
    let files = CredentialFiles::paths("/nowhere/c", "/nowhere/k", "/nowhere/b");
    assert_eq!(files.chain_path(), Path::new("/nowhere/c"));
    assert_eq!(files.key_path(), Path::new("/nowhere/k"));
    assert_eq!(files.layout(), Layout::Paths);
    assert!(files.to_string().contains("paths (as configured)"));
    assert_ne!(files, CredentialFiles::kubernetes("/nowhere"));
}

#[test]
fn a_bundle_elsewhere_replaces_the_layouts_own() {
    let files = CredentialFiles::kubernetes("/tls").with_bundle("/trust/ca.pem");
    assert_eq!(files.layout(), Layout::Kubernetes);
    assert_eq!(files.bundle_path(), Path::new("/trust/ca.pem"));
}
