//! What bytes hold, by trying.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mtls_core::check::{CheckOptions, CheckSet, check};
use mtls_core::{PolicyDocument, Timestamp};
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::shown::Item;
use super::{certificate, key, list};

/// What a file holds, and what is wrong if that is nothing.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) items: Vec<Item>,
    pub(super) problems: Vec<Problem>,
}

/// Why something cannot be used, and what to do.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) rule: Option<&'static str>,
    pub(super) found: String,
    pub(super) remedy: String,
}

impl Contents {
    pub(super) fn is_usable(&self) -> bool {
        !self.items.is_empty() && self.problems.is_empty()
    }

    fn add(&mut self, item: Item) {
        let before = self.items.iter().filter(|other| other.kind == item.kind);
        let number = before.count() + 1;
        self.items.push(Item { number, ..item });
    }

    fn cannot(&mut self, found: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem {
            rule: None,
            found: found.into(),
            remedy: remedy.into(),
        });
    }

    fn certificate(&mut self, der: &[u8], now: Timestamp) {
        match X509Certificate::from_der(der) {
            Ok((_, parsed)) => self.add(certificate::item(der, &parsed, now)),
            Err(error) => self.cannot(
                format!("a certificate that cannot be decoded: {error}"),
                "issue it anew",
            ),
        }
    }
}

pub(super) fn of(name: &str, bytes: &[u8], now: Timestamp) -> Contents {
    let mut contents = Contents::default();
    for block in Pem::iter_from_buffer(bytes) {
        match block {
            Ok(block) => pem(&block, bytes, now, &mut contents),
            Err(_) if is_encrypted(bytes) => {
                contents.add(key::encrypted());
                break;
            }
            // What is wrong with it, the loader's own reading says below.
            Err(_) => break,
        }
    }
    if contents.items.is_empty() {
        der(bytes, now, &mut contents);
    }
    if contents.items.is_empty() {
        json(bytes, now, &mut contents);
    }
    if contents.items.is_empty() {
        policy(name, bytes, &mut contents);
    }
    if contents.items.is_empty() && contents.problems.is_empty() {
        unusable(name, bytes, now, &mut contents);
    }
    contents
}

fn pem(block: &Pem, file: &[u8], now: Timestamp, contents: &mut Contents) {
    let der = &block.contents;
    match block.label.as_str() {
        "CERTIFICATE" => contents.certificate(der, now),
        "X509 CRL" => crl(der, now, contents),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => request(der, contents),
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if is_encrypted(file) => {
            contents.add(key::encrypted());
        }
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => contents.add(key::item(der)),
        "ENCRYPTED PRIVATE KEY" => contents.add(key::encrypted()),
        "EC PARAMETERS" => {}
        "PUBLIC KEY" => contents.add(key::public(der)),
        label => {
            let label = super::shown::harmless(label);
            contents.cannot(
                format!("a block `{label}`, which no TLS stack here reads"),
                "export it anew, as `CERTIFICATE`, `PRIVATE KEY` or `X509 CRL`",
            );
        }
    }
}

/// The header of the traditional way to encrypt a key; what follows is no key until it is decrypted.
fn is_encrypted(file: &[u8]) -> bool {
    String::from_utf8_lossy(file).contains("Proc-Type: 4,ENCRYPTED")
}

fn der(bytes: &[u8], now: Timestamp, contents: &mut Contents) {
    if let Ok((rest, parsed)) = X509Certificate::from_der(bytes) {
        if rest.is_empty() {
            contents.add(certificate::item(bytes, &parsed, now).with("encoding", "DER"));
        }
    } else if CertificateRevocationList::from_der(bytes).is_ok() {
        crl(bytes, now, contents);
    } else if key::is_der(bytes) {
        contents.add(key::item(bytes).with("encoding", "DER"));
    }
}

fn crl(der: &[u8], now: Timestamp, contents: &mut Contents) {
    match CertificateRevocationList::from_der(der) {
        Ok((_, parsed)) => contents.add(list::item(&parsed, now)),
        Err(error) => contents.cannot(
            format!("a revocation list that cannot be decoded: {error}"),
            "let the CA publish it anew",
        ),
    }
}

