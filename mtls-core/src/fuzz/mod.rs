//! One exercise for each parser of bytes that somebody else wrote. For our own fuzzing; nobody else's to use.
//!
//! An exercise hands bytes to a parser as its caller in the crate would, and asserts what must hold whatever they are:
//! not only that nothing panics, but that what is accepted is what everybody else reads there, that it prints as it
//! was read, that a message quotes no key, and that nothing outgrows its input by more than a stated factor.
//!
//! [`TARGETS`] is the list of them. `fuzz/` beside this crate's `src/` runs each under libFuzzer, `tests/corpus.rs`
//! runs all of them over the seeds in `fuzz/corpus/` and over mutations of those. `CONTRIBUTING.md` says how to add one.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how an exercise fails"
)]

mod check;
mod crl;
mod der;
mod forwarded;
mod layout;
mod load;
mod path;
mod pattern;
mod pem;
mod pieces;
mod policy_file;
mod spiffe_bundle;
mod spiffe_id;

pub use crl::crl;
pub use der::der;
pub use forwarded::forwarded;
pub use layout::layout;
pub use path::path;
pub use pattern::pattern;
pub use pem::pem;
pub use policy_file::policy_file;
pub use spiffe_bundle::spiffe_bundle;
pub use spiffe_id::spiffe_id;

/// What runs one input. It returns if all was well, and panics if not.
pub type Exercise = fn(&[u8]);

/// Every exercise, under the name that its fuzz target and its corpus have.
pub const TARGETS: &[(&str, Exercise)] = &[
    ("crl", crl),
    ("der", der),
    ("forwarded", forwarded),
    ("layout", layout),
    ("path", path),
    ("pattern", pattern),
    ("pem", pem),
    ("policy_file", policy_file),
    ("spiffe_bundle", spiffe_bundle),
    ("spiffe_id", spiffe_id),
];
