//! Why material did not load.
//!
//! Handshakes have [`HandshakeError`](crate::HandshakeError), configuration has [`ConfigError`](crate::ConfigError).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::files::Layout;
use crate::reason::Reason;
use crate::verify::ChainError;

/// Why credentials or trust could not be loaded, or were not published.
///
/// Nothing is lost by one of these: whatever was served before is served on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A bundle has certificates, and none of them can be a trust anchor.
    #[error(
        "none of the {count} certificates in `{path}` can be a trust anchor; the first: {first}"
    )]
    AnchorsUnusable {
        /// The bundle.
        path: PathBuf,
        /// How many certificates it holds.
        count: usize,
        /// What is wrong with the first.
        first: AnchorFault,
    },
    /// A bundle holds no certificate.
    #[error("trust bundle `{path}` holds no certificate")]
    BundleEmpty {
        /// The bundle.
        path: PathBuf,
    },
    /// A directory holds a layout that brings no trust bundle, and none was given.
    #[error("`{dir}` holds the layout {layout}, which brings no trust bundle, and none was given")]
    BundleNotNamed {
        /// The directory.
        dir: PathBuf,
        /// The layout.
        layout: Layout,
    },
    /// A certificate cannot be decoded.
    #[error("certificate {index} in `{path}` is malformed: {detail}")]
    CertificateMalformed {
        /// The file.
        path: PathBuf,
        /// Which certificate, from 1.
        index: usize,
        /// What the decoder found.
        detail: String,
    },
    /// A chain file holds no certificate.
    #[error("`{path}` holds no certificate")]
    ChainEmpty {
        /// The file.
        path: PathBuf,
    },
    /// Our own chain does not verify under our own trust bundle, in either role.
    #[error("our own chain does not verify under our own trust bundle")]
    ChainNotTrusted {
        /// Why, in the role that came closest.
        #[source]
        source: Box<ChainError>,
    },
    /// A directory holds several layouts, and which one is meant is anybody's guess.
    #[error("`{dir}` holds several candidates, expected one: {found}")]
    DirectoryAmbiguous {
        /// The directory.
        dir: PathBuf,
        /// The candidates.
        found: String,
    },
    /// The directory holds no known layout.
    #[error("`{dir}` holds no layout we know: expected {expected}, found {found}")]
    DirectoryUnrecognized {
        /// The directory.
        dir: PathBuf,
        /// The file names that were looked for.
        expected: String,
        /// The file names that are there.
        found: String,
    },
    /// A file has no bytes.
    #[error("`{path}` is empty")]
    FileEmpty {
        /// The file.
        path: PathBuf,
    },
    /// A file is absent, or a symbolic link leads nowhere.
    #[error("`{path}` does not exist{}", target_note(.target.as_ref()))]
    FileMissing {
        /// The file.
        path: PathBuf,
        /// Where the link that dangles points to, if it is one.
        target: Option<PathBuf>,
    },
    /// A path leads to something that is not a regular file.
    #[error("`{path}` is a {found}, expected a regular file")]
    FileNotRegular {
        /// The file.
        path: PathBuf,
        /// What it is: `directory`, `fifo`, `socket` or `device`.
        found: &'static str,
    },
    /// A file exceeds the limit.
    #[error("`{path}` has {size} bytes, the limit is {limit}")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes, or what was read of it.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is there and cannot be read.
    #[error("`{path}` cannot be read")]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: Arc<io::Error>,
    },
    /// A private key is encrypted.
    #[error("the private key in `{path}` is encrypted")]
    KeyEncrypted {
        /// The file.
        path: PathBuf,
    },
    /// A trust bundle holds a private key: whoever could read the bundle has it.
    #[error("trust bundle `{path}` holds a private key")]
    KeyInBundle {
        /// The bundle.
        path: PathBuf,
    },
    /// The private key belongs to none of the certificates.
    #[error(
        "the private key in `{key}` (public key SHA-256 {key_sha256}) belongs to none of the certificates in `{chain}` \
         (the first has public key SHA-256 {leaf_sha256})"
    )]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The chain's file.
        chain: PathBuf,
        /// SHA-256 of the key's SubjectPublicKeyInfo, in hex.
        key_sha256: String,
        /// SHA-256 of the first certificate's SubjectPublicKeyInfo, in hex.
        leaf_sha256: String,
    },
    /// A file holds no private key.
    #[error("`{path}` holds no private key")]
    KeyMissing {
        /// The file.
        path: PathBuf,
    },
    /// A file holds several private keys, and which one is meant is anybody's guess.
    #[error("`{path}` holds {count} private keys, expected one")]
    KeySeveral {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The crypto provider cannot use the private key.
    #[error("the private key in `{path}` cannot be used: {detail}")]
    KeyUnsupported {
        /// The file.
        path: PathBuf,
        /// The provider's word.
        detail: String,
    },
    /// A PEM block cannot be decoded.
    #[error("`{path}` is not well-formed PEM: {detail}")]
    PemMalformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// A PEM block begins and does not end: somebody is writing, or was cut off.
    #[error("`{path}` ends inside a PEM block")]
    PemTruncated {
        /// The file.
        path: PathBuf,
    },
    /// No crypto provider was given, and no feature brings one.
    #[error("no crypto provider")]
    NoCryptoProvider,
    /// New credentials can no longer play a role that the current ones do.
    #[error("the new credentials cannot be used as a {role}, and the current ones can")]
    RoleLost {
        /// `server` or `client`.
        role: &'static str,
        /// Why the new ones cannot.
        #[source]
        source: Box<ChainError>,
    },
    /// The source has ended: its last handle was dropped, or its runtime has stopped.
    #[error("the credential source has ended")]
    SourceEnded,
    /// A set of files kept changing while it was read.
    #[error("the files in `{dir}` changed during each of {passes} passes of reading")]
    UnstableFiles {
        /// The directory of the first file.
        dir: PathBuf,
        /// How many passes were made.
        passes: usize,
    },
    /// The files did not become usable in time.
    #[error("no usable credentials after {}", seconds(.after))]
    WaitTimeout {
        /// How long was waited.
        after: Duration,
        /// What was wrong last.
        #[source]
        source: Box<LoadError>,
    },
}

