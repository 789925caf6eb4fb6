//! Kubernetes manifests: the Secrets and ConfigMaps in them, as the sets that they will be when they are mounted, and what the
//! rest says of how they will be issued and mounted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mtls_core::LoadError;
use mtls_core::check::CheckSet;
use zeroize::Zeroizing;

use super::declared;
use super::input::{Beside, Input, Subject};
use super::layouts::LAYOUTS;
use super::yaml::{self, Node};
use crate::Failure;

/// The sets in a manifest: the credentials of each Secret that has some, and each bundle of a ConfigMap.
pub(super) fn sets(file: &str, bytes: &[u8], beside: &Beside) -> Result<Vec<Input>, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("`{file}` is no text in UTF-8")))?;
    let documents = yaml::documents(text).map_err(|at| {
        let place = format!("line {}, column {}", at.line, at.column);
        Failure::new(format!("`{file}` is no YAML: {place}"))
    })?;
    let mut inputs = Vec::new();
    for document in &documents {
        collect(file, document, 0, beside, &mut inputs);
    }
    inputs.extend(declared::inputs(file, &documents, beside));
    Ok(inputs)
}

fn collect(file: &str, object: &Node, depth: usize, beside: &Beside, inputs: &mut Vec<Input>) {
    let kind = text_at(object, "kind").unwrap_or_default();
    match kind {
        "List" | "SecretList" | "ConfigMapList" if depth < MAX_DEPTH => {
            for item in object.get("items").map_or(&[][..], Node::items) {
                collect(file, item, depth + 1, beside, inputs);
            }
        }
        "Secret" => secret(&Entries::of(file, object, kind), beside, inputs),
        "ConfigMap" => config_map(&Entries::of(file, object, kind), inputs),
        _ => {}
    }
}

/// The entries of a Secret or a ConfigMap, decoded, by their names.
pub(super) struct Entries {
    /// `deploy.yaml#Secret/shop/web-tls`
    name: String,
    entries: Vec<(String, Value)>,
}

/// Wiped when it is dropped: it may be a private key.
type Value = Result<Zeroizing<Vec<u8>>, LoadError>;

impl Entries {
    pub(super) fn of(file: &str, object: &Node, kind: &str) -> Self {
        let name = name_of(file, object, kind);
        let mut entries: Vec<(String, Value)> = Vec::new();
        let encoded: &[(&str, bool)] = match kind {
            // `stringData` is written over `data`.
            "Secret" => &[("stringData", false), ("data", true)],
            _ => &[("data", false), ("binaryData", true)],
        };
        for (field, is_base64) in encoded {
            for (key, value) in text_map(object, field) {
                if entries.iter().any(|(known, _)| known == key) {
                    continue;
                }
                let value = match is_base64 {
                    true => decode(value, &format!("{name}/{key}")),
                    false => Ok(Zeroizing::new(value.as_bytes().to_vec())),
                };
                entries.push((key.to_owned(), value));
            }
        }
        Self { name, entries }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let mut entries = self.entries.iter();
        entries
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }
}

/// Base64 in which line breaks are fine, as YAML folds them.
fn decode(value: &str, path: &str) -> Value {
    // As large as it will be at once: what is moved to grow is left behind.
    let mut text = Zeroizing::new(String::with_capacity(value.len()));
    text.extend(value.split_ascii_whitespace());
    let decoded = STANDARD.decode(text.as_bytes());
    decoded
        .map(Zeroizing::new)
        .map_err(|_| LoadError::PemMalformed {
            path: path.into(),
            detail: "the Secret's `data` is no base64".into(),
        })
}