fn request(der: &[u8], contents: &mut Contents) {
    use x509_parser::certification_request::X509CertificationRequest;
    match X509CertificationRequest::from_der(der) {
        Ok((_, parsed)) => {
            let info = &parsed.certification_request_info;
            let public = key::of_public(&info.subject_pki);
            let mut item = Item::new("certificate request")
                .with("subject", info.subject.to_string())
                .with("key", public.kind)
                .with("public_key_sha256", public.sha256.clone());
            item.public_key = Some(public.sha256);
            contents.add(item);
        }
        Err(error) => contents.cannot(
            format!("a request that cannot be decoded: {error}"),
            "make it anew",
        ),
    }
}

/// A SPIFFE bundle, or a map of them: `x5c` in base64 (SPIFFE Trust Domain and Bundle §4).
fn json(bytes: &[u8], now: Timestamp, contents: &mut Contents) {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    if let Some(domains) = document.get("trust_domains").and_then(Value::as_object) {
        for (domain, bundle) in domains {
            spiffe(Some(domain), bundle, now, contents);
        }
    } else if document.get("keys").is_some_and(Value::is_array) {
        spiffe(None, &document, now, contents);
    }
}

fn spiffe(domain: Option<&str>, bundle: &Value, now: Timestamp, contents: &mut Contents) {
    let keys = bundle.get("keys").and_then(Value::as_array);
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    let text = |name: &str| bundle.get(name).cloned().unwrap_or(Value::Null);
    contents.add(
        Item::new("SPIFFE bundle")
            .with("trust_domain", domain)
            .with("keys", keys.len())
            .with("sequence", text("spiffe_sequence"))
            .with("refresh_hint_seconds", text("spiffe_refresh_hint")),
    );
    for entry in keys {
        if entry.get("d").is_some() {
            contents.cannot(
                "a key with its private part",
                "take it out, and replace the key: a bundle is handed around",
            );
        }
        let certificates = entry.get("x5c").and_then(Value::as_array);
        for text in certificates.into_iter().flatten().filter_map(Value::as_str) {
            match STANDARD.decode(text) {
                Ok(der) => contents.certificate(&der, now),
                Err(_) => contents.cannot("an `x5c` that is no base64", "fetch the bundle anew"),
            }
        }
    }
}

fn policy(name: &str, bytes: &[u8], contents: &mut Contents) {
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    let document = match is_json {
        true => PolicyDocument::from_json(bytes),
        false => PolicyDocument::from_toml(bytes),
    };
    match document {
        Ok(document) => {
            let text = document.to_string();
            let count = |header| text.lines().filter(|line| *line == header).count();
            let connections = document.access_policy().is_ok();
            let decides = if connections {
                "connections, or requests"
            } else {
                "requests"
            };
            contents.add(
                Item::new("policy")
                    .with("allow_rules", count("[[allow]]"))
                    .with("deny_rules", count("[[deny]]"))
                    .with("decides", decides),
            );
        }
        // Text that is no policy at all is not called a bad one.
        Err(error) if name.ends_with(".toml") => {
            contents.cannot(
                format!("a policy that does not hold: {error}"),
                error.remedy(),
            );
        }
        Err(_) => {}
    }
}

/// In the loader's own words.
fn unusable(name: &str, bytes: &[u8], now: Timestamp, contents: &mut Contents) {
    let set = CheckSet::of_bundle(name, bytes);
    let report = check(&set, &CheckOptions::new(now));
    for finding in report.iter().flat_map(|report| report.findings()) {
        // A bundle without certificates: that is what it is called for, not what it is.
        if finding.rule == mtls_core::check::CheckRule::BundleEmpty {
            continue;
        }
        contents.problems.push(Problem {
            rule: Some(finding.rule.as_str()),
            found: finding.found.clone(),
            remedy: finding.remedy.to_owned(),
        });
    }
    if contents.problems.is_empty() {
        contents.cannot(
            "nothing that is known here",
            "look at what wrote this file, and at its first bytes",
        );
    }
}
