//! The trust bundle, certificate by certificate and as a whole.

use std::path::Path;

use rustls_pki_types::CertificateDer;

use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found};
use super::rule::CheckRule;
use super::run::Scene;
use super::set::path_of;
use super::{issuers, load, time};
use crate::error::{AnchorFault, LoadError};
use crate::files;
use crate::identity::Timestamp;
use crate::snapshot::TrustBundle;

/// The certificates of the bundle that can be read; what the loader would skip is said.
pub(super) fn read(scene: &Scene<'_>, found: &mut Found) -> Vec<Seen> {
    let file = path_of(&scene.set.files.bundle);
    seen(scene.options.now, &certificates(scene), file, found)
}

/// Everything that there is to say of the certificates of a bundle, one by one.
pub(super) fn each(
    now: Timestamp,
    certificates: &[CertificateDer<'static>],
    file: &Path,
    found: &mut Found,
) {
    let all = seen(now, certificates, file, found);
    anchors(now, &all, file, found);
}

fn seen(
    now: Timestamp,
    certificates: &[CertificateDer<'static>],
    file: &Path,
    found: &mut Found,
) -> Vec<Seen> {
    let mut all = Vec::new();
    for (block, der) in (1..).zip(certificates) {
        let place = || CheckPlace::block(file, block);
        if let Some(fault) = skipped(now, der) {
            let rule = load::of_anchor_fault(&fault);
            found.add(Finding::new(rule, place(), fault.to_string()).remedy(fault.remedy()));
        }
        all.extend(Seen::read(block, der).ok());
    }
    all
}

fn certificates(scene: &Scene<'_>) -> Vec<CertificateDer<'static>> {
    // Whatever keeps it from being decoded has been said of the file.
    let content = scene.set.files.bundle.as_ref();
    content
        .ok()
        .and_then(|content| files::bundle(content).ok())
        .unwrap_or_default()
}

/// Why the loader would skip this certificate, by the loader.
fn skipped(now: Timestamp, der: &CertificateDer<'static>) -> Option<AnchorFault> {
    let one = vec![der.clone()];
    match TrustBundle::new(None, one, "".into(), now) {
        Ok(bundle) => bundle.skipped().first().cloned(),
        Err(LoadError::AnchorsUnusable { first, .. }) => Some(first),
        Err(_) => None,
    }
}

pub(super) fn check(scene: &Scene<'_>, found: &mut Found) {
    let file = path_of(&scene.set.files.bundle);
    let certificates = certificates(scene);
    if certificates.is_empty() {
        return;
    }
    match TrustBundle::new(None, certificates, file.to_owned(), scene.options.now) {
        Err(error) => found.add(load::finding(&error, file)),
        Ok(bundle) if bundle.hints().is_empty() => {
            let count = bundle.anchors().len();
            let text = format!("the names of {count} CAs take more than 8 KiB");
            let place = CheckPlace::file(file);
            found.add(Finding::new(CheckRule::HintsLarge, place, text));
        }
        Ok(_) => {}
    }
    anchors(scene.options.now, &scene.bundle, file, found);
}

fn anchors(now: Timestamp, all: &[Seen], file: &Path, found: &mut Found) {
    for (index, seen) in all.iter().enumerate() {
        let before = all.get(..index).unwrap_or_default();
        anchor(now, seen, before, file, found);
    }
}

fn anchor(now: Timestamp, seen: &Seen, before: &[Seen], file: &Path, found: &mut Found) {
    if !seen.cert.is_ca {
        return;
    }
    let place = || CheckPlace::block(file, seen.block);
    let name = seen.name();
    time::check_anchor(now, seen, place(), found);
    issuers::spiffe_id(seen, place(), found);
    if !seen.cert.is_self_issued() {
        let text = format!("`{name}` was issued by `{}`", seen.cert.issuer);
        found.add(Finding::new(CheckRule::BundleIntermediate, place(), text));
    }
    if let Some(copy) = before.iter().find(|other| other.der == seen.der) {
        let text = format!("`{name}` stands in block {} too", copy.block);
        found.add(Finding::new(CheckRule::BundleDuplicate, place(), text));
    }
    let other_key = |other: &&Seen| {
        other.cert.subject == seen.cert.subject && other.cert.spki != seen.cert.spki
    };
    if let Some(other) = before.iter().find(other_key) {
        let text = format!("`{name}` has another key than block {} has", other.block);
        found.add(Finding::new(CheckRule::BundleSameName, place(), text));
    }
    if is_public(seen.cert.subject.text()) {
        let text = format!("`{name}` has the name of a public CA");
        found.add(Finding::new(CheckRule::BundlePublic, place(), text));
    }
}

/// By name: whoever trusts one that only calls itself so should know too.
fn is_public(subject: &str) -> bool {
    PUBLIC.iter().any(|name| {
        subject
            .split(", ")
            .any(|part| part.strip_prefix("CN=").or(part.strip_prefix("O=")) == Some(name))
    })
}

/// Common names of public roots that hold the most certificates, and organizations that run several. A whole store, which
/// is what gets into a bundle by mistake, has nearly all of them; one is enough.
const PUBLIC: [&str; 30] = [
    "AAA Certificate Services",
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Baltimore CyberTrust Root",
    "COMODO ECC Certification Authority",
    "COMODO RSA Certification Authority",
    "Certum Trusted Network CA",
    "DigiCert Global Root CA",
    "DigiCert Global Root G2",
    "DigiCert Global Root G3",
    "DigiCert High Assurance EV Root CA",
    "DigiCert Trusted Root G4",
    "Entrust Root Certification Authority - G2",
    "GTS Root R1",
    "GTS Root R2",
    "GTS Root R3",
    "GTS Root R4",
    "GlobalSign Root CA",
    "Go Daddy Root Certificate Authority - G2",
    "ISRG Root X1",
    "ISRG Root X2",
    "Internet Security Research Group",
    "Microsoft RSA Root Certificate Authority 2017",
    "QuoVadis Root CA 2 G3",
    "SSL.com Root Certification Authority RSA",
    "Starfield Root Certificate Authority - G2",
    "USERTrust ECC Certification Authority",
    "USERTrust RSA Certification Authority",
];
