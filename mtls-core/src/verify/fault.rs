//! webpki's errors in our terms: which certificate, what was found, what was expected.

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::Error;

use super::error::{ChainFault, Role};
use crate::identity::Timestamp;
use crate::identity::certificate::Certificate;
use crate::snapshot::TrustBundle;

/// Translates what path validation found. webpki reports one fault, the most specific, without naming a certificate:
/// that is looked up here.
pub(super) fn from_webpki(
    error: &Error,
    leaf: &Certificate,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    role: Role,
    now: UnixTime,
) -> ChainFault {
    let certificates = Certificates {
        leaf,
        intermediates,
    };
    let detail = || format!("{error:?}");
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list of another crate"
    )]
    match error {
        Error::CertExpired { not_after, .. } => ChainFault::Expired {
            subject: certificates
                .subject_where(|cert| cert.validity.not_after == Timestamp::from(*not_after)),
            not_after: (*not_after).into(),
            now: now.into(),
        },
        Error::CertNotValidYet { not_before, .. } => ChainFault::NotYetValid {
            subject: certificates
                .subject_where(|cert| cert.validity.not_before == Timestamp::from(*not_before)),
            not_before: (*not_before).into(),
            now: now.into(),
        },
        Error::UnknownIssuer | Error::CertDistrusted => ChainFault::UnknownIssuer {
            issuer: certificates.last_issuer(bundle),
            anchors: bundle
                .subjects()
                .take(LISTED_ANCHORS)
                .map(ToOwned::to_owned)
                .collect(),
        },
        Error::InvalidSignatureForPublicKey => ChainFault::UntrustedKey {
            issuer: certificates.last_issuer(bundle),
        },
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            ChainFault::WrongUsage { role }
        }
        Error::CaUsedAsEndEntity => ChainFault::NotEndEntity {
            detail: "basicConstraints says CA:TRUE".into(),
        },
        Error::EndEntityUsedAsCa => ChainFault::CaConstraint {
            detail: "an intermediate has no basicConstraints CA:TRUE".into(),
        },
        Error::PathLenConstraintViolated => ChainFault::CaConstraint {
            detail: "the path is longer than a CA in it allows".into(),
        },
        Error::MaximumPathDepthExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => ChainFault::TooLarge {
            found: detail(),
            limit: "six intermediates, each issued by the next".into(),
        },
        Error::NameConstraintViolation
        | Error::MalformedNameConstraint
        | Error::InvalidNetworkMaskConstraint
        | Error::UnsupportedNameType => ChainFault::NameConstraint,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch => ChainFault::UnsupportedAlgorithm {
            detail: algorithm(error),
        },
        // The rest is about encoding, about lists that we do not hand to webpki, or newer than this match
        // (`webpki::Error` is non-exhaustive): refused all the same, by the name that webpki gives it.
        _ => ChainFault::Malformed { detail: detail() },
    }
}

struct Certificates<'a> {
    leaf: &'a Certificate,
    intermediates: &'a [CertificateDer<'a>],
}

impl Certificates<'_> {
    fn subject_where(&self, matches: impl Fn(&Certificate) -> bool) -> String {
        if matches(self.leaf) {
            return self.leaf.display_name();
        }
        let mut parsed = self
            .intermediates
            .iter()
            .filter_map(|der| Certificate::parse(der).ok());
        parsed
            .find(matches)
            .map_or_else(|| "(unknown)".into(), |cert| cert.subject.text().to_owned())
    }

    /// The issuer at which the chain as presented ends: the one that an operator has to find in the bundle. It stops at
    /// an issuer that is an anchor by name.
    fn last_issuer(&self, bundle: &TrustBundle) -> String {
        let parsed: Vec<_> = self
            .intermediates
            .iter()
            .filter_map(|der| Certificate::parse(der).ok())
            .collect();
        let mut last = self.leaf;
        for _ in 0..parsed.len() {
            if bundle
                .subjects()
                .any(|subject| subject == last.issuer.text())
            {
                break;
            }
            match parsed
                .iter()
                .find(|c| c.subject == last.issuer && !c.is_self_issued())
            {
                Some(next) => last = next,
                None => break,
            }
        }
        last.issuer.text().to_owned()
    }
}

/// The name without the byte dump that the context variants print.
fn algorithm(error: &Error) -> String {
    let text = format!("{error:?}");
    text.split(['(', '{', ' '])
        .next()
        .unwrap_or_default()
        .trim_end_matches("Context")
        .to_owned()
}

/// Enough to see whose bundle it is; a public root store has 150.
const LISTED_ANCHORS: usize = 5;
