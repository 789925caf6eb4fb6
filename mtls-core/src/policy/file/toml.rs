//! TOML into a tree.

use toml::de::{DeTable, DeValue};

use super::error::{Located, PolicyFileFault};
use super::tree::{Key, MAX_DEPTH, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Located> {
    let table = DeTable::parse(text).map_err(|error| Located {
        at: error.span().map_or(0, |span| span.start),
        fault: PolicyFileFault::Syntax {
            detail: error.message().to_owned(),
        },
    })?;
    Ok(Node {
        at: 0,
        value: Value::Table(entries(table.into_inner(), 0)?),
    })
}

fn entries(table: DeTable<'_>, depth: usize) -> Result<Vec<(Key, Node)>, Located> {
    let entries = table.into_iter().map(|(key, value)| {
        let key = Key {
            at: key.span().start,
            name: key.into_inner().into_owned(),
        };
        let at = value.span().start;
        Ok((key, node(at, value.into_inner(), depth + 1)?))
    });
    let mut entries = entries.collect::<Result<Vec<_>, Located>>()?;
    // The parser sorts by name; errors read better from the top.
    entries.sort_by_key(|(key, _)| key.at);
    Ok(entries)
}

fn node(at: usize, value: DeValue<'_>, depth: usize) -> Result<Node, Located> {
    if depth > MAX_DEPTH {
        let fault = PolicyFileFault::TooDeep;
        return Err(Located { at, fault });
    }
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(_) | DeValue::Float(_) => Value::Number,
        DeValue::Boolean(_) => Value::Bool,
        DeValue::Datetime(_) => Value::Time,
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| {
                let at = item.span().start;
                node(at, item.into_inner(), depth + 1)
            });
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(entries(table, depth)?),
    };
    Ok(Node { at, value })
}
