//! Directories, and which layout is in them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path};

use rustls_pki_types::PrivateKeyDer;

use super::{check, load, pieces};
use crate::error::LoadError;
use crate::files::{self, CredentialFiles, FileContent, is_atomic, read_set};

/// A directory is made from a script, its layout is detected, and what was chosen is read and loaded.
///
/// A line of the script is a name, a space, and what to put there: `dir`, `link TARGET`, the name of a piece (`chain`,
/// `key`, `bundle`), or any other bytes. Names and targets stay within the directory; what cannot be made is left out.
pub fn layout(bytes: &[u8]) {
    let temporary = tempfile::tempdir().expect("a directory can be made");
    let dir = temporary.path();
    for line in bytes.split(|byte| *byte == b'\n').take(MAX_LINES) {
        put(dir, line);
    }
    // Named by no layout, so that it is chosen only where it is asked for.
    let elsewhere = dir.join("elsewhere");
    let given = CredentialFiles::detect_with_bundle(dir, &elsewhere);
    match CredentialFiles::detect(dir) {
        Ok(files) => {
            for path in [files.chain_path(), files.key_path()] {
                assert_eq!(path.parent(), Some(dir));
                assert!(
                    fs::symlink_metadata(path).is_ok(),
                    "it chose what is not there"
                );
            }
            assert_eq!(files.bundle_path().parent(), Some(dir));
            assert!(files.to_string().contains(files.layout().as_str()));
            assert_eq!(CredentialFiles::detect(dir).as_ref().ok(), Some(&files));
            let given = given.expect("a bundle that is given settles what is missing");
            assert_eq!(given, files.clone().with_bundle(&elsewhere));
            read(&files);
        }
        Err(error) => {
            // It lists names, which are no secrets.
            let text = check::shown(&error);
            check::bounded(text.len(), bytes.len());
            check::quotes_nothing(&text, pieces::KEY.as_bytes());
            if let Ok(files) = given {
                read(&files);
            }
        }
    }
}

fn put(dir: &Path, line: &[u8]) {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let (name, what) = (parts.next(), parts.next().unwrap_or_default());
    let Some(path) = name.and_then(within).map(|name| dir.join(name)) else {
        return;
    };
    // A name that is taken, or too long, or in no directory: the script asked for too much.
    let _asked = match what {
        b"dir" => fs::create_dir(path),
        b"chain" => fs::write(path, pieces::CHAIN),
        b"key" => fs::write(path, pieces::KEY),
        b"bundle" => fs::write(path, pieces::BUNDLE),
        _ => match what.strip_prefix(b"link ") {
            Some(target) => within(target).map_or(Ok(()), |target| link(target, &path)),
            None => fs::write(path, what),
        },
    };
}

/// The bytes as a path that leads nowhere else.
fn within(bytes: &[u8]) -> Option<&Path> {
    let path = Path::new(name(bytes)?);
    let mut components = path.components().peekable();
    components.peek()?;
    let normal = components.all(|part| matches!(part, Component::Normal(_)));
    normal.then_some(path)
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "elsewhere a name has to be Unicode"
)]
fn name(bytes: &[u8]) -> Option<&OsStr> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(bytes))
}

#[cfg(not(unix))]
fn name(bytes: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(bytes).ok().map(OsStr::new)
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Reads a set twice, as nobody changes it, and loads what is in it.
fn read(files: &CredentialFiles) {
    let set = read_set(files).expect("nobody writes meanwhile");
    let again = read_set(files).expect("nobody writes meanwhile");
    assert!(set.fingerprint == again.fingerprint);
    let _swapped_at_once = is_atomic(files);

    let chain = taken(set.chain, files::chain);
    let key = taken(set.key, files::key);
    let bundle = taken(set.bundle, files::bundle);
    if let Some(chain) = &chain {
        let ours = pieces::key();
        let key: &PrivateKeyDer<'_> = key.as_ref().map_or(&ours, |key| key);
        load::credentials(chain, key);
    }
    if let Some(bundle) = &bundle {
        load::trust(bundle);
    }
}

fn taken<T>(
    file: Result<FileContent, LoadError>,
    parse: fn(&FileContent) -> Result<T, LoadError>,
) -> Option<T> {
    let secret = file
        .as_ref()
        .map_or_else(|_| Vec::new(), |file| file.bytes().to_vec());
    match file.and_then(|file| parse(&file)) {
        Ok(found) => Some(found),
        Err(error) => {
            check::refused(&error, &secret);
            None
        }
    }
}

/// More than any layout has, and few enough to be quick.
const MAX_LINES: usize = 64;
