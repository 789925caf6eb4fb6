//! Our server and our client against tools that we did not write: the `openssl` and `curl` command lines, and a client in Go.
//!
//! Certificates and keys are made by `openssl`, too. A test that lacks a tool says so on stderr, past the harness' capture,
//! and passes; with `MTLS_REQUIRE_FOREIGN=1` it fails.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod curl;
mod openssl_client;
mod openssl_server;
mod pki;
mod process;
mod revocation;
mod rotation;
mod server;
mod tickets;
mod tools;
