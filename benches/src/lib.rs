//! Measurements of mtls beside bare rustls: what the bench targets have in common.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::print_stdout,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    reason = "a bench: what goes wrong ends it, and nobody else calls it"
)]

pub mod answers;
pub mod bare_server;
pub mod ends;
pub mod floor;
pub mod load;
pub mod measure;
pub mod report;
pub mod requests;
pub mod servers;
pub mod system;
