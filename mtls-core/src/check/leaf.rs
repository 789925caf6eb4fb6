//! The leaf: what it may be used for, and whom it names.

use rustls_pki_types::ServerName;
use webpki::EndEntityCert;

use super::chain::Path;
use super::facts::{Purposes, Seen};
use super::finding::{Finding, Found};
use super::load;
use super::rule::CheckRule;
use super::run::Scene;
use super::who::TlsStack;
use crate::identity::{IssuanceFinding, profile};
use crate::verify::{ChainFault, Role};

pub(super) fn check(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    let leaf = path.leaf;
    let place = || scene.in_chain(leaf);
    if leaf.is_v1() {
        // It has no extensions, and so neither names nor usages that could be right.
        let text = format!("`{}` is of version {}", leaf.name(), leaf.facts.version);
        found.add(Finding::new(CheckRule::CertV1, place(), text));
        return;
    }
    if leaf.cert.is_self_issued() {
        let text = format!("`{}` is its own issuer", leaf.name());
        found.add(Finding::new(CheckRule::LeafSelfSigned, place(), text));
    }
    purposes(scene, path, found);
    authority(scene, leaf, found);
    names(scene, leaf, found);
    interop(scene, leaf, found);
    if leaf
        .cert
        .key_usage
        .is_some_and(|usage| !usage.digital_signature)
    {
        let text = format!("the keyUsage of `{}` has no digitalSignature", leaf.name());
        found.add(Finding::new(CheckRule::KuDigitalSignature, place(), text));
    }
}

/// ExtendedKeyUsage of the leaf and of each intermediate: where it is present, it restricts what is below it.
fn purposes(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    for seen in path.certificates() {
        let Some(purposes) = seen.facts.purposes else {
            continue;
        };
        let place = scene.in_chain(seen);
        let name = seen.name();
        let Purposes {
            any,
            server,
            client,
        } = purposes;
        if !server && !client {
            let (rule, text) = match any {
                true => (
                    CheckRule::EkuAny,
                    format!("the extended key usage of `{name}` is `any` alone"),
                ),
                false => (
                    CheckRule::EkuNoRole,
                    format!("`{name}` has an extended key usage without clientAuth and serverAuth"),
                ),
            };
            found.add(Finding::new(rule, place, text));
            continue;
        }
        for role in scene.options.role.roles() {
            let (has, missing) = match role {
                Role::Server => (server, "serverAuth"),
                Role::Client => (client, "clientAuth"),
            };
            if !has {
                let text = format!(
                    "`{name}` has an extended key usage without {missing}, so that it cannot be used by a {role}"
                );
                found.add(Finding::new(CheckRule::EkuMissingRole, place.clone(), text));
            }
        }
    }
}

/// A leaf that could act as a CA.
fn authority(scene: &Scene<'_>, leaf: &Seen, found: &mut Found) {
    let detail = if leaf.cert.is_ca {
        Some("basicConstraints says CA:TRUE".to_owned())
    } else {
        match profile::spiffe_id(&leaf.cert) {
            Err(ChainFault::NotEndEntity { detail }) => Some(detail),
            Err(_) | Ok(_) => None,
        }
    };
    let place = scene.in_chain(leaf);
    if let Some(detail) = detail {
        let text = format!("`{}` is presented as a leaf, and {detail}", leaf.name());
        found.add(Finding::new(CheckRule::LeafIsCa, place, text));
    } else if leaf.cert.key_usage.is_some_and(|usage| usage.key_cert_sign) {
        let text = format!("the keyUsage of `{}` has keyCertSign", leaf.name());
        found.add(Finding::new(CheckRule::LeafMaySign, place, text));
    }
}

