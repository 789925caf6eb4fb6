//! Clients without a certificate: by TLS where one is optional, in plaintext while that is permitted.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a test fails"
)]

#[path = "../common/mod.rs"]
mod common;
mod health;
mod optional;
mod permissive;
mod rig;
