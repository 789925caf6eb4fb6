//! Mutual TLS in your own process.

mod error;
mod identity;
mod reason;
mod verify;

pub use error::{AnchorFault, LoadError};
pub use identity::{SpiffeId, SpiffeIdError, Timestamp, TrustDomain, Validity};
pub use reason::Reason;
pub use verify::{ChainError, ChainFault, Presented, Role};
