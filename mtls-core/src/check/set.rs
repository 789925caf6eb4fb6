//! The files that are looked at.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::LoadError;
use crate::files::{self, CredentialFiles, FileContent, FileSet, StuckMount};

/// The files of a set: from a directory, or as bytes under the names that they will have.
///
/// A set without credentials is a bundle by itself, and one without a bundle credentials by themselves: rules about both
/// are left out then.
pub struct CheckSet {
    pub(super) files: FileSet,
    pub(super) has_credentials: bool,
    pub(super) has_bundle: bool,
    /// Chain and key are one file.
    pub(super) is_combined: bool,
    pub(super) stuck_mounts: Vec<StuckMount>,
    /// The volumes of chain and key, where these are two.
    pub(super) split: Option<(PathBuf, PathBuf)>,
}

impl CheckSet {
    /// Reads the files of a set as a source does, and looks at how they are mounted. Blocking.
    ///
    /// # Errors
    ///
    /// [`LoadError::UnstableFiles`] if they keep changing. That files are missing is a finding, and no error here.
    pub fn read(files: &CredentialFiles) -> Result<Self, LoadError> {
        Ok(Self {
            files: files::read_set(files)?,
            has_credentials: true,
            has_bundle: true,
            is_combined: files.chain_path() == files.key_path(),
            stuck_mounts: files::stuck_mounts(files),
            split: files::split_volumes(files),
        })
    }

    /// A chain and its key, as bytes under their names. Both may be one file: then the names are equal.
    #[must_use]
    pub fn of_credentials(chain: (&str, &[u8]), key: (&str, &[u8])) -> Self {
        let is_combined = chain.0 == key.0;
        Self {
            files: FileSet::of(content(chain), content(key), absent("(bundle)")),
            has_credentials: true,
            has_bundle: false,
            is_combined,
            stuck_mounts: Vec::new(),
            split: None,
        }
    }

    /// A trust bundle by itself, as bytes under its name.
    #[must_use]
    pub fn of_bundle(name: &str, bytes: &[u8]) -> Self {
        Self {
            files: FileSet::of(absent("(chain)"), absent("(key)"), content((name, bytes))),
            has_credentials: false,
            has_bundle: true,
            is_combined: false,
            stuck_mounts: Vec::new(),
            split: None,
        }
    }

    /// The same with this bundle.
    #[must_use]
    pub fn with_bundle(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.bundle = content((name, bytes));
        self.has_bundle = true;
        self
    }

    /// The same without a file of this name, which should be there.
    #[must_use]
    pub fn with_missing_bundle(mut self, name: &str) -> Self {
        self.files.bundle = absent(name);
        self.has_bundle = true;
        self
    }

    /// The same with a file of revocation lists of the own trust domain.
    #[must_use]
    pub fn with_revocation_lists(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.add_revocation(FileContent::of(name, bytes));
        self
    }

    /// The same with a SPIFFE bundle map, which brings the bundles of other trust domains.
    #[cfg(feature = "spiffe-json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "spiffe-json")))]
    #[must_use]
    pub fn with_bundle_map(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.add_bundle_map(FileContent::of(name, bytes));
        self
    }

    /// A SPIFFE bundle map by itself, as bytes under its name.
    #[cfg(feature = "spiffe-json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "spiffe-json")))]
    #[must_use]
    pub fn of_bundle_map(name: &str, bytes: &[u8]) -> Self {
        let none = Self {
            has_bundle: false,
            ..Self::of_bundle(name, b"")
        };
        none.with_bundle_map(name, bytes)
    }

    /// Whether every user of the machine may read the key.
    pub(super) fn key_is_world_readable(&self) -> bool {
        let key = self.files.key.as_ref();
        key.is_ok_and(FileContent::is_world_readable)
    }
}

impl fmt::Debug for CheckSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckSet")
            .field("files", &self.files)
            .field("has_credentials", &self.has_credentials)
            .field("has_bundle", &self.has_bundle)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as files are read")]
fn content((name, bytes): (&str, &[u8])) -> Result<FileContent, LoadError> {
    Ok(FileContent::of(name, bytes))
}

fn absent(name: &str) -> Result<FileContent, LoadError> {
    Err(LoadError::FileMissing {
        path: PathBuf::from(name),
        target: None,
    })
}

/// The name of a file that is there or should be.
pub(super) fn path_of(file: &Result<FileContent, LoadError>) -> &Path {
    match file {
        Ok(content) => content.path(),
        Err(
            LoadError::FileMissing { path, .. }
            | LoadError::FileUnreadable { path, .. }
            | LoadError::FileNotRegular { path, .. }
            | LoadError::FileTooLarge { path, .. }
            | LoadError::FileLinkLoop { path, .. },
        ) => path,
        Err(_) => Path::new("(file)"),
    }
}
