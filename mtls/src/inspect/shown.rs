//! A thing in a file, as it is shown: for people line by line, for machines as an object.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A certificate, a key, a list, or whatever else a file holds.
#[derive(Debug)]
pub(crate) struct Item {
    pub(super) kind: &'static str,
    /// Of its kind in this file, from 1.
    pub(super) number: usize,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// SHA-256 of the SubjectPublicKeyInfo, by which a key is told to be a certificate's.
    pub(super) public_key: Option<String>,
}

impl Item {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            number: 1,
            fields: Vec::new(),
            public_key: None,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    pub(super) fn is_key(&self) -> bool {
        self.kind == "private key"
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields.iter();
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn as_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("kind".into(), self.kind.into());
        object.insert("number".into(), self.number.into());
        for (name, value) in &self.fields {
            object.insert((*name).into(), value.clone());
        }
        Value::Object(object)
    }
}

/// A name out of a certificate may hold what moves a terminal's cursor.
pub(crate) fn harmless(text: &str) -> String {
    let shown = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    shown.collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
