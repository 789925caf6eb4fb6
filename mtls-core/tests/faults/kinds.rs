//! What stands where a file should be, and is none that can be used.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::fixture::*;
use mtls_core::testing::{PlainDir, TestCa};
use mtls_core::{CredentialFiles, Health, LoadError, Reason};

type Make = fn(&Path);

const KINDS: [(&str, Make); 4] = [
    ("fifo", fifo),
    ("directory", directory),
    ("socket", socket),
    ("large file", large),
];

/// Whether it is said that this stands at `name`.
fn names(refused: &LoadError, kind: &str, name: &str) -> bool {
    let named = match kind {
        "large file" => {
            matches!(refused, LoadError::FileTooLarge { path, .. } if path.ends_with(name))
        }
        _ => {
            matches!(refused, LoadError::FileNotRegular { path, found } if *found == kind && path.ends_with(name))
        }
    };
    named && refused.reason() == Reason::FileUnreadable
}

fn fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

fn directory(path: &Path) {
    fs::create_dir(path).unwrap();
}

fn socket(path: &Path) {
    // The socket stays when its listener goes.
    UnixListener::bind(path).unwrap();
}

/// Nothing of it is on disk, and it would take long to read.
fn large(path: &Path) {
    fs::File::create(path).unwrap().set_len(1 << 33).unwrap();
}

#[tokio::test]
async fn whatever_stands_in_a_files_place_is_named_at_once_and_never_waited_for() {
    let ca = TestCa::new("example.org");
    let web = ca.issue("/web");
    let dir = PlainDir::new(&web);
    let source = watch(dir.path()).await;
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        for (kind, make) in KINDS {
            dir.remove(name);
            make(&dir.file(name));
            let refused = refused_reload(&source).await;
            assert!(names(&refused, kind, name), "{kind} at {name}: {refused:?}");
            assert_eq!(source.status().health, Health::Degraded);
            assert_eq!(source.current().generation(), 1, "{kind} at {name}");

            match kind {
                "directory" => fs::remove_dir(dir.file(name)).unwrap(),
                _ => dir.remove(name),
            }
            dir.rotate(&web);
            assert_eq!(reload(&source).await, 1);
        }
    }
}

#[tokio::test]
async fn whatever_stands_in_a_files_place_at_the_start_is_refused_at_the_start() {
    let ca = TestCa::new("example.org");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        for (kind, make) in KINDS {
            let dir = PlainDir::new(&ca.issue("/web"));
            dir.remove(name);
            make(&dir.file(name));
            let files = CredentialFiles::kubernetes(dir.path());
            let start = tokio::time::timeout(DEADLINE, builder().watch(files)).await;
            let refused = start.expect("an answer in time").unwrap_err();
            assert!(names(&refused, kind, name), "{kind} at {name}: {refused:?}");
        }
    }
}
