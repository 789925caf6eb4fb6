//! The kernel's table of mounts, as proc_pid_mountinfo(5) describes it.
//!
//! Pure: bytes and paths go in. A line that cannot be read is left out, for nothing is claimed of what is not understood.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Every mount that a process sees.
#[derive(Debug, Default)]
pub(super) struct MountTable {
    mounts: Vec<Mount>,
    ids: HashSet<u64>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    id: u64,
    parent: u64,
    /// What of its file system is mounted.
    root: Vec<u8>,
    mount_point: PathBuf,
}

impl MountTable {
    pub(super) fn parse(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n');
        let mounts: Vec<_> = lines.filter_map(Mount::parse).collect();
        let ids = mounts.iter().map(|mount| mount.id).collect();
        Self { mounts, ids }
    }

    /// The mount that is on this very path, if there is one and it can be seen. The path is free of links.
    pub(super) fn mount_at(&self, path: &Path) -> Option<&Mount> {
        self.holding(path).filter(|mount| mount.mount_point == path)
    }

    /// The mount that a path leads into, found as the kernel finds it: from the root down, since a mount can hide others
    /// that are still in the table.
    fn holding(&self, path: &Path) -> Option<&Mount> {
        let mut here: Option<&Mount> = None;
        // Each step goes one mount down. A table whose parents go in circles must end too.
        for _ in 0..self.mounts.len() {
            let below = |mount: &&Mount| match here {
                Some(here) => mount.parent == here.id && mount.id != here.id,
                None => self.is_top(mount),
            };
            let on_the_way = |mount: &&Mount| {
                path.starts_with(&mount.mount_point)
                    && here.is_none_or(|here| mount.mount_point.starts_with(&here.mount_point))
            };
            let next = self.mounts.iter().filter(below).filter(on_the_way);
            match next.min_by_key(|mount| mount.mount_point.components().count()) {
                Some(next) => here = Some(next),
                None => break,
            }
        }
        here
    }

    /// Whether a path begins here: nothing is above it, or nothing that this process sees.
    fn is_top(&self, mount: &Mount) -> bool {
        mount.parent == mount.id || !self.ids.contains(&mount.parent)
    }
}

impl Mount {
    /// Whether what is mounted was deleted where it is mounted from.
    pub(super) fn is_deleted(&self) -> bool {
        self.root.ends_with(DELETED)
    }

    /// `36 35 98:0 /mnt1 /mnt2 rw,noatime …`: id, parent, device, root, mount point, and what does not matter here.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let _device = fields.next()?;
        let root = unescape(fields.next()?);
        let mount_point = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
        // A root like `mnt:[4026532281]` is no path, but whatever is mounted is mounted at one.
        mount_point.is_absolute().then_some(Self {
            id,
            parent,
            root,
            mount_point,
        })
    }
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Space, tab, newline and backslash stand there as a backslash and three octal digits. What only looks like that stays.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    loop {
        match *field {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                ref rest @ ..,
            ] => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                field = rest;
            }
            [byte, ref rest @ ..] => {
                plain.push(byte);
                field = rest;
            }
            [] => return plain,
        }
    }
}

