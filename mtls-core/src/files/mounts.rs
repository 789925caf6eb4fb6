//! Files that are mounted by themselves, and so never replaced: Kubernetes' `subPath`, or a bind mount of one file.
//!
//! Writers replace files by rename. A mount holds the file that was there when it was made, so whoever reads through it
//! is shown that one for ever; no event tells, and no poll finds anything. What tells is the kernel's table of mounts.

use std::fmt;
use std::path::PathBuf;

use super::layout::CredentialFiles;
#[cfg(target_os = "linux")]
use super::{links, mountinfo::MountTable, read};

/// A file that is mounted by itself. What is written into it is seen; a file that takes its place is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckMount {
    /// The file, as it was configured.
    pub path: PathBuf,
    /// The mount, free of links: the file that `path` leads to.
    pub mount_point: PathBuf,
    /// Whether the file is gone where it was mounted from: it has been replaced, and this is the old one.
    pub is_outdated: bool,
}

impl StuckMount {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        "mount the directory, not the file: a subPath mount is never updated"
    }
}

impl fmt::Display for StuckMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is mounted by itself", self.path.display())?;
        if self.path != self.mount_point {
            write!(f, ", at `{}`", self.mount_point.display())?;
        }
        if self.is_outdated {
            f.write_str(", and has been replaced where it was mounted from")?;
        }
        Ok(())
    }
}

/// The files of a set that are mounted by themselves, each once. Where there is no table of mounts, nothing is claimed.
/// Blocking.
#[cfg(target_os = "linux")]
pub(crate) fn stuck_mounts(files: &CredentialFiles) -> Vec<StuckMount> {
    let Ok(table) = read::read(MOUNTINFO.as_ref()) else {
        return Vec::new();
    };
    let table = MountTable::parse(table.bytes());
    let mut found: Vec<StuckMount> = Vec::new();
    for path in files.all_paths() {
        if found.iter().any(|known| known.path == path) {
            continue;
        }
        let walk = links::walk(path);
        let Some(end) = walk
            .entries
            .last()
            .filter(|_| walk.end == links::End::Found)
        else {
            continue;
        };
        found.extend(table.mount_at(end).map(|mount| StuckMount {
            path: path.to_owned(),
            mount_point: end.clone(),
            is_outdated: mount.is_deleted(),
        }));
    }
    found
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stuck_mounts(_: &CredentialFiles) -> Vec<StuckMount> {
    Vec::new()
}

/// The mounts that this process sees (proc_pid_mountinfo(5)).
#[cfg(target_os = "linux")]
const MOUNTINFO: &str = "/proc/self/mountinfo";
