//! Sources over directories as others write them, with real keys.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::path::Path;

use mtls_core::testing::{Broken, Issued, MountedDir, PlainDir, TestCa};
use mtls_core::{CredentialFiles, CredentialSource, FileFormat, LoadError, Snapshot, TrustDomain};

/// What a file of a layout holds.
#[derive(Clone, Copy)]
enum Part {
    Chain,
    Key,
    /// Key, then chain.
    Both,
    Bundle,
}

/// Each layout with its files.
const LAYOUTS: &[(&str, &[(&str, Part)])] = &[
    (
        "kubernetes-tls",
        &[
            ("tls.crt", Part::Chain),
            ("tls.key", Part::Key),
            ("ca.crt", Part::Bundle),
        ],
    ),
    (
        "cert-manager-combined",
        &[("tls-combined.pem", Part::Both), ("ca.crt", Part::Bundle)],
    ),
    (
        "consul",
        &[
            ("dc1-server-consul-0.pem", Part::Chain),
            ("dc1-server-consul-0-key.pem", Part::Key),
            ("consul-agent-ca.pem", Part::Bundle),
        ],
    ),
    (
        "gke-workload",
        &[
            ("certificates.pem", Part::Chain),
            ("private_key.pem", Part::Key),
            ("ca_certificates.pem", Part::Bundle),
        ],
    ),
    (
        "istio-output-certs",
        &[
            ("cert-chain.pem", Part::Chain),
            ("key.pem", Part::Key),
            ("root-cert.pem", Part::Bundle),
        ],
    ),
    (
        "linkerd-issuer",
        &[
            ("crt.pem", Part::Chain),
            ("key.pem", Part::Key),
            ("ca.crt", Part::Bundle),
        ],
    ),
    (
        "pod-certificate",
        &[
            ("credentialbundle.pem", Part::Both),
            ("trust-bundle.pem", Part::Bundle),
        ],
    ),
    (
        "spiffe-filesystem",
        &[
            ("credential-bundle.private-key.pem", Part::Both),
            ("example.org.spiffe-trust-bundle.pem", Part::Bundle),
        ],
    ),
    (
        "spiffe-helper",
        &[
            ("svid.pem", Part::Chain),
            ("svid_key.pem", Part::Key),
            ("svid_bundle.pem", Part::Bundle),
        ],
    ),
    (
        "step",
        &[
            ("site.crt", Part::Chain),
            ("site.key", Part::Key),
            ("root.crt", Part::Bundle),
        ],
    ),
    (
        "vault-agent",
        &[
            ("cert.pem", Part::Chain),
            ("key.pem", Part::Key),
            ("ca.pem", Part::Bundle),
        ],
    ),
];

/// The files of a layout, with the key of `key` and all else of `issued`.
fn write(files: &[(&str, Part)], issued: &Issued, key: &Issued) -> PlainDir {
    let dir = PlainDir::empty();
    for (name, part) in files {
        let text = match part {
            Part::Chain => issued.chain_pem(),
            Part::Key => key.key_pem().to_owned(),
            Part::Both => key.key_pem().to_owned() + &issued.chain_pem(),
            Part::Bundle => issued.bundle_pem().to_owned(),
        };
        dir.rename_over(name, text);
    }
    dir
}

async fn load(files: CredentialFiles) -> Result<std::sync::Arc<Snapshot>, LoadError> {
    Ok(CredentialSource::watch(files).await?.current())
}

#[tokio::test]
async fn each_layout_is_detected_loaded_and_named() {
    let ca = TestCa::new("example.org").intermediate();
    for (name, files) in LAYOUTS {
        let issued = ca.issue("/web");
        let dir = write(files, &issued, &issued);
        let detected = CredentialFiles::detect(dir.path()).unwrap();
        assert_eq!(detected.layout().as_str(), *name);
        let snapshot = load(detected)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(snapshot.credentials().serial(), issued.serial(), "{name}");
        assert_eq!(snapshot.credentials().chain(), issued.chain_der(), "{name}");
    }
}

const CREDENTIALS: &str = "credential-bundle.private-key.pem";

