//! Is this chain good, now, under this trust.

mod error;

pub use error::{ChainError, ChainFault, Presented, Role};
