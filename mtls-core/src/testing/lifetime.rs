//! When a certificate is valid, and the one place in this room that reads the clock.

use std::time::{Duration, SystemTime};

use rcgen::CertificateParams;

/// From when until when, told when the certificate is issued.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Lifetime {
    /// From an hour ago, for clocks that are behind, until 24 hours from now.
    #[default]
    Usual,
    Expired,
    ExpiresIn(Duration),
    NotYetValid,
    Span {
        not_before: SystemTime,
        not_after: SystemTime,
    },
}

impl Lifetime {
    pub(super) fn apply(self, params: &mut CertificateParams) {
        let now = now();
        let (not_before, not_after) = match self {
            Self::Usual => (now - HOUR, now + DAY),
            Self::Expired => (now - DAY, now - HOUR),
            Self::ExpiresIn(rest) => (now - HOUR, now + rest),
            Self::NotYetValid => (now + HOUR, now + DAY),
            Self::Span {
                not_before,
                not_after,
            } => (not_before, not_after),
        };
        params.not_before = not_before.into();
        params.not_after = not_after.into();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are issued now; a verifier under test is still given its time"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
