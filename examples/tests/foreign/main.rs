//! Our server and our client against programs that we did not write: openssl, curl, GnuTLS, nginx, haproxy, Python, Go.
//!
//! Certificates and keys are made by `openssl`, too. A test that lacks a tool says so on stderr, past the harness' capture,
//! and passes; with `MTLS_REQUIRE_FOREIGN=1` it fails.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod curl;
mod dialing;
mod door;
mod gnutls;
mod haproxy;
mod nginx;
mod openssl_client;
mod openssl_refused;
mod openssl_server;
mod pki;
mod process;
mod python;
mod renegotiation;
mod revocation;
mod rotation;
mod server;
mod tickets;
mod tools;
