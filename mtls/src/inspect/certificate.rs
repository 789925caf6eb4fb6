//! A certificate.

use std::net::IpAddr;

use mtls_core::Timestamp;
use serde_json::json;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::key;
use super::shown::{Item, hex, sha256};

pub(super) fn item(der: &[u8], certificate: &X509Certificate<'_>, now: Timestamp) -> Item {
    let validity = certificate.validity();
    let not_before = Timestamp::from_unix(validity.not_before.timestamp());
    let not_after = Timestamp::from_unix(validity.not_after.timestamp());
    let (names, spiffe_ids) = names(certificate);
    let public = key::of_public(certificate.public_key());
    let mut item = Item::new("certificate")
        .with("subject", certificate.subject().to_string())
        .with("spiffe_id", spiffe_ids)
        .with("names", names)
        .with("issuer", certificate.issuer().to_string())
        .with("serial", serial(certificate))
        .with("not_before", not_before.to_string())
        .with("not_after", not_after.to_string())
        .with("left", left(not_before, not_after, now))
        .with("left_percent", percent(not_before, not_after, now))
        .with("usages", usages(certificate))
        .with("ca", ca(certificate))
        .with("key", public.kind)
        .with("public_key_sha256", public.sha256.clone())
        .with("subject_key_id", key_id(certificate, Whose::Subject))
        .with("authority_key_id", key_id(certificate, Whose::Authority))
        .with("sha256", sha256(der));
    item.public_key = Some(public.sha256);
    item
}

/// Whole bytes in lowercase hex, without leading zero bytes.
fn serial(certificate: &X509Certificate<'_>) -> String {
    let raw = certificate.raw_serial();
    let start = raw.iter().position(|byte| *byte != 0);
    hex(raw.get(start.unwrap_or(raw.len())..).unwrap_or_default())
}

/// All names with their kind, and the SPIFFE IDs among them.
fn names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<String>) {
    let (mut names, mut ids) = (Vec::new(), Vec::new());
    let extension = certificate.subject_alternative_name().ok().flatten();
    for name in extension.iter().flat_map(|san| &san.value.general_names) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "an open list of another crate"
        )]
        match name {
            GeneralName::DNSName(name) => names.push(format!("DNS {name}")),
            GeneralName::URI(uri) => {
                names.push(format!("URI {uri}"));
                if uri.starts_with("spiffe://") {
                    ids.push((*uri).to_owned());
                }
            }
            GeneralName::IPAddress(bytes) => names.push(address(bytes)),
            GeneralName::RFC822Name(mail) => names.push(format!("email {mail}")),
            _ => names.push("of another kind".to_owned()),
        }
    }
    (names, ids)
}

fn address(bytes: &[u8]) -> String {
    let four: Result<[u8; 4], _> = bytes.try_into();
    let sixteen: Result<[u8; 16], _> = bytes.try_into();
    match (four, sixteen) {
        (Ok(bytes), _) => format!("IP {}", IpAddr::from(bytes)),
        (_, Ok(bytes)) => format!("IP {}", IpAddr::from(bytes)),
        _ => format!("IP of {} bytes", bytes.len()),
    }
}

fn usages(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut usages = Vec::new();
    if let Ok(Some(usage)) = certificate.key_usage() {
        usages.extend(usage.value.to_string().split(", ").map(ToOwned::to_owned));
    }
    if let Ok(Some(extended)) = certificate.extended_key_usage() {
        let usage = extended.value;
        for (is_set, name) in [
            (usage.any, "any"),
            (usage.server_auth, "serverAuth"),
            (usage.client_auth, "clientAuth"),
            (usage.code_signing, "codeSigning"),
            (usage.email_protection, "emailProtection"),
            (usage.time_stamping, "timeStamping"),
            (usage.ocsp_signing, "OCSPSigning"),
        ] {
            if is_set {
                usages.push(name.to_owned());
            }
        }
        usages.extend(usage.other.iter().map(ToString::to_string));
    }
    usages
}

fn ca(certificate: &X509Certificate<'_>) -> serde_json::Value {
    let constraints = certificate.basic_constraints().ok().flatten();
    match constraints {
        Some(found) if found.value.ca => match found.value.path_len_constraint {
            Some(most) => json!(format!("yes, path length {most}")),
            None => json!("yes"),
        },
        Some(_) | None => json!("no"),
    }
}

#[derive(Clone, Copy)]
enum Whose {
    Subject,
    Authority,
}

fn key_id(certificate: &X509Certificate<'_>, whose: Whose) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        match (extension.parsed_extension(), whose) {
            (ParsedExtension::SubjectKeyIdentifier(id), Whose::Subject) => Some(hex(id.0)),
            (ParsedExtension::AuthorityKeyIdentifier(id), Whose::Authority) => {
                id.key_identifier.as_ref().map(|id| hex(id.0))
            }
            _ => None,
        }
    })
}

/// How much of its life a certificate has left, in whole percent.
pub(super) fn percent(from: Timestamp, to: Timestamp, now: Timestamp) -> i64 {
    let life = to.as_unix().saturating_sub(from.as_unix()).max(1);
    let rest = to.as_unix().saturating_sub(now.as_unix()).clamp(0, life);
    rest.saturating_mul(100) / life
}

/// The same in words.
pub(super) fn left(from: Timestamp, to: Timestamp, now: Timestamp) -> String {
    let seconds = to.as_unix().saturating_sub(now.as_unix());
    if now < from {
        return "not valid yet".to_owned();
    }
    match seconds {
        ..0 => format!("expired {} ago", span(-seconds)),
        _ => format!(
            "{}, {} % of its life",
            span(seconds),
            percent(from, to, now)
        ),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
