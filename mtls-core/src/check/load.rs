//! What the loader says, as rules.
//!
//! No match here has an arm for the rest: an error that is new is a rule or belongs to one.

use std::path::Path;

use super::finding::{CheckPlace, Finding};
use super::rule::CheckRule;
use crate::error::{AnchorFault, Chained, LoadError};
use crate::files::FileFormat;
use crate::verify::{ChainFault, CrlFault};

/// An error of the loader as a finding; `file` is where it is if the error does not say.
pub(super) fn finding(error: &LoadError, file: &Path) -> Finding {
    let (rule, place) = rule(error, file);
    Finding::new(rule, place, Chained(error).to_string()).remedy(error.remedy())
}

fn rule(error: &LoadError, file: &Path) -> (CheckRule, CheckPlace) {
    let at = |rule, path: &Path| (rule, CheckPlace::file(path));
    let here = |rule| (rule, CheckPlace::file(file));
    match error {
        LoadError::AnchorsUnusable { path, .. } => at(CheckRule::BundleEmpty, path),
        LoadError::BundleEmpty { path } | LoadError::ChainEmpty { path } => {
            at(CheckRule::PemNone, path)
        }
        LoadError::BundleMisnamed { path, .. }
        | LoadError::JsonNotSupported { path }
        | LoadError::SpiffeBundleMalformed { path, .. } => at(CheckRule::BundleFederated, path),
        LoadError::BundleTwice { second, .. } => at(CheckRule::BundleFederated, second),
        LoadError::BundleNotNamed { dir, .. }
        | LoadError::DirectoryAmbiguous { dir, .. }
        | LoadError::DirectoryCrowded { dir, .. }
        | LoadError::DirectoryUnrecognized { dir, .. } => at(CheckRule::LayoutUnknown, dir),
        LoadError::CertificateMalformed { path, index, .. } => {
            (CheckRule::CertMalformed, CheckPlace::block(path, *index))
        }
        LoadError::ChainNotTrusted { source } | LoadError::RoleLost { source, .. } => {
            let rule = of_chain_fault(&source.fault);
            // In the role that came closest: there is no other for it.
            let no_role = rule == CheckRule::EkuMissingRole;
            here(if no_role { CheckRule::EkuNoRole } else { rule })
        }
        LoadError::CrlRefused { path, source, .. } => at(of_crl_fault(source), path),
        LoadError::CrlsEmpty => here(CheckRule::CrlNone),
        LoadError::CrlMissing { path, .. } => at(CheckRule::CrlNone, path),
        LoadError::CrlUnexpected { path, .. } => at(CheckRule::CrlUnsupported, path),
        LoadError::DerTruncated { path } | LoadError::PemTruncated { path } => {
            at(CheckRule::PemTruncated, path)
        }
        LoadError::FileEmpty { path } => at(CheckRule::FileEmpty, path),
        LoadError::FileMissing { path, .. } => at(CheckRule::FileMissing, path),
        LoadError::FileLinkLoop { path, .. }
        | LoadError::FileNotRegular { path, .. }
        | LoadError::FileTooLarge { path, .. }
        | LoadError::FileUnreadable { path, .. } => at(CheckRule::FileUnreadable, path),
        LoadError::KeyEncrypted { path } => at(CheckRule::KeyEncrypted, path),
        LoadError::KeyInBundle { path } => at(CheckRule::KeyInBundle, path),
        LoadError::KeyMismatch { key, .. } => at(CheckRule::KeyMismatch, key),
        LoadError::KeyMissing { path } => at(CheckRule::KeyMissing, path),
        LoadError::KeySeveral { path, .. } => at(CheckRule::KeyMany, path),
        LoadError::KeyUnsupported { path, .. } => at(CheckRule::KeyUnsupported, path),
        LoadError::PemMalformed { path, detail } => {
            let rule = match detail.contains("indented") {
                true => CheckRule::PemIndented,
                false => CheckRule::PemBase64,
            };
            let place = match line(detail) {
                Some(line) => CheckPlace::line(path, line),
                None => CheckPlace::file(path),
            };
            (rule, place)
        }
        LoadError::WrongFormat { path, found, .. } => at(of_format(*found), path),
        LoadError::WaitTimeout { source, .. } => rule(source, file),
        // Of a source that runs; a check reads once.
        LoadError::NoCryptoProvider | LoadError::ReloadPanicked | LoadError::SourceEnded => {
            here(CheckRule::KeyUnsupported)
        }
        LoadError::UnstableFiles { dir, .. } => at(CheckRule::FileUnreadable, dir),
    }
}

