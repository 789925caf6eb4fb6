//! Is this chain good, now, under this trust.

mod cache;
pub(crate) mod chain;
mod error;
mod fault;
mod issuers;
pub(crate) mod revocation;

pub(crate) use cache::{CacheUse, LivePeer, VerifiedPeer, VerifiedPeers};
pub use error::{ChainError, ChainFault, Presented, Role};
pub(crate) use issuers::Issuers;
pub use revocation::{
    CrlFault, CrlRollback, CrlStatus, Revocation, RevocationDepth, RevocationReason, StaleCrl,
    UnknownRevocation,
};
