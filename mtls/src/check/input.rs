//! From what was named to sets of files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mtls_core::check::CheckSet;
use mtls_core::{CredentialFiles, LoadError};
use zeroize::Zeroizing;

use super::Arguments;
use super::declared::Declared;
use super::manifest;
use crate::Failure;

/// A set to look at, by the name that the report gives it.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) subject: Subject,
}

#[derive(Debug)]
pub(super) enum Subject {
    Set(Box<CheckSet>),
    /// Why there is none, which is a finding.
    Unreadable(LoadError, PathBuf),
    /// What a manifest asks for.
    Declared(Declared),
}

/// Every set that was named.
pub(super) fn all(arguments: &Arguments) -> Result<Vec<Input>, Failure> {
    arguments.federated_are_named()?;
    let mut inputs = Vec::new();
    for path in &arguments.paths {
        if path.is_dir() {
            inputs.push(directory(path, arguments));
        } else if is_manifest(path) {
            let beside = Beside::read(arguments)?;
            // Secrets are in it, and nobody needs them after this.
            let text = Zeroizing::new(read(path)?);
            let found = manifest::sets(&shown(path), &text, &beside)?;
            // A Service among manifests is fine; a manifest of nothing else is not what was meant.
            if found.is_empty() && arguments.paths.len() == 1 {
                return Err(Failure::new(format!("`{}` {NOTHING}", shown(path))));
            }
            inputs.extend(found);
        } else {
            return Err(Failure::new(format!(
                "`{}` is no directory and no manifest; name single files with `--chain`, `--key` and `--bundle`",
                path.display()
            )));
        }
    }
    inputs.extend(named(arguments)?);
    inputs.extend(map_alone(arguments, inputs.is_empty())?);
    if inputs.is_empty() && arguments.policies().next().is_none() {
        return Err(Failure::new(
            "name a directory, a manifest, or files with `--chain` and `--key`",
        ));
    }
    Ok(inputs)
}

/// A directory whose layout is known by its names.
pub(super) fn directory(dir: &Path, arguments: &Arguments) -> Input {
    let files = match &arguments.bundle {
        Some(bundle) => CredentialFiles::detect_with_bundle(dir, bundle),
        None => CredentialFiles::detect(dir),
    };
    let files = files.map(|files| beside(files, arguments));
    read_set(dir.display().to_string(), dir, files)
}

fn named(arguments: &Arguments) -> Result<Option<Input>, Failure> {
    let (Some(chain), Some(key)) = (&arguments.chain, &arguments.key) else {
        return match &arguments.bundle {
            Some(bundle) if arguments.paths.is_empty() => {
                let name = bundle.display().to_string();
                let set = CheckSet::of_bundle(&name, &read(bundle)?);
                let set = Beside::read(arguments)?.lists(set);
                let subject = Subject::Set(Box::new(set));
                Ok(Some(Input { name, subject }))
            }
            Some(_) | None => Ok(None),
        };
    };
    let name = chain.display().to_string();
    let Some(bundle) = &arguments.bundle else {
        let (key_name, key_bytes) = (key.display().to_string(), Zeroizing::new(read(key)?));
        let set = CheckSet::of_credentials((&name, &read(chain)?), (&key_name, &key_bytes));
        let set = Beside::read(arguments)?.lists(set);
        let subject = Subject::Set(Box::new(set));
        return Ok(Some(Input { name, subject }));
    };
    let files = CredentialFiles::paths(chain, key, bundle);
    Ok(Some(read_set(name, chain, Ok(beside(files, arguments)))))
}

/// A bundle map where nothing else was named.
fn map_alone(arguments: &Arguments, is_alone: bool) -> Result<Option<Input>, Failure> {
    let Some(map) = arguments.bundle_map.as_ref().filter(|_| is_alone) else {
        return Ok(None);
    };
    let name = map.display().to_string();
    let set = CheckSet::of_bundle_map(&name, &read(map)?);
    let subject = Subject::Set(Box::new(set));
    Ok(Some(Input { name, subject }))
}

/// What was named beside sets that are in no directory: a bundle for credentials without one, and revocation lists.
#[derive(Debug)]
pub(super) struct Beside {
    bundle: Option<(String, Vec<u8>)>,
    lists: Vec<(String, Vec<u8>)>,
    map: Option<(String, Vec<u8>)>,
}

impl Beside {
    fn read(arguments: &Arguments) -> Result<Self, Failure> {
        if !arguments.federated.is_empty() {
            return Err(Failure::new(NOT_BESIDE));
        }
        let named = |path: &PathBuf| Ok((path.display().to_string(), read(path)?));
        Ok(Self {
            bundle: arguments.bundle.as_ref().map(named).transpose()?,
            lists: arguments
                .crl
                .iter()
                .map(named)
                .collect::<Result<_, Failure>>()?,
            map: arguments.bundle_map.as_ref().map(named).transpose()?,
        })
    }

    pub(super) fn bundle(&self, set: CheckSet) -> CheckSet {
        match &self.bundle {
            Some((name, bytes)) => set.with_bundle(name, bytes),
            None => set,
        }
    }

    pub(super) fn lists(&self, set: CheckSet) -> CheckSet {
        let lists = self.lists.iter();
        let set = lists.fold(set, |set, (name, bytes)| {
            set.with_revocation_lists(name, bytes)
        });
        match &self.map {
            Some((name, bytes)) => set.with_bundle_map(name, bytes),
            None => set,
        }
    }
}

/// With everything that says more of trust.
fn beside(files: CredentialFiles, arguments: &Arguments) -> CredentialFiles {
    let lists = arguments.crl.iter();
    let files = lists.fold(files, CredentialFiles::revocation_lists);
    let federated = arguments.federated.iter();
    let files = federated.fold(files, |files, named| match named.split_once('=') {
        Some((domain, path)) => match domain.parse() {
            Ok(domain) => files.federated_bundle(domain, path),
            // `Arguments::federated_are_named` has refused it.
            Err(_) => files,
        },
        None => files.federated_bundles(named),
    });
    match &arguments.bundle_map {
        Some(map) => files.bundle_map(map),
        None => files,
    }
}

fn read_set(name: String, path: &Path, files: Result<CredentialFiles, LoadError>) -> Input {
    let subject = match files.and_then(|files| CheckSet::read(&files)) {
        Ok(set) => Subject::Set(Box::new(set)),
        Err(error) => Subject::Unreadable(error, path.to_owned()),
    };
    Input { name, subject }
}

fn is_manifest(path: &Path) -> bool {
    path == Path::new("-")
        || path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
}

fn shown(path: &Path) -> String {
    match path == Path::new("-") {
        true => "(stdin)".to_owned(),
        false => path.display().to_string(),
    }
}

/// A file that somebody named on the command line, or stdin.
#[expect(
    clippy::disallowed_methods,
    reason = "bounded, and of what the person at the terminal named; sets are read by the loader"
)]
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) if bytes.len() as u64 > LIMIT => {
            let what = format!("`{}` has more than {LIMIT} bytes", shown(path));
            Err(Failure::new(what))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::new(format!(
            "`{}` cannot be read: {error}",
            shown(path)
        ))),
    }
}

const NOT_BESIDE: &str = "`--federated` goes with a directory, or with `--chain`, `--key` and `--bundle`; elsewhere there is `--bundle-map`";
const NOTHING: &str = "holds no Secret or ConfigMap with certificates, no Certificate and no pod";
/// A cluster's worth of manifests.
const LIMIT: u64 = 64 * 1024 * 1024;
