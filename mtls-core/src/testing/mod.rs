//! A certificate authority, its leaves and the directories they are mounted in, for tests: yours as well as ours.
//!
//! Behind the feature `testing`, for `[dev-dependencies]`. Start at [`TestCa::new`]; put what it issues where a program
//! under test looks for it with [`MountedDir`], and see how that program fails with [`Broken`].
//!
//! ```
//! use mtls_core::testing::{Broken, LeafOptions, MountedDir, TestCa};
//!
//! let ca = TestCa::new("example.org");
//! let dir = MountedDir::new(&ca.issue("/web"));
//! // The program under test reads `dir.path()` here, as it would read a mounted Secret.
//! dir.rotate(&ca.issue_with(LeafOptions::service("/web").server_only()));
//! // Now it must keep what it has, and say why: `expired`.
//! Broken::LeafExpired.write(&ca, &dir);
//! ```
//!
//! Nothing here returns an error: what cannot be done panics and so fails the test, with a message that says what it was.
//! Nothing here is fit for anything but tests. Keys are not guarded, and every subject says `O=not for production`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod broken;
mod ca;
mod crl;
mod handshake;
mod issued;
mod key;
mod leaf;
mod lifetime;
mod mount;
mod plain;
mod rehearsal;
mod serial;
#[cfg(test)]
mod tests;

pub use broken::{Broken, BrokenAt, BrokenSet};
pub use ca::{CaOptions, TestCa};
pub use crl::TestCrl;
pub use handshake::{Outcome, handshake, handshake_with_foreign};
pub use issued::Issued;
pub use key::KeyKind;
pub use leaf::LeafOptions;
pub use mount::MountedDir;
pub use plain::PlainDir;
pub use rehearsal::Rehearsal;
