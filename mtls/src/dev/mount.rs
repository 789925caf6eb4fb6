//! A directory as a kubelet mounts a Secret: what services watch, and how it changes.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Writes a new generation whole, then swaps it in. A service that watches sees the old files or the new ones.
#[cfg(unix)]
pub(super) fn write(dir: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    use std::os::unix::fs::symlink;
    fs::create_dir_all(dir)?;
    let generation = fresh(dir)?;
    for (name, bytes) in files {
        write_file(&dir.join(&generation).join(name), bytes)?;
    }
    let (staged, data) = (dir.join("..data_tmp"), dir.join("..data"));
    let before = fs::read_link(&data).ok();
    let _ = fs::remove_file(&staged);
    symlink(&generation, &staged)?;
    fs::rename(&staged, &data)?;
    for (name, _) in files {
        let link = dir.join(name);
        if fs::read_link(&link).is_err() {
            symlink(Path::new("..data").join(name), &link)?;
        }
    }
    match before {
        // A generation is a directory beside its link, whatever the link was made to say.
        Some(before) if before.components().count() == 1 => fs::remove_dir_all(dir.join(before)),
        Some(_) | None => Ok(()),
    }
}

/// Elsewhere the files are plain ones.
#[cfg(not(unix))]
pub(super) fn write(dir: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, bytes) in files {
        write_file(&dir.join(name), bytes)?;
    }
    Ok(())
}

/// A generation's directory that was not there.
#[cfg(unix)]
fn fresh(dir: &Path) -> io::Result<String> {
    let mut number = 1_u64;
    loop {
        let name = format!("..generation-{number}");
        match fs::create_dir(dir.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it creates files, and opens none that is there"
)]
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if path.extension().is_some_and(|extension| extension == "key") {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path)?.write_all(bytes)
}
