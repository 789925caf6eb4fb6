//! Which directories to watch for a set of files, and which of their events matter.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::layout::CredentialFiles;
use super::{links, trust_set};

/// What decides, at one moment, what the files of a set hold. All paths are free of links.
///
/// Files are watched through their directories: a watch on a file, or on a link, is lost with the first replacement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WatchSet {
    /// The configured files' own directories. Here any name counts: writers stage, link and rename as they please.
    homes: BTreeSet<PathBuf>,
    /// Entries of any directory that count by their name: links, files, and the directories they are in.
    entries: BTreeSet<PathBuf>,
    /// Directories without which a change of contents would be missed.
    near: BTreeSet<PathBuf>,
    /// Their parents: here it shows that one of them was replaced as a whole.
    far: BTreeSet<PathBuf>,
}

impl WatchSet {
    /// What these files depend on now. Looks at the links on the way; blocking.
    pub(super) fn of(files: &CredentialFiles) -> Self {
        let mut set = Self::default();
        let own = files.all_paths().map(Path::to_path_buf);
        // In a directory that is listed any name counts: one that is not there finds its home.
        let listed = trust_set::listed_directories(files).map(|dir| dir.join(UNNAMED));
        let trust = trust_set::file_paths(files).into_iter().chain(listed);
        for path in own.into_iter().chain(trust) {
            let walk = links::walk(&path);
            if let Some(home) = walk.home {
                set.near.insert(home.clone());
                set.homes.insert(home);
            }
            for entry in walk.entries {
                if let Some(dir) = entry.parent() {
                    set.near.insert(dir.to_path_buf());
                }
                set.entries.insert(entry);
            }
        }
        for dir in &set.near {
            if let Some(parent) = dir.parent() {
                set.far.insert(parent.to_path_buf());
                set.entries.insert(dir.clone());
            }
        }
        set
    }

    /// Every directory to watch, without what is below it.
    pub(super) fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.near.iter().chain(&self.far)
    }

    /// The directories whose watch must stand for events to be relied on.
    pub(super) fn near(&self) -> impl Iterator<Item = &PathBuf> {
        self.near.iter()
    }

    /// Whether this is one of the directories to watch.
    pub(super) fn watches(&self, dir: &Path) -> bool {
        self.near.contains(dir) || self.far.contains(dir)
    }

    /// Whether an event at this path may mean that the files hold something else.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        self.watches(path)
            || self.entries.contains(path)
            || path.parent().is_some_and(|dir| self.homes.contains(dir))
    }
}

/// The name that a file of a listed directory does not have yet.
const UNNAMED: &str = ".unnamed";

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::fixture::{Mount, tempdir, write_plain};
    use super::*;

    #[test]
    fn plain_files_need_their_directory_and_its_parent() {
        let (_guard, base) = tempdir();
        let dir = base.join("certs");
        fs::create_dir(&dir).unwrap();
        let set = WatchSet::of(&write_plain(&dir, ""));
        assert_eq!(set.directories().collect::<Vec<_>>(), [&dir, &base]);
        assert!(set.concerns(&dir.join("tls.crt")));
        assert!(set.concerns(&dir.join("any-staging-name")));
        assert!(set.concerns(&dir), "the directory was replaced");
        assert!(!set.concerns(&base.join("neighbour")));
        assert!(!set.concerns(&dir.join("below/tls.crt")));
    }

    #[test]
    fn a_kubernetes_mount_needs_the_directory_behind_its_data_link_too() {
        let mount = Mount::new();
        let set = WatchSet::of(&mount.files());
        let data = fs::read_link(mount.dir.join("..data")).unwrap();
        let near: Vec<_> = set.near().cloned().collect();
        assert_eq!(near, [mount.dir.clone(), mount.dir.join(data)]);
        assert!(set.concerns(&mount.dir.join("..data")));
    }

    #[test]
    fn a_link_out_of_the_directory_is_watched_where_it_is_and_by_its_name() {
        let (_guard, base) = tempdir();
        for dir in ["certs", "elsewhere/5"] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        write_plain(&base.join("elsewhere/5"), "");
        symlink("5", base.join("elsewhere/live")).unwrap();
        symlink("../elsewhere/live/tls.crt", base.join("certs/tls.crt")).unwrap();
        let set = WatchSet::of(&CredentialFiles::kubernetes(base.join("certs")));
        for dir in ["certs", "elsewhere", "elsewhere/5"] {
            assert!(set.near().any(|near| *near == base.join(dir)), "{dir}");
        }
        assert!(set.concerns(&base.join("elsewhere/live")));
        assert!(!set.concerns(&base.join("elsewhere/other")));
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_where_it_would_appear() {
        let (_guard, base) = tempdir();
        let set = WatchSet::of(&CredentialFiles::kubernetes(base.join("certs/deep")));
        assert_eq!(set.near().collect::<Vec<_>>(), [&base]);
        assert!(set.concerns(&base.join("certs")));
        assert!(!set.concerns(&base.join("other")));
    }

    #[test]
    fn a_file_that_appears_in_a_listed_directory_is_noticed() {
        let (_guard, base) = tempdir();
        for dir in ["certs", "federated", "lists"] {
            fs::create_dir(base.join(dir)).unwrap();
        }
        symlink("federated", base.join("link")).unwrap();
        let files = write_plain(&base.join("certs"), "");
        let plain = WatchSet::of(&files);
        let set = WatchSet::of(
            &files
                .federated_bundles(base.join("link"))
                .revocation_lists(base.join("lists")),
        );
        for new in [
            "federated/new.spiffe-trust-bundle.pem",
            "lists/new.crl",
            "link",
        ] {
            assert!(set.concerns(&base.join(new)), "{new}");
            assert!(!plain.concerns(&base.join(new)), "{new}");
        }
        for dir in ["federated", "lists"] {
            assert!(set.near().any(|near| *near == base.join(dir)), "{dir}");
        }
    }

    #[test]
    fn the_links_of_each_file_in_a_listed_directory_are_followed() {
        let (_guard, base) = tempdir();
        for dir in ["certs", "elsewhere"] {
            fs::create_dir(base.join(dir)).unwrap();
        }
        let name = "a.example.spiffe-trust-bundle.pem";
        symlink("../elsewhere/a.pem", base.join("certs").join(name)).unwrap();
        let files = write_plain(&base.join("certs"), "");
        assert!(!WatchSet::of(&files).concerns(&base.join("elsewhere/a.pem")));
        let files = files.federated_bundles(base.join("certs"));
        assert!(WatchSet::of(&files).concerns(&base.join("elsewhere/a.pem")));
    }
}