/// What the kernel adds to the root of a mount that was deleted. No path has two slashes in a row.
const DELETED: &[u8] = b"//deleted";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    /// Whether there is a mount on this path, and then whether what it shows was deleted.
    fn stuck(table: &str, path: &str) -> Option<bool> {
        let table = MountTable::parse(table.as_bytes());
        table.mount_at(Path::new(path)).map(Mount::is_deleted)
    }

    /// As in a container: a root, a volume that is mounted whole, and one file of another volume.
    const POD: &str = "\
500 400 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b
501 500 0:51 / /proc rw,nosuid - proc proc rw
502 500 0:60 / /whole rw shared:3 master:1 - tmpfs tmpfs rw
503 500 0:61 /..2026_11_23/tls.crt /certs/tls.crt ro - tmpfs tmpfs rw
504 500 0:61 /..2026_11_22/tls.key//deleted /certs/tls.key ro - tmpfs tmpfs rw
505 500 0:61 /..2026_11_22/deleted /certs/deleted ro - tmpfs tmpfs rw
";

    #[test]
    fn a_file_that_is_a_mount_point_is_found_and_whether_it_is_the_old_one() {
        assert_eq!(stuck(POD, "/certs/tls.crt"), Some(false));
        assert_eq!(stuck(POD, "/certs/tls.key"), Some(true));
        assert_eq!(stuck(POD, "/certs/deleted"), Some(false));
    }

    #[test]
    fn a_file_in_a_mounted_directory_is_not() {
        for path in [
            "/whole/tls.crt",
            "/certs/ca.crt",
            "/certs/tls.crt2",
            "/certs/tls.cr",
            "/etc/tls.crt",
        ] {
            assert_eq!(stuck(POD, path), None, "{path}");
        }
    }

    #[test]
    fn a_mount_that_another_hides_does_not_count() {
        let hidden = format!("{POD}600 500 0:70 / /certs rw - tmpfs tmpfs rw\n");
        assert_eq!(stuck(&hidden, "/certs/tls.crt"), None);
        // In whichever order they are listed.
        let mut lines: Vec<_> = hidden.lines().rev().collect();
        assert_eq!(stuck(&lines.join("\n"), "/certs/tls.crt"), None);
        // Mounted once more, on what hides the first.
        lines.push("601 600 0:61 /tls.crt /certs/tls.crt ro - tmpfs tmpfs rw");
        assert_eq!(
            stuck(
                &lines.join(
                    "
"
                ),
                "/certs/tls.crt"
            ),
            Some(false)
        );
    }

    #[test]
    fn a_mount_on_a_mount_is_found() {
        let twice = format!("{POD}600 503 0:70 /other /certs/tls.crt rw - tmpfs tmpfs rw\n");
        assert_eq!(stuck(&twice, "/certs/tls.crt"), Some(false));
    }

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        let table = r"1 0 0:1 / / rw - tmpfs t rw
2 1 0:2 / /a\040b\011c\012d\134e\043/tls.crt rw - tmpfs t rw
3 1 0:2 / /looks\09like\400it\04 rw - tmpfs t rw";
        assert!(stuck(table, "/a b\tc\nd\\e#/tls.crt").is_some());
        assert!(stuck(table, r"/a\040b\011c\012d\134e\043/tls.crt").is_none());
        assert!(stuck(table, r"/looks\09like\400it\04").is_some());
    }

    #[test]
    fn names_that_are_no_text_are_compared_byte_by_byte() {
        let table = b"1 0 0:1 / / rw\n2 1 0:2 / /\xff\xfe rw";
        let table = MountTable::parse(table);
        let path = |bytes| Path::new(std::ffi::OsStr::from_bytes(bytes));
        assert!(table.mount_at(path(b"/\xff\xfe")).is_some());
        assert!(table.mount_at(path(b"/\xff\xfd")).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_the_rest_is_read() {
        for odd in [
            "",
            " ",
            "\0\0\0",
            "one two 0:1 / /certs/tls.crt rw",
            "-1 1 0:1 / /certs/tls.crt rw",
            "99999999999999999999999 1 0:1 / /certs/tls.crt rw",
            "7 1 0:1 /",
            "7 1 0:1 / certs/tls.crt rw",
            "7  1 0:1 / /certs/tls.crt rw",
        ] {
            let table = format!("{odd}\n1 0 0:1 / / rw\n{odd}\n2 1 0:2 / /other/tls.crt rw\n{odd}");
            assert_eq!(stuck(&table, "/certs/tls.crt"), None, "{odd:?}");
            assert!(stuck(&table, "/other/tls.crt").is_some(), "{odd:?}");
        }
        assert_eq!(stuck("", "/certs/tls.crt"), None);
    }

    #[test]
    fn parents_in_a_circle_are_an_end_too() {
        let circle = "1 2 0:1 / / rw\n2 1 0:1 / / rw";
        assert_eq!(stuck(circle, "/certs/tls.crt"), None);
        let inner = "1 1 0:1 / / rw\n2 1 0:1 / / rw\n3 2 0:1 / / rw\n2 3 0:1 / / rw";
        assert_eq!(stuck(inner, "/certs/tls.crt"), None);
    }

    #[test]
    fn the_root_alone_is_no_file() {
        assert_eq!(stuck("1 1 0:1 / / rw", "/tls.crt"), None);
        assert_eq!(stuck("1 1 0:1 / / rw", "/certs/tls.crt"), None);
    }
}
