//! What failed, in our terms; and by which alert the peer is told.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, InvalidMessage};
use rustls_pki_types::CertificateDer;

use super::error::{Alert, HandshakeError, TlsFault};
use crate::identity::certificate::{Certificate, sha256};
use crate::verify::{ChainFault, Presented};

/// What rustls found, in our terms.
pub(super) fn from_rustls(
    error: &rustls::Error,
    alpn: &[Vec<u8>],
    presented: String,
) -> HandshakeError {
    // rustls' errors are an open list; whatever is not told apart here is a protocol error by rustls' own words.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list of another crate"
    )]
    match error {
        rustls::Error::AlertReceived(alert) => HandshakeError::RefusedByPeer {
            alert: Alert(*alert),
            presented,
        },
        rustls::Error::NoApplicationProtocol => HandshakeError::NoCommonProtocol {
            ours: alpn
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
        },
        rustls::Error::PeerIncompatible(_) => HandshakeError::NoCommonParameters {
            source: TlsFault::new(error.clone()),
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            HandshakeError::PlaintextPeer
        }
        _ => HandshakeError::Tls {
            source: TlsFault::new(error.clone()),
        },
    }
}

/// What the operating system found, in our terms.
pub(super) fn from_io(error: &io::Error) -> HandshakeError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list of the standard library"
    )]
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => HandshakeError::PeerClosed,
        kind => HandshakeError::Io {
            // An `io::Error` is no value that can be kept twice; its text and kind are.
            source: Arc::new(io::Error::new(kind, error.to_string())),
        },
    }
}

/// The error by which rustls sends the alert that we mean (RFC 8446 §6.2). It says nothing else: the cause is for our
/// operator, not for whoever was refused.
pub(super) fn alert_for(error: &HandshakeError) -> rustls::Error {
    let certificate = match error {
        HandshakeError::Chain { source } => match &source.fault {
            ChainFault::CrlStale { .. } => CertificateError::ExpiredRevocationList,
            ChainFault::Expired { .. } => CertificateError::Expired,
            ChainFault::NotYetValid { .. } => CertificateError::NotValidYet,
            ChainFault::RevocationUnknown { .. } => CertificateError::UnknownRevocationStatus,
            ChainFault::Revoked { .. } => CertificateError::Revoked,
            ChainFault::UnknownIssuer { .. }
            | ChainFault::UntrustedKey { .. }
            | ChainFault::WrongTrustDomain { .. } => CertificateError::UnknownIssuer,
            ChainFault::WrongUsage { .. } | ChainFault::UnsupportedAlgorithm { .. } => {
                CertificateError::InvalidPurpose
            }
            ChainFault::AmbiguousIdentity { .. }
            | ChainFault::CaConstraint { .. }
            | ChainFault::InvalidSpiffeId { .. }
            | ChainFault::Malformed { .. }
            | ChainFault::NameConstraint
            | ChainFault::NameMismatch { .. }
            | ChainFault::NotEndEntity { .. }
            | ChainFault::SpiffeIdWithoutPath { .. }
            | ChainFault::TooLarge { .. }
            | ChainFault::UndecodableUri => CertificateError::BadEncoding,
        },
        HandshakeError::NotAuthorized { .. } => CertificateError::ApplicationVerificationFailure,
        HandshakeError::Io { .. }
        | HandshakeError::NoCommonProtocol { .. }
        | HandshakeError::NoCommonParameters { .. }
        | HandshakeError::NoPeerCertificate { .. }
        | HandshakeError::NoProofOfPossession { .. }
        | HandshakeError::PeerClosed
        | HandshakeError::PlaintextPeer
        | HandshakeError::RefusedByPeer { .. }
        | HandshakeError::Resumed
        | HandshakeError::Shed { .. }
        | HandshakeError::Timeout { .. }
        | HandshakeError::Tls { .. }
        | HandshakeError::UnknownServerName { .. } => {
            return rustls::Error::General("refused".into());
        }
    };
    rustls::Error::InvalidCertificate(certificate)
}

/// What a chain claims that nobody has proven; for a log.
pub(super) fn presented(leaf: Option<&CertificateDer<'_>>) -> Presented {
    let read = leaf.and_then(|der| Some((Certificate::parse(der).ok()?, der)));
    match read {
        Some((certificate, der)) => certificate.presented(&sha256(der)),
        None => Presented::unreadable(leaf),
    }
}
