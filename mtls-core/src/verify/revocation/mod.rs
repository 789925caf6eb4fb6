//! Has an issuer taken a certificate back.
//!
//! A list is read once, judged by RFC 5280 §5, and bound to the key that signed it, since two authorities may share a
//! name. From then on revocation is a search by the issuer's key and the serial number.

mod binding;
mod entries;
mod fault;
mod list;
mod lists;
mod read;
mod settings;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

pub use entries::RevocationReason;
pub use fault::CrlFault;
pub use lists::CrlStatus;
pub(crate) use lists::{CrlMaterial, CrlsFound, RevocationLists};
pub use settings::{CrlRollback, Revocation, RevocationDepth, StaleCrl, UnknownRevocation};
