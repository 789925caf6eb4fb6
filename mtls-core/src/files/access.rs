//! Whose a file is, and who we are: what a permission that is missing is a matter of.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(unix)]
use super::read::read;
use crate::error::LoadError;

/// The mode and the owner of what may not be read, and the user and the groups of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileAccess {
    /// The file; or the innermost directory on the way to it that can be looked at.
    pub path: PathBuf,
    /// Its permission bits, such as `0o400`.
    pub mode: u32,
    /// The user ID of its owner.
    pub owner: u32,
    /// Its group ID.
    pub group: u32,
    /// Whom this process acts as, where the system tells (Linux).
    pub process: Option<ProcessIds>,
}

/// Whom a process acts as.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessIds {
    /// Its effective user ID.
    pub user: u32,
    /// Its effective group ID, and then its supplementary ones, `fsGroup` among them.
    pub groups: Vec<u32>,
}

/// The error of a path that is there and cannot be read.
pub(super) fn unreadable(path: &Path, error: io::Error) -> LoadError {
    // Of that file we would ask that file.
    let denied = error.kind() == io::ErrorKind::PermissionDenied && path != Path::new(STATUS);
    let access = denied.then(|| FileAccess::of(path)).flatten();
    LoadError::FileUnreadable {
        path: path.to_path_buf(),
        access: access.map(Box::new),
        source: Arc::new(error),
    }
}

impl FileAccess {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        let (path, metadata) = path.ancestors().find_map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((path, metadata))
        })?;
        Some(Self {
            path: path.to_path_buf(),
            mode: metadata.mode() & PERMISSION_BITS,
            owner: metadata.uid(),
            group: metadata.gid(),
            process: ProcessIds::ours(),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

impl ProcessIds {
    /// From proc(5), which tells them without a call that would take `unsafe`.
    #[cfg(unix)]
    fn ours() -> Option<Self> {
        let status = read(Path::new(STATUS)).ok()?;
        Self::parse(std::str::from_utf8(status.bytes()).ok()?)
    }

    #[cfg_attr(not(unix), expect(dead_code, reason = "nobody tells"))]
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let ids = line.split_whitespace().map(str::parse);
            ids.collect::<Result<Vec<u32>, _>>().ok()
        };
        // "Uid, Gid: Real, effective, saved set, and filesystem".
        let (users, groups) = (field("Uid:")?, field("Gid:")?);
        let mut groups = vec![*groups.get(1)?];
        for group in field("Groups:").unwrap_or_default() {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let user = *users.get(1)?;
        Some(Self { user, groups })
    }
}

impl fmt::Display for FileAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            mode,
            owner,
            group,
            process,
        } = self;
        write!(
            f,
            "`{}` has mode {mode:04o} and belongs to {owner}:{group}",
            path.display()
        )?;
        let Some(ProcessIds { user, groups }) = process else {
            return Ok(());
        };
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        write!(
            f,
            "; this process is user {user} in groups {}",
            groups.join(", ")
        )
    }
}

const STATUS: &str = "/proc/self/status";

#[cfg(unix)]
const PERMISSION_BITS: u32 = 0o7777;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn the_innermost_that_can_be_looked_at_is_told_with_its_mode_and_owner() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("tls.key");
        fs::write(&key, "").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o040)).unwrap();
        let of_key = FileAccess::of(&key).unwrap();
        assert_eq!((&of_key.path, of_key.mode), (&key, 0o040));
        let there = fs::metadata(&key).unwrap();
        assert_eq!(
            (of_key.owner, of_key.group),
            (there.uid(), there.gid()),
            "{of_key}"
        );
        let below = FileAccess::of(&dir.path().join("missing/tls.key")).unwrap();
        assert_eq!(below.path, dir.path());
    }

    #[test]
    fn who_we_are_is_read_as_proc_5_has_it() {
        let status = "Name:\tmtls\nUid:\t0\t1000\t0\t0\nGid:\t0\t1001\t0\t0\nGroups:\t1001 2000 \n";
        let ids = ProcessIds::parse(status).unwrap();
        assert_eq!((ids.user, ids.groups), (1000, vec![1001, 2000]));
        let alone = ProcessIds::parse("Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t \n").unwrap();
        assert_eq!((alone.user, alone.groups), (7, vec![8]));
        for cut in [
            "",
            "Uid:\t1\n",
            "Uid:\t1\t2\t3\t4\n",
            "Uid:\tx\tx\nGid:\t1\t1\n",
        ] {
            assert_eq!(ProcessIds::parse(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn it_is_told_in_one_line() {
        let access = FileAccess {
            path: PathBuf::from("/tls/tls.key"),
            mode: 0o400,
            owner: 0,
            group: 2000,
            process: Some(ProcessIds {
                user: 1000,
                groups: vec![1000, 3000],
            }),
        };
        assert_eq!(
            access.to_string(),
            "`/tls/tls.key` has mode 0400 and belongs to 0:2000; this process is user 1000 in groups 1000, 3000"
        );
    }
}
