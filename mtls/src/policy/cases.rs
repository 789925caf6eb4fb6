//! The file of cases. A key that is not known is refused: a case that says less than its writer thinks proves nothing.

use mtls_core::Effect;
use toml::de::{DeTable, DeValue};

use super::case::{Case, Request};
use super::peer::Named;

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Cases {
    pub(super) policy: Option<String>,
    pub(super) trust_domain: Option<String>,
    pub(super) cases: Vec<Case>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Cases, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    let table = DeTable::parse(text).map_err(|error| error.to_string())?;
    let mut cases = Cases::default();
    for (key, value) in table.into_inner() {
        let at = line(text, value.span().start);
        let value = value.into_inner();
        match key.into_inner().as_ref() {
            "policy" => cases.policy = Some(self::text(value, at)?),
            "trust_domain" => cases.trust_domain = Some(self::text(value, at)?),
            "case" => {
                let DeValue::Array(items) = value else {
                    return Err(format!("line {at}: `case` is no list: write `[[case]]`"));
                };
                for item in items {
                    let at = line(text, item.span().start);
                    cases.cases.push(case(item.into_inner(), at)?);
                }
            }
            other => return Err(unknown(other, at, "policy, trust_domain, case")),
        }
    }
    if cases.cases.is_empty() {
        return Err("it has no `[[case]]`".to_owned());
    }
    Ok(cases)
}

fn case(value: DeValue<'_>, at: usize) -> Result<Case, String> {
    let DeValue::Table(table) = value else {
        return Err(format!("line {at}: a case is a table"));
    };
    let (mut name, mut peer, mut expected, mut rule) = (None, None, None, None);
    let (mut method, mut path, mut host, mut grpc) = (None, None, None, false);
    for (key, value) in table {
        let value = value.into_inner();
        match key.into_inner().as_ref() {
            "name" => name = Some(text(value, at)?),
            "peer" => peer = self::peer(value, at)?,
            "expect" => expected = Some(effect(&text(value, at)?, at)?),
            "rule" => rule = Some(text(value, at)?),
            "method" => method = Some(text(value, at)?),
            "path" => path = Some(text(value, at)?),
            "host" => host = Some(text(value, at)?),
            "grpc" => {
                let DeValue::Boolean(is) = value else {
                    return Err(format!("line {at}: `grpc` is true or false"));
                };
                grpc = is;
            }
            other => {
                return Err(unknown(
                    other,
                    at,
                    "name, peer, method, path, host, grpc, expect, rule",
                ));
            }
        }
    }
    let request = match path {
        Some(path) => Some(Request {
            method: method.unwrap_or_else(|| "GET".to_owned()),
            path,
            host,
            grpc,
        }),
        None if method.is_some() || host.is_some() || grpc => {
            return Err(format!("line {at}: a request needs its `path`"));
        }
        None => None,
    };
    Ok(Case {
        name: name.unwrap_or_else(|| format!("the case in line {at}")),
        peer,
        request,
        expected: expected.ok_or_else(|| format!("line {at}: `expect` is missing"))?,
        rule,
    })
}

/// A SPIFFE ID, `"nobody"`, or a table of names.
fn peer(value: DeValue<'_>, at: usize) -> Result<Option<Named>, String> {
    let table = match value {
        DeValue::Table(table) => table,
        other @ (DeValue::Array(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Float(_)
        | DeValue::Integer(_)
        | DeValue::String(_)) => {
            let id = text(other, at)?;
            return Ok((id != "nobody").then(|| Named {
                spiffe: Some(id),
                ..Named::default()
            }));
        }
    };
    let mut named = Named::default();
    for (key, value) in table {
        let value = value.into_inner();
        match key.into_inner().as_ref() {
            "spiffe" => named.spiffe = Some(text(value, at)?),
            "dns" => named.dns = texts(value, at)?,
            "ip" => named.ip = texts(value, at)?,
            "common_name" => named.common_name = Some(text(value, at)?),
            other => return Err(unknown(other, at, "spiffe, dns, ip, common_name")),
        }
    }
    if named.is_nobody() {
        return Err(format!(
            "line {at}: a peer without a name; write `peer = \"nobody\"`"
        ));
    }
    Ok(Some(named))
}

fn effect(word: &str, at: usize) -> Result<Effect, String> {
    match word {
        "allow" => Ok(Effect::Allow),
        "deny" => Ok(Effect::Deny),
        other => Err(format!(
            "line {at}: `expect` is `allow` or `deny`, not `{other}`"
        )),
    }
}

fn texts(value: DeValue<'_>, at: usize) -> Result<Vec<String>, String> {
    if let DeValue::Array(items) = value {
        return items
            .into_iter()
            .map(|item| text(item.into_inner(), at))
            .collect();
    }
    Ok(vec![text(value, at)?])
}

fn text(value: DeValue<'_>, at: usize) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        DeValue::Array(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Float(_)
        | DeValue::Integer(_)
        | DeValue::Table(_) => Err(format!("line {at}: a text is expected here")),
    }
}

fn unknown(key: &str, at: usize, known: &str) -> String {
    format!("line {at}: `{key}` is none of {known}")
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
