//! Is this chain good, now, under this trust.

mod cache;
pub(crate) mod chain;
mod error;
mod fault;
pub(crate) mod revocation;

pub(crate) use cache::{CacheUse, LivePeer, VerifiedPeer, VerifiedPeers};
pub use error::{ChainError, ChainFault, Presented, Role};
pub use revocation::{
    CrlFault, CrlRollback, CrlStatus, Revocation, RevocationDepth, RevocationReason, StaleCrl,
    UnknownRevocation,
};
