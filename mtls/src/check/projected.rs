//! What a volume brings together from the Secrets and ConfigMaps of the same manifest: the files as they will be mounted.

use mtls_core::check::{CheckRule, CheckSet};

use super::declared::{at, is_key, items};
use super::input::Beside;
use super::layouts::LAYOUTS;
use super::manifest::{Entries, text_at};
use super::yaml::Node;

/// The files of a volume, as far as the manifest says what is in them.
#[derive(Default)]
pub(super) struct Projected<'y> {
    /// What is wrong before anything is mounted.
    pub(super) findings: Vec<(CheckRule, String)>,
    /// The name that each file has in the volume, and what holds it.
    files: Vec<(&'y str, usize, &'y str)>,
    sources: Vec<Entries>,
}

impl<'y> Projected<'y> {
    /// `objects` are those of the manifest, `namespace` is the pod's.
    pub(super) fn of(
        file: &str,
        objects: &[&'y Node],
        namespace: Option<&str>,
        volume: &'y Node,
    ) -> Self {
        let mut projected = Self::default();
        let of_one = ["secret", "configMap"].into_iter();
        let of_one = of_one.filter_map(|field| Some((field, volume.get(field)?)));
        let several = items(at(volume, &["projected", "sources"])).iter();
        let several = several.flat_map(|source| {
            let fields = ["secret", "configMap"].into_iter();
            fields.filter_map(|field| Some((field, source.get(field)?)))
        });
        for (field, source) in of_one.chain(several) {
            let kind = if field == "secret" {
                "Secret"
            } else {
                "ConfigMap"
            };
            let name = text_at(source, "secretName").or_else(|| text_at(source, "name"));
            let Some(name) = name else { continue };
            let mut of_kind = objects.iter().filter(|object| {
                let same = text_at(object, "kind") == Some(kind)
                    && at(object, &["metadata", "name"]).and_then(Node::text) == Some(name);
                same && is_in(namespace, object)
            });
            let object = of_kind.next().copied();
            projected.source(file, (kind, name), source, object);
        }
        projected
    }

    fn source(
        &mut self,
        file: &str,
        (kind, name): (&str, &str),
        source: &'y Node,
        object: Option<&'y Node>,
    ) {
        let named = items(source.get("items"));
        let named = named
            .iter()
            .filter_map(|item| Some((text_at(item, "key")?, text_at(item, "path")?)));
        let named: Vec<_> = named.collect();
        if kind == "ConfigMap" {
            let key = named.iter().find(|(key, path)| is_key(key) || is_key(path));
            if let Some((key, path)) = key {
                let found = format!("`{path}` comes from `{key}` of the ConfigMap `{name}`");
                self.findings.push((CheckRule::KeyInPublicFile, found));
            }
        }
        let Some(object) = object else { return };
        let entries = Entries::of(file, object, kind);
        let number = self.sources.len();
        if named.is_empty() {
            let all = entry_names(object, kind).map(|name| (name, number, name));
            self.files.extend(all);
        }
        let is_optional = text_at(source, "optional") == Some("true");
        for (key, path) in named {
            if entries.get(key).is_some() {
                self.files.push((path, number, key));
            } else if !is_optional && !entries.is_empty() {
                let has = entries.names().map(|name| format!("`{name}`"));
                let has: Vec<_> = has.collect();
                let found = format!(
                    "`{path}` comes from `{key}` of the {kind} `{name}`, which has {}",
                    has.join(", ")
                );
                self.findings.push((CheckRule::FileMissing, found));
            }
        }
        self.sources.push(entries);
    }

    /// The set that they make, where no single object makes it already.
    pub(super) fn set(&self, place: &str, beside: &Beside) -> Option<CheckSet> {
        let file = |wanted: &str| {
            let mut files = self.files.iter();
            let (path, source, key) = files.find(|(path, ..)| *path == wanted)?;
            let bytes = self.sources.get(*source)?.get(key)?.as_ref().ok()?;
            // As it stands in that one object, which is looked at by itself.
            let alone = (path == key).then_some(*source);
            Some((format!("{place}/{path}"), bytes, alone))
        };
        let (chain, key, bundle) = LAYOUTS.iter().find_map(|names| {
            let bundle = file(names.bundle).filter(|_| names.bundle != names.chain);
            Some((file(names.chain)?, file(names.key)?, bundle))
        })?;
        let with_chain = |alone: Option<usize>| alone.is_some() && alone == chain.2;
        if with_chain(key.2) && bundle.as_ref().is_none_or(|bundle| with_chain(bundle.2)) {
            return None;
        }
        let set = CheckSet::of_credentials((&chain.0, chain.1), (&key.0, key.1));
        let set = match bundle {
            Some((name, bytes, _)) => set.with_bundle(&name, bytes),
            None => beside.bundle(set),
        };
        Some(beside.lists(set))
    }
}

/// A namespace that is not written is whatever the manifest is applied to.
fn is_in(namespace: Option<&str>, object: &Node) -> bool {
    let of_object = at(object, &["metadata", "namespace"]).and_then(Node::text);
    match (namespace, of_object) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => true,
    }
}

fn entry_names<'y>(object: &'y Node, kind: &str) -> impl Iterator<Item = &'y str> {
    let fields: &[&str] = match kind {
        "Secret" => &["stringData", "data"],
        _ => &["data", "binaryData"],
    };
    let pairs = fields
        .iter()
        .flat_map(|field| object.get(field).map_or(&[][..], Node::pairs));
    pairs.map(|(name, _)| name.as_str())
}
