//! Why a certificate is no trust anchor.

use std::fmt;

use crate::identity::Timestamp;

/// Why a certificate in a bundle is not used as a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorFault {
    /// It is past its `notAfter`.
    Expired {
        /// The anchor's subject.
        subject: String,
        /// When it expired.
        not_after: Timestamp,
    },
    /// It cannot be decoded.
    Malformed {
        /// What the decoder found.
        detail: String,
    },
    /// Its KeyUsage does not let it sign certificates.
    MayNotSign {
        /// The anchor's subject.
        subject: String,
    },
    /// It is not a certificate authority: a leaf among the anchors could issue identities.
    NotCa {
        /// The certificate's subject.
        subject: String,
    },
    /// It is before its `notBefore`.
    NotYetValid {
        /// The anchor's subject.
        subject: String,
        /// When it begins.
        not_before: Timestamp,
    },
}

impl AnchorFault {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "remove the expired CA from the bundle, and add its successor",
            Self::Malformed { .. } => {
                "write the bundle again from its source; the certificate is damaged"
            }
            Self::MayNotSign { .. } => {
                "reissue the CA with keyUsage keyCertSign (RFC 5280 §4.2.1.3)"
            }
            Self::NotCa { .. } => {
                "put the issuing CA into the bundle, not the leaf; a self-signed issuer has none to give"
            }
            Self::NotYetValid { .. } => {
                "check the clock; the CA becomes usable by itself once its notBefore has come"
            }
        }
    }
}

impl fmt::Display for AnchorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { subject, not_after } => write!(f, "`{subject}` expired at {not_after}"),
            Self::Malformed { detail } => write!(f, "malformed certificate: {detail}"),
            Self::MayNotSign { subject } => {
                write!(f, "`{subject}` has a keyUsage without keyCertSign")
            }
            Self::NotCa { subject } => write!(f, "`{subject}` is not a CA (basicConstraints)"),
            Self::NotYetValid {
                subject,
                not_before,
            } => {
                write!(f, "`{subject}` is not valid before {not_before}")
            }
        }
    }
}
