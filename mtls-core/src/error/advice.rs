//! What each load error is called, what to do about it, and whether to wait.

use super::LoadError;
use crate::reason::Reason;

impl LoadError {
    /// The stable name of what went wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AnchorsUnusable { .. } | Self::BundleEmpty { .. } => Reason::EmptyBundle,
            Self::CertificateMalformed { .. } => Reason::MalformedCertificate,
            Self::CrlRefused { source, .. } => source.reason(),
            Self::CrlMissing { .. } | Self::CrlUnexpected { .. } | Self::CrlsEmpty => {
                Reason::CrlUnusable
            }
            Self::BundleMisnamed { .. }
            | Self::BundleNotNamed { .. }
            | Self::BundleTwice { .. }
            | Self::ChainEmpty { .. }
            | Self::DerTruncated { .. }
            | Self::DirectoryAmbiguous { .. }
            | Self::DirectoryCrowded { .. }
            | Self::DirectoryUnrecognized { .. }
            | Self::FileEmpty { .. }
            | Self::JsonNotSupported { .. }
            | Self::KeyInBundle { .. }
            | Self::PemMalformed { .. }
            | Self::PemTruncated { .. }
            | Self::SpiffeBundleMalformed { .. }
            | Self::WrongFormat { .. } => Reason::MalformedFile,
            Self::ChainNotTrusted { source } | Self::RoleLost { source, .. } => source.reason(),
            Self::FileMissing { .. } => Reason::FileMissing,
            Self::FileLinkLoop { .. }
            | Self::FileNotRegular { .. }
            | Self::FileTooLarge { .. }
            | Self::FileUnreadable { .. } => Reason::FileUnreadable,
            Self::KeyEncrypted { .. } => Reason::KeyEncrypted,
            Self::KeyMismatch { .. } => Reason::KeyMismatch,
            Self::KeyMissing { .. } | Self::KeySeveral { .. } | Self::KeyUnsupported { .. } => {
                Reason::KeyUnusable
            }
            Self::NoCryptoProvider => Reason::UnsupportedAlgorithm,
            Self::ReloadPanicked => Reason::ReloadPanicked,
            Self::SourceEnded => Reason::SourceEnded,
            Self::UnstableFiles { .. } => Reason::UnstableFiles,
            Self::WaitTimeout { source, .. } => source.reason(),
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::AnchorsUnusable { first, .. } => first.remedy(),
            Self::BundleEmpty { .. } => {
                "put the PEM certificates of the CAs that issue your peers into this file; an issuer without a CA to give \
                 (ACME) leaves it empty: use trust-manager or a ConfigMap"
            }
            Self::BundleMisnamed { .. } => {
                "name the file after the trust domain as it stands in SPIFFE IDs, in lowercase and without `spiffe://`"
            }
            Self::BundleNotNamed { .. } => {
                "name the bundle with `CredentialFiles::detect_with_bundle`, or project a ClusterTrustBundle beside it"
            }
            Self::BundleTwice { .. } => {
                "remove one of the two, or let both hold the same certificates; to rotate, put old and new into one bundle"
            }
            Self::CertificateMalformed { .. } => {
                "write the file again from the issuer; the named block is damaged"
            }
            Self::ChainEmpty { .. } => {
                "write the leaf certificate, then its intermediates, as PEM `CERTIFICATE` blocks"
            }
            Self::ChainNotTrusted { source } | Self::RoleLost { source, .. } => source.remedy(),
            Self::CrlRefused { source, .. } => source.remedy(),
            Self::CrlsEmpty => {
                "put the CA's list here as PEM `X509 CRL` blocks or as DER; a CA that revoked nothing publishes an empty list, not none"
            }
            Self::CrlMissing { .. } => {
                "let the CA publish its list here, an empty one if it has revoked nothing: `openssl ca -gencrl`"
            }
            Self::CrlUnexpected { .. } => {
                "keep revocation lists alone here, as PEM `X509 CRL` blocks or one list in DER for each file"
            }
            Self::DirectoryAmbiguous { .. } => {
                "name the one that is meant, as with `CredentialFiles::kubernetes`, or give each set a directory of its own"
            }
            Self::DirectoryCrowded { .. } => {
                "give these files a directory of their own, or put many bundles into one map"
            }
            Self::DirectoryUnrecognized { .. } => {
                "name the files with `CredentialFiles::paths`, or mount a TLS Secret here"
            }
            Self::FileEmpty { .. } => {
                "wait for the issuer to write it; check that the Certificate is ready"
            }
            Self::FileLinkLoop { .. } => {
                "make the named link lead to the file: `ln -sfn TARGET LINK`"
            }
            Self::FileMissing { .. } => {
                "check that the volume is mounted and that the Secret has a key of this name"
            }
            Self::FileNotRegular { .. } => {
                "mount the directory that holds the file, and name the file itself"
            }
            Self::FileTooLarge { .. } => {
                "check what was mounted here; PEM material is a few kilobytes"
            }
            Self::FileUnreadable { .. } => {
                "give the process's user or group read permission (fsGroup, defaultMode, chmod)"
            }
            Self::JsonNotSupported { .. } => {
                "turn on the feature `spiffe-json` of mtls-core, or write the bundle as PEM"
            }
            Self::KeyEncrypted { .. } => {
                "store it unencrypted: `openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.new`"
            }
            Self::KeyInBundle { .. } => {
                "replace that key, which has been handed around, and keep CA certificates alone in the bundle"
            }
            Self::KeyMismatch { .. } => {
                "issue key and certificate together, or wait for the writer to finish both files"
            }
            Self::KeyMissing { .. } => {
                "write one PEM block labelled `PRIVATE KEY` (PKCS#8), `EC PRIVATE KEY` or `RSA PRIVATE KEY`"
            }
            Self::KeySeveral { .. } => "leave the one key that belongs to the leaf",
            Self::KeyUnsupported { .. } => "issue an ECDSA P-256 key, which every stack supports",
            Self::NoCryptoProvider => {
                "pass one to the source's builder, or turn on the feature `aws-lc-rs` or `ring`"
            }
            Self::DerTruncated { .. } | Self::PemMalformed { .. } | Self::PemTruncated { .. } => {
                "write the file whole and rename it into place; if it stays so, write it again from the issuer"
            }
            Self::ReloadPanicked => {
                "look for the panic on stderr: it comes from a subscriber of the log, or is a bug to report"
            }
            Self::SpiffeBundleMalformed { .. } => {
                "write it whole and rename it into place; if it stays so, fetch it again: `spire-server bundle show -format spiffe`"
            }
            Self::SourceEnded => {
                "keep a handle of the source, and the runtime it was made on, while it is used"
            }
            Self::UnstableFiles { .. } => "find out which process keeps writing to these files",
            Self::WaitTimeout { source, .. } => source.remedy(),
            Self::WrongFormat { found, .. } => found.remedy(),
        }
    }

    /// Whether waiting may be enough: the material is absent, half written, or of two generations.
    ///
    /// Such a state is retried, and reported only when it lasts.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::CrlRefused { source, .. } => source.is_transient(),
            Self::ChainEmpty { .. }
            | Self::BundleEmpty { .. }
            | Self::ChainNotTrusted { .. }
            | Self::CrlsEmpty
            | Self::CrlMissing { .. }
            | Self::DerTruncated { .. }
            | Self::FileEmpty { .. }
            | Self::FileMissing { .. }
            | Self::KeyMismatch { .. }
            | Self::KeyMissing { .. }
            | Self::PemMalformed { .. }
            | Self::PemTruncated { .. }
            | Self::SpiffeBundleMalformed { .. }
            | Self::UnstableFiles { .. } => true,
            Self::AnchorsUnusable { .. }
            | Self::BundleMisnamed { .. }
            | Self::BundleNotNamed { .. }
            | Self::BundleTwice { .. }
            | Self::CertificateMalformed { .. }
            | Self::CrlUnexpected { .. }
            | Self::DirectoryAmbiguous { .. }
            | Self::DirectoryCrowded { .. }
            | Self::DirectoryUnrecognized { .. }
            | Self::FileLinkLoop { .. }
            | Self::FileNotRegular { .. }
            | Self::FileTooLarge { .. }
            | Self::FileUnreadable { .. }
            | Self::JsonNotSupported { .. }
            | Self::KeyEncrypted { .. }
            | Self::KeyInBundle { .. }
            | Self::KeySeveral { .. }
            | Self::KeyUnsupported { .. }
            | Self::NoCryptoProvider
            | Self::ReloadPanicked
            | Self::RoleLost { .. }
            | Self::SourceEnded
            | Self::WaitTimeout { .. }
            | Self::WrongFormat { .. } => false,
        }
    }
}
