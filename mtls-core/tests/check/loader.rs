//! "A rule has one severity per caller, and the loader's behaviour is that table": every broken set there is, through the
//! loader and the check.

use std::time::Duration;

use mtls_core::check::{Caller, CheckOptions, CheckRule, Severity};
use mtls_core::testing::{Broken, MountedDir, Rehearsal, TestCa};
use mtls_core::{CredentialFiles, CredentialSource, Health, LoadError, SourceBuilder};

use crate::{checked, mounted, options};

/// What a loader makes of files.
fn verdict(loaded: &Result<CredentialSource, LoadError>) -> Severity {
    match loaded {
        Err(_) => Severity::Error,
        Ok(source) if tells(source) => Severity::Warn,
        Ok(_) => Severity::Info,
    }
}

/// Whether the status has anything to say.
fn tells(source: &CredentialSource) -> bool {
    let status = source.status();
    let now = mtls_core::Timestamp::now();
    status.health != Health::Healthy
        || status.key_world_readable
        || status.own_revoked.is_some()
        || !status.skipped_anchors.is_empty()
        || !status.issuance_findings.is_empty()
        || status.revocation_lists.iter().any(|list| list.is_due(now))
}

fn builder(rehearsal: &Rehearsal) -> SourceBuilder {
    let builder = CredentialSource::builder()
        .quiet_time(Duration::ZERO)
        .grace(Duration::ZERO);
    match rehearsal.trust_domain() {
        Some(domain) => builder.trust_domain(domain.parse().unwrap()),
        None => builder,
    }
}

fn worst(files: &CredentialFiles, options: CheckOptions, caller: Caller) -> Severity {
    let report = checked(files, &options.caller(caller));
    report.worst().unwrap_or(Severity::Info)
}

#[tokio::test]
async fn a_source_starts_warns_or_refuses_as_the_table_says() {
    let ca = TestCa::new("example.org");
    let mut wrong = Vec::new();
    for rule in CheckRule::ALL {
        let Some(rehearsal) = Rehearsal::of(*rule, &ca) else {
            continue;
        };
        let dir = mounted(&rehearsal);
        let files = rehearsal.credential_files(dir.path());
        let loaded = builder(&rehearsal).watch(files.clone()).await;
        let (found, told) = (
            verdict(&loaded),
            worst(&files, rehearsal.options(), Caller::Startup),
        );
        if found != told || rule.severity(Caller::Startup) > found {
            let error = loaded.err();
            wrong.push(format!(
                "{rule}: the loader {found}, the check {told}: {error:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_source_reloads_or_keeps_what_it_has_as_the_table_says() {
    let ca = TestCa::new("example.org");
    let good = ca.issue("/web");
    let mut wrong = Vec::new();
    for rule in CheckRule::ALL {
        let Some(rehearsal) = Rehearsal::of(*rule, &ca) else {
            continue;
        };
        let dir = MountedDir::empty();
        let list = ca.crl().pem();
        dir.rotate_files(&[
            ("tls.crt", good.chain_pem().as_bytes()),
            ("tls.key", good.key_pem().as_bytes()),
            ("ca.crt", good.bundle_pem().as_bytes()),
            ("ca.crl", list.as_bytes()),
            ("bundle-map.json", br#"{"trust_domains":{}}"#),
        ]);
        let files = rehearsal.credential_files(dir.path());
        let source = builder(&rehearsal).watch(files.clone()).await.unwrap();
        assert!(!tells(&source), "{rule}: {:?}", source.status());
        let new: Vec<_> = rehearsal.files().collect();
        dir.rotate_files(&new);
        rehearsal.finish(dir.path()).unwrap();
        let loaded = source.reload().await.map(|_| source);
        let (found, told) = (
            verdict(&loaded),
            worst(&files, rehearsal.options(), Caller::Reload),
        );
        if found != told || rule.severity(Caller::Reload) > found {
            let error = loaded.err();
            wrong.push(format!(
                "{rule}: the loader {found}, the check {told}: {error:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn whatever_the_loader_refuses_is_an_error_of_the_check_and_the_other_way_round() {
    let root = TestCa::new("example.org");
    for ca in [&root, &root.intermediate()] {
        let dir = MountedDir::new(&ca.issue("/web"));
        let files = CredentialFiles::kubernetes(dir.path());
        let mut wrong = Vec::new();
        for broken in Broken::ALL {
            broken.write(ca, &dir);
            let loaded = CredentialSource::builder().watch(files.clone()).await;
            let (found, told) = (verdict(&loaded), worst(&files, options(), Caller::Startup));
            if found != told {
                let report = checked(&files, &options());
                wrong.push(format!(
                    "{broken}: the loader {found}, the check {told}: {:#?}",
                    report.findings()
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Base64 in which one character is another: DER in which six bits are, wherever that may be.
fn with_other_character(pem: &str, at: usize) -> Option<String> {
    let mut bytes = pem.as_bytes().to_vec();
    let byte = bytes.get_mut(at)?;
    if !byte.is_ascii_alphanumeric() {
        return None;
    }
    *byte = if *byte == b'A' { b'Q' } else { b'A' };
    String::from_utf8(bytes).ok()
}

#[tokio::test]
async fn the_loader_and_the_check_agree_whatever_is_damaged() {
    let ca = TestCa::new("example.org").intermediate();
    let good = ca.issue("/web");
    let (chain, bundle) = (good.chain_pem(), good.bundle_pem().to_owned());
    let dir = MountedDir::new(&good);
    let files = CredentialFiles::kubernetes(dir.path());
    let mut refused = 0;
    let damaged_chains = (3..chain.len()).step_by(17);
    let damaged_bundles = (3..bundle.len()).step_by(17);
    let sets = damaged_chains
        .filter_map(|at| Some((with_other_character(&chain, at)?, bundle.clone())))
        .chain(
            damaged_bundles
                .filter_map(|at| Some((chain.clone(), with_other_character(&bundle, at)?))),
        );
    for (chain, bundle) in sets {
        dir.rotate_with(&chain, good.key_pem(), &bundle);
        let loaded = CredentialSource::builder().watch(files.clone()).await;
        let report = checked(&files, &options().caller(Caller::Startup));
        let is_error = report.worst() == Some(Severity::Error);
        let error = loaded.as_ref().err();
        let findings = report.findings();
        assert_eq!(
            loaded.is_err(),
            is_error,
            "{error:?} {findings:#?}\n{chain}\n{bundle}"
        );
        refused += usize::from(is_error);
    }
    assert!(refused > 50, "{refused}");
}
