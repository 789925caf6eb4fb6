//! All files of a set, as of one moment.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use sha2::{Digest, Sha256};

use super::layout::CredentialFiles;
use super::read::{FileContent, read};
use crate::error::LoadError;

/// What the files of a set held at one moment, each for itself: a chain that is missing does not hide the bundle.
#[derive(Debug)]
pub(crate) struct FileSet {
    pub(crate) chain: Result<FileContent, LoadError>,
    pub(crate) key: Result<FileContent, LoadError>,
    pub(crate) bundle: Result<FileContent, LoadError>,
    pub(crate) fingerprint: Fingerprint,
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
/// Such a set is whole whenever it has been read; any other may be between two writes.
pub(crate) fn is_atomic(files: &CredentialFiles) -> bool {
    let Some(data) = data_link(files) else {
        return false;
    };
    generation(Some(&data)).is_some()
        && files
            .all_paths()
            .into_iter()
            .all(|path| match fs::read_link(path) {
                Ok(target) => target.starts_with(DATA),
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            })
}

fn stable(
    files: &CredentialFiles,
    mut pass: impl FnMut() -> FileSet,
) -> Result<FileSet, LoadError> {
    let data = data_link(files);
    let mut previous: Option<(FileSet, Option<PathBuf>)> = None;
    for _ in 0..MAX_PASSES {
        let before = generation(data.as_deref());
        let set = pass();
        // A swap during the pass: files of two generations, or of one that was deleted while we read. Neither its
        // contents nor its absences mean anything.
        if generation(data.as_deref()) != before {
            previous = None;
            continue;
        }
        let current = (set, before);
        if let Some(last) = previous
            && last.0.fingerprint == current.0.fingerprint
            && last.1 == current.1
        {
            return Ok(current.0);
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
    let mut hash = Sha256::new();
    for (slot, file) in [&chain, &key, &bundle].into_iter().enumerate() {
        absorb(&mut hash, slot as u64, file);
    }
    FileSet {
        chain,
        key,
        bundle,
        fingerprint: Fingerprint(hash.finalize().into()),
    }
}

/// Slot, kind and length go first, so that no two different sets are the same sequence of bytes.
fn absorb(hash: &mut Sha256, slot: u64, file: &Result<FileContent, LoadError>) {
    hash.update(slot.to_le_bytes());
    let mut field = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    match file {
        Ok(content) => field(0, content.bytes()),
        Err(error) => {
            field(1, error.to_string().as_bytes());
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            field(2, cause.as_bytes());
        }
    }
}

/// The one directory of all files joined with `..data`, if there is one such directory.
fn data_link(files: &CredentialFiles) -> Option<PathBuf> {
    let [first, second, third] = files.all_paths().map(parent);
    (first == second && second == third).then(|| first.join(DATA))
}

/// Which generation the link names now.
fn generation(data: Option<&Path>) -> Option<PathBuf> {
    data.and_then(|link| fs::read_link(link).ok())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The link that Kubernetes' AtomicWriter renames into place.
const DATA: &str = "..data";

/// Two suffice when nobody writes. Whoever changes files during five passes in a row is asked again later, by event or
/// by poll, rather than waited for.
const MAX_PASSES: usize = 5;

#[cfg(test)]
#[cfg(unix)]
mod tests;
