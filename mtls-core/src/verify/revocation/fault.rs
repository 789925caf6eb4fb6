//! Why a revocation list is refused when it is loaded.

use crate::identity::Timestamp;
use crate::reason::Reason;

/// Why a revocation list is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlFault {
    /// An authority that we know has the issuer's name, and its key did not sign the list (RFC 5280 §6.3.3 (g)).
    #[error("its signature is by no key that we know under the name of its issuer `{issuer}`")]
    BadSignature {
        /// The issuer that the list names.
        issuer: String,
    },
    /// RFC 5280 §5.2: a list with a critical extension that is not understood must not be used; §5.3: nor one with such an entry.
    #[error("it has a critical {place} extension that we do not know: {oid}")]
    CriticalExtension {
        /// The extension.
        oid: String,
        /// `list` or `entry`.
        place: &'static str,
    },
    /// It lists changes to another list (RFC 5280 §5.2.4).
    #[error("it is a delta list, expected a complete one")]
    Delta,
    /// It lists certificates of other issuers (RFC 5280 §5.2.5, §5.3.3).
    #[error("it is an indirect list, expected one of its issuer's own certificates")]
    Indirect,
    /// Its issuer's keyUsage does not let it sign lists (RFC 5280 §4.2.1.3, §6.3.3 (f)).
    #[error("its issuer `{issuer}` has a keyUsage without cRLSign")]
    IssuerMayNotSign {
        /// The issuer's subject.
        issuer: String,
    },
    /// It cannot be decoded.
    #[error("it is malformed: {detail}")]
    Malformed {
        /// What the decoder found.
        detail: String,
    },
    /// RFC 5280 §5.2: issuers are "REQUIRED to include the authority key identifier [...] and the CRL number".
    #[error("it has no extensions, expected a number and a key identifier")]
    NoExtensions,
    /// It does not say when the next one is due (RFC 5280 §5.1.2.5), so that nobody could tell when it is stale.
    #[error("it has no nextUpdate")]
    NoNextUpdate,
    /// It was issued later than now.
    #[error("its thisUpdate {this_update} is in the future, it is {now}")]
    NotYetIssued {
        /// When it says it was issued.
        this_update: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// Its number is longer than RFC 5280 §5.2.3 allows.
    #[error("its number has {octets} octets, expected at most 20")]
    NumberTooLong {
        /// How long it is.
        octets: usize,
    },
    /// It lists some of its issuer's certificates (RFC 5280 §5.2.5), and what is not on it may be revoked all the same.
    #[error("it is a partial list ({by}), expected one of all certificates and all reasons")]
    Partitioned {
        /// By what it is restricted.
        by: &'static str,
    },
    /// RFC 5280 §5.3.1: "removeFromCRL [...] may only appear in delta CRLs".
    #[error("its entry {serial} has the reason removeFromCRL, which belongs into a delta list")]
    RemovesEntry {
        /// The serial number of the entry.
        serial: String,
    },
    /// It is older than the list of the same issuer that was taken before.
    #[error("it is {found}, older than the list of `{issuer}` that was taken before, {served}")]
    Rollback {
        /// The issuer's name.
        issuer: String,
        /// Number and date of this one.
        found: String,
        /// Number and date of the newer one.
        served: String,
    },
    /// The crypto provider cannot verify its signature.
    #[error("its signature algorithm {oid} is not supported")]
    UnsupportedAlgorithm {
        /// The algorithm.
        oid: String,
    },
    /// RFC 5280 §5.1.2.1: version 2. One of version 1 cannot say of itself that it is partial.
    #[error("it is of version {found}, expected 2")]
    UnsupportedVersion {
        /// The version, counted from 1.
        found: u32,
    },
}

impl CrlFault {
    /// The stable name of what is wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Rollback { .. } => Reason::CrlRollback,
            Self::BadSignature { .. }
            | Self::CriticalExtension { .. }
            | Self::Delta
            | Self::Indirect
            | Self::IssuerMayNotSign { .. }
            | Self::Malformed { .. }
            | Self::NoExtensions
            | Self::NoNextUpdate
            | Self::NotYetIssued { .. }
            | Self::NumberTooLong { .. }
            | Self::Partitioned { .. }
            | Self::RemovesEntry { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedVersion { .. } => Reason::CrlUnusable,
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::BadSignature { .. } => {
                "fetch the list again from its issuer; if the CA was made anew under its old name, give both its bundle and its list"
            }
            Self::CriticalExtension { .. } => {
                "have the CA issue a plain list: no critical extensions but those of RFC 5280 §5.2"
            }
            Self::Delta => "mount the complete list in place of the delta",
            Self::Indirect => "mount a list from each CA for its own certificates",
            Self::IssuerMayNotSign { .. } => {
                "reissue the CA with keyUsage cRLSign beside keyCertSign"
            }
            Self::Malformed { .. } => {
                "write the file whole and rename it into place; if it stays so, fetch the list again from its issuer"
            }
            Self::NoNextUpdate => "have the CA state nextUpdate (`default_crl_days` in openssl)",
            Self::NotYetIssued { .. } => {
                "check the clocks of this machine and of the CA; a list is taken up to five minutes early"
            }
            Self::NumberTooLong { .. } => "have the CA number its lists within 20 octets",
            Self::Partitioned { .. } => {
                "have the CA issue a full list, without issuingDistributionPoint"
            }
            Self::RemovesEntry { .. } => {
                "mount the complete list; if this is it, the CA must drop the entry"
            }
            Self::Rollback { .. } => {
                "fetch the newest list; if the CA was restored and counts anew, set `CrlRollback::Accept` for one reload"
            }
            Self::UnsupportedAlgorithm { .. } => {
                "have the CA sign its lists with ECDSA P-256 and SHA-256, or RSA and SHA-256"
            }
            Self::NoExtensions | Self::UnsupportedVersion { .. } => {
                "have the CA issue version 2 lists with a CRL number (`crl_extensions` and `crlnumber` in openssl)"
            }
        }
    }

    /// Whether waiting may be enough: half written, or here before the bundle or the clock that it needs.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::BadSignature { .. } | Self::Malformed { .. } | Self::NotYetIssued { .. } => true,
            Self::CriticalExtension { .. }
            | Self::Delta
            | Self::Indirect
            | Self::IssuerMayNotSign { .. }
            | Self::NoExtensions
            | Self::NoNextUpdate
            | Self::NumberTooLong { .. }
            | Self::Partitioned { .. }
            | Self::RemovesEntry { .. }
            | Self::Rollback { .. }
            | Self::UnsupportedAlgorithm { .. }
            | Self::UnsupportedVersion { .. } => false,
        }
    }
}
