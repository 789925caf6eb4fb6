//! All files of a set, as of one moment.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use sha2::{Digest, Sha256};

use super::layout::CredentialFiles;
use super::read::{FileContent, read};
use super::trust_set::{self, TrustSet};
use crate::error::LoadError;

/// What the files of a set held at one moment, each for itself: a chain that is missing does not hide the bundle.
#[derive(Debug)]
pub(crate) struct FileSet {
    pub(crate) chain: Result<FileContent, LoadError>,
    pub(crate) key: Result<FileContent, LoadError>,
    pub(crate) bundle: Result<FileContent, LoadError>,
    /// Bundles of other trust domains and revocation lists: see [`federated`](super::federated()) and
    /// [`revocation`](super::revocation()).
    pub(super) trust: TrustSet,
    pub(crate) fingerprint: Fingerprint,
}

impl FileSet {
    /// Files that were read elsewhere. There is nothing for it to be compared with, and it has no fingerprint.
    pub(crate) fn of(
        chain: Result<FileContent, LoadError>,
        key: Result<FileContent, LoadError>,
        bundle: Result<FileContent, LoadError>,
    ) -> Self {
        Self {
            chain,
            key,
            bundle,
            trust: TrustSet::default(),
            fingerprint: Fingerprint([0; 32]),
        }
    }

    /// Adds a SPIFFE bundle map.
    #[cfg(feature = "spiffe-json")]
    pub(crate) fn add_bundle_map(&mut self, content: FileContent) {
        self.trust.add_bundle_map(content);
    }

    /// Adds a file of revocation lists of the local trust domain.
    pub(crate) fn add_revocation(&mut self, content: FileContent) {
        self.trust.add_revocation(content);
    }
}

/// SHA-256 over everything a set held, failures included: equal ones mean that nothing has changed.
///
/// It covers contents only, so `touch` and `chmod` do not change it, and a rollback to older files does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        // Enough to tell two apart; the whole would let somebody confirm a guess at the key.
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Reads all files until two passes agree. Blocking: call it where blocking is allowed.
///
/// # Errors
///
/// [`LoadError::UnstableFiles`] if no two passes in a row agreed. That a single file is missing or unreadable is no
/// error here, but part of the set.
pub(crate) fn read_set(files: &CredentialFiles) -> Result<FileSet, LoadError> {
    stable(files, || pass(files))
}

/// Whether the set is replaced in one step, by a `..data` link as the kubelet swaps it.
///
/// Such a set is whole whenever it has been read; any other may be between two writes. Credentials and their bundle
/// belong together and have to be behind one link. A bundle of another domain or a revocation list stands for itself:
/// it may be in a volume of its own.
pub(crate) fn is_atomic(files: &CredentialFiles) -> bool {
    let Some(data) = data_link(files) else {
        return false;
    };
    generation(&data).is_some()
        && files
            .all_paths()
            .into_iter()
            .all(|path| match fs::read_link(path) {
                Ok(target) => target.starts_with(DATA),
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            })
        && trust_set::file_paths(files)
            .iter()
            .all(|path| swapped_by(path).is_some())
        // A file that appears there has to come by a swap too.
        && trust_set::listed_directories(files).all(|dir| swapped_by(&dir.join(DATA)).is_some())
}

/// The volumes of chain and key, where these are two, as the kubelet lays them out: what swaps the one does not swap the other.
///
/// Of one volume that is swapped between the two looks nothing is said: the volumes are compared, and not their generations.
pub(crate) fn split_volumes(files: &CredentialFiles) -> Option<(PathBuf, PathBuf)> {
    let volume = |path: &Path| {
        let real = fs::canonicalize(path).ok()?;
        let generation = real.parent()?;
        let name = generation.file_name()?.as_encoded_bytes();
        let volume = generation.parent()?;
        name.starts_with(GENERATION).then(|| volume.to_path_buf())
    };
    let [chain, key, _] = files.all_paths().map(volume);
    let (chain, key) = (chain?, key?);
    (chain != key).then_some((chain, key))
}

/// The `..data` link by which this path is replaced: it, or a directory above it, is a link through that one.
fn swapped_by(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|path| {
        let data = path.parent()?.join(DATA);
        generation(&data)?;
        let swapped = match fs::read_link(path) {
            // The link itself stands for what will appear beside it.
            Ok(target) => target.starts_with(DATA) || path == data,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        swapped.then_some(data)
    })
}

