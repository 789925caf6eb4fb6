//! Whoever issued: may it, does it say so, and with what does it sign.

use super::chain::Path;
use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found};
use super::rule::CheckRule;
use super::run::Scene;
use crate::identity::SpiffeId;
use crate::identity::certificate::hex;

pub(super) fn check(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    for (below, seen) in path.intermediates.iter().enumerate() {
        let place = scene.in_chain(seen);
        may_issue(seen, &place, found);
        path_length(seen, below, &place, found);
        spiffe_id(seen, place, found);
    }
    if let Some((_, anchor)) = path.pairs().nth(path.intermediates.len()) {
        let place = scene.in_bundle(anchor);
        path_length(anchor, path.intermediates.len(), &place, found);
        short_key(anchor, place, found);
    }
    for seen in path.certificates() {
        signature(scene, seen, found);
        critical(scene, seen, found);
    }
    for seen in &path.intermediates {
        short_key(seen, scene.in_chain(seen), found);
    }
    for (seen, issuer) in path.pairs() {
        key_ids(scene, seen, issuer, found);
    }
    uri_constraints(scene, path, found);
}

fn may_issue(seen: &Seen, place: &CheckPlace, found: &mut Found) {
    let name = seen.name();
    if seen.is_v1() {
        let text = format!("`{name}` is of version {}", seen.facts.version);
        found.add(Finding::new(CheckRule::CertV1, place.clone(), text));
    } else if !seen.cert.is_ca {
        let text = format!("`{name}` issued a certificate and has no basicConstraints CA:TRUE");
        found.add(Finding::new(CheckRule::BcMissing, place.clone(), text));
    } else if !seen.cert.may_sign_certificates() {
        let text = format!("`{name}` issued a certificate and has a keyUsage without keyCertSign");
        found.add(Finding::new(CheckRule::KuCertSign, place.clone(), text));
    }
}

fn path_length(seen: &Seen, below: usize, place: &CheckPlace, found: &mut Found) {
    let Some(limit) = seen.cert.path_len else {
        return;
    };
    if u32::try_from(below).unwrap_or(u32::MAX) > limit {
        let text = format!(
            "`{}` allows {limit} intermediates below itself, and there are {below}",
            seen.name()
        );
        found.add(Finding::new(CheckRule::Pathlen, place.clone(), text));
    }
}

/// X509-SVID §3.2: the SPIFFE ID of a signing certificate "MUST NOT have a path component".
pub(super) fn spiffe_id(seen: &Seen, place: CheckPlace, found: &mut Found) {
    for uri in &seen.cert.names.uris {
        let text = uri.to_string();
        let path = text.parse::<SpiffeId>().ok();
        if let Some(id) = path.filter(|id| !id.path().is_empty()) {
            let domain = id.trust_domain();
            let finding = Finding::new(
                CheckRule::SpiffeCaPath,
                place.clone(),
                format!("the CA `{}` has the SPIFFE ID `{id}`", seen.name()),
            );
            found.add(finding.expected(format!("`spiffe://{domain}`")));
        }
    }
}

/// The signature on the certificate, and so its issuer's choice. An anchor's own is looked at by nobody.
fn signature(scene: &Scene<'_>, seen: &Seen, found: &mut Found) {
    let algorithm = seen.facts.signature.as_str();
    if let Some((_, name)) = WEAK.iter().find(|(oid, _)| *oid == algorithm) {
        let text = format!("`{}` is signed with {name}", seen.name());
        found.add(Finding::new(CheckRule::SigWeak, scene.in_chain(seen), text));
    }
}

fn short_key(seen: &Seen, place: CheckPlace, found: &mut Found) {
    if let Some(bits) = seen.facts.rsa_bits.filter(|bits| *bits < MIN_RSA_BITS) {
        let text = format!("`{}` has an RSA key of {bits} bits", seen.name());
        found.add(Finding::new(CheckRule::SigWeak, place, text));
    }
}

fn critical(scene: &Scene<'_>, seen: &Seen, found: &mut Found) {
    if !seen.facts.unknown_critical.is_empty() {
        let text = format!(
            "`{}` has the critical extension {}",
            seen.name(),
            seen.facts.unknown_critical.join(", ")
        );
        found.add(Finding::new(
            CheckRule::CriticalUnknown,
            scene.in_chain(seen),
            text,
        ));
    }
}

/// RFC 5280 §4.2.1.1 and §4.2.1.2.
fn key_ids(scene: &Scene<'_>, seen: &Seen, issuer: &Seen, found: &mut Found) {
    if seen.is_v1() || issuer.is_v1() {
        return;
    }
    let text = match (&seen.facts.authority_key_id, &issuer.cert.subject_key_id) {
        (_, None) => format!(
            "its issuer `{}` has no subject key identifier",
            issuer.name()
        ),
        (None, Some(_)) => format!("`{}` has no authority key identifier", seen.name()),
        (Some(authority), Some(subject)) if authority != subject => format!(
            "`{}` names the key {} as its issuer's, and `{}` has {}",
            seen.name(),
            hex(authority),
            issuer.name(),
            hex(subject)
        ),
        (Some(_), Some(_)) => return,
    };
    found.add(Finding::new(CheckRule::SkiAki, scene.in_chain(seen), text));
}

/// webpki cannot evaluate a constraint on URIs, and refuses every URI below one.
fn uri_constraints(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    if path.leaf.cert.names.uris.is_empty() {
        return;
    }
    let mut constrains = path
        .intermediates
        .iter()
        .map(|seen| (seen, true))
        .chain(path.anchors.iter().map(|seen| (seen, false)));
    if let Some((seen, in_chain)) = constrains.find(|(seen, _)| seen.facts.constrains_uris) {
        let place = match in_chain {
            true => scene.in_chain(seen),
            false => scene.in_bundle(seen),
        };
        let text = format!("`{}` constrains URIs, and the leaf has one", seen.name());
        found.add(Finding::new(CheckRule::NameConstraint, place, text));
    }
}

/// Object identifiers of signatures by digests that can be forged.
const WEAK: [(&str, &str); 6] = [
    ("1.2.840.113549.1.1.2", "RSA and MD2"),
    ("1.2.840.113549.1.1.4", "RSA and MD5"),
    ("1.2.840.113549.1.1.5", "RSA and SHA-1"),
    ("1.3.14.3.2.29", "RSA and SHA-1"),
    ("1.2.840.10040.4.3", "DSA and SHA-1"),
    ("1.2.840.10045.4.1", "ECDSA and SHA-1"),
];
const MIN_RSA_BITS: usize = 2048;
