//! Faults of files, file systems and writers, one by one: `docs/reload-faults.md` says which test holds which.
//!
//! As in the reload tests, where there are events they alone carry these tests, unless a test says that it polls.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "small files of procfs, and those that the test itself wrote"
)]

#[cfg(target_os = "linux")]
mod alone;
mod contents;
#[allow(
    dead_code,
    reason = "shared with the reload tests, which use all of it"
)]
#[path = "../reload/fixture.rs"]
mod fixture;
mod kinds;
#[cfg(target_os = "linux")]
mod limits;
mod links;
#[cfg(target_os = "linux")]
mod mounts;
mod noise;
#[cfg(all(feature = "notify", target_os = "linux"))]
mod overflow;
mod secrets;
mod swaps;
mod writers;

use std::fs;
use std::path::Path;

use mtls_core::testing::Issued;

/// Puts all three files into a directory, each by one rename from beside that directory.
pub(crate) fn put(dir: &Path, issued: &Issued) {
    let files = [
        ("tls.crt", issued.chain_pem()),
        ("tls.key", issued.key_pem().to_owned()),
        ("ca.crt", issued.bundle_pem().to_owned()),
    ];
    for (name, text) in files {
        let staged = dir.with_extension("staged");
        fs::write(&staged, text).unwrap();
        fs::rename(staged, dir.join(name)).unwrap();
    }
}

/// How often a source without events looks.
#[cfg(target_os = "linux")]
pub(crate) const SHORT: std::time::Duration = std::time::Duration::from_millis(50);
