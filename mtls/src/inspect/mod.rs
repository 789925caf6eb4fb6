//! `mtls inspect`: what is in a file, usable or not. What is shown of a key is its kind, and the fingerprint of its public half.

mod certificate;
mod contents;
mod key;
mod list;
mod shown;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mtls_core::Timestamp;
use serde_json::{Value, json};

use crate::Failure;
use contents::Contents;
pub(crate) use shown::{Item, harmless};

/// Exits with 0 if every file holds something that it can show, 1 if one does not, 2 if one cannot be read.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files, or directories of them; `-` is stdin. Certificates, keys, revocation lists, requests, SPIFFE bundles, policies.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// One JSON object; its shape is stable.
    Json,
}

/// Whether every file has something in it.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Failure> {
    let now = Timestamp::now();
    let mut files = Vec::new();
    for path in &arguments.paths {
        for path in within(path)? {
            let bytes = crate::check::read(&path)?;
            let name = match path == Path::new("-") {
                true => "(stdin)".to_owned(),
                false => path.display().to_string(),
            };
            files.push((name.clone(), contents::of(&name, &bytes, now)));
        }
    }
    pair(&mut files);
    match arguments.format {
        Format::Human => human(&files, out)?,
        Format::Json => as_json(&files, out)?,
    }
    Ok(files.iter().all(|(_, contents)| contents.is_usable()))
}

/// A certificate that was not in a file; `None` if it cannot be decoded.
pub(crate) fn certificate(der: &[u8], now: Timestamp) -> Option<Item> {
    use x509_parser::prelude::FromDer;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(der).ok()?;
    Some(certificate::item(der, &parsed, now))
}

/// The files of a directory, without what its writer hides (`..data`); or the path itself.
fn within(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    if files.is_empty() {
        let what = format!("`{}` has no file in it", path.display());
        return Err(Failure::new(what));
    }
    Ok(files)
}

/// Tells each key whose it is, among all certificates that are shown.
fn pair(files: &mut [(String, Contents)]) {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, contents) in files.iter() {
        for item in &contents.items {
            if let Some(public) = item.public_key.clone().filter(|_| !item.is_key()) {
                let owner = format!("{name}: {} {}", item.kind, item.number);
                owners.entry(public).or_default().push(owner);
            }
        }
    }
    for (_, contents) in files {
        for item in contents.items.iter_mut().filter(|item| item.is_key()) {
            let Some(public) = &item.public_key else {
                continue;
            };
            let owners = owners.get(public).cloned().unwrap_or_default();
            item.fields.push(("belongs_to", json!(owners)));
        }
    }
}

fn human(files: &[(String, Contents)], out: &mut impl Write) -> io::Result<()> {
    for (name, contents) in files {
        writeln!(out, "{}", harmless(name))?;
        for item in &contents.items {
            one(item, out)?;
        }
        for problem in &contents.problems {
            writeln!(out, "  {}", harmless(&problem.found))?;
            writeln!(out, "    remedy       {}", problem.remedy)?;
        }
    }
    Ok(())
}

fn one(item: &Item, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  {} {}", item.kind, item.number)?;
    for (name, value) in &item.fields {
        let text = match value {
            Value::Array(values) if values.is_empty() => "none".to_owned(),
            Value::Array(values) => {
                let texts: Vec<_> = values.iter().map(plain).collect();
                texts.join(", ")
            }
            Value::Null => continue,
            Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::String(_) => plain(value),
        };
        let name = name.replace('_', " ");
        writeln!(out, "    {name:12} {}", harmless(&text))?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Fields are added, never renamed.
fn as_json(files: &[(String, Contents)], out: &mut impl Write) -> io::Result<()> {
    let files = files.iter().map(|(name, contents)| {
        let problems = contents.problems.iter().map(|problem| {
            json!({ "rule": problem.rule, "found": problem.found, "remedy": problem.remedy })
        });
        json!({
            "name": name,
            "items": contents.items.iter().map(Item::as_json).collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
        })
    });
    let value = json!({ "version": 1, "files": files.collect::<Vec<_>>() });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}
