//! What became of the trust anchors when trust changed.

use std::collections::HashSet;
use std::fmt;

use tracing::{info, warn};

use super::bundle::Anchor;
use crate::identity::Timestamp;
use crate::identity::certificate::hex;

/// The anchors that came and went when trust last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustChange {
    /// When it took hold.
    pub at: Timestamp,
    /// The generation that it came with.
    pub generation: u64,
    /// Anchors that were not there before.
    pub added: AnchorNames,
    /// Anchors that are there no more.
    pub removed: AnchorNames,
}

impl TrustChange {
    /// Whether anchors went and none came. That may be meant, and it is how a bundle looks that was cut off when it was
    /// written.
    #[must_use]
    pub fn is_narrowing(&self) -> bool {
        !self.removed.is_empty() && self.added.is_empty()
    }

    /// What has to be done to the anchors before to get the new ones; `None` if they are the same, in whatever order.
    pub(crate) fn between(
        before: &[Anchor],
        after: &[Anchor],
        generation: u64,
        at: Timestamp,
    ) -> Option<Self> {
        let (added, removed) = (names_without(after, before), names_without(before, after));
        let any = !(added.is_empty() && removed.is_empty());
        any.then_some(Self {
            at,
            generation,
            added,
            removed,
        })
    }

    pub(super) fn log(&self) {
        if self.is_narrowing() {
            warn!(
                mtls.generation = self.generation,
                mtls.anchors_removed = %self.removed,
                mtls.remedy = "nothing if that was meant; else look whether the bundle was written whole",
                "trust narrowed: peers of these anchors are refused from now on"
            );
        } else {
            info!(
                mtls.generation = self.generation,
                mtls.anchors_added = %self.added,
                mtls.anchors_removed = %self.removed,
                "trust changed"
            );
        }
    }
}

impl fmt::Display for TrustChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, generation, .. } = self;
        write!(f, "at {at}, with generation {generation}: ")?;
        write!(f, "added {}; removed {}", self.added, self.removed)
    }
}

/// Some anchors: the first few by name, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnchorNames {
    /// The first 16 of them.
    pub first: Vec<AnchorName>,
    /// How many there are in all.
    pub count: usize,
}

impl AnchorNames {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A trust anchor by name and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnchorName {
    /// Its subject, for display: cut at 200 characters.
    pub subject: String,
    /// SHA-256 of the certificate, in lowercase hex.
    pub fingerprint: String,
}

impl fmt::Display for AnchorNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (
            index,
            AnchorName {
                subject,
                fingerprint,
            },
        ) in self.first.iter().enumerate()
        {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{subject}` (sha256 {fingerprint})")?;
        }
        match self.count.saturating_sub(self.first.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Those of `these` that are not among `those`. A bundle lists no certificate twice.
fn names_without(these: &[Anchor], those: &[Anchor]) -> AnchorNames {
    let known: HashSet<_> = those.iter().map(Anchor::sha256).collect();
    let missing = these
        .iter()
        .filter(|anchor| !known.contains(anchor.sha256()));
    AnchorNames {
        first: missing.clone().take(MOST_NAMED).map(name).collect(),
        count: missing.count(),
    }
}

fn name(anchor: &Anchor) -> AnchorName {
    AnchorName {
        subject: anchor.subject().chars().take(LONGEST_SUBJECT).collect(),
        fingerprint: hex(anchor.sha256()),
    }
}

/// A bundle of the web PKI has 150 anchors, and a line of a log is read by people.
const MOST_NAMED: usize = 16;

const LONGEST_SUBJECT: usize = 200;

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::testing::TestCa;

    /// So many anchors, no two alike.
    fn anchors(count: usize) -> Vec<Anchor> {
        let cas: Vec<_> = (0..count).map(|_| TestCa::new("example.org")).collect();
        let Some(first) = cas.first() else {
            return Vec::new();
        };
        let (publisher, source) = first.publish(&first.issue("/web"));
        let roots = cas.iter().map(TestCa::root_der).collect();
        publisher
            .publish_trust(crate::TrustMaterial::new(roots))
            .unwrap();
        source.current().trust().bundle().anchors().to_vec()
    }

    fn between(before: &[Anchor], after: &[Anchor]) -> Option<TrustChange> {
        TrustChange::between(before, after, 7, Timestamp::from_unix(0))
    }

    fn fingerprints(names: &AnchorNames) -> Vec<&str> {
        let first = names.first.iter();
        first.map(|name| name.fingerprint.as_str()).collect()
    }

    #[test]
    fn the_same_anchors_in_another_order_are_no_change() {
        let mut these = anchors(3);
        let before = these.clone();
        these.reverse();
        assert_eq!(between(&before, &these), None);
        assert_eq!(between(&[], &[]), None);
    }

    #[test]
    fn what_came_and_what_went_is_named_by_subject_and_fingerprint() {
        let all = anchors(3);
        let change = between(&all[..2], &all[1..]).unwrap();
        assert_eq!((change.added.count, change.removed.count), (1, 1));
        assert_eq!(fingerprints(&change.removed), [hex(all[0].sha256())]);
        assert_eq!(fingerprints(&change.added), [hex(all[2].sha256())]);
        assert_eq!(change.added.first[0].subject, all[2].subject());
        assert!(!change.is_narrowing(), "something came for what went");
        let text = change.to_string();
        assert!(text.contains(&hex(all[2].sha256())), "{text}");
        assert!(text.contains("generation 7"), "{text}");
    }

    #[test]
    fn trust_narrows_when_anchors_go_and_none_comes() {
        let all = anchors(2);
        assert!(between(&all, &all[..1]).unwrap().is_narrowing());
        assert!(between(&all, &[]).unwrap().is_narrowing());
        assert!(!between(&all[..1], &all).unwrap().is_narrowing());
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let all = anchors(MOST_NAMED + 2);
        let change = between(&all, &all[..1]).unwrap();
        assert_eq!(change.removed.count, MOST_NAMED + 1);
        assert_eq!(change.removed.first.len(), MOST_NAMED);
        assert!(change.removed.to_string().ends_with(" and 1 more"));
        let all_named = between(&all[2..], &[]).unwrap().removed;
        assert_eq!(all_named.first.len(), MOST_NAMED);
        assert!(!all_named.to_string().contains("more"));
    }
}
