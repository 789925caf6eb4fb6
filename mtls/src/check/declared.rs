//! Kubernetes manifests: what they ask of cert-manager and of a kubelet, where it cannot work.
//!
//! What is mounted by `subPath` or put into a variable is of interest where it is credentials. That is told by names: those of
//! files, those of issuers' drivers, and those of Secrets that the same manifest says to hold a key.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mtls_core::check::CheckRule;

use super::arguments::Role;
use super::input::{Beside, Input, Subject};
use super::manifest::{MAX_DEPTH, name_of, text_at};
use super::projected::Projected;
use super::yaml::Node;

/// What one object asks for that rules have a say in.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Key usages by cert-manager's names, and where they stand.
    usages: Vec<(String, Vec<String>)>,
    mounts: Vec<(CheckRule, String, String)>,
}

impl Declared {
    /// Rule, place and what is there, if the credentials are to be presented in this role.
    pub(super) fn findings(&self, role: Role) -> Vec<(CheckRule, PathBuf, String)> {
        let mounts = self.mounts.iter().cloned();
        let usages = self.usages.iter().filter_map(|(place, usages)| {
            let rule = broken_usages(usages, role)?;
            let found = format!("usages {}", usages.join(", "));
            Some((rule, place.clone(), found))
        });
        let all = usages.chain(mounts);
        all.map(|(rule, place, found)| (rule, place.into(), found))
            .collect()
    }
}

/// The objects of a manifest that ask for credentials, or have pods.
pub(super) fn inputs(file: &str, documents: &[Node], beside: &Beside) -> Vec<Input> {
    let mut objects = Vec::new();
    for document in documents {
        unpack(document, 0, &mut objects);
    }
    let keys = secrets_with_keys(&objects);
    let of_object = |object: &&Node| {
        let mut sets = Vec::new();
        let kind = text_at(object, "kind").unwrap_or_default();
        let name = name_of(file, object, kind);
        let declared = match kind {
            "Certificate" | "CertificateRequest" if is_cert_manager(object) => {
                let usages = texts(at(object, &["spec", "usages"]));
                Declared {
                    usages: vec![(name.clone(), usages)],
                    mounts: Vec::new(),
                }
            }
            "ConfigMap" => keys_in_config_map(&name, object)?,
            _ => {
                let spec = pod_spec(object)?;
                let mut declared = Pod::of(&name, spec, &keys);
                let namespace = at(object, &["metadata", "namespace"]).and_then(Node::text);
                for volume in items(spec.get("volumes")) {
                    let projected = Projected::of(file, &objects, namespace, volume);
                    let of_volume = text_at(volume, "name").unwrap_or_default();
                    let place = format!("{name}/{of_volume}");
                    let set = projected.set(&place, beside);
                    let found = projected.findings.into_iter();
                    let found = found.map(|(rule, found)| (rule, place.clone(), found));
                    declared.mounts.extend(found);
                    sets.extend(set.map(|set| (place, set)));
                }
                declared
            }
        };
        let subject = Subject::Declared(declared);
        let mut inputs = vec![Input { name, subject }];
        inputs.extend(sets.into_iter().map(|(name, set)| {
            let subject = Subject::Set(Box::new(set));
            Input { name, subject }
        }));
        Some(inputs)
    };
    objects.iter().filter_map(of_object).flatten().collect()
}

/// A ConfigMap with private keys: whoever may read ConfigMaps has them. One beside certificates is told of the bundle.
fn keys_in_config_map(name: &str, map: &Node) -> Option<Declared> {
    let entries = map.get("data").map_or(&[][..], Node::pairs).iter();
    let keys = entries.filter(|(_, value)| {
        let text = value.text().unwrap_or_default();
        text.contains(PRIVATE_KEY) && !text.contains("-----BEGIN CERTIFICATE")
    });
    let mounts = keys.map(|(entry, _)| {
        let found = "a private key in a ConfigMap".to_owned();
        (CheckRule::KeyInPublicFile, format!("{name}/{entry}"), found)
    });
    let mounts: Vec<_> = mounts.collect();
    (!mounts.is_empty()).then(|| Declared {
        usages: Vec::new(),
        mounts,
    })
}

fn unpack<'y>(object: &'y Node, depth: usize, objects: &mut Vec<&'y Node>) {
    let is_list = text_at(object, "kind").is_some_and(|kind| kind.ends_with("List"));
    match is_list {
        true if depth < MAX_DEPTH => {
            for item in items(object.get("items")) {
                unpack(item, depth + 1, objects);
            }
        }
        true => {}
        false => objects.push(object),
    }
}

fn is_cert_manager(object: &Node) -> bool {
    text_at(object, "apiVersion").is_some_and(|version| version.starts_with("cert-manager.io/"))
}

