//! Whether a renewal is late, from the leaves that were served before.
//!
//! A renewer replaces certificates at about the same fraction of their lifetime: SPIRE and Istio at half of it,
//! cert-manager and step at two thirds, consul-template at nine tenths. One that is stuck tells nobody, and nor does a
//! file that is mounted by itself; but a leaf that is older than any before it ever became tells on them.
//!
//! Pure: leaves and times go in.

use std::collections::VecDeque;
use std::fmt;

use crate::identity::{Timestamp, Validity};

/// A leaf that is served for longer than it should have been. It is warned of once; a source that is published to, which
/// nothing wakes, tells of it in its status alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LateRenewal {
    /// When a new one was expected: at the greatest fraction of its lifetime at which one before it was replaced, or at 90 %
    /// if no replacement was seen.
    pub expected: Timestamp,
    /// When it ceases to be valid.
    pub not_after: Timestamp,
    /// How many renewals that is drawn from.
    pub renewals_seen: usize,
}

impl LateRenewal {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        "see whether the issuer still renews (its log, the Certificate's events), and whether a file is mounted by subPath"
    }
}

impl fmt::Display for LateRenewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, not_after) = (self.expected, self.not_after);
        write!(f, "expected at {expected}, ")?;
        match self.renewals_seen {
            0 => f.write_str("when 90 % of the lifetime had passed (no renewal was seen yet)")?,
            1 => f.write_str("as late as the one renewal that was seen")?,
            seen => write!(f, "as late as the latest of {seen} renewals that were seen")?,
        }
        write!(f, "; the leaf is valid until {not_after}")
    }
}

/// At which fractions of their lifetimes leaves were replaced, and the leaf that is served now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct History {
    /// In thousandths, the oldest first.
    renewals: VecDeque<i64>,
    current: Option<Validity>,
}

impl History {
    /// Notes that this leaf is served from now on.
    pub(crate) fn replace(&mut self, leaf: Validity, now: Timestamp) {
        let before = self.current.replace(leaf);
        let Some(before) = before.filter(|before| before.not_before < leaf.not_before) else {
            // The first, or one that is no newer: a rollback renews nothing.
            return;
        };
        let Some(age) = age(before, now).filter(|age| *age >= EARLY) else {
            return;
        };
        if self.renewals.len() == MOST_REMEMBERED {
            self.renewals.pop_front();
        }
        self.renewals.push_back(age);
    }

    /// Whether the renewal of the current leaf is late.
    pub(crate) fn late(&self, now: Timestamp) -> Option<LateRenewal> {
        let leaf = self.current?;
        let usual = self.renewals.iter().max().map(|usual| (*usual).min(WHOLE));
        let expected = usual.unwrap_or(WITHOUT_HISTORY);
        // Half of what is left, where that is less: who renews at nine tenths is late before it is too late.
        let margin = usual.map_or(0, |usual| MARGIN.min((WHOLE - usual) / 2));
        let is_late = age(leaf, now)? >= expected + margin;
        is_late.then(|| LateRenewal {
            expected: at(leaf, expected),
            not_after: leaf.not_after,
            renewals_seen: self.renewals.len(),
        })
    }
}

/// How much of its lifetime a leaf has behind it, in thousandths; `None` for one without a lifetime.
fn age(leaf: Validity, now: Timestamp) -> Option<i64> {
    let (lifetime, passed) = (lifetime(leaf), i128::from(now.as_unix()) - start(leaf));
    let age = (passed * i128::from(WHOLE)).checked_div(lifetime)?;
    (lifetime > 0).then(|| i64::try_from(age).unwrap_or(i64::MAX))
}

