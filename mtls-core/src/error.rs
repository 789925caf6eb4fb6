//! Why material did not load.
//!
//! Handshakes have [`HandshakeError`](crate::HandshakeError), configuration has [`ConfigError`](crate::ConfigError).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

mod advice;
mod anchor;

pub use anchor::AnchorFault;

use crate::files::{FileAccess, FileFormat, Layout};
use crate::identity::{SpiffeIdError, TrustDomain};
use crate::verify::{ChainError, CrlFault};

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
    /// The file name of a trust bundle says whose it is, and that is no trust domain.
    #[error(
        "`{path}` is not named after a trust domain, expected `<trust-domain>.spiffe-trust-bundle.pem`"
    )]
    BundleMisnamed {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with the name.
        #[source]
        source: SpiffeIdError,
    },
    /// A directory holds a layout that brings no trust bundle, and none was given.
    #[error("`{dir}` holds the layout {layout}, which brings no trust bundle, and none was given")]
    BundleNotNamed {
        /// The directory.
        dir: PathBuf,
        /// The layout.
        layout: Layout,
    },
    /// Two bundles for one trust domain differ, and they are never united (SPIFFE Federation §4.2).
    #[error(
        "trust domain {trust_domain} has two different bundles, `{first}` and `{second}`, expected one"
    )]
    BundleTwice {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
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
    /// A revocation list cannot be used, or is older than the one it would replace.
    #[error("the revocation list{} in `{path}` is refused", of_issuer(.issuer.as_ref()))]
    CrlRefused {
        /// The file.
        path: PathBuf,
        /// The issuer that it names, if it could be read.
        issuer: Option<String>,
        /// What is wrong with it.
        #[source]
        source: Box<CrlFault>,
    },
    /// Revocation is configured, and there is no list.
    #[error("revocation lists are configured, and there is none")]
    CrlsEmpty,
    /// A path for revocation lists holds none, so that nobody would be revoked.
    #[error("`{path}` is {found}, expected at least one certificate revocation list")]
    CrlMissing {
        /// The file or directory.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// A file of revocation lists holds something else too.
    #[error("`{path}` holds {found}, expected certificate revocation lists alone")]
    CrlUnexpected {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// DER is longer than its file: somebody is writing, or was cut off.
    #[error("`{path}` ends inside its DER")]
    DerTruncated {
        /// The file.
        path: PathBuf,
    },
    /// A directory holds several layouts, and which one is meant is anybody's guess.
    #[error("`{dir}` holds several candidates, expected one: {found}")]
    DirectoryAmbiguous {
        /// The directory.
        dir: PathBuf,
        /// The candidates.
        found: String,
    },
    /// A directory has more files than are read.
    #[error("`{dir}` has more than {limit} files that would be read")]
    DirectoryCrowded {
        /// The directory.
        dir: PathBuf,
        /// How many are read at most.
        limit: usize,
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
    /// A path leads through symbolic links in a circle.
    #[error("`{path}` leads through symbolic links in a circle, or through too many, at `{at}`")]
    FileLinkLoop {
        /// The file.
        path: PathBuf,
        /// A link of the circle.
        at: PathBuf,
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
    #[error("`{path}` cannot be read{}", access_note(.access))]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Whose it is and who we are, where it is a matter of permission.
        access: Option<Box<FileAccess>>,
        /// The operating system's word.
        #[source]
        source: Arc<io::Error>,
    },
    /// A trust bundle is JSON, and the feature that reads it is not turned on.
    #[error("`{path}` is JSON, which is read with the feature `spiffe-json`")]
    JsonNotSupported {
        /// The bundle.
        path: PathBuf,
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
    /// Reading or judging the files panicked; the last good snapshot is served, and they are read again.
    #[error("reloading panicked")]
    ReloadPanicked,
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
    /// A SPIFFE bundle, or a map of them, is not as the standard has it.
    #[error("`{path}` has {found} at {at}, expected {expected}")]
    SpiffeBundleMalformed {
        /// The file.
        path: PathBuf,
        /// Where in it: a path such as `keys[0].x5c[0]`, or a line and a column.
        at: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
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
    /// A file is of a kind that is known, and not the kind that is needed.
    #[error("`{path}` is {found}, expected {expected}")]
    WrongFormat {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: FileFormat,
        /// What is needed.
        expected: &'static str,
    },
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

impl<'a> Chained<'a> {
    /// The error and all that it comes from. `io::Error::source` skips the error that it wraps; this does not.
    pub fn causes(self) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
        std::iter::successors(Some(self.0), |&error| {
            let wrapped = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            match wrapped {
                Some(inner) => Some(inner),
                None => error.source(),
            }
        })
    }
}

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

fn of_issuer(issuer: Option<&String>) -> String {
    issuer.map_or_else(String::new, |issuer| format!(" of `{issuer}`"))
}

fn access_note(access: &Option<Box<FileAccess>>) -> String {
    let note = |access: &FileAccess| format!(" ({access})");
    access.as_deref().map(note).unwrap_or_default()
}

fn target_note(target: Option<&PathBuf>) -> String {
    target.map_or_else(String::new, |t| {
        format!(": a link to `{}`, which is missing", t.display())
    })
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
