//! SPIFFE bundles and bundle maps in JSON (SPIFFE Trust Domain and Bundle §4, Federation §5.2.3).
//!
//! Read into a tree first, so that a refusal can say where in the document something else stands than expected, and so
//! that no object has a key twice: of two bundles for one domain, which counts would depend on who reads.

use std::fmt;

use rustls_pki_types::CertificateDer;
use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::sniff::{self, Binary};
use super::{armor, read::FileContent};
use crate::identity::TrustDomain;

/// What is taken from a SPIFFE bundle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SpiffeBundle {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) sequence: Option<u64>,
    /// In seconds.
    pub(crate) refresh_hint: Option<u64>,
}

/// Why a document is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonFault {
    /// A key with its private part, which a bundle hands around.
    PrivateKey,
    Unexpected {
        /// Where: `keys[2].x5c[0]`, or a line and a column.
        at: String,
        found: String,
        expected: &'static str,
    },
}

/// Reads one bundle.
pub(crate) fn parse_bundle(bytes: &[u8]) -> Result<SpiffeBundle, JsonFault> {
    bundle(&parse(bytes)?, &At::Root)
}

/// Reads a bundle map. One bad bundle refuses it as a whole.
pub(crate) fn parse_map(bytes: &[u8]) -> Result<Vec<(TrustDomain, SpiffeBundle)>, JsonFault> {
    let document = parse(bytes)?;
    let domains = document.required("trust_domains", &At::Root)?;
    let at = At::Root.key("trust_domains");
    let bundles = domains.object(&at)?.iter().map(|(name, value)| {
        let at = at.entry(name);
        let domain = name.parse::<TrustDomain>().ok();
        // A whole SPIFFE ID would do as a name for `parse`, and be a second key for the same domain.
        match domain.filter(|domain| domain.as_str() == name) {
            Some(domain) => Ok((domain, bundle(value, &at)?)),
            None => Err(at.unexpected("another key".to_owned(), "a trust domain's bare name")),
        }
    });
    bundles.collect()
}

/// What of a bundle or a bundle map says nothing to us nor, by the standard, to anybody else; none if it is neither.
pub(crate) fn passed_over(bytes: &[u8]) -> Vec<String> {
    let Ok(document) = parse(bytes) else {
        return Vec::new();
    };
    let mut over = PassedOver(Vec::new());
    match document.get("trust_domains") {
        None => over.bundle(&document, &At::Root),
        Some(domains) => {
            over.unknown(&document, &["trust_domains"], &At::Root);
            let at = At::Root.key("trust_domains");
            for (name, value) in domains.object(&at).unwrap_or_default() {
                over.bundle(value, &at.entry(name));
            }
        }
    }
    over.0
}

struct PassedOver(Vec<String>);

impl PassedOver {
    fn bundle(&mut self, bundle: &Json, at: &At<'_>) {
        self.unknown(bundle, &BUNDLE_KEYS, at);
        let at = at.key("keys");
        let keys = bundle.get("keys").map(|keys| keys.array(&at));
        let keys = keys.and_then(Result::ok).unwrap_or_default();
        for (index, entry) in keys.iter().enumerate() {
            let at = at.index(index);
            if let Some(why) = passes_over(entry) {
                self.0.push(format!("`{at}` {why}"));
            }
        }
    }

    fn unknown(&mut self, object: &Json, known: &[&str], at: &At<'_>) {
        let Json::Object(entries) = object else {
            return;
        };
        for (name, _) in entries {
            if !known.contains(&name.as_str()) {
                let name: String = name.chars().take(MAX_NAME).collect();
                self.0.push(format!("{at} has the key {name:?}"));
            }
        }
    }
}

