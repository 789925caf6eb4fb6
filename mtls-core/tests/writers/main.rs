//! Tools that put credentials on disk, each by its own steps and in its own order, while handshakes go on.
//!
//! Each rotates a hundred times, with pauses of a random length between its steps. [`rig`] says what has to hold.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "it opens files to write them, into directories of its own"
)]

mod certbot;
mod disk;
#[allow(
    dead_code,
    reason = "shared with the reload tests, which use all of it"
)]
#[path = "../reload/fixture.rs"]
mod fixture;
mod kubernetes;
mod mesh;
mod rig;
mod step;
mod vault;
