//! May this identity connect.

mod authorizer;
mod pattern;
mod rules;

pub use authorizer::{Authorizer, Denial};
pub use pattern::{PatternError, SpiffePattern};
pub use rules::{Policy, PolicyError};
