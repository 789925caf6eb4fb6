//! Which files make up a set of credentials and trust, and whose habit it is to name them so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use crate::error::LoadError;

/// Where credentials and trust are on disk: a chain, its private key and a trust bundle.
///
/// It names files and holds none of their contents; nothing is read until a source watches it.
#[derive(Debug, Clone)]
pub struct CredentialFiles {
    layout: Layout,
    chain: PathBuf,
    key: PathBuf,
    bundle: PathBuf,
    chosen: Chosen,
}

impl CredentialFiles {
    /// `tls.crt`, `tls.key` and `ca.crt` in `dir`, as a mounted Kubernetes TLS Secret has them, cert-manager's included.
    ///
    /// Nothing is looked at: the mount may appear later.
    #[must_use]
    pub fn kubernetes(dir: impl AsRef<Path>) -> Self {
        Self::preset(&KUBERNETES, dir.as_ref(), Chosen::Said)
    }

    /// These three files, wherever they are. Chain and key may be one file.
    ///
    /// Nothing is looked at: the files may appear later.
    #[must_use]
    pub fn paths(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        bundle: impl Into<PathBuf>,
    ) -> Self {
        Self {
            layout: Layout::Paths,
            chain: chain.into(),
            key: key.into(),
            bundle: bundle.into(),
            chosen: Chosen::Said,
        }
    }

    /// The layout whose chain and key are in `dir`; `Display` says which it was and by what it was known.
    ///
    /// The files must be there: of an empty directory nobody can tell what it will hold. Where a mount may come after
    /// the process, name its layout instead, as with [`kubernetes`](Self::kubernetes). A trust bundle is not needed to
    /// recognise a layout: one that is missing is reported by its name when the files are read.
    ///
    /// # Errors
    ///
    /// [`LoadError::DirectoryUnrecognized`] with the names that were found, if no layout is complete;
    /// [`LoadError::FileMissing`] or [`LoadError::FileUnreadable`] if `dir` is absent or may not be entered.
    pub fn detect(dir: impl AsRef<Path>) -> Result<Self, LoadError> {
        let dir = dir.as_ref();
        for preset in PRESETS {
            // Asked by name, not by listing: a directory may let us through and not let us list it (mode 0711).
            if is_there(&dir.join(preset.chain))? && is_there(&dir.join(preset.key))? {
                return Ok(Self::preset(preset, dir, Chosen::Detected));
            }
        }
        Err(LoadError::DirectoryUnrecognized {
            dir: dir.to_path_buf(),
            expected: expected_names(),
            found: found_names(dir)?,
        })
    }

    /// The file that holds the chain: the leaf certificate, then its intermediates.
    #[must_use]
    pub fn chain_path(&self) -> &Path {
        &self.chain
    }

    /// The file that holds the private key.
    #[must_use]
    pub fn key_path(&self) -> &Path {
        &self.key
    }

    /// The file that holds the trust bundle.
    #[must_use]
    pub fn bundle_path(&self) -> &Path {
        &self.bundle
    }

    /// Whose naming this is.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Every path, in the order in which a set is read.
    pub(super) fn all_paths(&self) -> [&Path; 3] {
        [&self.chain, &self.key, &self.bundle]
    }

    fn preset(preset: &Preset, dir: &Path, chosen: Chosen) -> Self {
        Self {
            layout: preset.layout,
            chain: dir.join(preset.chain),
            key: dir.join(preset.key),
            bundle: dir.join(preset.bundle),
            chosen,
        }
    }
}

/// The same files under the same layout are equal, whether they were named or detected.
impl PartialEq for CredentialFiles {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout && self.all_paths() == other.all_paths()
    }
}

impl Eq for CredentialFiles {}

impl fmt::Display for CredentialFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.chosen {
            Chosen::Said => "as configured",
            Chosen::Detected => "chosen because its chain and key are there",
        };
        let [chain, key, bundle] = self.all_paths().map(Path::display);
        write!(
            f,
            "layout {} ({why}): chain `{chain}`, key `{key}`, bundle `{bundle}`",
            self.layout
        )
    }
}

