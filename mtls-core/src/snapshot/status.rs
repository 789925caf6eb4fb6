//! How a source is doing: what is served, since when, and why not the newer.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::generation::Snapshot;
use super::renewal::{History, LateRenewal};
use super::story::{LeafSummary, NotServed};
use super::trust_change::TrustChange;
use crate::error::{AnchorFault, LoadError};
use crate::files::{StuckMount, WatchMode};
use crate::identity::{IssuanceFinding, Timestamp, Validity};
use crate::reason::Reason;
use crate::verify::{ChainError, CrlStatus};

/// How a source is doing, at one moment. It prints as a few lines, one for each thing that an operator asks; nothing in it is
/// secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// What the operator calls the source.
    pub name: Arc<str>,
    /// Which snapshot is served.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// The leaf that is served.
    pub leaf: LeafSummary,
    /// Since when that leaf is served.
    pub leaf_since: Timestamp,
    /// What was found last and is not served, and why; `None` when what was found is what is served.
    pub not_served: Option<NotServed>,
    /// When the source was last read, whatever came of it.
    pub last_check: Timestamp,
    /// What was wrong at the last check; `None` when what is on disk is what is served.
    pub last_error: Option<Failure>,
    /// How changes are noticed; `None` for a source that is published to.
    pub watch: Option<WatchMode>,
    /// Files that will never be replaced, since they are mounted by themselves; known on Linux alone.
    pub stuck_mounts: Vec<StuckMount>,
    /// That our leaf should have been replaced by now.
    pub late_renewal: Option<LateRenewal>,
    /// The anchors that came and went when trust last changed; `None` if it never did.
    pub last_trust_change: Option<TrustChange>,
    /// Whether every user of the machine can read the private key.
    pub key_world_readable: bool,
    /// The leaf, the intermediates and the trust anchors that are served, with their validity.
    pub expiries: Vec<Expiry>,
    /// The revocation lists that are asked, of every trust domain.
    pub revocation_lists: Vec<CrlStatus>,
    /// Why peers that have our revocation lists refuse our own chain, if one of its certificates is revoked.
    pub own_revoked: Option<ChainError>,
    /// What our leaf lacks of what X509-SVID asks of issuers.
    pub issuance_findings: Vec<IssuanceFinding>,
    /// Certificates in the bundle that are not used, or not yet.
    pub skipped_anchors: Vec<AnchorFault>,
    /// The summary.
    pub health: Health,
}

/// The summary of a [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// What is on disk is served, and changes will be noticed.
    Healthy,
    /// Still serving, but not what is on disk; or changes are noticed late or, where a file is mounted by itself, never; or a
    /// new certificate is overdue. Something to be told of, and no reason to take traffic away.
    Degraded,
    /// Our own chain is not valid now, and peers refuse us; or no trust anchor is, and we refuse them.
    Expired,
}

/// A failure that lasts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// What is wrong.
    pub error: Arc<LoadError>,
    /// When it began.
    pub since: Timestamp,
    /// How many checks in a row have failed.
    pub streak: u64,
}

impl Failure {
    /// The stable name of what is wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.error.reason()
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.error.remedy()
    }
}

/// A certificate that is served, or trusted, and its validity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// What part it plays.
    pub part: Part,
    /// Its subject, for display.
    pub subject: String,
    /// When it is valid.
    pub validity: Validity,
}

/// What part a certificate plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// A trust anchor.
    Anchor,
    /// An intermediate of our own chain.
    Intermediate,
    /// Our own leaf.
    Leaf,
}

/// What a status adds to a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) last_check: Option<Timestamp>,
    pub(crate) failure: Option<Failure>,
    pub(crate) watch: Option<WatchMode>,
    pub(crate) key_world_readable: bool,
    pub(crate) stuck_mounts: Vec<StuckMount>,
    pub(crate) history: History,
    /// The leaf whose late renewal was warned of.
    pub(crate) warned_late: Option<LeafSummary>,
    /// Since when the leaf is served; `None` for as long as the source.
    pub(crate) leaf_since: Option<Timestamp>,
    pub(crate) not_served: Option<NotServed>,
    pub(crate) last_trust_change: Option<TrustChange>,
    /// The revocation lists whose successor is due, by path and date: told of once.
    pub(crate) lists_due: HashSet<(PathBuf, Timestamp)>,
}

impl Record {
    /// Of a source that begins with this.
    pub(crate) fn of(first: &Snapshot) -> Self {
        let mut record = Self {
            last_check: Some(first.loaded_at()),
            ..Self::default()
        };
        record.serve(first);
        record
    }

    /// Notes that a snapshot has a leaf that the one before did not have.
    pub(crate) fn serve(&mut self, snapshot: &Snapshot) {
        let now = snapshot.loaded_at();
        self.history.replace(snapshot.credentials().validity(), now);
        self.leaf_since = Some(now);
    }