/// What is wrong with these usages. Without an extended one the certificate has no ExtendedKeyUsage, and serves both roles.
fn broken_usages(usages: &[String], role: Role) -> Option<CheckRule> {
    let mut extended = usages
        .iter()
        .map(String::as_str)
        .filter(|usage| !KEY_USAGES.contains(usage))
        .peekable();
    extended.peek()?;
    let extended: Vec<_> = extended.collect();
    let asked: &[&str] = match role {
        Role::Both => &[SERVER, CLIENT],
        Role::Client => &[CLIENT],
        Role::Server => &[SERVER],
    };
    if asked.iter().all(|usage| extended.contains(usage)) {
        None
    } else if extended.contains(&SERVER) || extended.contains(&CLIENT) {
        Some(CheckRule::EkuMissingRole)
    } else if extended.contains(&"any") {
        Some(CheckRule::EkuAny)
    } else {
        Some(CheckRule::EkuNoRole)
    }
}

/// The Secrets that hold a private key: by their entries, or since a Certificate fills them.
fn secrets_with_keys<'y>(objects: &[&'y Node]) -> BTreeSet<&'y str> {
    let secret = |object: &&'y Node| match text_at(object, "kind")? {
        "Secret" => {
            let entries = ["data", "stringData"].into_iter();
            let mut entries =
                entries.flat_map(|field| object.get(field).map_or(&[][..], Node::pairs));
            let has_key = entries.any(|(name, _)| is_key(name));
            has_key.then(|| at(object, &["metadata", "name"])?.text())?
        }
        "Certificate" if is_cert_manager(object) => at(object, &["spec", "secretName"])?.text(),
        _ => None,
    };
    objects.iter().filter_map(secret).collect()
}

/// The specification of the pods that an object makes.
fn pod_spec(object: &Node) -> Option<&Node> {
    let paths: [&[&str]; 4] = [
        &["spec"],
        &["spec", "template", "spec"],
        &["spec", "jobTemplate", "spec", "template", "spec"],
        &["template", "spec"],
    ];
    let mut specs = paths.iter().filter_map(|path| at(object, path));
    specs.find(|spec| !items(spec.get("containers")).is_empty())
}

struct Pod<'y> {
    name: &'y str,
    spec: &'y Node,
    keys: &'y BTreeSet<&'y str>,
    declared: Declared,
}

impl<'y> Pod<'y> {
    fn of(name: &'y str, spec: &'y Node, keys: &'y BTreeSet<&'y str>) -> Declared {
        let mut pod = Self {
            name,
            spec,
            keys,
            declared: Declared::default(),
        };
        for volume in items(spec.get("volumes")) {
            pod.volume(volume);
        }
        for containers in ["initContainers", "containers"] {
            for container in items(spec.get(containers)) {
                pod.container(container);
            }
        }
        pod.declared
    }

    fn add(&mut self, rule: CheckRule, part: &str, found: String) {
        let place = format!("{}/{part}", self.name);
        self.declared.mounts.push((rule, place, found));
    }

    fn volume(&mut self, volume: &'y Node) {
        let name = text_at(volume, "name").unwrap_or_default();
        let usages = at(volume, &["csi", "volumeAttributes"])
            .and_then(|attributes| text_at(attributes, "csi.cert-manager.io/key-usages"));
        if let Some(usages) = usages {
            let usages = usages.split(',').map(|usage| usage.trim().to_owned());
            let place = format!("{}/{name}", self.name);
            self.declared.usages.push((place, usages.collect()));
        }
        for secret in sources(volume, "secret") {
            if let Some((key, mode)) = self.readable_key(volume, secret) {
                let found = format!("`{key}` in the volume `{name}` has {mode}");
                self.add(CheckRule::KeyPermissions, name, found);
            }
        }
    }

    /// A key in a volume that every user may read, and the mode that says so.
    fn readable_key(&self, volume: &'y Node, secret: &'y Node) -> Option<(&'y str, String)> {
        let default = ["secret", "projected"]
            .into_iter()
            .find_map(|kind| text_at(volume.get(kind)?, "defaultMode"));
        let readable = |mode: Option<&str>| match mode {
            None => Some("mode 0644, the default".to_owned()),
            Some(mode) => (octal(mode)? & OTHERS_READ != 0).then(|| format!("mode {mode}")),
        };
        let named = items(secret.get("items"));
        if named.is_empty() {
            let name = secret_name(secret)?;
            let mode = readable(default)?;
            return self.keys.contains(name).then_some((name, mode));
        }
        named.iter().find_map(|item| {
            let (key, path) = (text_at(item, "key")?, text_at(item, "path")?);
            let mode = readable(text_at(item, "mode").or(default))?;
            (is_key(key) || is_key(path)).then_some((path, mode))
        })
    }

