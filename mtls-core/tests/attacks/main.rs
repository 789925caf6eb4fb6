//! Attacks: each is shown to work against a naive server or client, and not to work here.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod anonymous;
mod fixture;
mod resumption;
mod spiffe_catalogue;
mod standing;
mod trust_domains;