fn secret(secret: &Entries, beside: &Beside, inputs: &mut Vec<Input>) {
    let layout = LAYOUTS
        .iter()
        .find(|names| secret.get(names.chain).is_some() && secret.get(names.key).is_some());
    let Some(names) = layout else {
        // No credentials of ours; a bundle may be in a Secret too.
        return config_map(secret, inputs);
    };
    let (chain, key) = (secret.get(names.chain), secret.get(names.key));
    let bundle = secret
        .get(names.bundle)
        .filter(|_| names.bundle != names.chain);
    for value in [chain, key, bundle].into_iter().flatten() {
        if let Err(error) = value {
            return inputs.push(unreadable(secret, error));
        }
    }
    let bytes = |value: Option<&'_ Value>| {
        let value = value.and_then(|value| value.as_ref().ok());
        value.cloned().unwrap_or_default()
    };
    let set = CheckSet::of_credentials(
        (&secret.path(names.chain), &bytes(chain)),
        (&secret.path(names.key), &bytes(key)),
    );
    let set = match bundle {
        Some(_) => set.with_bundle(&secret.path(names.bundle), &bytes(bundle)),
        // In a ConfigMap of its own, which only whoever mounts both knows.
        None => beside.bundle(set),
    };
    let set = beside.lists(set);
    inputs.push(Input {
        name: secret.name.clone(),
        subject: Subject::Set(Box::new(set)),
    });
}

/// Each entry that has certificates is a bundle.
fn config_map(map: &Entries, inputs: &mut Vec<Input>) {
    for (key, value) in &map.entries {
        match value {
            Ok(bytes) if is_bundle_map(bytes) => {
                let path = map.path(key);
                let set = CheckSet::of_bundle_map(&path, bytes);
                let subject = Subject::Set(Box::new(set));
                inputs.push(Input {
                    name: path,
                    subject,
                });
            }
            Ok(bytes) if has_certificates(key, bytes) => {
                let path = map.path(key);
                let set = CheckSet::of_bundle(&path, bytes);
                let subject = Subject::Set(Box::new(set));
                inputs.push(Input {
                    name: path,
                    subject,
                });
            }
            Ok(_) => {}
            Err(error) => inputs.push(unreadable(map, error)),
        }
    }
}

/// A SPIFFE bundle map: JSON with the key that every map has.
fn is_bundle_map(bytes: &[u8]) -> bool {
    let is_object = bytes.trim_ascii_start().starts_with(b"{");
    let names = |window: &[u8]| window == MAP_KEY;
    is_object && bytes.windows(MAP_KEY.len()).any(names)
}

fn has_certificates(key: &str, bytes: &[u8]) -> bool {
    let begins = |window: &[u8]| window == MARKER;
    bytes.windows(MARKER.len()).any(begins) || BUNDLES.contains(&key)
}

fn unreadable(entries: &Entries, error: &LoadError) -> Input {
    Input {
        name: entries.name.clone(),
        subject: Subject::Unreadable(error.clone(), entries.name.clone().into()),
    }
}

/// `deploy.yaml#Secret/shop/web-tls`
pub(super) fn name_of(file: &str, object: &Node, kind: &str) -> String {
    let metadata = object.get("metadata");
    let part = |key| metadata.and_then(|metadata| text_at(metadata, key));
    let named = part("name")
        .or_else(|| part("generateName"))
        .unwrap_or("(no name)");
    match part("namespace") {
        Some(namespace) => format!("{file}#{kind}/{namespace}/{named}"),
        None => format!("{file}#{kind}/{named}"),
    }
}

pub(super) fn text_at<'y>(object: &'y Node, key: &str) -> Option<&'y str> {
    object.get(key).and_then(Node::text)
}

fn text_map<'y>(object: &'y Node, key: &str) -> impl Iterator<Item = (&'y str, &'y str)> {
    let pairs = object.get(key).map_or(&[][..], Node::pairs);
    let text = |(key, value): &'y (String, Node)| (&**key, value.text().unwrap_or_default());
    pairs.iter().map(text)
}

/// Lists do not nest; whoever writes some that do is not followed for ever.
pub(super) const MAX_DEPTH: usize = 4;
const MAP_KEY: &[u8] = b"\"trust_domains\"";
const MARKER: &[u8] = b"-----BEGIN CERTIFICATE";
/// Names that stand for a bundle even where it is empty.
const BUNDLES: [&str; 4] = [
    "ca.crt",
    "ca-bundle.crt",
    "trust-bundle.pem",
    "root-cert.pem",
];