    fn container(&mut self, container: &'y Node) {
        let name = text_at(container, "name").unwrap_or_default();
        for mount in items(container.get("volumeMounts")) {
            let part = ["subPath", "subPathExpr"].into_iter();
            let part = part
                .filter_map(|field| text_at(mount, field))
                .find(|part| !part.is_empty());
            let path = text_at(mount, "mountPath").unwrap_or_default();
            if let Some(part) = part.filter(|part| self.is_of_credentials(mount, part, path)) {
                let found = format!("`{path}` is mounted by subPath `{part}`");
                self.add(CheckRule::MountSubpath, name, found);
            }
        }
        for variable in items(container.get("env")) {
            let of = |source| at(variable, &["valueFrom", source, "key"])?.text();
            let key = of("secretKeyRef").or_else(|| of("configMapKeyRef"));
            if let Some(key) = key.filter(|key| is_credential(key)) {
                let variable = text_at(variable, "name").unwrap_or_default();
                let found = format!("`{variable}` is `{key}`");
                self.add(CheckRule::MountEnv, name, found);
            }
        }
        for source in items(container.get("envFrom")) {
            let secret = at(source, &["secretRef", "name"]).and_then(Node::text);
            if let Some(secret) = secret.filter(|secret| self.keys.contains(secret)) {
                let found = format!("all of the Secret `{secret}`, which holds a key");
                self.add(CheckRule::MountEnv, name, found);
            }
        }
    }

    /// Whether what is mounted is credentials that a kubelet or a driver replaces.
    fn is_of_credentials(&self, mount: &Node, part: &str, path: &str) -> bool {
        let volumes = items(self.spec.get("volumes")).iter();
        let mut volumes =
            volumes.filter(|volume| text_at(volume, "name") == text_at(mount, "name"));
        let Some(volume) = volumes.next() else {
            return false;
        };
        let is_replaced = ["secret", "configMap", "projected", "csi"]
            .into_iter()
            .any(|kind| volume.get(kind).is_some());
        let is_directory = extension(part).is_none();
        is_replaced
            && (is_credential(part)
                || is_credential(path)
                || (is_directory && self.holds_credentials(volume)))
    }

    fn holds_credentials(&self, volume: &Node) -> bool {
        let driver = volume.get("csi").and_then(|csi| text_at(csi, "driver"));
        let issued = ["podCertificate", "clusterTrustBundle"]
            .into_iter()
            .any(|kind| sources(volume, kind).next().is_some());
        let of_secret = |secret: &Node| {
            secret_name(secret).is_some_and(|name| self.keys.contains(name)) || has_files(secret)
        };
        driver.is_some_and(|driver| DRIVERS.contains(&driver))
            || issued
            || sources(volume, "secret").any(of_secret)
            || sources(volume, "configMap").any(has_files)
    }
}

/// The sources of this kind in a volume: itself, or those that are projected into it.
fn sources<'y>(volume: &'y Node, kind: &'y str) -> impl Iterator<Item = &'y Node> {
    let projected = items(at(volume, &["projected", "sources"])).iter();
    let projected = projected.filter_map(move |source| source.get(kind));
    volume.get(kind).into_iter().chain(projected)
}

/// A volume's Secret has a `secretName`, a projected one a `name`.
fn secret_name(secret: &Node) -> Option<&str> {
    text_at(secret, "secretName").or_else(|| text_at(secret, "name"))
}

fn has_files(source: &Node) -> bool {
    let mut named = items(source.get("items")).iter();
    named.any(|item| text_at(item, "path").is_some_and(is_credential))
}

fn is_credential(name: &str) -> bool {
    extension(name).is_some_and(|extension| {
        let mut known = EXTENSIONS.iter();
        known.any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// `tls.key`, `key.pem`, `svid_key.pem`, and the files that hold a key beside its chain.
pub(super) fn is_key(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let whole = ["tls-combined.pem", "credentialbundle.pem"];
    is_credential(name)
        && (extension(name) == Some("key") || stem.ends_with("key") || whole.contains(&file))
}

fn extension(name: &str) -> Option<&str> {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map(|(_, extension)| extension)
}

/// A file mode as manifests write it: `0440` and `0o440` are octal, `288` (which is all that JSON has) is decimal.
fn octal(mode: &str) -> Option<u32> {
    match mode.strip_prefix("0o").or_else(|| mode.strip_prefix('0')) {
        Some("") => Some(0),
        Some(digits) => u32::from_str_radix(digits, 8).ok(),
        None => mode.parse().ok(),
    }
}

pub(super) fn at<'y>(object: &'y Node, path: &[&str]) -> Option<&'y Node> {
    path.iter().try_fold(object, |node, key| node.get(key))
}

pub(super) fn items(node: Option<&Node>) -> &[Node] {
    node.map_or(&[], Node::items)
}

fn texts(node: Option<&Node>) -> Vec<String> {
    let texts = items(node).iter().filter_map(Node::text);
    texts.map(ToOwned::to_owned).collect()
}

const SERVER: &str = "server auth";
const CLIENT: &str = "client auth";
/// cert-manager's names for bits of KeyUsage. Every other name is an ExtendedKeyUsage.
const KEY_USAGES: [&str; 10] = [
    "cert sign",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "encipher only",
    "key agreement",
    "key encipherment",
    "signing",
];
const DRIVERS: [&str; 3] = [
    "csi.cert-manager.io",
    "csi.spiffe.io",
    "spiffe.csi.cert-manager.io",
];
const EXTENSIONS: [&str; 6] = ["cer", "crl", "crt", "der", "key", "pem"];
const OTHERS_READ: u32 = 0o004;
/// As its marker ends, whatever the kind.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";