/// Whose habit of naming files a set follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// A Kubernetes TLS Secret: `tls.crt`, `tls.key`, `ca.crt`.
    Kubernetes,
    /// Nobody's: each path was given.
    Paths,
}

impl Layout {
    /// The stable name, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Paths => "paths",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decided on the layout.
#[derive(Debug, Clone, Copy)]
enum Chosen {
    Said,
    Detected,
}

/// The names of one layout, all in one directory.
struct Preset {
    layout: Layout,
    chain: &'static str,
    key: &'static str,
    bundle: &'static str,
}

const KUBERNETES: Preset = Preset {
    layout: Layout::Kubernetes,
    chain: "tls.crt",
    key: "tls.key",
    bundle: "ca.crt",
};

/// What `detect` looks for, the first match wins.
const PRESETS: &[Preset] = &[KUBERNETES];

fn is_there(path: &Path) -> Result<bool, LoadError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn expected_names() -> String {
    let layouts: Vec<_> = PRESETS
        .iter()
        .map(|p| format!("`{}` and `{}` ({})", p.chain, p.key, p.layout))
        .collect();
    layouts.join(", or ")
}

/// The first names of a directory in their order, and how many more there are.
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
    let mut names = BTreeSet::new();
    let mut more = 0_usize;
    for entry in entries.flatten() {
        names.insert(format!("`{}`", entry.file_name().to_string_lossy()));
        if names.len() > MAX_NAMES {
            names.pop_last();
            more += 1;
        }
    }
    if names.is_empty() {
        return Ok("nothing".to_owned());
    }
    let names: Vec<_> = names.into_iter().collect();
    Ok(match more {
        0 => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    })
}

fn unreadable(path: &Path, error: io::Error) -> LoadError {
    LoadError::FileUnreadable {
        path: path.to_path_buf(),
        source: Arc::new(error),
    }
}

/// Enough to recognise what was mounted, and to fit a log line.
const MAX_NAMES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        dir
    }

    #[test]
    fn a_tls_secret_is_detected_by_its_chain_and_key() {
        let dir = dir_with(&["tls.crt", "tls.key"]);
        let files = CredentialFiles::detect(dir.path()).unwrap();
        assert_eq!(files, CredentialFiles::kubernetes(dir.path()));
        assert_eq!(files.layout(), Layout::Kubernetes);
        assert_eq!(files.bundle_path(), dir.path().join("ca.crt"));
        assert!(files.to_string().contains("kubernetes (chosen because"));
    }

    #[test]
    fn an_unknown_directory_is_refused_with_its_names_sorted_and_bounded() {
        let dir = dir_with(&["zebra.pem", "tls.crt"]);
        let refused = CredentialFiles::detect(dir.path()).unwrap_err();
        let LoadError::DirectoryUnrecognized { found, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(found, "`tls.crt`, `zebra.pem`");

        for n in 0..100 {
            fs::write(dir.path().join(format!("a{n:03}")), "").unwrap();
        }
        let refused = CredentialFiles::detect(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("found `a000`, `a001`"), "{refused}");
        assert!(refused.ends_with("`a015` and 86 more"), "{refused}");
    }

    #[test]
    fn an_empty_or_absent_directory_is_not_guessed_at() {
        let dir = dir_with(&[]);
        let empty = CredentialFiles::detect(dir.path()).unwrap_err();
        assert!(
            matches!(empty, LoadError::DirectoryUnrecognized { found, .. } if found == "nothing")
        );
        let absent = CredentialFiles::detect(dir.path().join("later")).unwrap_err();
        assert!(matches!(absent, LoadError::FileMissing { .. }));
    }

    #[test]
    fn what_was_named_is_not_looked_at() {
        let files = CredentialFiles::paths("/nowhere/c", "/nowhere/k", "/nowhere/b");
        assert_eq!(files.chain_path(), Path::new("/nowhere/c"));
        assert_eq!(files.key_path(), Path::new("/nowhere/k"));
        assert_eq!(files.layout(), Layout::Paths);
        assert!(files.to_string().contains("paths (as configured)"));
        assert_ne!(files, CredentialFiles::kubernetes("/nowhere"));
    }
}
