//! JSON into a tree.
//!
//! The parser tells where syntax is wrong, and nothing of where a value is. But it lends the text of each value out of
//! the file, and where that text begins is where the value is. What is borrowed is parsed again a level deeper, so the
//! depth is bounded.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{Located, PolicyFileFault};
use super::tree::{Key, MAX_DEPTH, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Located> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(text, 0, &error))?;
    Reader { file: text }.node(raw, 0)
}

struct Reader<'a> {
    file: &'a str,
}

impl<'a> Reader<'a> {
    fn node(&self, raw: &'a RawValue, depth: usize) -> Result<Node, Located> {
        let text = raw.get();
        let at = self.offset(text);
        if depth > MAX_DEPTH {
            let fault = PolicyFileFault::TooDeep;
            return Err(Located { at, fault });
        }
        let value = match text.as_bytes().first() {
            Some(b'{') => {
                let entries: Entries<'a> = self.read(text, at)?;
                let entries = entries.0.into_iter().map(|(key, value)| {
                    let at = self.offset(key.get());
                    let name = self.read(key.get(), at)?;
                    Ok((Key { at, name }, self.node(value, depth + 1)?))
                });
                let entries = entries.collect::<Result<Vec<_>, Located>>()?;
                no_key_twice(&entries)?;
                Value::Table(entries)
            }
            Some(b'[') => {
                let items: Vec<&'a RawValue> = self.read(text, at)?;
                let items = items.into_iter().map(|item| self.node(item, depth + 1));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::Text(self.read(text, at)?),
            Some(b't' | b'f') => Value::Bool,
            Some(b'n') => Value::Null,
            _ => Value::Number,
        };
        Ok(Node { at, value })
    }

    fn read<T: Deserialize<'a>>(&self, text: &'a str, at: usize) -> Result<T, Located> {
        serde_json::from_str(text).map_err(|error| syntax(self.file, at, &error))
    }

    /// Where in the file this part of it begins.
    fn offset(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.file.as_ptr() as usize)
    }
}

/// Of two entries of one name, whoever takes the first and whoever takes the last read two policies.
fn no_key_twice(entries: &[(Key, Node)]) -> Result<(), Located> {
    let mut names = std::collections::HashSet::new();
    for (key, _) in entries {
        if !names.insert(key.name.as_str()) {
            return Err(Located {
                at: key.at,
                fault: PolicyFileFault::Syntax {
                    detail: format!("duplicate key `{}`", key.name),
                },
            });
        }
    }
    Ok(())
}

/// The parser counts lines and columns from the beginning of what it was given.
fn syntax(file: &str, start: usize, error: &serde_json::Error) -> Located {
    let part = file.get(start..).unwrap_or_default();
    let before = part
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let line = start + before.map(str::len).sum::<usize>();
    let shown = error.to_string();
    // The message ends in the place, which is told in one form for both formats.
    let detail = shown.split(" at line ").next().unwrap_or_default();
    Located {
        at: (line + error.column().saturating_sub(1)).min(file.len()),
        fault: PolicyFileFault::Syntax {
            detail: detail.to_owned(),
        },
    }
}

/// The entries of an object, in order, those of one name included.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
