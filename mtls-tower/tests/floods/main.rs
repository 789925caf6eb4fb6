//! Floods: what an attacker does, which limit then holds by count, and that a proper client is served all the while.
//!
//! Who attacks before the handshake is anybody; who attacks after it has a certificate that is let in. What all of them may
//! make the server hold in memory is in `footprint.rs`, which counts alone in its process.

#![cfg(target_os = "linux")]
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[path = "../common/mod.rs"]
mod common;
mod frames;
mod garbage;
mod handshakes;
mod http1;
mod http2;
mod keys;
mod target;