/// Why this key brings no certificate, where it may have been meant to.
fn passes_over(entry: &Json) -> Option<String> {
    let text = |name| match entry.get(name) {
        Some(Json::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let shown = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
    match (text("kty"), text("use")) {
        (_, None) => Some("has no `use`".to_owned()),
        // For tokens, which are none of ours.
        (_, Some("jwt-svid")) => None,
        (_, Some(purpose)) if purpose != "x509-svid" => {
            Some(format!("has the `use` {:?}", shown(purpose)))
        }
        (Some("EC" | "OKP" | "RSA"), _) => {
            let chain = match entry.get("x5c") {
                Some(Json::Array(chain)) => chain.len(),
                _ => 0,
            };
            (chain == 0).then(|| "has no certificate (`x5c`)".to_owned())
        }
        (None, _) => Some("has no `kty`".to_owned()),
        (Some(kind), _) => Some(format!("has the `kty` {:?}", shown(kind))),
    }
}

fn bundle(value: &Json, at: &At<'_>) -> Result<SpiffeBundle, JsonFault> {
    let keys = value.required("keys", at)?;
    let at_keys = at.key("keys");
    let mut certificates = Vec::new();
    for (index, entry) in keys.array(&at_keys)?.iter().enumerate() {
        certificates.extend(certificate(entry, &at_keys.index(index))?);
    }
    Ok(SpiffeBundle {
        certificates,
        sequence: value.number("spiffe_sequence", at)?,
        refresh_hint: value.number("spiffe_refresh_hint", at)?,
    })
}

/// The certificate of a key, if it is one for X509-SVIDs. What SPIFFE says to pass over is passed over: an unknown or
/// absent `use` or `kty` (§4.2.2), and a key without a certificate. So are its other parameters; a `kid`, which it
/// should not have, says nothing.
fn certificate(entry: &Json, at: &At<'_>) -> Result<Option<CertificateDer<'static>>, JsonFault> {
    entry.object(at)?;
    let known = matches!(entry.text("kty", at)?, Some("EC" | "OKP" | "RSA"));
    if known && entry.get("d").is_some() {
        return Err(JsonFault::PrivateKey);
    }
    if !known || entry.text("use", at)? != Some("x509-svid") {
        return Ok(None);
    }
    let Some(chain) = entry.get("x5c") else {
        return Ok(None);
    };
    let at = at.key("x5c");
    // Only the first: the others would be its issuers (RFC 7517 §4.7), and no anchors.
    let Some(first) = chain.array(&at)?.first() else {
        return Ok(None);
    };
    let at = at.index(0);
    let Json::Text(text) = first else {
        return Err(at.unexpected(first.kind().to_owned(), "a certificate in base64"));
    };
    let der = decode(text).filter(|der| sniff::binary(der) == Some(Binary::Certificate));
    match der {
        Some(der) => Ok(Some(der.into())),
        None => Err(at.unexpected("other text".to_owned(), "a certificate's DER in base64")),
    }
}

/// RFC 7517 §4.7: base64 with padding, not base64url. Decoded as the body of a PEM block is.
fn decode(text: &str) -> Option<Vec<u8>> {
    let symbol = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if text.is_empty() || !text.bytes().all(symbol) {
        return None;
    }
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let file = FileContent::of_bytes(pem.into_bytes());
    let blocks = armor::blocks(&file).ok()?;
    let mut der = blocks.first()?.decode(&file).ok()?;
    Some(std::mem::take(&mut *der))
}

fn parse(bytes: &[u8]) -> Result<Json, JsonFault> {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|error| JsonFault::Unexpected {
        at: format!("line {}, column {}", error.line(), error.column()),
        found: match error.classify() {
            serde_json::error::Category::Eof => "the end of the file".to_owned(),
            // Ours: the parser asks for nothing in particular.
            serde_json::error::Category::Data => "a key for the second time".to_owned(),
            serde_json::error::Category::Io | serde_json::error::Category::Syntax => {
                "something else".to_owned()
            }
        },
        expected: match error.classify() {
            serde_json::error::Category::Data => "each key of an object once",
            serde_json::error::Category::Eof
            | serde_json::error::Category::Io
            | serde_json::error::Category::Syntax => "well-formed JSON",
        },
    })
}

/// Where in a document.
enum At<'a> {
    Root,
    Key(&'a At<'a>, &'static str),
    Entry(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl<'a> At<'a> {
    fn key(&'a self, name: &'static str) -> Self {
        Self::Key(self, name)
    }

    fn entry(&'a self, name: &'a str) -> Self {
        Self::Entry(self, name)
    }

    fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    fn unexpected(&self, found: String, expected: &'static str) -> JsonFault {
        JsonFault::Unexpected {
            at: self.to_string(),
            found,
            expected,
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("its top"),
            Self::Key(Self::Root, name) => f.write_str(name),
            Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            // A stranger's text, escaped and cut to what a name may be.
            Self::Entry(parent, name) => {
                let name: String = name.chars().take(MAX_NAME).collect();
                write!(f, "{parent}[{name:?}]")
            }
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Any JSON, with the keys of each object unique and in their order.
enum Json {
    Null,
    Bool,
    /// A whole number from 0.
    Number(u64),
    OtherNumber,
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number(_) => "a number",
            Self::OtherNumber => "a number that is negative, broken or too large",
            Self::Text(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    fn object(&self, at: &At<'_>) -> Result<&[(String, Self)], JsonFault> {
        let Self::Object(entries) = self else {
            return Err(at.unexpected(self.kind().to_owned(), "an object"));
        };
        Ok(entries)
    }

    fn array(&self, at: &At<'_>) -> Result<&[Self], JsonFault> {
        let Self::Array(values) = self else {
            return Err(at.unexpected(self.kind().to_owned(), "an array"));
        };
        Ok(values)
    }

    fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else {
            return None;
        };
        let entry = entries.iter().find(|(name, _)| name == key);
        entry.map(|(_, value)| value)
    }

    fn required(&self, key: &'static str, at: &At<'_>) -> Result<&Self, JsonFault> {
        self.object(at)?;
        let missing = || at.key(key).unexpected("nothing".to_owned(), "a value");
        self.get(key).ok_or_else(missing)
    }

    fn text(&self, key: &'static str, at: &At<'_>) -> Result<Option<&str>, JsonFault> {
        match self.get(key) {
            None => Ok(None),
            Some(Self::Text(text)) => Ok(Some(text)),
            Some(other) => Err(at.key(key).unexpected(other.kind().to_owned(), "a string")),
        }
    }

    fn number(&self, key: &'static str, at: &At<'_>) -> Result<Option<u64>, JsonFault> {
        match self.get(key) {
            None => Ok(None),
            Some(Self::Number(number)) => Ok(Some(*number)),
            Some(other) => {
                let found = other.kind().to_owned();
                Err(at.key(key).unexpected(found, "a whole number from 0"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        let mut keys = std::collections::HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom("a key is there twice"));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Json::Object(entries))
    }
}

/// SPIFFE Trust Domain and Bundle §4.1.
const BUNDLE_KEYS: [&str; 3] = ["keys", "spiffe_sequence", "spiffe_refresh_hint"];

/// SPIFFE-ID §2.3: the longest trust domain.
const MAX_NAME: usize = 255;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
