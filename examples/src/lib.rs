//! Programs that show mtls at work: see `src/bin`.

/// What README shows, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
