//! Directories as others write them.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
#[cfg(feature = "notify")]
use std::{
    pin::pin,
    task::{Context, Waker},
};

use super::layout::CredentialFiles;
#[cfg(feature = "notify")]
use super::watch::Subscription;

/// A volume that is replaced as the kubelet does it: all files in a new directory, then one rename of `..data`.
#[cfg(unix)]
pub(super) struct Mount {
    _guard: tempfile::TempDir,
    pub(super) dir: PathBuf,
    generation: usize,
}

#[cfg(unix)]
impl Mount {
    pub(super) fn new() -> Self {
        let (guard, dir) = tempdir();
        let dir = dir.join("certs");
        fs::create_dir(&dir).unwrap();
        let mut mount = Self {
            _guard: guard,
            dir,
            generation: 0,
        };
        mount.swap("0");
        for name in NAMES {
            symlink(Path::new("..data").join(name), mount.dir.join(name)).unwrap();
        }
        mount
    }

    pub(super) fn files(&self) -> CredentialFiles {
        CredentialFiles::kubernetes(&self.dir)
    }

    /// Every file now holds `text`.
    pub(super) fn swap(&mut self, text: &str) {
        let old = fs::read_link(self.dir.join("..data")).ok();
        self.generation += 1;
        let new = format!("..2026_01_01.{}", self.generation);
        fs::create_dir(self.dir.join(&new)).unwrap();
        for name in NAMES {
            fs::write(self.dir.join(&new).join(name), text).unwrap();
        }
        symlink(&new, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(self.dir.join(old)).unwrap();
        }
    }
}

/// A temporary directory, and its path free of links.
pub(super) fn tempdir() -> (tempfile::TempDir, PathBuf) {
    let guard = tempfile::tempdir().unwrap();
    let path = guard.path().canonicalize().unwrap();
    (guard, path)
}

/// The three files of the Kubernetes layout in `dir`, plain, all holding `text`.
pub(super) fn write_plain(dir: &Path, text: &str) -> CredentialFiles {
    for name in NAMES {
        fs::write(dir.join(name), text).unwrap();
    }
    CredentialFiles::kubernetes(dir)
}

/// Replaces a file by rename, as a careful writer does.
pub(super) fn rename_over(path: &Path, text: &str) {
    let staged = path.with_extension("staged");
    fs::write(&staged, text).unwrap();
    fs::rename(staged, path).unwrap();
}

/// Whether there is a wake-up waiting; takes it.
#[cfg(feature = "notify")]
pub(super) fn woken(subscription: &Subscription) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(subscription.changed()).poll(&mut context).is_ready()
}

pub(super) const NAMES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
