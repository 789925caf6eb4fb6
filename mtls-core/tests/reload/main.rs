//! Reloading from real directories: what is picked up, what is kept back, and what is told of either.
//!
//! Where there are events they alone carry these tests, since the poll is set to an hour; without the feature `notify` the
//! poll does, every 50 ms.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod failures;
mod fixture;
mod lifetime;
mod status;
mod swaps;
mod trust;
mod writers;