#[tokio::test]
async fn of_a_bundle_for_each_domain_the_leafs_own_is_taken() {
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("a.example"));
    let issued = ours.issue("/web");
    let dir = PlainDir::empty();
    dir.rename_over(
        CREDENTIALS,
        issued.key_pem().to_owned() + &issued.chain_pem(),
    );
    for ca in [&ours, &theirs] {
        let name = format!("{}.spiffe-trust-bundle.pem", ca.trust_domain());
        dir.rename_over(&name, ca.root_pem());
    }
    let own: TrustDomain = "example.org".parse().unwrap();
    let detected = CredentialFiles::detect(dir.path()).unwrap();
    assert_eq!(
        detected,
        CredentialFiles::spiffe_filesystem(dir.path(), &own)
    );
    let snapshot = load(detected.clone()).await.unwrap();
    assert_eq!(snapshot.credentials().serial(), issued.serial());

    // With a bundle from elsewhere, those in the directory federate with nobody.
    let bundle = dir.file("a.example.spiffe-trust-bundle.pem");
    let given = CredentialFiles::detect_with_bundle(dir.path(), &bundle).unwrap();
    assert_eq!(given.bundle_path(), bundle);
    let alone = CredentialFiles::spiffe_filesystem(dir.path(), &own).with_bundle(&bundle);
    assert_ne!(given, alone);

    // Another domain's bundle does not stand in for it.
    dir.remove("example.org.spiffe-trust-bundle.pem");
    let refused = load(detected).await;
    assert!(
        matches!(refused, Err(LoadError::FileMissing { .. })),
        "{refused:?}"
    );
    let other = "a.example".parse().unwrap();
    let refused = load(CredentialFiles::spiffe_filesystem(dir.path(), &other)).await;
    assert!(
        matches!(refused, Err(LoadError::ChainNotTrusted { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_leaf_that_says_no_domain_has_no_bundle_of_its_own() {
    let issued = TestCa::new("example.org").issue_dns("web.example.org");
    let dir = PlainDir::empty();
    dir.rename_over(
        CREDENTIALS,
        issued.key_pem().to_owned() + &issued.chain_pem(),
    );
    dir.rename_over("example.org.spiffe-trust-bundle.pem", issued.bundle_pem());
    let refused = CredentialFiles::detect(dir.path());
    assert!(
        matches!(refused, Err(LoadError::BundleNotNamed { .. })),
        "{refused:?}"
    );
    dir.truncate(CREDENTIALS);
    let refused = CredentialFiles::detect(dir.path());
    assert!(
        matches!(refused, Err(LoadError::FileEmpty { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn each_layout_with_the_key_of_another_leaf_is_refused() {
    let ca = TestCa::new("example.org");
    for (name, files) in LAYOUTS {
        let dir = write(files, &ca.issue("/web"), &ca.issue("/web"));
        let refused = load(CredentialFiles::detect(dir.path()).unwrap()).await;
        assert!(
            matches!(refused, Err(LoadError::KeyMismatch { .. })),
            "{name}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn certbots_files_load_with_a_bundle_from_elsewhere_and_not_with_a_strangers() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let issued = ca.issue("/web");
    let files = [("fullchain.pem", Part::Chain), ("privkey.pem", Part::Key)];
    let dir = write(&files, &issued, &issued);
    for (ca, trusted) in [(&ca, true), (&other, false)] {
        let elsewhere = PlainDir::empty();
        elsewhere.rename_over("roots.pem", ca.bundle_pem());
        let bundle = elsewhere.file("roots.pem");
        let files = CredentialFiles::detect_with_bundle(dir.path(), &bundle).unwrap();
        assert_eq!(files, CredentialFiles::certbot(dir.path(), &bundle));
        match load(files).await {
            Ok(_) => assert!(trusted),
            Err(refused) => {
                assert!(!trusted && matches!(refused, LoadError::ChainNotTrusted { .. }));
            }
        }
    }
}

#[tokio::test]
async fn a_chain_is_the_same_however_its_file_is_written() {
    let root = TestCa::new("example.org");
    let ca = root.intermediate().intermediate();
    let issued = ca.issue("/web");
    let (chain, key, roots) = (issued.chain_pem(), issued.key_pem(), root.root_pem());
    let reversed: Vec<_> = chain.split_inclusive("-----END CERTIFICATE-----").collect();
    let reversed: String = reversed
        .into_iter()
        .rev()
        .map(|b| b.to_owned() + "\n")
        .collect();
    let rows = [
        ("key first", format!("{key}{chain}")),
        ("key last", format!("{chain}{key}")),
        ("key twice", format!("{key}{chain}{key}")),
        ("CA first", format!("{reversed}{key}")),
        ("duplicates", format!("{chain}{chain}{key}{reversed}")),
        ("root first", format!("{roots}{chain}{key}")),
        ("root last", format!("{chain}{roots}{key}")),
        (
            "a stranger",
            format!("{}{chain}{key}", TestCa::new("other.test").root_pem()),
        ),
        ("CRLF", format!("{chain}{key}").replace('\n', "\r\n")),
        (
            "text between",
            format!("\u{feff}subject=web\n\n{chain}\n# the key\n{key}\n\n"),
        ),
    ];
    for (name, text) in rows {
        let dir = PlainDir::empty();
        dir.rename_over("both.pem", text);
        dir.rename_over("roots.pem", &roots);
        let (both, bundle) = (dir.file("both.pem"), dir.file("roots.pem"));
        let snapshot = load(CredentialFiles::paths(&both, &both, bundle)).await;
        let snapshot = snapshot.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(snapshot.credentials().chain(), issued.chain_der(), "{name}");
    }
}

#[tokio::test]
async fn der_files_load_and_the_wrong_one_of_them_is_refused() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/web");
    let dir = PlainDir::empty();
    dir.rename_over("leaf.der", &issued.chain_der()[0]);
    dir.rename_over("key.p8", issued.key_der().secret_der());
    dir.rename_over("root.der", ca.root_der());
    let files = |chain: &str, key: &str, bundle: &str| {
        load(CredentialFiles::paths(
            dir.file(chain),
            dir.file(key),
            dir.file(bundle),
        ))
    };
    let snapshot = files("leaf.der", "key.p8", "root.der").await.unwrap();
    assert_eq!(snapshot.credentials().chain(), issued.chain_der());

    let refused = files("key.p8", "key.p8", "root.der").await;
    assert!(
        matches!(refused, Err(LoadError::ChainEmpty { .. })),
        "{refused:?}"
    );
    let refused = files("leaf.der", "leaf.der", "root.der").await;
    assert!(
        matches!(refused, Err(LoadError::KeyMissing { .. })),
        "{refused:?}"
    );
    let refused = files("leaf.der", "key.p8", "key.p8").await;
    assert!(
        matches!(refused, Err(LoadError::KeyInBundle { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_file_in_another_format_is_refused_as_that_format() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    for (broken, format) in [
        (Broken::BundlePkcs7, FileFormat::Pkcs7),
        (
            Broken::BundleTrustedCertificate,
            FileFormat::TrustedCertificate,
        ),
        (Broken::ChainEscapedNewlines, FileFormat::EscapedNewlines),
        (Broken::ChainHtml, FileFormat::Html),
        (Broken::ChainInBase64, FileFormat::Base64Pem),
        (Broken::ChainIndented, FileFormat::IndentedPem),
        (Broken::ChainIsRequest, FileFormat::CertificateRequest),
        (Broken::ChainJson, FileFormat::Json),
        (Broken::ChainOldLabel, FileFormat::X509Certificate),
        (Broken::ChainUtf16, FileFormat::Utf16),
        (Broken::KeyJceks, FileFormat::Jceks),
        (Broken::KeyJks, FileFormat::Jks),
        (Broken::KeyOpenSsh, FileFormat::OpenSshKey),
        (Broken::KeyPkcs12, FileFormat::Pkcs12),
        (Broken::KeyPublic, FileFormat::PublicKey),
    ] {
        broken.write(&ca, &dir);
        let refused = load(CredentialFiles::kubernetes(dir.path()))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, LoadError::WrongFormat { found, .. } if found == format),
            "{broken}: {refused}"
        );
        assert_eq!(refused.reason(), broken.expected_reason(), "{broken}");
        assert_eq!(refused.remedy(), format.remedy(), "{broken}");
    }
    Broken::ChainDerTruncated.write(&ca, &dir);
    let refused = load(CredentialFiles::kubernetes(dir.path()))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, LoadError::DerTruncated { .. }),
        "{refused}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_that_leads_nowhere_or_in_a_circle_says_where() {
    use std::os::unix::fs::symlink;

    let issued = TestCa::new("example.org").issue("/web");
    let dir = PlainDir::new(&issued);
    let base = dir.path().canonicalize().unwrap();
    let replace = |target: &Path| {
        dir.remove("tls.crt");
        symlink(target, dir.file("tls.crt")).unwrap();
    };
    replace(Path::new("gone/leaf.pem"));
    let Err(LoadError::FileMissing { target, .. }) = load(CredentialFiles::kubernetes(&base)).await
    else {
        panic!("a dangling link is a missing file");
    };
    assert_eq!(target, Some(base.join("gone/leaf.pem")));

    symlink("there", base.join("here")).unwrap();
    symlink("here", base.join("there")).unwrap();
    replace(Path::new("here/leaf.pem"));
    let Err(LoadError::FileLinkLoop { path, at }) = load(CredentialFiles::kubernetes(&base)).await
    else {
        panic!("a circle has no end");
    };
    assert_eq!(path, base.join("tls.crt"));
    assert!(
        [base.join("here"), base.join("there")].contains(&at),
        "{at:?}"
    );
}
