//! The way from a configured path to its file, link by link.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

/// Where a path leads now, and what it depends on.
#[derive(Debug)]
pub(super) struct Walk {
    /// Each directory entry that decides where the path leads: every symbolic link on the way, in whichever component,
    /// and the file at its end or the entry that is missing. Their parents are free of links.
    pub(super) entries: Vec<PathBuf>,
    /// The directory in which the path's own last name is looked up, free of links; `None` if it is not there.
    pub(super) home: Option<PathBuf>,
    pub(super) end: End,
}

/// How a walk ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At something that is not a link.
    Found,
    /// Here there is nothing.
    Missing(PathBuf),
    /// In more links than are followed; this is one that leads to itself, or the last of too many.
    Looping(PathBuf),
    /// Where we may not look.
    Stuck,
}

/// Follows `path` as the operating system would, and remembers the way.
///
/// The answer may be outdated when it is given: it serves to watch and to explain, never to open a file.
pub(super) fn walk(path: &Path) -> Walk {
    let mut walk = Walk {
        entries: Vec::new(),
        home: None,
        end: End::Stuck,
    };
    let Ok(mut rest) = std::path::absolute(path) else {
        return walk;
    };
    let mut here = PathBuf::new();
    let mut links = 0_usize;
    walk.end = loop {
        let mut components = rest.components();
        let Some(component) = components.next() else {
            break End::Found;
        };
        let after = components.as_path().to_path_buf();
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => {
                // `here` holds no link, so its parent is what `..` means.
                here.pop();
                rest = after;
                continue;
            }
            Component::CurDir => {
                rest = after;
                continue;
            }
            Component::Prefix(_) | Component::RootDir => {
                here.push(component);
                rest = after;
                continue;
            }
        };
        // Targets are put before what is left, so the first time that nothing is left is the path's own last name.
        if after.as_os_str().is_empty() && walk.home.is_none() {
            walk.home = Some(here.clone());
        }
        let entry = here.join(name);
        let link = fs::symlink_metadata(&entry).and_then(|found| match found.is_symlink() {
            true => fs::read_link(&entry).map(Some),
            false => Ok(None),
        });
        match link {
            Ok(None) => {
                if after.as_os_str().is_empty() {
                    walk.entries.push(entry.clone());
                }
                here = entry;
                rest = after;
            }
            Ok(Some(target)) => {
                walk.entries.push(entry.clone());
                links += 1;
                if links > MAX_LINKS {
                    break End::Looping(entry);
                }
                if target.has_root() {
                    here = PathBuf::new();
                }
                rest = target.join(after);
            }
            Err(error) => {
                walk.entries.push(entry.clone());
                if error.kind() == io::ErrorKind::NotFound {
                    break End::Missing(entry.join(after));
                }
                break End::Stuck;
            }
        }
    };
    walk
}

/// Linux follows at most 40 links in one path (path_resolution(7)).
const MAX_LINKS: usize = 40;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tempdir() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    #[test]
    fn a_walk_names_the_links_of_every_component_and_the_file() {
        let (_guard, dir) = tempdir();
        fs::create_dir_all(dir.join("releases/5")).unwrap();
        fs::create_dir(dir.join("certs")).unwrap();
        fs::write(dir.join("releases/5/a.pem"), "").unwrap();
        symlink("releases/5", dir.join("live")).unwrap();
        symlink("../live/a.pem", dir.join("certs/tls.crt")).unwrap();

        let walk = walk(&dir.join("certs/tls.crt"));
        assert_eq!(walk.end, End::Found);
        assert_eq!(walk.home, Some(dir.join("certs")));
        let expected = ["certs/tls.crt", "live", "releases/5/a.pem"];
        assert_eq!(walk.entries, expected.map(|e| dir.join(e)));
    }

    #[test]
    fn a_walk_ends_where_something_is_missing_or_turns_in_circles() {
        let (_guard, dir) = tempdir();
        symlink("gone/a.pem", dir.join("dangling")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();

        let dangling = walk(&dir.join("dangling"));
        assert_eq!(dangling.end, End::Missing(dir.join("gone/a.pem")));
        assert_eq!(dangling.entries, ["dangling", "gone"].map(|e| dir.join(e)));
        symlink("b", dir.join("a")).unwrap();
        symlink("a", dir.join("b")).unwrap();
        symlink("a/tls.crt", dir.join("outside")).unwrap();
        let looping = walk(&dir.join("loop")).end;
        assert_eq!(looping, End::Looping(dir.join("loop")));
        let End::Looping(at) = walk(&dir.join("outside")).end else {
            panic!("a circle has no end");
        };
        assert!([dir.join("a"), dir.join("b")].contains(&at), "{at:?}");
        assert_eq!(walk(&dir.join("no/where")).home, None);
    }
}
