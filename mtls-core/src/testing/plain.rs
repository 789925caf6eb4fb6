//! A directory with credentials, written as anybody writes it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::issued::Issued;
use super::mount::{BUNDLE, CHAIN, KEY, done, temp_dir, write};
use super::serial::unique;

/// A directory of plain files, for writers that know nothing of atomic mounts. Removed when dropped.
///
/// Such writers leave every state between two generations visible, and a test can stop at any of them. All methods
/// block, and panic when the file system refuses. Files named `*.key` are created with mode 0600.
#[derive(Debug)]
pub struct PlainDir {
    root: TempDir,
}

impl PlainDir {
    /// A directory with `tls.crt`, `tls.key` and `ca.crt`.
    #[must_use]
    pub fn new(issued: &Issued) -> Self {
        let dir = Self::empty();
        dir.rotate(issued);
        dir
    }

    /// A directory without files.
    #[must_use]
    pub fn empty() -> Self {
        Self { root: temp_dir() }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Where a file of this name is, or would be.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Renames new files over all three, one after the other: first the chain, then the key, then the bundle.
    pub fn rotate(&self, issued: &Issued) {
        self.rename_over(CHAIN, issued.chain_pem());
        self.rename_over(KEY, issued.key_pem());
        self.rename_over(BUNDLE, issued.bundle_pem());
    }

    /// Writes into the file that is there, or creates it. A reader may see it empty, or a part of it.
    pub fn write_in_place(&self, name: &str, bytes: impl AsRef<[u8]>) {
        write(&self.file(name), bytes.as_ref());
    }

    /// Leaves the file without a byte, as a writer does that was stopped just then.
    pub fn truncate(&self, name: &str) {
        self.write_in_place(name, b"");
    }

    /// Writes a file beside it and renames that over it: a reader sees the old bytes or the new ones.
    pub fn rename_over(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let beside = self.file(&format!(".{:016x}-{name}", unique()));
        write(&beside, bytes.as_ref());
        let file = self.file(name);
        done("rename", &file, fs::rename(&beside, &file));
    }

    /// Removes the file.
    pub fn remove(&self, name: &str) {
        let file = self.file(name);
        done("remove", &file, fs::remove_file(&file));
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "reads small files that the test itself wrote"
)]
mod tests {
    use super::*;
    use crate::testing::TestCa;

    #[test]
    fn a_plain_writer_can_stop_anywhere() {
        let dir = PlainDir::empty();
        dir.write_in_place(CHAIN, "chain");
        dir.truncate(CHAIN);
        assert_eq!(fs::read(dir.file(CHAIN)).unwrap(), b"");
        dir.rename_over(CHAIN, "other");
        assert_eq!(fs::read(dir.file(CHAIN)).unwrap(), b"other");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        dir.remove(CHAIN);
        assert!(!dir.file(CHAIN).exists());
    }

    #[test]
    fn a_rotation_leaves_three_files_of_the_new_set() {
        let ca = TestCa::new("example.org");
        let dir = PlainDir::new(&ca.issue("/web"));
        let new = ca.issue("/web");
        dir.rotate(&new);
        let read = |name| fs::read_to_string(dir.file(name)).unwrap();
        assert_eq!(read(CHAIN), new.chain_pem());
        assert_eq!(read(KEY), new.key_pem());
        assert_eq!(read(BUNDLE), new.bundle_pem());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
