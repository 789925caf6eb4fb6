//! Who a verified peer is.

mod spiffe;
mod time;

pub use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
pub use time::{Timestamp, Validity};