/// When a leaf has that much of its lifetime behind it.
fn at(leaf: Validity, age: i64) -> Timestamp {
    let seconds = start(leaf) + lifetime(leaf) * i128::from(age) / i128::from(WHOLE);
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn lifetime(leaf: Validity) -> i128 {
    i128::from(leaf.not_after.as_unix()) - start(leaf)
}

fn start(leaf: Validity) -> i128 {
    i128::from(leaf.not_before.as_unix())
}

const WHOLE: i64 = 1000;

/// How much of the lifetime may pass beyond the usual: issuers spread renewals, and a volume follows within minutes.
const MARGIN: i64 = 100;

/// No renewer that we know of waits longer. Whoever does has too little time left to mend anything.
const WITHOUT_HISTORY: i64 = 900;

/// No renewer that we know of is that early: such a leaf was replaced by hand, or for a new CA, which is no habit.
const EARLY: i64 = 400;

/// Enough for a habit; one that has changed is forgotten in as many renewals.
const MOST_REMEMBERED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds)
    }

    /// A leaf with a lifetime of a thousand seconds.
    fn leaf(from: i64) -> Validity {
        Validity {
            not_before: time(from),
            not_after: time(from + 1000),
        }
    }

    /// Leaves that were each replaced at these ages, and since when the last is valid.
    fn replaced_at(ages: &[i64]) -> (History, i64) {
        let (mut history, mut from) = (History::default(), 0);
        history.replace(leaf(from), time(from));
        for age in ages {
            from += age;
            history.replace(leaf(from), time(from));
        }
        (history, from)
    }

    /// From which age on the leaf that is served is late.
    fn late_from(ages: &[i64]) -> i64 {
        let (history, from) = replaced_at(ages);
        let first = (0..=2000).find(|age| history.late(time(from + age)).is_some());
        let first = first.unwrap();
        assert!((first..2000).all(|age| history.late(time(from + age)).is_some()));
        first
    }

    #[test]
    fn a_tenth_of_the_lifetime_beyond_the_usual_is_late() {
        for (ages, expected) in [
            (&[500][..], 600),
            (&[667], 767),
            (&[500, 520, 490], 620),
            (&[667, 500], 767),
        ] {
            assert_eq!(late_from(ages), expected, "{ages:?}");
        }
    }

    #[test]
    fn who_renews_at_the_end_is_late_halfway_between_that_and_the_end() {
        assert_eq!(late_from(&[900]), 950);
        assert_eq!(late_from(&[990]), 995);
        assert_eq!(late_from(&[1500]), 1000, "it had expired by then");
    }

    #[test]
    fn without_a_renewal_nothing_is_late_before_nine_tenths() {
        assert_eq!(late_from(&[]), 900);
        let late = replaced_at(&[]).0.late(time(950)).unwrap();
        assert_eq!(late.renewals_seen, 0);
        assert_eq!(late.expected, time(900));
        assert!(late.to_string().contains("90 %"), "{late}");
        assert_eq!(History::default().late(time(5000)), None);
    }

    #[test]
    fn what_is_replaced_early_or_by_an_older_one_is_no_habit() {
        assert_eq!(late_from(&[10, 399, 0]), 900);
        assert_eq!(late_from(&[500, 10, 10]), 600);
        let (mut history, from) = replaced_at(&[500]);
        history.replace(leaf(0), time(from + 990));
        assert_eq!(history.renewals, [500]);
    }

    #[test]
    fn a_late_renewal_tells_when_it_was_expected_and_when_it_ends() {
        let (history, from) = replaced_at(&[500, 667]);
        assert_eq!(history.late(time(from + 766)), None);
        let late = history.late(time(from + 767)).unwrap();
        assert_eq!(late.expected, time(from + 667));
        assert_eq!(late.not_after, time(from + 1000));
        assert_eq!(late.renewals_seen, 2);
        assert!(late.to_string().contains("latest of 2"), "{late}");
    }

    #[test]
    fn a_habit_that_has_changed_is_forgotten() {
        let mut ages = vec![900];
        ages.extend([500; MOST_REMEMBERED - 1]);
        assert_eq!(late_from(&ages), 950);
        ages.push(500);
        assert_eq!(late_from(&ages), 600);
        assert_eq!(replaced_at(&ages).0.renewals.len(), MOST_REMEMBERED);
    }

    #[test]
    fn lifetimes_and_clocks_that_make_no_sense_are_no_reason_to_panic() {
        let span = |from, until| Validity {
            not_before: Timestamp::from_unix(from),
            not_after: Timestamp::from_unix(until),
        };
        let (low, high) = (i64::MIN, i64::MAX);
        for (from, until) in [(0, 0), (5, 0), (low, high), (high, low), (low, low), (0, 1)] {
            for now in [low, -1, 0, 1, high] {
                let mut history = History::default();
                history.replace(span(low, high), Timestamp::from_unix(now));
                history.replace(span(from, until), Timestamp::from_unix(now));
                let late = history.late(Timestamp::from_unix(now));
                assert!(until > from || late.is_none(), "no lifetime, no claim");
            }
        }
    }
}
