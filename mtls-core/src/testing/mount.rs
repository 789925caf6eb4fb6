//! A directory with credentials, written as a kubelet writes it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use time::OffsetDateTime;

use super::issued::Issued;
use super::lifetime::now;
use super::serial::unique;

/// A directory as a kubelet mounts a Secret with `tls.crt`, `tls.key` and `ca.crt`. Removed when dropped.
///
/// Each rotation takes the kubelet's steps in the kubelet's order: a directory `..<time>.<random>` is written whole, a link
/// `..data_tmp` to it is renamed onto `..data`, links such as `tls.crt -> ..data/tls.crt` are made for names that are new
/// and removed for names that are gone, and the directory of before is deleted at once. Unlike a kubelet's, a rotation to
/// the same bytes is one too. Keys have mode 0600.
///
/// All methods block, and panic when the file system refuses. Where there are no symbolic links (not Unix), the
/// files are plain ones, renamed one after the other.
#[derive(Debug)]
pub struct MountedDir {
    root: TempDir,
}

impl MountedDir {
    /// A mount of these credentials and their bundle.
    #[must_use]
    pub fn new(issued: &Issued) -> Self {
        let mount = Self::empty();
        mount.rotate(issued);
        mount
    }

    /// A mount of a Secret that has no keys yet.
    #[must_use]
    pub fn empty() -> Self {
        let mount = Self { root: temp_dir() };
        mount.publish(|_| ());
        mount
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Where the chain is: `tls.crt`.
    #[must_use]
    pub fn chain_path(&self) -> PathBuf {
        self.path().join(CHAIN)
    }

    /// Where the private key is: `tls.key`.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.path().join(KEY)
    }

    /// Where the trust bundle is: `ca.crt`.
    #[must_use]
    pub fn bundle_path(&self) -> PathBuf {
        self.path().join(BUNDLE)
    }

    /// Replaces all three files.
    pub fn rotate(&self, issued: &Issued) {
        self.rotate_with(issued.chain_pem(), issued.key_pem(), issued.bundle_pem());
    }

    /// Replaces all three files by these bytes, whatever they are.
    pub fn rotate_with(
        &self,
        chain_pem: impl AsRef<[u8]>,
        key_pem: impl AsRef<[u8]>,
        bundle_pem: impl AsRef<[u8]>,
    ) {
        self.rotate_files(&[
            (CHAIN, chain_pem.as_ref()),
            (KEY, key_pem.as_ref()),
            (BUNDLE, bundle_pem.as_ref()),
        ]);
    }

    /// Replaces the whole set by files of these names; those of other names are gone.
    pub fn rotate_files(&self, files: &[(&str, &[u8])]) {
        self.publish(|generation| {
            for (name, bytes) in files {
                write(&generation.join(name), bytes);
            }
        });
    }

    /// Replaces the trust bundle; chain and key are carried over.
    pub fn write_bundle(&self, bundle_pem: impl AsRef<[u8]>) {
        self.publish(|generation| {
            for name in [CHAIN, KEY] {
                let from = self.path().join(name);
                done("copy", &from, fs::copy(&from, generation.join(name)));
            }
            write(&generation.join(BUNDLE), bundle_pem.as_ref());
        });
    }

    /// Writes a generation whole, then makes it the current one.
    fn publish(&self, fill: impl FnOnce(&Path)) {
        let generation = self.path().join(generation_name());
        done("create", &generation, fs::create_dir(&generation));
        fill(&generation);
        self.swap(&generation);
    }

    #[cfg(unix)]
    fn swap(&self, generation: &Path) {
        use std::os::unix::fs::symlink;

        let data = self.path().join(DATA);
        let data_tmp = self.path().join(DATA_TMP);
        let old = fs::read_link(&data).ok();

        // The link is relative, as the kubelet's is: a mount is seen under another path in the container.
        let target = generation.file_name().unwrap_or_default();
        done("link", &data_tmp, symlink(target, &data_tmp));
        done("rename", &data, fs::rename(&data_tmp, &data));

        for name in names(generation) {
            let link = self.path().join(&name);
            if fs::symlink_metadata(&link).is_err() {
                done("link", &link, symlink(Path::new(DATA).join(name), &link));
            }
        }
        for name in names(self.path()) {
            let link = self.path().join(&name);
            if !name.to_string_lossy().starts_with("..") && !generation.join(&name).exists() {
                done("remove", &link, fs::remove_file(&link));
            }
        }
        if let Some(old) = old {
            let old = self.path().join(old);
            done("remove", &old, fs::remove_dir_all(&old));
        }
    }

    #[cfg(not(unix))]
    fn swap(&self, generation: &Path) {
        let new = names(generation);
        for name in &new {
            let file = self.path().join(name);
            done("rename", &file, fs::rename(generation.join(name), &file));
        }
        done("remove", generation, fs::remove_dir(generation));
        for name in names(self.path()) {
            let file = self.path().join(&name);
            if !new.contains(&name) {
                done("remove", &file, fs::remove_file(&file));
            }
        }
    }
}

