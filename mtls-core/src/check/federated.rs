//! The bundles of other trust domains, each for itself: from directories, from files, from a bundle map.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use super::bundle;
use super::finding::{CheckPlace, Finding, Found};
use super::load;
use super::rule::CheckRule;
use super::run::Scene;
use super::set::path_of;
use crate::error::LoadError;
use crate::files::{self, FederatedBundle};
use crate::identity::TrustDomain;
use crate::snapshot::TrustBundle;

pub(super) fn check(scene: &Scene<'_>, found: &mut Found) {
    let federated = files::federated(&scene.set.files);
    for fault in &federated.faults {
        found.add(load::finding(fault, Path::new(BUNDLES)));
    }
    let own = own_domain(scene);
    for (domain, theirs) in federated.domains {
        let mut of_domain = Found::default();
        match theirs {
            FederatedBundle::Gone(error) | FederatedBundle::Broken(error) => {
                of_domain.add(load::finding(&error, Path::new(BUNDLES)));
            }
            FederatedBundle::Found(theirs) if own.as_ref() == Some(&domain) => {
                let copy = (theirs.certificates, theirs.path);
                is_a_copy(scene, &domain, copy, &mut of_domain);
            }
            FederatedBundle::Found(theirs) => {
                one(
                    scene,
                    &domain,
                    (theirs.certificates, theirs.path),
                    &mut of_domain,
                );
            }
        }
        for finding in of_domain.into_vec() {
            let told = format!("bundle of `{domain}`: {}", finding.found);
            found.add(Finding {
                found: told,
                ..finding
            });
        }
    }
    for (path, what) in files::passed_over(&scene.set.files) {
        let place = CheckPlace::file(path);
        found.add(Finding::new(CheckRule::BundlePassedOver, place, what));
    }
}

/// The trust domain of which another source must not say something else.
fn own_domain(scene: &Scene<'_>) -> Option<TrustDomain> {
    let said = scene.options.trust_domain.clone();
    said.or_else(|| {
        let leaf = scene.chain.iter().find(|seen| !seen.cert.is_ca)?;
        let id = leaf.cert.names.uris.first()?.to_string();
        id.parse::<crate::SpiffeId>()
            .ok()
            .map(|id| id.trust_domain())
    })
}

type Certificates = (Vec<CertificateDer<'static>>, PathBuf);

fn one(
    scene: &Scene<'_>,
    domain: &TrustDomain,
    (certificates, path): Certificates,
    found: &mut Found,
) {
    if certificates.is_empty() {
        let place = CheckPlace::file(path);
        let text = "it holds no certificate, and so nobody of this trust domain is trusted";
        return found.add(Finding::new(CheckRule::BundleFederatedEmpty, place, text));
    }
    bundle::each(scene.options.now, &certificates, &path, found);
    let now = scene.options.now;
    if let Err(error) = TrustBundle::new(Some(domain.clone()), certificates, path.clone(), now) {
        found.add(load::finding(&error, &path));
    }
}

/// The own bundle a second time is fine; another one is not (SPIFFE Federation §4.2).
fn is_a_copy(
    scene: &Scene<'_>,
    domain: &TrustDomain,
    (certificates, path): Certificates,
    found: &mut Found,
) {
    let Ok(own) = &scene.set.files.bundle else {
        return;
    };
    // What keeps it from being decoded has been said of the file.
    let Ok(ours) = files::bundle(own) else {
        return;
    };
    let set = |all: &[CertificateDer<'_>]| -> BTreeSet<Vec<u8>> {
        all.iter().map(|der| der.to_vec()).collect()
    };
    if set(&ours) != set(&certificates) {
        let twice = LoadError::BundleTwice {
            trust_domain: domain.clone(),
            first: path_of(&scene.set.files.bundle).to_owned(),
            second: path,
        };
        found.add(load::finding(&twice, Path::new(BUNDLES)));
    }
}

/// Where it is, of an error that does not say.
const BUNDLES: &str = "(bundles of other trust domains)";
