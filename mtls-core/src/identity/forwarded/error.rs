//! Why what a proxy forwarded is not taken.

use crate::identity::Timestamp;
use crate::reason::Reason;
use crate::verify::ChainFault;

/// Why what a trusted proxy forwarded is not taken.
///
/// It is never passed over: a request whose client cannot be told would look like one of the proxy's own.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardedError {
    /// There are intermediates and no leaf (RFC 9440 §2.3).
    #[error("`Client-Cert-Chain` is there and `Client-Cert` is not")]
    ChainWithoutLeaf,
    /// The element and the certificate in it name different clients.
    #[error("`{key}` is not that of the forwarded certificate")]
    Disagreement {
        /// The element's key.
        key: &'static str,
    },
    /// The certificate cannot be read, or there is not one where one is said to be.
    #[error("the forwarded certificate is malformed: {detail}")]
    MalformedCertificate {
        /// What is wrong with it.
        detail: String,
    },
    /// The header does not have its form.
    #[error("`{header}` is malformed at byte {at}, expected {expected}")]
    MalformedHeader {
        /// The header.
        header: &'static str,
        /// Where, from 0, its lines joined by commas.
        at: usize,
        /// What would be right there.
        expected: &'static str,
    },
    /// The last element has no key that says who the client is.
    #[error("the last element names nobody, expected `URI`, `DNS`, `Subject`, `Hash` or `Cert`")]
    Nobody,
    /// The certificate is not valid now.
    #[error("the forwarded certificate is valid from {not_before} to {not_after}, and not now")]
    OutsideValidity {
        /// Its first second.
        not_before: Timestamp,
        /// Its last second.
        not_after: Timestamp,
    },
    /// The names break the rules for a leaf.
    #[error("the forwarded client breaks the leaf profile")]
    Profile {
        /// Which of them.
        #[source]
        source: Box<ChainFault>,
    },
    /// There is more of it than any client has.
    #[error("{what} has {found} {unit}, the limit is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How many.
        found: usize,
        /// Of what.
        unit: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl ForwardedError {
    /// The stable name of what went wrong: one for all of them, since all are the proxy's to mend.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::MalformedForwarded
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ChainWithoutLeaf => "let the proxy send both headers, or only the leaf",
            Self::Disagreement { .. } => {
                "let the proxy replace what its client sent, and look for a client that sends such headers itself"
            }
            Self::MalformedCertificate { .. } | Self::MalformedHeader { .. } => {
                "check that the format is the one that the proxy sends, and that it replaces what its client sent"
            }
            Self::Nobody => "let the proxy forward the client's URI, DNS names or certificate",
            Self::OutsideValidity { .. } => {
                "renew the client's certificate, and let the proxy end connections whose certificates have expired"
            }
            Self::Profile { source } => source.remedy(),
            Self::TooLarge { .. } => "let the proxy forward the leaf alone, or names alone",
        }
    }
}
