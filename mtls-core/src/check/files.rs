//! Each file by itself: is it there, can it be read, is it what it should be.

use super::finding::{CheckPlace, Finding, Found};
use super::load;
use super::rule::CheckRule;
use super::set::{CheckSet, path_of};
use crate::error::LoadError;
use crate::files::{self, FileContent};

pub(super) fn check(set: &CheckSet, found: &mut Found) {
    let all = &set.files;
    let (chain, key, bundle) = (&all.chain, &all.key, &all.bundle);
    let decoders: [(bool, _, Decode); 3] = [
        (set.has_credentials, chain, |f| files::chain(f).map(drop)),
        (set.has_credentials, key, |f| files::key(f).map(drop)),
        (set.has_bundle, bundle, |f| files::bundle(f).map(drop)),
    ];
    for (wanted, file, decode) in decoders {
        if !wanted {
            continue;
        }
        let decoded = match file {
            Ok(content) => {
                byte_order_mark(content, found);
                decode(content)
            }
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = decoded {
            found.add(of_file(&error, file));
        }
    }
    if set.has_credentials {
        if !set.is_combined {
            key_beside_chain(chain, found);
        }
        if set.key_is_world_readable() {
            let place = CheckPlace::file(path_of(key));
            let text = "every user of the machine may read it";
            found.add(Finding::new(CheckRule::KeyPermissions, place, text));
        }
    }
    for mount in &set.stuck_mounts {
        let place = CheckPlace::file(&mount.path);
        found.add(Finding::new(
            CheckRule::MountSubpath,
            place,
            mount.to_string(),
        ));
    }
}

/// As the loader decodes it.
type Decode = fn(&FileContent) -> Result<(), LoadError>;

fn of_file(error: &LoadError, file: &Result<FileContent, LoadError>) -> Finding {
    let finding = load::finding(error, path_of(file));
    let is_empty = file
        .as_ref()
        .is_ok_and(|content| content.bytes().is_empty());
    match is_empty {
        // Of a bundle the loader says that it holds no certificate; that there is no byte says more.
        true => Finding::new(CheckRule::FileEmpty, finding.place, finding.found),
        false => finding,
    }
}

fn byte_order_mark(content: &FileContent, found: &mut Found) {
    if content.bytes().starts_with(BYTE_ORDER_MARK) {
        let place = CheckPlace::line(content.path(), 1);
        let text = "the file begins with a byte order mark";
        found.add(Finding::new(CheckRule::PemBom, place, text));
    }
}

fn key_beside_chain(chain: &Result<FileContent, LoadError>, found: &mut Found) {
    let Ok(content) = chain else { return };
    if let Some(line) = files::private_key_line(content) {
        let place = CheckPlace::line(content.path(), line);
        let text = "a private key stands among the certificates";
        found.add(Finding::new(CheckRule::KeyInPublicFile, place, text));
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
