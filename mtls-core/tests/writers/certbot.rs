//! certbot, whose links are turned one after the other.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use mtls_core::CredentialFiles;
use mtls_core::testing::PlainDir;

use crate::disk::{Pace, written};
use crate::rig::{Changes, Habit, Set, Whole, rotate};

/// The new files are all in `archive` before a link is touched. Each link is then removed and made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn certbot_turns_one_link_after_the_other() {
    let dir = PlainDir::empty();
    let (live, archive) = (dir.file("live/web"), dir.file("archive/web"));
    for made in [&live, &archive] {
        fs::create_dir_all(made).unwrap();
    }
    let bundle = dir.file("roots.pem");
    let mut version = 0;
    let certbot = |set: &Set, pace: &mut Pace| {
        if !bundle.exists() {
            written(&bundle, set.bundle(), 0o644);
        }
        version += 1;
        let (leaf, issuer) = set.leaf_and_issuer();
        let files = [
            ("cert", leaf.as_str()),
            ("privkey", set.key()),
            ("chain", &issuer),
            ("fullchain", &set.chain()),
        ];
        for (kind, text) in files {
            let mode = if kind == "privkey" { 0o600 } else { 0o644 };
            written(&archive.join(format!("{kind}{version}.pem")), text, mode);
            pace.pause();
        }
        for (kind, _) in files {
            let link = live.join(format!("{kind}.pem"));
            if version > 1 {
                fs::remove_file(&link).unwrap();
                pace.pause();
            }
            let target = Path::new("../../archive/web").join(format!("{kind}{version}.pem"));
            symlink(target, &link).unwrap();
            pace.pause();
        }
    };
    let files = CredentialFiles::certbot(&live, &bundle);
    rotate(certbot, files, Habit::new(Changes::Leaf, Whole::Set)).await;
}
