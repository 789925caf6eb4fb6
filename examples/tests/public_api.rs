//! What of other crates stands in our public signatures, as the compiler sees it: each such type is a promise to follow its
//! crate's versions, and is one that was reviewed. `docs/public-types.md` is the list; it fails on more and on less.
//!
//! The compiler's view is rustdoc's JSON, which `.ci/run` has made and names in `MTLS_RUSTDOC_JSON`. Its format is not
//! stable, so this reads no more of it than it needs, and fails on what it does not find.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the files are the project's own"
)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

const OURS: [&str; 4] = ["mtls_axum", "mtls_core", "mtls_reqwest", "mtls_tower"];

/// They come with the compiler.
const COMPILERS: [&str; 3] = ["alloc", "core", "std"];

/// A type or trait of another crate in a public signature of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Promise {
    ours: String,
    theirs: String,
    name: String,
}

#[test]
fn types_of_other_crates_in_our_signatures_are_those_on_the_list() {
    let Some(dir) = json_dir() else {
        return;
    };
    let found: Vec<Exposed> = OURS
        .iter()
        .flat_map(|ours| exposed_by(&dir, ours))
        .collect();
    let listed = listed(&read("docs/public-types.md"));
    let promises: BTreeSet<&Promise> = found.iter().map(|exposed| &exposed.promise).collect();
    let more = found
        .iter()
        .filter(|exposed| !listed.contains(&exposed.promise));
    let more: BTreeMap<_, _> = more
        .map(|exposed| (&exposed.promise, &exposed.by))
        .collect();
    let less: Vec<_> = listed
        .iter()
        .filter(|&listed| !promises.contains(listed))
        .collect();
    assert!(
        more.is_empty(),
        "not in docs/public-types.md, and by what: {more:#?}"
    );
    assert!(
        less.is_empty(),
        "in docs/public-types.md, and exposed no more: {less:#?}"
    );
}

/// So that a new major of rustls is one edit. A test of a foreign client has to be given one, and is nobody's production.
#[test]
fn rustls_stands_in_its_own_module_in_provider_and_in_one_test_helper_alone() {
    let Some(dir) = json_dir() else {
        return;
    };
    let found: Vec<Exposed> = OURS
        .iter()
        .flat_map(|ours| exposed_by(&dir, ours))
        .collect();
    let of_rustls = found.iter().filter(|exposed| {
        let theirs = exposed.promise.theirs.as_str();
        theirs.contains("rustls") && theirs != "rustls_pki_types" || theirs == "webpki"
    });
    let (well, ill): (Vec<_>, Vec<_>) = of_rustls.partition(|exposed| {
        let by = exposed.by.as_str();
        by.starts_with("mtls_core::rustls")
            || by.ends_with("::provider")
            || by == "mtls_core::testing::handshake_with_foreign"
    });
    assert!(!well.is_empty(), "it is there, or this looks at nothing");
    assert!(ill.is_empty(), "{ill:#?}");
}

#[test]
fn the_list_is_read_as_it_is_written() {
    let text = "| ours | crate | types | why |\n|---|---|---|---|\n| `mtls-axum` | `http` | `A`, `B` | `C` |\n";
    let promise = |name: &str| Promise {
        ours: "mtls_axum".into(),
        theirs: "http".into(),
        name: name.into(),
    };
    assert_eq!(listed(text), BTreeSet::from([promise("A"), promise("B")]));
}

/// Left out, aloud, where nobody has made the JSON.
fn json_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("MTLS_RUSTDOC_JSON");
    if dir.is_none() {
        let said =
            b"left out: a test of our public types: no MTLS_RUSTDOC_JSON, which `.ci/run` makes\n";
        // Not `eprintln!`: the harness keeps that to itself when a test passes.
        std::io::stderr().write_all(said).unwrap();
    }
    dir.map(PathBuf::from)
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a table of ours, crate, types and why.
fn listed(text: &str) -> BTreeSet<Promise> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let promises = rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [ours, theirs, names, _why] = cells[..] else {
            panic!("a row of four cells: {row}");
        };
        let word = |cell: &str| cell.trim().trim_matches('`').replace('-', "_");
        let (ours, theirs) = (word(ours), word(theirs));
        names.split(',').map(move |name| Promise {
            ours: ours.clone(),
            theirs: theirs.clone(),
            name: word(name),
        })
    });
    promises.collect()
}

/// A promise, and where it was made.
#[derive(Debug)]
struct Exposed {
    promise: Promise,
    by: String,
}