fn stable(
    files: &CredentialFiles,
    mut pass: impl FnMut() -> FileSet,
) -> Result<FileSet, LoadError> {
    let mut previous: Option<(Fingerprint, Vec<Option<PathBuf>>)> = None;
    for _ in 0..MAX_PASSES {
        let links = data_links(files);
        let before = generations(&links);
        let set = pass();
        // A swap during the pass: files of two generations, or of one that was deleted while we read. Neither its
        // contents nor its absences mean anything.
        if generations(&links) != before {
            previous = None;
            continue;
        }
        let current = (set.fingerprint, before);
        if previous.as_ref() == Some(&current) {
            return Ok(set);
        }
        previous = Some(current);
    }
    Err(LoadError::UnstableFiles {
        dir: parent(files.chain_path()).to_path_buf(),
        passes: MAX_PASSES,
    })
}

fn pass(files: &CredentialFiles) -> FileSet {
    let [chain, key, bundle] = files.all_paths();
    let (chain, shared) = (read(chain), chain == key);
    // One read where one file holds both: of two, each could see another generation.
    let key = match &chain {
        _ if !shared => read(key),
        Ok(content) => Ok(content.share()),
        Err(error) => Err(error.clone()),
    };
    let bundle = read(bundle);
    let trust = TrustSet::read(files);
    let mut hash = Sha256::new();
    for (slot, file) in [&chain, &key, &bundle].into_iter().enumerate() {
        absorb(&mut hash, slot as u64, file);
    }
    absorb_trust(&mut hash, &trust);
    FileSet {
        chain,
        key,
        bundle,
        trust,
        fingerprint: Fingerprint(hash.finalize().into()),
    }
}

/// Slot, kind and length go first, so that no two different sets are the same sequence of bytes.
fn absorb(hash: &mut Sha256, slot: u64, file: &Result<FileContent, LoadError>) {
    hash.update(slot.to_le_bytes());
    match file {
        Ok(content) => field(hash, 0, content.bytes()),
        Err(error) => absorb_error(hash, error),
    }
}

/// Names count here: which domain a bundle is for, and that a file is there at all.
fn absorb_trust(hash: &mut Sha256, trust: &TrustSet) {
    for (source, found) in (3_u64..).zip(trust.all()) {
        match &found.files {
            Ok(files) => {
                field(hash, 3, &(files.len() as u64).to_le_bytes());
                for file in files {
                    field(hash, 4, file.path.as_os_str().as_encoded_bytes());
                    field(hash, 5, &[u8::from(file.gone)]);
                    absorb(hash, source, &file.content);
                }
            }
            Err(error) => absorb_error(hash, error),
        }
    }
}

fn absorb_error(hash: &mut Sha256, error: &LoadError) {
    field(hash, 1, error.to_string().as_bytes());
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    field(hash, 2, cause.as_bytes());
}

fn field(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// The one directory of all files joined with `..data`, if there is one such directory.
fn data_link(files: &CredentialFiles) -> Option<PathBuf> {
    let [first, second, third] = files.all_paths().map(parent);
    (first == second && second == third).then(|| first.join(DATA))
}

/// Every `..data` link on which what is read depends.
fn data_links(files: &CredentialFiles) -> BTreeSet<PathBuf> {
    let trust = trust_set::file_paths(files);
    let trust = trust.iter().filter_map(|path| swapped_by(path));
    let listed = trust_set::listed_directories(files).filter_map(|dir| swapped_by(&dir.join(DATA)));
    data_link(files)
        .into_iter()
        .chain(trust)
        .chain(listed)
        .collect()
}

/// Which generation each link names now.
fn generations(links: &BTreeSet<PathBuf>) -> Vec<Option<PathBuf>> {
    links.iter().map(|link| generation(link)).collect()
}

fn generation(link: &Path) -> Option<PathBuf> {
    fs::read_link(link).ok()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The link that Kubernetes' AtomicWriter renames into place.
const DATA: &str = "..data";

/// How the directories begin that it is renamed to.
const GENERATION: &[u8] = b"..";

/// Two suffice when nobody writes. Whoever changes files during five passes in a row is asked again later, by event or
/// by poll, rather than waited for.
const MAX_PASSES: usize = 5;

#[cfg(test)]
#[cfg(unix)]
mod tests;