fn names(scene: &Scene<'_>, leaf: &Seen, found: &mut Found) {
    let place = || scene.in_chain(leaf);
    let names = &leaf.cert.names;
    // By the function that judges peers, and leaves of ours when they are loaded.
    if let Err(fault) = profile::spiffe_id_of(&names.uris) {
        let text = fault.to_string();
        found.add(Finding::new(load::of_chain_fault(&fault), place(), text).remedy(fault.remedy()));
    }
    if names.uris.is_empty() && names.dns.is_empty() && names.ips.is_empty() {
        let text = match leaf.cert.subject.common_name() {
            Some(name) => format!("no SAN, only the common name `{name}`"),
            None => "no SAN and no common name".to_owned(),
        };
        found.add(Finding::new(CheckRule::SanMissing, place(), text));
    }
    let Some(wanted) = &scene.options.server_name else {
        return;
    };
    if !scene.options.role.roles().contains(&Role::Server) {
        return;
    }
    let text = match ServerName::try_from(wanted.as_str()) {
        Err(_) => format!("`{wanted}` is neither a DNS name nor an IP address"),
        Ok(name) => {
            let read = EndEntityCert::try_from(&leaf.der);
            match read.map(|leaf| leaf.verify_is_valid_for_subject_name(&name)) {
                Ok(Err(_)) => match nearest(leaf, wanted) {
                    Some(why) => format!("`{wanted}` is not among {}; {why}", listed(leaf)),
                    None => format!("`{wanted}` is not among {}", listed(leaf)),
                },
                Ok(Ok(())) | Err(_) => return,
            }
        }
    };
    found.add(Finding::new(CheckRule::SanServerName, place(), text));
}

fn listed(leaf: &Seen) -> String {
    let names = &leaf.cert.names;
    let dns = names.dns.iter().cloned();
    let ips = names.ips.iter().map(ToString::to_string);
    let all: Vec<_> = dns.chain(ips).collect();
    match all.len() {
        0 => "its SANs, which are no DNS names and no IP addresses".to_owned(),
        _ => format!("its SANs `{}`", all.join("`, `")),
    }
}

/// A SAN that looks as if it should have matched, and why it does not.
fn nearest(leaf: &Seen, wanted: &str) -> Option<&'static str> {
    let wanted = wanted.to_ascii_lowercase();
    let dns = &leaf.cert.names.dns;
    if dns.contains(&wanted) {
        return Some("an IP address has to be an IP SAN, and this is a DNS SAN");
    }
    if dns
        .iter()
        .any(|name| name.strip_suffix('.') == Some(&wanted))
    {
        return Some("a SAN ends in a dot, which no name that is dialled has");
    }
    let parent = wanted.split_once('.').map(|(_, parent)| parent);
    let wildcard = |name: &String| {
        let below = name.strip_prefix("*.")?;
        (parent != Some(below) && wanted.ends_with(below)).then_some(())
    };
    if dns.iter().any(|name| wildcard(name).is_some()) {
        return Some("a wildcard stands for one label");
    }
    let bare = |name: &String| name.strip_prefix("*.") == parent && parent.is_some();
    dns.iter()
        .any(bare)
        .then_some("a wildcard needs two labels to its right")
}

fn interop(scene: &Scene<'_>, leaf: &Seen, found: &mut Found) {
    if !scene.options.peers.contains(&TlsStack::Java) {
        return;
    }
    let (algorithm, curve) = &leaf.facts.key;
    let kind = match (algorithm.as_str(), curve.as_deref()) {
        ("1.3.101.112", _) => "Ed25519",
        ("1.3.101.113", _) => "Ed448",
        ("1.2.840.113549.1.1.10", _) => "RSA-PSS",
        (_, Some("1.3.132.0.35")) => "P-521",
        _ => return,
    };
    let text = format!(
        "the key of `{}` is {kind}, which not every Java takes",
        leaf.name()
    );
    found.add(Finding::new(
        CheckRule::KeyInterop,
        scene.in_chain(leaf),
        text,
    ));
}

/// What the loader tells of an X509-SVID in its status.
pub(super) fn check_profile(
    scene: &Scene<'_>,
    path: &Path<'_>,
    issuance: &[IssuanceFinding],
    found: &mut Found,
) {
    for finding in issuance {
        match finding {
            // Said of every leaf, and of the roles that are asked for.
            IssuanceFinding::NoDigitalSignature | IssuanceFinding::OnePurpose => {}
            IssuanceFinding::NoKeyUsage
            | IssuanceFinding::KeyUsageNotCritical
            | IssuanceFinding::SanNotCritical => {
                let place = scene.in_chain(path.leaf);
                let told = Finding::new(CheckRule::SvidProfile, place, finding.to_string());
                found.add(told.remedy(finding.remedy()));
            }
        }
    }
}