    /// That the renewal of this leaf is late, told once for each leaf.
    pub(crate) fn late_to_warn_of(
        &mut self,
        leaf: &LeafSummary,
        now: Timestamp,
    ) -> Option<LateRenewal> {
        let late = self.history.late(now)?;
        let before = self.warned_late.replace(leaf.clone());
        (before.as_ref() != Some(leaf)).then_some(late)
    }

    /// Notes what of an offer is not served: the leaf that was found, the one that is served, what was wrong.
    pub(crate) fn find(
        &mut self,
        found: Option<LeafSummary>,
        served: &LeafSummary,
        faults: &[LoadError],
        now: Timestamp,
    ) {
        let before = self.not_served.take();
        self.not_served = NotServed::after(before.as_ref(), found, served, faults, now);
    }

    pub(crate) fn status(&self, snapshot: &Snapshot, now: Timestamp) -> Status {
        let expiries = expiries(snapshot);
        let mut own = snapshot.credentials().validities().map(|(_, span)| span);
        // Of the local bundle: another domain's that is past its time costs us that domain's peers and no more.
        let mut anchors = snapshot.trust().bundle().anchors().iter();
        let expired = !own.all(|span| span.contains(now))
            || !anchors.any(|anchor| anchor.validity().contains(now));
        let revocation_lists = snapshot.trust().revocation_lists();
        let stale = revocation_lists.iter().any(|list| list.is_stale(now));
        let deaf = self.watch.is_some_and(WatchMode::is_degraded);
        let late_renewal = self.history.late(now);
        let health = if expired {
            Health::Expired
        } else if self.failure.is_some()
            || deaf
            || stale
            || snapshot.own_revoked.is_some()
            || snapshot.own_chain.is_err()
            || !self.stuck_mounts.is_empty()
            || late_renewal.is_some()
        {
            Health::Degraded
        } else {
            Health::Healthy
        };
        Status {
            name: Arc::clone(&snapshot.settings.name),
            generation: snapshot.generation(),
            loaded_at: snapshot.loaded_at(),
            leaf: snapshot.credentials().leaf_summary(),
            leaf_since: self.leaf_since.unwrap_or(snapshot.loaded_at()),
            not_served: self.not_served.clone(),
            stuck_mounts: self.stuck_mounts.clone(),
            late_renewal,
            last_trust_change: self.last_trust_change.clone(),
            last_check: self.last_check.unwrap_or(snapshot.loaded_at()),
            last_error: self.failure.clone(),
            watch: self.watch,
            key_world_readable: self.key_world_readable,
            expiries,
            revocation_lists,
            issuance_findings: snapshot.credentials().issuance_findings(),
            own_revoked: snapshot.own_revoked.clone(),
            skipped_anchors: snapshot.trust().skipped().cloned().collect(),
            health,
        }
    }
}

fn expiries(snapshot: &Snapshot) -> Vec<Expiry> {
    let own =
        snapshot
            .credentials()
            .validities()
            .enumerate()
            .map(|(index, (subject, validity))| {
                let part = if index == 0 {
                    Part::Leaf
                } else {
                    Part::Intermediate
                };
                Expiry {
                    part,
                    subject: subject.to_owned(),
                    validity,
                }
            });
    let anchors = snapshot.trust().anchors().map(|anchor| Expiry {
        part: Part::Anchor,
        subject: anchor.subject().to_owned(),
        validity: anchor.validity(),
    });
    own.chain(anchors).collect()
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{LeafOptions, TestCa};

    /// The health of a source whose leaf is valid for ten days, and whose root for one.
    fn health_after(time: Duration) -> Health {
        let ca = TestCa::new("example.org");
        let now = crate::clock::now();
        let at = |time: Duration| Duration::from_secs(now.as_secs()) + time;
        let date = |time| std::time::SystemTime::UNIX_EPOCH + at(time);
        let days = Duration::from_secs(10 * 24 * 60 * 60);
        let leaf = LeafOptions::service("/web").validity(date(Duration::ZERO), date(days));
        let snapshot = ca.source(&ca.issue_with(leaf)).current();
        let then = rustls_pki_types::UnixTime::since_unix_epoch(at(time));
        Record::default().status(&snapshot, then.into()).health
    }

    #[test]
    fn a_source_whose_leaf_and_root_are_valid_is_healthy() {
        assert_eq!(health_after(Duration::ZERO), Health::Healthy);
    }

    #[test]
    fn a_source_whose_roots_have_all_expired_is_not_healthy() {
        let two_days = Duration::from_secs(2 * 24 * 60 * 60);
        assert_eq!(health_after(two_days), Health::Expired);
        assert_eq!(health_after(20 * two_days), Health::Expired);
    }
}
