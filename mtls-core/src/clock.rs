//! The only place that reads the wall clock.
//!
//! Everything that decides takes `now` as an argument; the callers that have none get it here.

use rustls_pki_types::UnixTime;

use crate::identity::Timestamp;

impl Timestamp {
    /// The current time, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        now().into()
    }
}

/// The current time.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub(crate) fn now() -> UnixTime {
    UnixTime::now()
}

/// The current time as finely as the system tells it, for records.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub(crate) fn wall() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
