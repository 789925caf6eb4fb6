//! Other people's crates that take a rustls config, with ours: QUIC by quinn, both ends, which can swap its config; and a client
//! of PostgreSQL that takes one for life, against Debian's server.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod postgres;
mod quic;
#[allow(dead_code, reason = "this binary uses its part of it")]
#[path = "../foreign/tools.rs"]
mod tools;

use std::time::Duration;

use tokio::time::timeout;

/// Nothing waits for it but a test that fails.
async fn within<T>(future: impl IntoFuture<Output = T>) -> T {
    let done = timeout(Duration::from_secs(30), future).await;
    done.unwrap_or_else(|_| panic!("not done within half a minute"))
}
