//! Is this chain good, now, under this trust.

pub(crate) mod chain;
mod error;
mod fault;

pub use error::{ChainError, ChainFault, Presented, Role};