pub(super) fn of_chain_fault(fault: &ChainFault) -> CheckRule {
    match fault {
        ChainFault::AmbiguousIdentity { .. } => CheckRule::SpiffeCount,
        ChainFault::CaConstraint { detail } if detail.contains("basicConstraints") => {
            CheckRule::BcMissing
        }
        ChainFault::CaConstraint { detail } if detail.contains("keyUsage") => CheckRule::KuCertSign,
        ChainFault::CaConstraint { .. } => CheckRule::Pathlen,
        ChainFault::CrlStale { .. } => CheckRule::CrlStale,
        ChainFault::Expired { .. } => CheckRule::Expired,
        ChainFault::InvalidSpiffeId { .. } | ChainFault::UndecodableUri => CheckRule::SpiffeUri,
        ChainFault::Malformed { detail } if detail.contains("CriticalExtension") => {
            CheckRule::CriticalUnknown
        }
        ChainFault::Malformed { detail } if detail.contains("CertVersion") => CheckRule::CertV1,
        ChainFault::Malformed { .. } => CheckRule::CertMalformed,
        ChainFault::NameConstraint => CheckRule::NameConstraint,
        ChainFault::NameMismatch { .. } => CheckRule::SanServerName,
        ChainFault::NotEndEntity { .. } => CheckRule::LeafIsCa,
        ChainFault::NotYetValid { .. } => CheckRule::NotYetValid,
        ChainFault::RevocationUnknown { .. } => CheckRule::CrlIssuer,
        ChainFault::Revoked { .. } => CheckRule::CrlRevokesSelf,
        ChainFault::SpiffeIdWithoutPath { .. } => CheckRule::SpiffeMixed,
        ChainFault::TooLarge { .. } => CheckRule::ChainTooDeep,
        ChainFault::UnknownIssuer { .. } => CheckRule::ChainIncomplete,
        ChainFault::UnsupportedAlgorithm { .. } => CheckRule::SigProvider,
        ChainFault::UntrustedKey { .. } => CheckRule::IssuerOtherKey,
        ChainFault::WrongTrustDomain { .. } => CheckRule::SpiffeTrustDomain,
        ChainFault::WrongUsage { .. } => CheckRule::EkuMissingRole,
    }
}

/// What may have been said already where the verifier, which tells one fault, would say this.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most rules have nothing closer beside them"
)]
pub(super) fn said_by(rule: CheckRule) -> Vec<CheckRule> {
    let closer: &[CheckRule] = match rule {
        CheckRule::BcMissing | CheckRule::KuCertSign | CheckRule::Pathlen => &[
            CheckRule::BcMissing,
            CheckRule::KuCertSign,
            CheckRule::Pathlen,
            CheckRule::CertV1,
        ],
        CheckRule::CertMalformed => &[
            CheckRule::CertV1,
            CheckRule::CriticalUnknown,
            CheckRule::EkuAny,
        ],
        CheckRule::ChainIncomplete => &[
            CheckRule::BundleMissingOwn,
            CheckRule::ChainTooDeep,
            CheckRule::KuCertSign,
            CheckRule::Pathlen,
        ],
        CheckRule::EkuMissingRole | CheckRule::EkuNoRole => &[
            CheckRule::EkuAny,
            CheckRule::EkuMissingRole,
            CheckRule::EkuNoRole,
        ],
        // webpki takes an RSA key that is too short for one that did not sign.
        CheckRule::IssuerOtherKey | CheckRule::SigProvider => &[CheckRule::SigWeak],
        _ => &[],
    };
    std::iter::once(rule)
        .chain(closer.iter().copied())
        .collect()
}

pub(super) fn of_crl_fault(fault: &CrlFault) -> CheckRule {
    match fault {
        CrlFault::BadSignature { .. } => CheckRule::CrlSignature,
        CrlFault::IssuerMayNotSign { .. } => CheckRule::KuCrlSign,
        CrlFault::CriticalExtension { .. }
        | CrlFault::Delta
        | CrlFault::Indirect
        | CrlFault::Malformed { .. }
        | CrlFault::NoExtensions
        | CrlFault::NoNextUpdate
        | CrlFault::NotYetIssued { .. }
        | CrlFault::NumberTooLong { .. }
        | CrlFault::Partitioned { .. }
        | CrlFault::RemovesEntry { .. }
        | CrlFault::Rollback { .. }
        | CrlFault::UnsupportedAlgorithm { .. }
        | CrlFault::UnsupportedVersion { .. } => CheckRule::CrlUnsupported,
    }
}

pub(super) fn of_anchor_fault(fault: &AnchorFault) -> CheckRule {
    match fault {
        AnchorFault::Expired { .. } => CheckRule::BundleExpired,
        AnchorFault::Malformed { .. } => CheckRule::BundleUnparsable,
        AnchorFault::MayNotSign { .. } => CheckRule::BundleMayNotSign,
        AnchorFault::NotCa { .. } => CheckRule::BundleLeaf,
        AnchorFault::NotYetValid { .. } => CheckRule::BundleNotYetValid,
    }
}

fn of_format(format: FileFormat) -> CheckRule {
    match format {
        FileFormat::EscapedNewlines => CheckRule::PemEscapedNewlines,
        FileFormat::IndentedPem => CheckRule::PemIndented,
        FileFormat::TrustedCertificate | FileFormat::X509Certificate => CheckRule::PemLabel,
        FileFormat::Base64Pem
        | FileFormat::CertificateRequest
        | FileFormat::Html
        | FileFormat::Jceks
        | FileFormat::Jks
        | FileFormat::Json
        | FileFormat::OpenSshKey
        | FileFormat::Pkcs12
        | FileFormat::Pkcs7
        | FileFormat::PublicKey
        | FileFormat::RevocationList
        | FileFormat::Utf16 => CheckRule::PemNone,
    }
}

/// The line that the PEM reader names first.
fn line(detail: &str) -> Option<usize> {
    let rest = detail.strip_prefix("line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