fn exposed_by(dir: &Path, ours: &str) -> Vec<Exposed> {
    let path = dir.join(format!("{ours}.json"));
    let json = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let json: Value = serde_json::from_slice(&json).unwrap();
    let mut walk = Walk {
        ours,
        json: &json,
        seen: HashSet::new(),
        exposed: Vec::new(),
    };
    walk.item(&json["root"], "");
    // A crate that shows so little was not understood.
    assert!(
        walk.seen.len() > 10,
        "{ours}: only {} items",
        walk.seen.len()
    );
    walk.exposed
}

/// Goes from the crate's root through all that a user can name.
struct Walk<'a> {
    ours: &'a str,
    json: &'a Value,
    seen: HashSet<(String, String)>,
    exposed: Vec<Exposed>,
}

impl<'a> Walk<'a> {
    fn item(&mut self, id: &'a Value, at: &str) {
        let Some(item) = self.json["index"].get(id.to_string().trim_matches('"')) else {
            // What another crate's glob or re-export brings.
            return;
        };
        let (kind, inner) = item["inner"].as_object().unwrap().iter().next().unwrap();
        let visibility = item["visibility"].as_str().unwrap_or("restricted");
        if !matches!(visibility, "public" | "default") {
            return;
        }
        let at = match item["name"].as_str() {
            Some(name) if at.is_empty() => name.to_owned(),
            Some(name) => format!("{at}::{name}"),
            None => at.to_owned(),
        };
        if !self.seen.insert((id.to_string(), at.clone())) {
            return;
        }
        let expected = [
            "assoc_const",
            "assoc_type",
            "constant",
            "enum",
            "function",
            "impl",
            "macro",
            "module",
            "proc_macro",
            "static",
            "struct",
            "struct_field",
            "trait",
            "trait_alias",
            "type_alias",
            "union",
            "use",
            "variant",
        ];
        assert!(
            expected.contains(&kind.as_str()),
            "a kind of item that is new: {kind}"
        );
        match kind.as_str() {
            "use" => self.re_export(inner, &at),
            // Not what every type has: nobody wrote it here, and it says nothing about us.
            "impl" if !inner["blanket_impl"].is_null() || inner["is_synthetic"] == true => {}
            _ => self.look(inner, &at),
        }
    }

    fn re_export(&mut self, inner: &'a Value, at: &str) {
        let id = &inner["id"];
        let at_parent = at.to_owned();
        if self.is_theirs(id) {
            self.note(id, &at_parent);
        } else if inner["is_glob"] == true && self.json["index"].get(id.to_string()).is_none() {
            let source = inner["source"].as_str().unwrap().trim_start_matches("::");
            self.promise(source, "*", at);
        } else {
            self.item(id, at);
        }
    }

    /// Whatever refers to a type or a trait has its path and its number; lists of numbers are members.
    fn look(&mut self, value: &'a Value, at: &str) {
        match value {
            Value::Object(fields) => {
                if fields.get("path").is_some_and(Value::is_string)
                    && let Some(id) = fields.get("id")
                {
                    self.note(id, at);
                }
                for (name, field) in fields {
                    match name.as_str() {
                        // The other way round: who implements a trait of ours is met where it is.
                        "implementations" => {}
                        "items" | "impls" | "fields" | "variants" | "tuple" if ids(field) => {
                            for id in field.as_array().into_iter().flatten() {
                                self.item(id, at);
                            }
                        }
                        _ => self.look(field, at),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.look(value, at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn is_theirs(&self, id: &Value) -> bool {
        let path = &self.json["paths"][id.to_string()];
        path["crate_id"].as_u64().is_some_and(|number| number != 0)
    }

    fn note(&mut self, id: &Value, at: &str) {
        let path = &self.json["paths"][id.to_string()];
        let Some(number) = path["crate_id"].as_u64().filter(|number| *number != 0) else {
            return;
        };
        let krate = &self.json["external_crates"][number.to_string()]["name"];
        let name = path["path"].as_array().unwrap().last().unwrap();
        let (krate, name) = (krate.as_str().unwrap(), name.as_str().unwrap());
        self.promise(krate, name, at);
    }

    fn promise(&mut self, theirs: &str, name: &str, at: &str) {
        if COMPILERS.contains(&theirs) || OURS.contains(&theirs) {
            return;
        }
        let promise = Promise {
            ours: self.ours.to_owned(),
            theirs: theirs.to_owned(),
            name: name.to_owned(),
        };
        self.exposed.push(Exposed {
            promise,
            by: at.to_owned(),
        });
    }
}

/// A list of the numbers of items; a field that is hidden is null.
fn ids(value: &Value) -> bool {
    let ids = value.as_array();
    ids.is_some_and(|ids| ids.iter().all(|id| id.is_number() || id.is_null()))
}
