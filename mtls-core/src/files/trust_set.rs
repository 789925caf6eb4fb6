//! The files of trust beside the own bundle, as of one moment, not yet decoded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::access::unreadable;
use super::layout::CredentialFiles;
use super::read::{FileContent, MAX_FILE_SIZE, read_up_to};
use super::trust_files::{FederatedSource, is_revocation_list, named_domain};
use crate::error::LoadError;
use crate::identity::TrustDomain;

/// What a source of bundles, or a path of lists, held: its files, or why it could not be looked into.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) files: Result<Vec<FoundFile>, LoadError>,
}

impl Found {
    /// One file that is there.
    fn of(content: FileContent) -> Self {
        let path = content.path().to_path_buf();
        let file = FoundFile {
            path: path.clone(),
            content: Ok(content),
            gone: false,
        };
        let files = Ok(vec![file]);
        Self { path, files }
    }
}

/// One file of it.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    pub(super) content: Result<FileContent, LoadError>,
    /// There is no entry of this name, and the directory for it is there.
    pub(super) gone: bool,
}

/// The bundles of other domains and the lists, in the order in which they are configured.
#[derive(Debug, Default)]
pub(super) struct TrustSet {
    pub(super) federated: Vec<(FederatedSource, Found)>,
    pub(super) revocation: Vec<(Option<TrustDomain>, Found)>,
}

impl TrustSet {
    pub(super) fn read(files: &CredentialFiles) -> Self {
        let mut bundles = MAX_BUNDLES;
        let federated = files.trust.federated.iter().map(|source| {
            let found = match source {
                FederatedSource::Directory(dir) => Found {
                    path: dir.clone(),
                    files: bundles_in(dir).map(|paths| {
                        // The own bundle is read as such, and once.
                        let others = paths.iter().filter(|path| *path != files.bundle_path());
                        let read = |path: &PathBuf| read_file(path, MAX_FILE_SIZE, &mut bundles);
                        others.map(read).collect()
                    }),
                },
                FederatedSource::File(_, path) => one(path, MAX_FILE_SIZE, &mut bundles),
                FederatedSource::Map(path) => one(path, MAX_BUNDLES, &mut bundles),
            };
            (source.clone(), found)
        });
        let federated = federated.collect();
        let mut lists = MAX_LISTS;
        let revocation = files.trust.revocation.iter().map(|(domain, path)| {
            let found = if is_dir(path) {
                let files = lists_in(path).map(|paths| {
                    let read = |path: &PathBuf| read_file(path, MAX_LISTS, &mut lists);
                    paths.iter().map(read).collect()
                });
                Found {
                    path: path.clone(),
                    files,
                }
            } else {
                one(path, MAX_LISTS, &mut lists)
            };
            (domain.clone(), found)
        });
        Self {
            federated,
            revocation: revocation.collect(),
        }
    }

    /// A SPIFFE bundle map that was read elsewhere.
    #[cfg(feature = "spiffe-json")]
    pub(super) fn add_bundle_map(&mut self, content: FileContent) {
        let source = FederatedSource::Map(content.path().to_path_buf());
        self.federated.push((source, Found::of(content)));
    }

    /// A file of the local trust domain's lists that was read elsewhere.
    pub(super) fn add_revocation(&mut self, content: FileContent) {
        self.revocation.push((None, Found::of(content)));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Found> {
        let federated = self.federated.iter().map(|(_, found)| found);
        federated.chain(self.revocation.iter().map(|(_, found)| found))
    }
}

/// Every file of trust that is there now, or is configured by its own name.
pub(super) fn file_paths(files: &CredentialFiles) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for source in &files.trust.federated {
        match source {
            FederatedSource::Directory(dir) => paths.extend(bundles_in(dir).unwrap_or_default()),
            FederatedSource::File(_, path) | FederatedSource::Map(path) => paths.push(path.clone()),
        }
    }
    for (_, path) in &files.trust.revocation {
        match is_dir(path) {
            true => paths.extend(lists_in(path).unwrap_or_default()),
            false => paths.push(path.clone()),
        }
    }
    paths
}

/// Every directory in which files of trust are looked for by listing it, whether it is there or not.
pub(super) fn listed_directories(files: &CredentialFiles) -> impl Iterator<Item = &Path> {
    let federated = files
        .trust
        .federated
        .iter()
        .filter_map(|source| match source {
            FederatedSource::Directory(dir) => Some(dir.as_path()),
            FederatedSource::File(..) | FederatedSource::Map(_) => None,
        });
    let revocation = files.trust.revocation.iter();
    federated.chain(
        revocation
            .map(|(_, path)| path.as_path())
            .filter(|path| is_dir(path)),
    )
}

fn bundles_in(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    list(dir, |path| named_domain(path).is_some())
}

fn lists_in(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    list(dir, is_revocation_list)
}

/// The entries of a directory that are wanted, by name.
fn list(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, LoadError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| not_listed(dir, error))? {
        let path = entry.map_err(|error| not_listed(dir, error))?.path();
        if wanted(&path) {
            found.push(path);
        }
        if found.len() > MAX_ENTRIES {
            return Err(LoadError::DirectoryCrowded {
                dir: dir.to_path_buf(),
                limit: MAX_ENTRIES,
            });
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn not_listed(dir: &Path, error: io::Error) -> LoadError {
    if error.kind() == io::ErrorKind::NotFound {
        let (path, target) = (dir.to_path_buf(), None);
        return LoadError::FileMissing { path, target };
    }
    unreadable(dir, error)
}

fn one(path: &Path, limit: u64, left: &mut u64) -> Found {
    Found {
        path: path.to_path_buf(),
        files: Ok(vec![read_file(path, limit, left)]),
    }
}

fn read_file(path: &Path, limit: u64, left: &mut u64) -> FoundFile {
    let content = read_up_to(path, limit.min(*left));
    if let Ok(content) = &content {
        *left = left.saturating_sub(content.bytes().len() as u64);
    }
    let gone = content.is_err()
        && matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
        && path
            .parent()
            .is_some_and(|dir| dir.as_os_str().is_empty() || is_dir(dir));
    FoundFile {
        path: path.to_path_buf(),
        content,
        gone,
    }
}

fn is_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// All bundles of other domains together: sixty-four as large as a single file may be.
const MAX_BUNDLES: u64 = 64 * MAX_FILE_SIZE;

/// All revocation lists together. An entry has some 40 to 60 bytes: these are a million of them.
const MAX_LISTS: u64 = 64 * 1024 * 1024;

/// Files of one directory. Whoever federates with more mounts a map.
const MAX_ENTRIES: usize = 4096;
