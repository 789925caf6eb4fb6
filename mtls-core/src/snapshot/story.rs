//! What an operator asks of a source: what is served, what was found, and why the one is not the other.

use std::fmt;
use std::sync::Arc;

use super::credentials::CredentialMaterial;
use super::status::{Failure, Health, Part, Status};
use crate::error::{Chained, LoadError};
use crate::identity::certificate::{Certificate, hex, sha256};
use crate::identity::{Timestamp, Validity};

/// A leaf of ours, as an operator tells one from another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeafSummary {
    /// Its serial number in lowercase hex.
    pub serial: String,
    /// SHA-256 of the certificate, in lowercase hex.
    pub fingerprint: String,
    /// When it is valid.
    pub validity: Validity,
}

impl LeafSummary {
    /// The digest is the leaf's own.
    pub(super) fn of(leaf: &Certificate, sha256: &[u8; 32]) -> Self {
        Self {
            serial: leaf.serial.text().to_owned(),
            fingerprint: hex(sha256),
            validity: leaf.validity,
        }
    }
}

impl fmt::Display for LeafSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.validity.not_before, self.validity.not_after);
        write!(f, "serial {} (sha256 {}), ", self.serial, self.fingerprint)?;
        write!(f, "valid from {from} until {until}")
    }
}

/// What was found and is not served, or not without a fault.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NotServed {
    /// The leaf that was found, if it is another than the one that is served. `None` too if it could not be read.
    pub leaf: Option<LeafSummary>,
    /// Since when this leaf is found and not served; without one, since when the faults last.
    pub since: Timestamp,
    /// All that is wrong with what was found.
    pub faults: Vec<Arc<LoadError>>,
}

impl NotServed {
    /// What remains of an offer of which this leaf is served; `None` if nothing does.
    pub(crate) fn after(
        before: Option<&Self>,
        found: Option<LeafSummary>,
        served: &LeafSummary,
        faults: &[LoadError],
        now: Timestamp,
    ) -> Option<Self> {
        let leaf = found.filter(|found| found != served);
        if leaf.is_none() && faults.is_empty() {
            return None;
        }
        let since = before.filter(|before| before.leaf == leaf);
        Some(Self {
            since: since.map_or(now, |before| before.since),
            leaf,
            faults: faults.iter().cloned().map(Arc::new).collect(),
        })
    }
}

impl NotServed {
    /// A line on the leaf, and one on each fault that the failure does not tell of.
    fn write_beside(&self, failure: Option<&Failure>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since;
        if let Some(leaf) = &self.leaf {
            write!(f, "\nnot served: leaf {leaf}, found since {since}")?;
        }
        let told = failure.map(|failure| Chained(failure.error.as_ref()).to_string());
        let faults = self
            .faults
            .iter()
            .map(|fault| Chained(fault.as_ref()).to_string());
        for fault in faults.filter(|fault| Some(fault) != told.as_ref()) {
            write!(f, "\nfailing too: {fault}")?;
        }
        Ok(())
    }
}

impl CredentialMaterial {
    /// What seems to be the leaf: whether the key belongs to it nobody has looked.
    pub(crate) fn leaf_summary(&self) -> Option<LeafSummary> {
        let parsed = self
            .certificates
            .iter()
            .filter_map(|der| Some((Certificate::parse(der).ok()?, der)));
        let readable: Vec<_> = parsed.collect();
        let leaf = readable.iter().find(|(certificate, _)| !certificate.is_ca);
        let (leaf, der) = leaf.or(readable.first())?;
        Some(LeafSummary::of(leaf, &sha256(der)))
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Expired => "expired",
        })
    }
}

/// One line for each story: how it is, what is served, what is not and why, and what will go wrong.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (generation, at) = (self.generation, self.loaded_at);
        writeln!(f, "health: {}", self.health)?;
        writeln!(f, "generation: {generation}, loaded at {at}")?;
        write!(f, "leaf: {}, served since {}", self.leaf, self.leaf_since)?;
        let anchors = self.expiries.iter().filter(|e| e.part == Part::Anchor);
        write!(f, "\ntrust anchors: {}", anchors.count())?;
        if !self.skipped_anchors.is_empty() {
            write!(f, ", {} not used", self.skipped_anchors.len())?;
        }
        if let Some(change) = &self.last_trust_change {
            write!(f, "; changed {change}")?;
        }
        write!(f, "\nlast check: {}", self.last_check)?;
        if let Some(watch) = self.watch {
            write!(f, "; changes are noticed by {watch}")?;
        }
        if let Some(failure) = &self.last_error {
            write!(f, "\nfailing: {failure}")?;
        }
        if let Some(found) = &self.not_served {
            found.write_beside(self.last_error.as_ref(), f)?;
        }
        if let Some(late) = &self.late_renewal {
            write!(f, "\nlate renewal: {late}; remedy: {}", late.remedy())?;
        }
        for finding in &self.issuance_findings {
            write!(f, "\nissued oddly: {finding}; remedy: {}", finding.remedy())?;
        }
        for list in &self.revocation_lists {
            write!(f, "\nrevocation list: {list}")?;
        }
        if let Some(revoked) = &self.own_revoked {
            write!(f, "\nrevoked: {revoked}; remedy: {}", revoked.remedy())?;
        }
        for mount in &self.stuck_mounts {
            write!(f, "\nnever updated: {mount}; remedy: {}", mount.remedy())?;
        }
        if self.key_world_readable {
            f.write_str("\nkey: every user of the machine can read it")?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (since, error) = (self.since, Chained(self.error.as_ref()));
        write!(f, "since {since}: {error}; remedy: {}", self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(serial: &str) -> LeafSummary {
        LeafSummary {
            serial: serial.to_owned(),
            fingerprint: String::new(),
            validity: Validity {
                not_before: Timestamp::from_unix(0),
                not_after: Timestamp::from_unix(100),
            },
        }
    }

    fn after(before: Option<&NotServed>, found: &str, now: i64) -> NotServed {
        let (found, now) = (Some(leaf(found)), Timestamp::from_unix(now));
        NotServed::after(before, found, &leaf("served"), &[], now).unwrap()
    }

    #[test]
    fn a_leaf_is_not_served_since_it_was_first_found() {
        let first = after(None, "new", 10);
        let again = after(Some(&first), "new", 20);
        assert_eq!(again.since, Timestamp::from_unix(10));
        let another = after(Some(&again), "newer", 30);
        assert_eq!(another.since, Timestamp::from_unix(30));
    }

    #[test]
    fn what_is_served_as_it_was_found_is_not_told_of() {
        let (served, now) = (leaf("served"), Timestamp::from_unix(10));
        for found in [Some(served.clone()), None] {
            assert!(NotServed::after(None, found, &served, &[], now).is_none());
        }
        let fault = [LoadError::SourceEnded];
        let told = NotServed::after(None, Some(served.clone()), &served, &fault, now).unwrap();
        assert_eq!((told.leaf, told.faults.len()), (None, 1));
    }
}
