//! What is wrong with these files: all of it, each with its remedy, before they are deployed or served.
//!
//! [`check`] takes the files of a set ([`CheckSet`]) and what is known of their use ([`CheckOptions`]), and returns a
//! [`Report`] of every [`Finding`]. It is no second opinion beside the loader: files are decoded, paired and verified by
//! the very functions that a source loads with, and what the loader would refuse is an error here, always. What it adds is
//! what the loader cannot say, since it stops at the first fault, serves what it can, and speaks for our own verifier alone.
//!
//! ```text
//! CheckSet ──▶ file by file ──▶ chain and key ──▶ bundle ──▶ lists ──▶ the loader's own verdict ──▶ Report
//! ```
//!
//! [`CheckRule`] is the one table: name, severity per [`Caller`], which TLS stacks mind, what is expected, what to do.
//! `against` puts two sets through real handshakes, `federated` looks at the bundles of other trust domains, `policy` at policy
//! files; a `candidate` is somebody to ask a policy about.

mod against;
mod beside;
mod bundle;
mod candidate;
mod chain;
mod crl;
mod facts;
mod federated;
mod files;
mod finding;
mod issuers;
mod leaf;
mod load;
mod options;
mod pair;
#[cfg(feature = "policy-file")]
mod policy;
mod rule;
mod run;
mod set;
mod time;
mod who;

pub use against::{CheckSide, check_against};
pub use candidate::{Candidate, CandidateError};
pub use finding::{Allowed, CheckPlace, Finding, Report};
pub use options::{CheckOptions, CheckRole, DevelopmentCa};
#[cfg(feature = "testing")]
pub(crate) use pair::in_memory;
#[cfg(feature = "policy-file")]
pub use policy::check_policy;
pub use rule::{CheckRule, UnknownRule};
pub use run::{check, check_error, check_found};
pub use set::CheckSet;
pub use who::{Caller, Severity, TlsStack};
