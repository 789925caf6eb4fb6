//! Points in time as certificates state them: whole seconds, UTC.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time in whole seconds since the UNIX epoch, printed as RFC 3339.
///
/// Certificates reach from 1950 to 9999, so it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From seconds since the UNIX epoch.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the UNIX epoch.
    #[must_use]
    pub const fn as_unix(self) -> i64 {
        self.0
    }

    pub(crate) const MIN: Self = Self(i64::MIN);
    pub(crate) const MAX: Self = Self(i64::MAX);

    /// One second later.
    /// For rustls and webpki, which know no time before the epoch.
    pub(crate) fn to_unix_time(self) -> UnixTime {
        let seconds = u64::try_from(self.0).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    /// One second later.
    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The time from `now` until this; zero if it has passed.
    #[must_use]
    pub fn saturating_since(self, now: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }
}

impl From<UnixTime> for Timestamp {
    fn from(time: UnixTime) -> Self {
        Self(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_secs()).unwrap_or(i64::MAX)),
            Err(before) => {
                Self(i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s))
            }
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} s since 1970", self.0),
        }
    }
}

/// A span during which something holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: Timestamp,
    /// The last second.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether `now` lies within.
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The part that both have in common; it may be empty, and then contains nothing.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_rfc_3339() {
        assert_eq!(Timestamp::from_unix(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_unix(253_402_300_799).to_string(),
            "9999-12-31T23:59:59Z"
        );
        assert_eq!(Timestamp::from_unix(-1).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn what_no_calendar_holds_is_still_printed() {
        assert_eq!(
            Timestamp::from_unix(i64::MAX).to_string(),
            format!("{} s since 1970", i64::MAX)
        );
    }

    #[test]
    fn both_ends_of_a_validity_are_included() {
        let at = Timestamp::from_unix;
        let span = Validity {
            not_before: at(10),
            not_after: at(20),
        };
        assert!(span.contains(at(10)) && span.contains(at(20)));
        assert!(!span.contains(at(9)) && !span.contains(at(21)));
        let later = Validity {
            not_before: at(21),
            not_after: at(30),
        };
        assert!((0..40).all(|t| !span.intersect(later).contains(at(t))));
    }
}
