//! Policies from files: read as a whole, checked as a whole, and replaced as a whole.
//!
//! `toml` and `json` make a `tree` of what they read, each value with its place; `document` reads rules out of it, the
//! same for both; `print` writes them; `source` keeps a policy up to date with its file.

mod document;
mod error;
mod json;
mod print;
mod source;
mod toml;
mod tree;

pub use document::PolicyDocument;
pub use error::{PolicyFileError, PolicyFileFault};
pub use source::{FromPolicyFile, PolicyFailure, PolicyFile, PolicySource, PolicyStatus};
