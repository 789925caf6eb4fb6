//! Which layout a directory holds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::preset::{self, Bundle, PRESETS, Preset};
use super::{Chosen, CredentialFiles, Layout};
use crate::error::LoadError;
use crate::files::access::unreadable;
use crate::files::pem;
use crate::files::read::read;
use crate::identity::certificate::{Certificate, UriName, printable};
use crate::identity::{SpiffeId, TrustDomain};

/// The one layout in `dir`; its bundle is the one given, if one is.
pub(super) fn detect(dir: &Path, bundle: Option<PathBuf>) -> Result<CredentialFiles, LoadError> {
    let mut candidates = Vec::new();
    for preset in PRESETS {
        // Asked by name, not by listing: a directory may let us through and not let us list it (mode 0711).
        if is_there(&dir.join(preset.chain))? && is_there(&dir.join(preset.key))? {
            let mut files = preset.within(dir);
            files.chosen = Chosen::Detected;
            candidates.push((files, Some(preset)));
        }
    }
    candidates.extend(consul_pairs(dir).into_iter().map(|files| (files, None)));
    drop_copies(&mut candidates);
    if candidates.len() > 1 {
        let found = candidates.iter().map(|(files, _)| candidate(files));
        return Err(ambiguous(dir, found));
    }
    let Some((files, preset)) = candidates.pop() else {
        return Err(LoadError::DirectoryUnrecognized {
            dir: dir.to_path_buf(),
            expected: expected_names(),
            found: found_names(dir)?,
        });
    };
    match (bundle, preset.map(|preset| preset.bundle)) {
        (Some(bundle), _) => Ok(files.with_bundle(bundle)),
        (None, Some(Bundle::Beside(names))) => {
            let bundle = beside(dir, files.layout, names)?;
            Ok(files.with_bundle(bundle))
        }
        (None, Some(Bundle::OfOwnDomain)) => {
            let bundle = preset::bundle_of(dir, &own_domain(&files)?);
            Ok(files.with_bundle(bundle).federated_bundles(dir))
        }
        (None, Some(Bundle::Named(_)) | None) => Ok(files),
    }
}

/// The trust domain that the leaf says it belongs to. It only chooses the name of the bundle, under which the leaf then
/// has to verify.
fn own_domain(files: &CredentialFiles) -> Result<TrustDomain, LoadError> {
    let chain = pem::chain(&read(&files.chain)?)?;
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf).ok());
    let uris = leaf.map(|leaf| leaf.names.uris).unwrap_or_default();
    match uris.as_slice() {
        [UriName::Text(uri)] => uri.parse::<SpiffeId>().ok(),
        _ => None,
    }
    .map(|id| id.trust_domain())
    .ok_or_else(|| LoadError::BundleNotNamed {
        dir: files.chain.parent().unwrap_or(&files.chain).to_path_buf(),
        layout: files.layout,
    })
}

type Candidate = (CredentialFiles, Option<&'static Preset>);

/// cert-manager's additional outputs are in one Secret with `tls.crt` and `tls.key`, and written with them: one
/// candidate, not two.
fn drop_copies(candidates: &mut Vec<Candidate>) {
    let (copy, original) = (Layout::CertManagerCombined, Layout::Kubernetes);
    if !candidates.iter().any(|(files, _)| files.layout == copy) {
        return;
    }
    if let Some((files, _)) = candidates.iter_mut().find(|(f, _)| f.layout == original) {
        files.chosen = Chosen::DetectedBeside(copy);
        candidates.retain(|(files, _)| files.layout != copy);
    }
}

/// The pairs in `dir` that are named as Consul names them. None, if the directory cannot be listed.
fn consul_pairs(dir: &Path) -> Vec<CredentialFiles> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let names: BTreeSet<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names
        .iter()
        .filter_map(|name| name.strip_suffix(".pem"))
        .filter(|name| is_consul(name) && names.contains(&format!("{name}-key.pem")))
        .map(|name| {
            let mut files = CredentialFiles::consul(dir, name);
            files.chosen = Chosen::Detected;
            files
        })
        .collect()
}

/// Whether it is `<datacenter>-<role>-consul-<number>`.
fn is_consul(name: &str) -> bool {
    let Some((front, number)) = name.rsplit_once("-consul-") else {
        return false;
    };
    let role = front.rsplit_once('-').filter(|(dc, _)| !dc.is_empty());
    role.is_some_and(|(_, role)| CONSUL_ROLES.contains(&role))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The one of these bundles that is there.
fn beside(dir: &Path, layout: Layout, names: &'static [&str]) -> Result<PathBuf, LoadError> {
    let mut found = Vec::new();
    for name in names {
        if is_there(&dir.join(name))? {
            found.push(*name);
        }
    }
    match found.as_slice() {
        [name] => Ok(dir.join(name)),
        [] => Err(LoadError::BundleNotNamed {
            dir: dir.to_path_buf(),
            layout,
        }),
        several => {
            let several = several.iter().map(|name| format!("bundle `{name}`"));
            Err(ambiguous(dir, several))
        }
    }
}

fn ambiguous(dir: &Path, found: impl Iterator<Item = String>) -> LoadError {
    LoadError::DirectoryAmbiguous {
        dir: dir.to_path_buf(),
        found: bounded(found.collect()),
    }
}

fn candidate(files: &CredentialFiles) -> String {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    pair(&name(&files.chain), &name(&files.key), files.layout)
}

fn pair(chain: &str, key: &str, layout: Layout) -> String {
    if chain == key {
        format!("`{chain}` ({layout})")
    } else {
        format!("`{chain}` and `{key}` ({layout})")
    }
}

fn is_there(path: &Path) -> Result<bool, LoadError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn expected_names() -> String {
    let layouts = PRESETS.iter().map(|p| pair(p.chain, p.key, p.layout));
    let consul = pair(
        "<dc>-server-consul-<n>.pem",
        "<dc>-server-consul-<n>-key.pem",
        Layout::Consul,
    );
    layouts.chain([consul]).collect::<Vec<_>>().join(", or ")
}

/// The names of a directory in their order.
fn found_names(dir: &Path) -> Result<String, LoadError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LoadError::FileMissing {
                path: dir.to_path_buf(),
                target: None,
            });
        }
        Err(error) => return Err(unreadable(dir, error)),
    };
    let names = entries
        .flatten()
        // Whoever may write there could forge a line of our log by a name.
        .map(|entry| format!("`{}`", printable(&entry.file_name().to_string_lossy())));
    let names: BTreeSet<_> = names.collect();
    Ok(bounded(names.into_iter().collect()))
}

/// The first of these, and how many more there are.
fn bounded(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    match (names.len(), more) {
        (0, _) => "nothing".to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

/// For whom `consul tls cert create` makes certificates (`-server`, `-client`, `-cli`).
const CONSUL_ROLES: [&str; 3] = ["server", "client", "cli"];

/// Enough to recognise what was mounted, and to fit a log line.
const MAX_NAMES: usize = 16;
