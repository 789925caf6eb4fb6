//! Is this chain good, now, under this trust.

mod cache;
pub(crate) mod chain;
mod error;
mod fault;
#[allow(
    dead_code,
    unused_imports,
    reason = "a trust asks it as soon as it is given lists"
)]
pub(crate) mod revocation;

pub(crate) use cache::{CacheUse, LivePeer, VerifiedPeer, VerifiedPeers};
pub use error::{ChainError, ChainFault, Presented, Role};
pub use revocation::{
    CrlFault, CrlRollback, CrlStatus, Revocation, RevocationDepth, RevocationReason, StaleCrl,
    UnknownRevocation,
};
