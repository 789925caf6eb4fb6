//! What is on a list, in little memory.

use std::fmt;

use webpki::BorrowedRevokedCert;

use crate::identity::Timestamp;
use crate::identity::certificate::magnitude;

/// Why a certificate was revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationReason {
    /// An attribute authority's key is in other hands.
    AaCompromise,
    /// The holder's name or role has changed.
    AffiliationChanged,
    /// The issuer's key is in other hands.
    CaCompromise,
    /// It is suspended. That counts as revoked for as long as it is on the list.
    CertificateHold,
    /// It is no longer needed.
    CessationOfOperation,
    /// The holder's key is in other hands.
    KeyCompromise,
    /// A privilege in it was withdrawn.
    PrivilegeWithdrawn,
    /// It was replaced.
    Superseded,
    /// The issuer gave no reason.
    Unspecified,
}

impl RevocationReason {
    /// As RFC 5280 spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AaCompromise => "aACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::CaCompromise => "cACompromise",
            Self::CertificateHold => "certificateHold",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::KeyCompromise => "keyCompromise",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }

    /// `None` for removeFromCRL, which revokes nothing.
    fn from_webpki(reason: Option<webpki::RevocationReason>) -> Option<Self> {
        use webpki::RevocationReason as R;
        Some(match reason {
            None | Some(R::Unspecified) => Self::Unspecified,
            Some(R::AaCompromise) => Self::AaCompromise,
            Some(R::AffiliationChanged) => Self::AffiliationChanged,
            Some(R::CaCompromise) => Self::CaCompromise,
            Some(R::CertificateHold) => Self::CertificateHold,
            Some(R::CessationOfOperation) => Self::CessationOfOperation,
            Some(R::KeyCompromise) => Self::KeyCompromise,
            Some(R::PrivilegeWithdrawn) => Self::PrivilegeWithdrawn,
            Some(R::Superseded) => Self::Superseded,
            Some(R::RemoveFromCrl) => return None,
        })
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The entries of a list, sorted by serial number.
///
/// An entry takes 16 bytes and its serial number: about 36 bytes, so that a list of 100 000 holds less than 4 MB.
#[derive(Debug)]
pub(super) struct Entries {
    /// The serial numbers, one after the other.
    serials: Box<[u8]>,
    entries: Box<[Entry]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    since: i64,
    at: u32,
    len: u16,
    reason: RevocationReason,
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Revoked {
    pub(super) since: Timestamp,
    pub(super) reason: RevocationReason,
}

impl Entries {
    /// Whether this serial number, without leading zero bytes, is on the list.
    ///
    /// An entry counts whatever its date. RFC 5280 §6.3.3 asks only whether the certificate is on the list, and the date
    /// is when the issuer "processed the revocation" (§5.1.2.6): one ahead of our clock is a difference of clocks.
    pub(super) fn find(&self, serial: &[u8]) -> Option<Revoked> {
        let found = self
            .entries
            .binary_search_by(|entry| slice(&self.serials, entry).cmp(serial));
        let entry = self.entries.get(found.ok()?)?;
        Some(Revoked {
            since: Timestamp::from_unix(entry.since),
            reason: entry.reason,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Takes entries as they come, in any order.
#[derive(Debug, Default)]
pub(super) struct Collector {
    serials: Vec<u8>,
    entries: Vec<Entry>,
}

/// Why an entry cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EntryFault {
    RemovesEntry,
    TooLong,
}

impl Collector {
    pub(super) fn push(&mut self, revoked: &BorrowedRevokedCert<'_>) -> Result<(), EntryFault> {
        let reason =
            RevocationReason::from_webpki(revoked.reason_code).ok_or(EntryFault::RemovesEntry)?;
        let serial = magnitude(revoked.serial_number);
        let at = u32::try_from(self.serials.len()).map_err(|_| EntryFault::TooLong)?;
        let len = u16::try_from(serial.len()).map_err(|_| EntryFault::TooLong)?;
        self.serials.extend_from_slice(serial);
        self.entries.push(Entry {
            since: Timestamp::from(revoked.revocation_date).as_unix(),
            at,
            len,
            reason,
        });
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn finish(self) -> Entries {
        let Self {
            serials,
            mut entries,
        } = self;
        entries.sort_by(|a, b| slice(&serials, a).cmp(slice(&serials, b)));
        Entries {
            serials: serials.into(),
            entries: entries.into(),
        }
    }
}

fn slice<'a>(serials: &'a [u8], entry: &Entry) -> &'a [u8] {
    let at = usize::try_from(entry.at).unwrap_or(usize::MAX);
    let end = at.saturating_add(usize::from(entry.len));
    serials.get(at..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_sixteen_bytes_beside_its_serial_number() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
