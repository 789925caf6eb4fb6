//! One file, read whole within a bound.

use std::fmt;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::access::unreadable;
use super::links::{self, End};
use crate::error::LoadError;

/// What one file held at one moment. It may be a private key: the bytes are zeroized on drop and never printed.
pub(crate) struct FileContent {
    path: PathBuf,
    /// Shared where one file is both chain and key; never copied.
    bytes: Arc<Zeroizing<Vec<u8>>>,
    world_readable: bool,
}

impl FileContent {
    /// Where it was read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether every user of the machine may read it.
    pub(crate) fn is_world_readable(&self) -> bool {
        self.world_readable
    }

    /// The same bytes once more, without a copy of them.
    pub(super) fn share(&self) -> Self {
        Self {
            path: self.path.clone(),
            bytes: Arc::clone(&self.bytes),
            world_readable: self.world_readable,
        }
    }

    /// Bytes that are in no file by themselves.
    #[cfg(feature = "spiffe-json")]
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self {
            path: PathBuf::new(),
            bytes: Arc::new(Zeroizing::new(bytes)),
            world_readable: false,
        }
    }

    /// Bytes that were read elsewhere, under this name.
    pub(crate) fn of(path: &str, bytes: &[u8]) -> Self {
        Self {
            path: PathBuf::from(path),
            bytes: Arc::new(Zeroizing::new(bytes.to_vec())),
            world_readable: false,
        }
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent")
            .field("path", &self.path)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Reads a regular file of at most [`MAX_FILE_SIZE`] bytes. Blocks on the disk, never on a FIFO or a terminal.
pub(crate) fn read(path: &Path) -> Result<FileContent, LoadError> {
    read_up_to(path, MAX_FILE_SIZE)
}

/// As [`read`], with another limit.
pub(super) fn read_up_to(path: &Path, limit: u64) -> Result<FileContent, LoadError> {
    let mut file = open(path).map_err(|error| not_opened(path, error))?;
    // Asked of what was opened, not of the path: the two may differ by now.
    let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        return Err(not_regular(path, metadata.file_type()));
    }
    if metadata.len() > limit {
        return Err(too_large(path, metadata.len(), limit));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity_for(metadata.len())));
    let mut chunk = Zeroizing::new([0_u8; 4096]);
    loop {
        let read = match file.read(chunk.as_mut_slice()) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(path, error)),
        };
        append(&mut bytes, chunk.get(..read).unwrap_or_default());
        // A file can grow while it is read, and some (procfs) state a size of zero.
        let size = bytes.len() as u64;
        if size > limit {
            return Err(too_large(path, size, limit));
        }
    }
    Ok(FileContent {
        path: path.to_path_buf(),
        bytes: Arc::new(bytes),
        world_readable: world_readable(&metadata),
    })
}

#[cfg(unix)]
fn world_readable(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o004 != 0
}

/// Elsewhere access lists decide, which this does not read.
#[cfg(not(unix))]
fn world_readable(_: &fs::Metadata) -> bool {
    false
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that opens files"
)]
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Opening a FIFO waits for its writer, and opening a terminal can make it ours.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NONBLOCK | libc::O_NOCTTY,
    );
    options.open(path)
}

/// Appends without letting the vector move by itself: it would free the old place with a key still in it.
fn append(bytes: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let needed = bytes.len() + chunk.len();
    if needed > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed * 2));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(chunk);
}

fn capacity_for(size: u64) -> usize {
    usize::try_from(size).unwrap_or(0)
}

fn not_opened(path: &Path, error: io::Error) -> LoadError {
    if error.kind() == io::ErrorKind::NotFound {
        let target = match links::walk(path).end {
            End::Missing(target) if fs::symlink_metadata(path).is_ok() => Some(target),
            End::Missing(_) | End::Found | End::Looping(_) | End::Stuck => None,
        };
        return LoadError::FileMissing {
            path: path.to_path_buf(),
            target,
        };
    }
    // A socket cannot be opened at all, nor can a directory on Windows; the error alone would not say why.
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => not_regular(path, found.file_type()),
        Ok(_) => unreadable(path, error),
        Err(_) => match links::walk(path).end {
            End::Looping(at) => LoadError::FileLinkLoop {
                path: path.to_path_buf(),
                at,
            },
            End::Found | End::Missing(_) | End::Stuck => unreadable(path, error),
        },
    }
}

fn not_regular(path: &Path, found: FileType) -> LoadError {
    LoadError::FileNotRegular {
        path: path.to_path_buf(),
        found: kind_name(found),
    }
}

#[cfg(unix)]
fn kind_name(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    if found.is_dir() {
        "directory"
    } else if found.is_fifo() {
        "fifo"
    } else if found.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
fn kind_name(found: FileType) -> &'static str {
    if found.is_dir() {
        "directory"
    } else {
        "device"
    }
}

fn too_large(path: &Path, size: u64, limit: u64) -> LoadError {
    LoadError::FileTooLarge {
        path: path.to_path_buf(),
        size,
        limit,
    }
}

/// A Kubernetes Secret or ConfigMap holds at most this much, and the bundle of a whole web PKI is a quarter of it.
pub(crate) const MAX_FILE_SIZE: u64 = 1024 * 1024;

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn refused(path: impl AsRef<Path>) -> LoadError {
        read(path.as_ref()).unwrap_err()
    }

    #[test]
    fn a_file_up_to_the_limit_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for size in [0, 1, 4096, 10_000, MAX_FILE_SIZE as usize] {
            fs::write(&path, vec![7; size]).unwrap();
            assert_eq!(read(&path).unwrap().bytes(), vec![7; size]);
        }
    }

    #[test]
    fn a_larger_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, vec![7; MAX_FILE_SIZE as usize + 1]).unwrap();
        assert!(matches!(
            refused(&path),
            LoadError::FileTooLarge { size, limit, .. } if size == limit + 1
        ));
    }

    #[test]
    fn a_file_that_states_no_size_is_read_all_the_same() {
        if cfg!(target_os = "linux") {
            assert!(
                !read(Path::new("/proc/self/status"))
                    .unwrap()
                    .bytes()
                    .is_empty()
            );
        }
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_else_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let kinds = [
            (dir.path(), "directory"),
            (fifo.as_path(), "fifo"),
            (socket.as_path(), "socket"),
            (Path::new("/dev/null"), "device"),
        ];
        for (path, kind) in kinds {
            assert!(
                matches!(refused(path), LoadError::FileNotRegular { found, .. } if found == kind)
            );
        }
    }

    #[test]
    fn what_is_missing_is_told_from_a_link_that_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let absent = refused(base.join("absent"));
        assert!(matches!(
            absent,
            LoadError::FileMissing { target: None, .. }
        ));

        symlink("..data/tls.crt", base.join("tls.crt")).unwrap();
        let LoadError::FileMissing { target, .. } = refused(base.join("tls.crt")) else {
            panic!("a dangling link is a missing file");
        };
        assert_eq!(target, Some(base.join("..data/tls.crt")));

        symlink("loop", base.join("loop")).unwrap();
        let LoadError::FileLinkLoop { at, .. } = refused(base.join("loop")) else {
            panic!("a link to itself is a loop");
        };
        assert_eq!(at, base.join("loop"));
    }

    #[test]
    fn debug_shows_the_length_and_never_the_bytes() {
        let shown = format!("{:?}", FileContent::of("tls.key", b"secret"));
        assert_eq!(shown, r#"FileContent { path: "tls.key", len: 6, .. }"#);
    }
}
