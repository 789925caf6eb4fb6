//! Why a chain does not verify: what was presented, what was expected, what to do.

use std::fmt;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::identity::certificate::hex;
use crate::identity::{PeerIdentity, SpiffeId, SpiffeIdError, Timestamp, TrustDomain};
use crate::reason::Reason;
use crate::verify::revocation::RevocationReason;

/// The part that the holder of a chain plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It connected to us, or we connect with it.
    Client,
    /// It was connected to, or we accept with it.
    Server,
}

impl Role {
    /// `client` or `server`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a leaf certificate claims. Nobody has vouched for it: fit for a log, never for a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The first of: URI SANs, DNS SANs, IP SANs, e-mail SANs, the subject.
    pub name: String,
    /// The serial number in lowercase hex.
    pub serial: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// SHA-256 of the certificate in lowercase hex.
    pub sha256: String,
}

impl Presented {
    /// For a chain that cannot be read: only its fingerprint is certain.
    pub(crate) fn unreadable(leaf: Option<&CertificateDer<'_>>) -> Self {
        let unknown = || String::from("(unreadable)");
        let sha256 = leaf
            .map(|der| hex(&Sha256::digest(der.as_ref())))
            .unwrap_or_default();
        Self {
            name: unknown(),
            serial: unknown(),
            issuer: unknown(),
            sha256,
        }
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` (serial {}, issued by `{}`)",
            self.name, self.serial, self.issuer
        )
    }
}

/// A chain that does not verify.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChainError {
    /// What its leaf claims.
    pub presented: Box<Presented>,
    /// The role it was presented for.
    pub role: Role,
    /// What is wrong with it.
    pub fault: ChainFault,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} presented {}: {}",
            self.role, self.presented, self.fault
        )
    }
}

/// The fault is part of what it prints; only what the fault has for a cause is one.
impl std::error::Error for ChainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

impl ChainError {
    /// Of a peer whose chain verified, and that is refused all the same.
    pub(crate) fn of(peer: &PeerIdentity, role: Role, fault: ChainFault) -> Self {
        Self {
            presented: Box::new(peer.presented()),
            role,
            fault,
        }
    }

    /// The stable name of what is wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.fault.reason()
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.fault.remedy()
    }
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// X509-SVID §2: an X509-SVID has exactly one URI SAN.
    #[error("it has {found} URI SANs, expected exactly one")]
    AmbiguousIdentity {
        /// How many URI SANs it has, decodable or not.
        found: usize,
    },
    /// An issuer in the path is not a CA, may not sign certificates, or sits too deep (RFC 5280 §4.2.1.9, §4.2.1.3).
    #[error("an issuer in its path may not act as one: {detail}")]
    CaConstraint {
        /// Which constraint.
        detail: String,
    },
    /// Its issuer's revocation list is past its `nextUpdate` and the grace after that (RFC 5280 §5.1.2.5).
    #[error("the revocation list of `{issuer}` was due for renewal at {next_update}, it is {now}")]
    CrlStale {
        /// The issuer.
        issuer: String,
        /// When the next list was due.
        next_update: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// A certificate is past its `notAfter` (RFC 5280 §4.1.2.5).
    #[error("`{subject}` expired at {not_after}, it is {now}")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// When it expired.
        not_after: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// Its URI SAN begins as a SPIFFE ID and is none (SPIFFE-ID §2).
    #[error("its URI SAN `{uri}` is not a SPIFFE ID")]
    InvalidSpiffeId {
        /// The name, with what is not printable escaped.
        uri: String,
        /// What is wrong with it.
        #[source]
        source: SpiffeIdError,
    },
    /// It cannot be decoded, or is not X.509 v3.
    #[error("malformed certificate: {detail}")]
    Malformed {
        /// What the decoder found.
        detail: String,
    },
    /// A name lies outside what an issuer in the path may issue (RFC 5280 §4.2.1.10).
    #[error("a name lies outside the name constraints of an issuer")]
    NameConstraint,
    /// The server is not the one that was asked for (RFC 9525 §6).
    #[error("it is valid for {}, expected `{expected}`", list(found))]
    NameMismatch {
        /// What was expected.
        expected: String,
        /// The names it has.
        found: Vec<String>,
    },
    /// A CA certificate was presented as a leaf (X509-SVID §4.1, §4.3).
    #[error("the leaf is a certificate authority: {detail}")]
    NotEndEntity {
        /// What makes it one.
        detail: String,
    },
    /// A certificate is before its `notBefore`.
    #[error("`{subject}` is not valid before {not_before}, it is {now}")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// When it begins.
        not_before: Timestamp,
        /// The time it was judged at.
        now: Timestamp,
    },
    /// No list says whether its issuer has revoked it (RFC 5280 §6.3.3).
    #[error("no revocation list of `{issuer}` says whether `{subject}` is revoked")]
    RevocationUnknown {
        /// Whose certificate.
        subject: String,
        /// The issuer.
        issuer: String,
    },
    /// A certificate in its path is on its issuer's revocation list (RFC 5280 §6.3.3 (i), (j)).
    #[error("`{subject}` (serial {serial}) was revoked at {since}: {reason}")]
    Revoked {
        /// Whose certificate.
        subject: String,
        /// The serial number in lowercase hex.
        serial: String,
        /// When its issuer revoked it, by the issuer's clock.
        since: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// The chain is longer or larger than we read.
    #[error("the chain is too large: {found}, the limit is {limit}")]
    TooLarge {
        /// What was found.
        found: String,
        /// What is allowed.
        limit: String,
    },
    /// No trust anchor has issued it.
    #[error(
        "no trust anchor leads to its issuer `{issuer}`; trusted are {}",
        list(anchors)
    )]
    UnknownIssuer {
        /// The issuer that the last certificate of the chain names.
        issuer: String,
        /// The subjects of our anchors, the first few.
        anchors: Vec<String>,
    },
    /// Its SPIFFE ID names a trust domain and nobody in it (X509-SVID §5.2).
    #[error("its SPIFFE ID `{id}` has no path")]
    SpiffeIdWithoutPath {
        /// The SPIFFE ID.
        id: SpiffeId,
    },
    /// Its URI SAN cannot be decoded, so that nobody can say whom it names (RFC 5280 §4.2.1.6: an IA5String).
    #[error("its URI SAN is not ASCII text")]
    UndecodableUri,
    /// A signature algorithm or key kind is not supported.
    #[error("unsupported algorithm: {detail}")]
    UnsupportedAlgorithm {
        /// Which.
        detail: String,
    },
    /// A signature in the path is not by the key that we know under the issuer's name.
    #[error("its issuer `{issuer}` has the name of an authority we know, and another key")]
    UntrustedKey {
        /// The issuer that the last certificate of the chain names.
        issuer: String,
    },
    /// SPIFFE Federation §7.3: an SVID is verified with the bundle of its own trust domain, and no other.
    #[error("it belongs to trust domain `{found}`, {}", expected_domains(expected))]
    WrongTrustDomain {
        /// The trust domain that it names.
        found: TrustDomain,
        /// The trust domains that we have bundles of, our own first.
        expected: Vec<TrustDomain>,
    },
    /// ExtendedKeyUsage is present without the purpose that the role needs (RFC 5280 §4.2.1.12).
    #[error("it may not be used by a {role} (extended key usage)")]
    WrongUsage {
        /// The role.
        role: Role,
    },
}

impl ChainFault {
    /// An anchor that webpki used and our table does not hold: cannot be, and must not pass if it is.
    pub(crate) fn anchor_unknown() -> Self {
        Self::UnknownIssuer {
            issuer: "(no anchor of ours)".into(),
            anchors: Vec::new(),
        }
    }

    /// The stable name of what is wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AmbiguousIdentity { .. } => Reason::AmbiguousIdentity,
            Self::CaConstraint { .. } => Reason::CaConstraint,
            Self::CrlStale { .. } => Reason::CrlStale,
            Self::Expired { .. } => Reason::Expired,
            Self::InvalidSpiffeId { .. }
            | Self::SpiffeIdWithoutPath { .. }
            | Self::UndecodableUri => Reason::InvalidIdentity,
            Self::Malformed { .. } | Self::TooLarge { .. } => Reason::MalformedCertificate,
            Self::NameConstraint => Reason::NameConstraint,
            Self::NameMismatch { found, .. } if found.is_empty() => Reason::NoSan,
            Self::NameMismatch { .. } => Reason::NameMismatch,
            Self::NotEndEntity { .. } => Reason::NotEndEntity,
            Self::NotYetValid { .. } => Reason::NotYetValid,
            Self::RevocationUnknown { .. } => Reason::RevocationUnknown,
            Self::Revoked { .. } => Reason::Revoked,
            Self::UnknownIssuer { .. } => Reason::UnknownIssuer,
            Self::UnsupportedAlgorithm { .. } => Reason::UnsupportedAlgorithm,
            Self::UntrustedKey { .. } => Reason::UntrustedKey,
            Self::WrongTrustDomain { .. } => Reason::WrongTrustDomain,
            Self::WrongUsage { .. } => Reason::WrongUsage,
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::AmbiguousIdentity { .. } => "reissue the certificate with one spiffe:// URI SAN",
            Self::CaConstraint { .. } => {
                "reissue the issuer with basicConstraints CA:TRUE, keyUsage keyCertSign and a path length that allows this depth"
            }
            Self::CrlStale { .. } => {
                "find out why the CA's newer list does not arrive here; `StaleCrl` says how late it may be"
            }
            Self::Expired { .. } => {
                "renew the certificate; if the file on disk is newer, the holder has not reloaded it"
            }
            Self::InvalidSpiffeId { .. }
            | Self::SpiffeIdWithoutPath { .. }
            | Self::UndecodableUri => {
                "reissue the certificate with a SPIFFE ID of the form spiffe://trust-domain/path"
            }
            Self::Malformed { .. } => "reissue the certificate as X.509 v3",
            Self::NameConstraint => {
                "issue from a CA whose name constraints permit this name; URI constraints cannot be evaluated and refuse every URI"
            }
            Self::NameMismatch { .. } => {
                "dial a name that the certificate has, reissue it with the name that is dialled, or expect its SPIFFE ID"
            }
            Self::NotEndEntity { .. } => {
                "issue a leaf (CA:FALSE, no keyCertSign, no cRLSign) from the CA and present that"
            }
            Self::NotYetValid { .. } => "check both clocks; issue with notBefore some minutes back",
            Self::RevocationUnknown { .. } => {
                "mount the list of this CA too; `UnknownRevocation::Allow` is for a CA that publishes none"
            }
            Self::Revoked { .. } => {
                "issue a new certificate with a new key, if the holder is still to be let in; a revocation is not undone"
            }
            Self::TooLarge { .. } => "present the leaf and its intermediates only",
            Self::UnknownIssuer { .. } => {
                "add the issuing CA to this side's trust bundle, or append the missing intermediate to the chain that is presented"
            }
            Self::UnsupportedAlgorithm { .. } => {
                "reissue with ECDSA P-256 and SHA-256, or RSA of 2048 bits or more"
            }
            Self::UntrustedKey { .. } => {
                "the CA was made anew under its old name: give both sides the same trust bundle"
            }
            Self::WrongTrustDomain { .. } => {
                "say the trust domain of the bundle, or federate with the peer's by giving its own bundle"
            }
            Self::WrongUsage { .. } => {
                "reissue with extended key usages clientAuth and serverAuth; public CAs no longer issue clientAuth"
            }
        }
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "nothing".into()
    } else {
        format!("`{}`", items.join("`, `"))
    }
}

fn expected_domains(expected: &[TrustDomain]) -> String {
    match expected {
        [] => "and our bundle has none: it verifies peers by name only".into(),
        [one] => format!("expected `{one}`"),
        several => {
            let names: Vec<_> = several
                .iter()
                .take(LISTED)
                .map(TrustDomain::as_str)
                .collect();
            let more = several.len() - names.len();
            let more = if more > 0 {
                format!(", or one of {more} more")
            } else {
                String::new()
            };
            format!("expected one of `{}`{more}", names.join("`, `"))
        }
    }
}

/// Enough to see what kind of names are expected.
const LISTED: usize = 5;
