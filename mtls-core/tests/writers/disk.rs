//! The steps of which tools are made, with a pause after each.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// Pauses of a random length, from a few microseconds to some tens of milliseconds.
pub(crate) struct Pace {
    state: u64,
    none: bool,
}

impl Pace {
    /// The same pauses each time.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            state: seed,
            none: false,
        }
    }

    /// For a first write, which nobody watches.
    pub(crate) fn none() -> Self {
        Self {
            state: 1,
            none: true,
        }
    }

    /// Most are short, so that a reader meets many states; one in ten is longer than the quiet time.
    pub(crate) fn pause(&mut self) {
        let most = match self.below(10) {
            0..=5 => 300,
            6..=8 => 2_000,
            _ => 20_000,
        };
        let micros = self.below(most);
        if !self.none {
            sleep(Duration::from_micros(micros));
        }
    }

    /// A number below this one, by SplitMix64.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Writes a new file.
pub(crate) fn written(path: &Path, text: &str, mode: u32) {
    let mut file = File::create_new(path).unwrap();
    file.set_permissions(Permissions::from_mode(mode)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Truncates and writes the file that is there, as Go's `os.WriteFile` does: its mode is set only when it is made. A
/// reader may see nothing or, here, the first half.
pub(crate) fn in_place(path: &Path, text: &str, mode: u32, pace: &mut Pace) {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path).unwrap();
    pace.pause();
    let (first, second) = text.split_at(text.len() / 2);
    file.write_all(first.as_bytes()).unwrap();
    pace.pause();
    file.write_all(second.as_bytes()).unwrap();
    drop(file);
    pace.pause();
}

/// Opens the file once more, and adds to it.
pub(crate) fn append(path: &Path, text: &str, pace: &mut Pace) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    pace.pause();
}

/// Whether what was written is forced to the disk before it gets its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    Yes,
    No,
}

/// Writes a file beside the one that is meant, and renames it over that.
pub(crate) fn renamed(path: &Path, text: &str, mode: u32, sync: Sync, pace: &mut Pace) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let beside = path.with_file_name(format!("{name}.tmp.{}", pace.below(u64::MAX)));
    let mut file = File::create(&beside).unwrap();
    pace.pause();
    file.write_all(text.as_bytes()).unwrap();
    if sync == Sync::Yes {
        file.sync_all().unwrap();
    }
    file.set_permissions(Permissions::from_mode(mode)).unwrap();
    drop(file);
    pace.pause();
    fs::rename(beside, path).unwrap();
    pace.pause();
}

/// A volume as Kubernetes' AtomicWriter fills it: the kubelet's, and that of a CSI driver.
pub(crate) struct Volume {
    dir: PathBuf,
    written: u64,
}

impl Volume {
    pub(crate) fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        Self {
            dir: dir.to_path_buf(),
            written: 0,
        }
    }

    /// The new directory is written whole, `..data` is turned to it by one rename, and the old one goes at once.
    pub(crate) fn swap(&mut self, files: &[(&str, &str)], pace: &mut Pace) {
        self.written += 1;
        let name = format!("..2026_02_28_13_37_00.{}", self.written);
        let new = self.dir.join(&name);
        fs::create_dir(&new).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
        for (name, text) in files {
            written(&new.join(name), text, 0o644);
        }
        pace.pause();
        let (data, staged) = (self.dir.join("..data"), self.dir.join("..data_tmp"));
        let old = fs::read_link(&data).ok();
        symlink(&name, &staged).unwrap();
        pace.pause();
        fs::rename(&staged, &data).unwrap();
        pace.pause();
        for (name, _) in files {
            let link = self.dir.join(name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        if let Some(old) = old {
            let old = self.dir.join(old);
            fs::remove_dir_all(old).unwrap();
            pace.pause();
        }
    }
}
