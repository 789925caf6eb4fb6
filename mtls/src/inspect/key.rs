//! A key: its kind, and the fingerprint of its public half. Nothing of its private half is kept.

use mtls_core::rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::shown::{Item, sha256};
use crate::provider;

/// A public key.
#[derive(Debug)]
pub(super) struct Public {
    pub(super) kind: String,
    pub(super) sha256: String,
}

pub(super) fn of_public(info: &SubjectPublicKeyInfo<'_>) -> Public {
    Public {
        kind: kind(info),
        sha256: sha256(info.raw),
    }
}

pub(super) fn is_der(bytes: &[u8]) -> bool {
    PrivateKeyDer::try_from(bytes).is_ok()
}

/// What a provider makes of it; one that it does not support is named as such.
pub(super) fn item(der: &[u8]) -> Item {
    let item = Item::new("private key");
    let signer = PrivateKeyDer::try_from(der).ok().and_then(|key| {
        provider()?
            .key_provider
            .load_private_key(key.clone_key())
            .ok()
    });
    let public = signer.as_ref().and_then(|signer| signer.public_key());
    let parsed = public.as_ref().and_then(|public| {
        let (_, info) = SubjectPublicKeyInfo::from_der(public).ok()?;
        Some(of_public(&info))
    });
    match parsed {
        Some(public) => {
            let mut item = item
                .with("key", public.kind)
                .with("public_key_sha256", public.sha256.clone());
            item.public_key = Some(public.sha256);
            item
        }
        None => item
            .with("key", "of a kind that is not supported, or damaged")
            .with("public_key_sha256", Value::Null),
    }
}

pub(super) fn encrypted() -> Item {
    Item::new("private key")
        .with(
            "key",
            "encrypted: decrypt it by `openssl pkcs8 -topk8 -nocrypt -in FILE`",
        )
        .with("public_key_sha256", Value::Null)
}

/// A public key by itself.
pub(super) fn public(der: &[u8]) -> Item {
    let mut item = Item::new("public key");
    if let Ok((_, info)) = SubjectPublicKeyInfo::from_der(der) {
        let public = of_public(&info);
        item = item
            .with("key", public.kind)
            .with("public_key_sha256", public.sha256.clone());
        item.public_key = Some(public.sha256);
    }
    item
}

fn kind(info: &SubjectPublicKeyInfo<'_>) -> String {
    let algorithm = info.algorithm.algorithm.to_id_string();
    if let Some((_, name)) = BY_ALGORITHM.iter().find(|(oid, _)| *oid == algorithm) {
        return (*name).to_owned();
    }
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok())
        .map(|oid| oid.to_id_string());
    let named = |curve: &str| CURVES.iter().find(|(oid, _)| *oid == curve);
    match (info.parsed(), curve) {
        (Ok(PublicKey::RSA(key)), _) => format!("RSA {}", key.key_size()),
        (Ok(PublicKey::EC(_)), Some(curve)) => match named(&curve) {
            Some((_, name)) => format!("ECDSA {name}"),
            None => format!("ECDSA on the curve {curve}"),
        },
        _ => format!("of the algorithm {algorithm}"),
    }
}

/// RFC 8410.
const BY_ALGORITHM: &[(&str, &str)] = &[("1.3.101.112", "Ed25519"), ("1.3.101.113", "Ed448")];

/// RFC 5480 §2.1.1.1.
const CURVES: &[(&str, &str)] = &[
    ("1.2.840.10045.3.1.7", "P-256"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.3.132.0.34", "P-384"),
    ("1.3.132.0.35", "P-521"),
];