impl LoadError {
    /// The stable name of what went wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AnchorsUnusable { .. } | Self::BundleEmpty { .. } => Reason::EmptyBundle,
            Self::CertificateMalformed { .. } => Reason::MalformedCertificate,
            Self::BundleNotNamed { .. }
            | Self::ChainEmpty { .. }
            | Self::DirectoryAmbiguous { .. }
            | Self::DirectoryUnrecognized { .. }
            | Self::FileEmpty { .. }
            | Self::KeyInBundle { .. }
            | Self::PemMalformed { .. }
            | Self::PemTruncated { .. } => Reason::MalformedFile,
            Self::ChainNotTrusted { source } | Self::RoleLost { source, .. } => source.reason(),
            Self::FileMissing { .. } => Reason::FileMissing,
            Self::FileNotRegular { .. }
            | Self::FileTooLarge { .. }
            | Self::FileUnreadable { .. } => Reason::FileUnreadable,
            Self::KeyEncrypted { .. } => Reason::KeyEncrypted,
            Self::KeyMismatch { .. } => Reason::KeyMismatch,
            Self::KeyMissing { .. } | Self::KeySeveral { .. } | Self::KeyUnsupported { .. } => {
                Reason::KeyUnusable
            }
            Self::NoCryptoProvider => Reason::UnsupportedAlgorithm,
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
            Self::BundleNotNamed { .. } => {
                "name the bundle with `CredentialFiles::detect_with_bundle`, or project a ClusterTrustBundle beside it"
            }
            Self::CertificateMalformed { .. } => {
                "write the file again from the issuer; the named block is damaged"
            }
            Self::ChainEmpty { .. } => {
                "write the leaf certificate, then its intermediates, as PEM `CERTIFICATE` blocks"
            }
            Self::ChainNotTrusted { source } | Self::RoleLost { source, .. } => source.remedy(),
            Self::DirectoryAmbiguous { .. } => {
                "name the one that is meant, as with `CredentialFiles::kubernetes`, or give each set a directory of its own"
            }
            Self::DirectoryUnrecognized { .. } => {
                "name the files with `CredentialFiles::paths`, or mount a TLS Secret here"
            }
            Self::FileEmpty { .. } => {
                "wait for the issuer to write it; check that the Certificate is ready"
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
            Self::PemMalformed { .. } | Self::PemTruncated { .. } => {
                "write the file whole and rename it into place; if it stays so, write it again from the issuer"
            }
            Self::SourceEnded => {
                "keep a handle of the source, and the runtime it was made on, while it is used"
            }
            Self::UnstableFiles { .. } => "find out which process keeps writing to these files",
            Self::WaitTimeout { source, .. } => source.remedy(),
        }
    }

    /// Whether waiting may be enough: the material is absent, half written, or of two generations.
    ///
    /// Such a state is retried, and reported only when it lasts.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ChainEmpty { .. }
            | Self::BundleEmpty { .. }
            | Self::ChainNotTrusted { .. }
            | Self::FileEmpty { .. }
            | Self::FileMissing { .. }
            | Self::KeyMismatch { .. }
            | Self::KeyMissing { .. }
            | Self::PemMalformed { .. }
            | Self::PemTruncated { .. }
            | Self::UnstableFiles { .. } => true,
            Self::AnchorsUnusable { .. }
            | Self::BundleNotNamed { .. }
            | Self::CertificateMalformed { .. }
            | Self::DirectoryAmbiguous { .. }
            | Self::DirectoryUnrecognized { .. }
            | Self::FileNotRegular { .. }
            | Self::FileTooLarge { .. }
            | Self::FileUnreadable { .. }
            | Self::KeyEncrypted { .. }
            | Self::KeyInBundle { .. }
            | Self::KeySeveral { .. }
            | Self::KeyUnsupported { .. }
            | Self::NoCryptoProvider
            | Self::RoleLost { .. }
            | Self::SourceEnded
            | Self::WaitTimeout { .. } => false,
        }
    }
}

/// Why a certificate in a bundle is not used as a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnchorFault {
    /// It is past its `notAfter`.
    Expired {
        /// The anchor's subject.
        subject: String,
        /// When it expired.
        not_after: crate::identity::Timestamp,
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
        not_before: crate::identity::Timestamp,
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

/// An error and its causes on one line, for a log.
///
/// ```
/// # use mtls_core::{Chained, SpiffePattern};
/// let error = "spiffe://TD/x".parse::<SpiffePattern>().unwrap_err();
/// assert!(Chained(&error).to_string().starts_with(&error.to_string()));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Chained<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn target_note(target: Option<&PathBuf>) -> String {
    target.map_or_else(String::new, |t| {
        format!(": a link to `{}`, which is missing", t.display())
    })
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
