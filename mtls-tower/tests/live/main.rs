//! Connections that are open when what let them in is taken away.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod ends;
mod foreign;

mod pool;
mod server;
mod services;
