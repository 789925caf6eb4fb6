//! Revocation lists and foreign bundles, from files to handshakes: who is let in, who no longer is, and what is told.
//!
//! Each refusal has its control first: the same peer, let in until the file changed.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[path = "../reload/fixture.rs"]
#[allow(dead_code, reason = "shared with the tests of reloading")]
mod fixture;

mod federated;
mod lists;
mod live;
mod resumption;
mod roles;
mod site;
mod stale;