pub(super) fn temp_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("mtls-test-")
        .tempdir()
        .unwrap_or_else(|e| panic!("cannot create a temporary directory: {e}"))
}

/// `..2026_02_28_13_37_00.1234567890`.
fn generation_name() -> String {
    let t = OffsetDateTime::from(now());
    format!(
        "..{:04}_{:02}_{:02}_{:02}_{:02}_{:02}.{}",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        unique(),
    )
}

fn names(dir: &Path) -> Vec<OsString> {
    let entries = done("list", dir, fs::read_dir(dir));
    entries
        .map(|entry| done("list", dir, entry).file_name())
        .collect()
}

pub(super) fn write(path: &Path, bytes: &[u8]) {
    done("write", path, write_plain(path, bytes));
}

#[expect(
    clippy::disallowed_methods,
    reason = "it writes, into a directory of its own"
)]
pub(super) fn write_plain(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if path.extension().is_some_and(|extension| extension == "key") {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path)?.write_all(bytes)
}

#[track_caller]
pub(super) fn done<T>(what: &str, path: &Path, result: io::Result<T>) -> T {
    result.unwrap_or_else(|e| panic!("cannot {what} `{}`: {e}", path.display()))
}

pub(super) const CHAIN: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
pub(super) const BUNDLE: &str = "ca.crt";
#[cfg(unix)]
const DATA: &str = "..data";
#[cfg(unix)]
const DATA_TMP: &str = "..data_tmp";

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "reads small files that the test itself wrote"
)]
mod tests {
    use super::*;
    use crate::testing::TestCa;

    fn holds(dir: &Path, issued: &Issued) -> bool {
        fs::read_to_string(dir.join(CHAIN)).unwrap() == issued.chain_pem()
            && fs::read_to_string(dir.join(KEY)).unwrap() == issued.key_pem()
            && fs::read_to_string(dir.join(BUNDLE)).unwrap() == issued.bundle_pem()
    }

    #[test]
    fn a_rotation_replaces_all_three_files() {
        let old = TestCa::new("example.org").issue("/web");
        let new = TestCa::new("example.org").issue("/web");
        let mount = MountedDir::new(&old);
        assert!(holds(mount.path(), &old));
        mount.rotate(&new);
        assert!(holds(mount.path(), &new));
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_through_data_to_one_generation() {
        let ca = TestCa::new("example.org");
        let mount = MountedDir::new(&ca.issue("/web"));
        let before = fs::read_link(mount.path().join("..data")).unwrap();
        mount.rotate(&ca.issue("/web"));
        let after = fs::read_link(mount.path().join("..data")).unwrap();

        assert_ne!(before, after);
        assert!(after.is_relative() && mount.path().join(&after).is_dir());
        let (time, random) = after.to_str().unwrap().rsplit_once('.').unwrap();
        assert_eq!(time.len(), "..2026_02_28_13_37_00".len());
        assert!(random.bytes().all(|b| b.is_ascii_digit()));
        for name in [CHAIN, KEY, BUNDLE] {
            let target = fs::read_link(mount.path().join(name)).unwrap();
            assert_eq!(target, Path::new("..data").join(name));
        }
        let mut left: Vec<_> = names(mount.path());
        left.sort();
        assert_eq!(
            left,
            [
                after.as_os_str(),
                "..data".as_ref(),
                BUNDLE.as_ref(),
                CHAIN.as_ref(),
                KEY.as_ref()
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_reader_that_resolved_the_old_generation_finds_it_gone() {
        let ca = TestCa::new("example.org");
        let mount = MountedDir::new(&ca.issue("/web"));
        let resolved = fs::canonicalize(mount.key_path()).unwrap();
        mount.rotate(&ca.issue("/web"));
        let late = fs::read(resolved).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn names_that_are_gone_from_the_set_are_gone_from_the_directory() {
        let mount = MountedDir::new(&TestCa::new("example.org").issue("/web"));
        mount.rotate_files(&[(CHAIN, b"chain")]);
        assert_eq!(fs::read(mount.chain_path()).unwrap(), b"chain");
        assert!(fs::symlink_metadata(mount.key_path()).is_err());
        assert!(fs::symlink_metadata(mount.bundle_path()).is_err());
    }

    #[test]
    fn another_bundle_leaves_chain_and_key_as_they_are() {
        let web = TestCa::new("example.org").issue("/web");
        let mount = MountedDir::new(&web);
        mount.write_bundle("another");
        assert_eq!(fs::read(mount.bundle_path()).unwrap(), b"another");
        mount.write_bundle(web.bundle_pem());
        assert!(holds(mount.path(), &web));
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let web = TestCa::new("example.org").issue("/web");
        let mount = MountedDir::new(&web);
        mount.write_bundle(web.bundle_pem());
        let mode = fs::metadata(mount.key_path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_dropped_directory_leaves_nothing() {
        let mount = MountedDir::empty();
        let path = mount.path().to_owned();
        assert!(path.is_dir());
        drop(mount);
        assert!(!path.exists());
    }
}
