//! What is made of lists that are missing, late or older than the last.

use std::time::Duration;

/// What revocation lists decide, for one trust domain. The default is the strict choice everywhere.
///
/// ```
/// use std::time::Duration;
/// use mtls_core::{Revocation, StaleCrl};
///
/// let a_day_late_is_fine = Revocation::new().stale(StaleCrl::Deny {
///     grace: Duration::from_secs(24 * 60 * 60),
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Revocation {
    pub(super) unknown: UnknownRevocation,
    pub(super) stale: StaleCrl,
    pub(super) depth: RevocationDepth,
    pub(super) rollback: CrlRollback,
}

impl Revocation {
    /// The strict choice everywhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of a certificate whose issuer has no list here. Default: refused.
    pub fn unknown(mut self, choice: UnknownRevocation) -> Self {
        self.unknown = choice;
        self
    }

    /// What becomes of a list past its `nextUpdate`. Default: its issuer's certificates are refused at once.
    pub fn stale(mut self, choice: StaleCrl) -> Self {
        self.stale = choice;
        self
    }

    /// How much of a chain is looked up. Default: all of it but the anchor.
    pub fn depth(mut self, choice: RevocationDepth) -> Self {
        self.depth = choice;
        self
    }

    /// What becomes of a list that is older than the one it would replace. Default: refused.
    pub fn rollback(mut self, choice: CrlRollback) -> Self {
        self.rollback = choice;
        self
    }
}

/// What becomes of a certificate whose issuer has no list among those that were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnknownRevocation {
    /// It is refused. The default: whoever removes a list must not thereby bring back what was on it.
    #[default]
    Deny,
    /// It counts as not revoked. For a trust domain some of whose authorities publish no lists.
    Allow,
}

/// What becomes of a certificate whose issuer's list is past its `nextUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StaleCrl {
    /// It is refused once this much time has passed since `nextUpdate`. The default, with no grace.
    Deny {
        /// How late the next list may be.
        grace: Duration,
    },
    /// The list is used as if it were current. What was revoked since is let in: a list held back goes unnoticed.
    Allow,
}

impl Default for StaleCrl {
    fn default() -> Self {
        Self::Deny {
            grace: Duration::ZERO,
        }
    }
}

/// How much of a chain is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RevocationDepth {
    /// The leaf and each intermediate. The default. An anchor is taken back by removing it from the bundle.
    #[default]
    Chain,
    /// The leaf alone: a revoked intermediate goes on vouching.
    Leaf,
}

/// What becomes of a list that is older than the one it would replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CrlRollback {
    /// The whole reload is refused and the newer list stays. The default: an old list forgets revocations.
    #[default]
    Refuse,
    /// It is taken. For an authority that was restored from a backup and counts from there.
    Accept,
}
