//! Which files say whom else to trust, and whom no more: bundles of other trust domains, and revocation lists.

use std::fmt;
use std::path::{Path, PathBuf};

use super::layout::CredentialFiles;
#[cfg(doc)]
use crate::error::LoadError;
use crate::identity::TrustDomain;

/// What is configured beside chain, key and bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TrustFiles {
    pub(super) federated: Vec<FederatedSource>,
    /// `None` is the local trust domain.
    pub(super) revocation: Vec<(Option<TrustDomain>, PathBuf)>,
}

/// Where bundles of other trust domains come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FederatedSource {
    /// Every `<trust-domain>.spiffe-trust-bundle.pem` in it.
    Directory(PathBuf),
    File(TrustDomain, PathBuf),
    #[cfg_attr(
        not(feature = "spiffe-json"),
        expect(dead_code, reason = "a map is JSON")
    )]
    Map(PathBuf),
}

impl FederatedSource {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::File(_, path) | Self::Map(path) => path,
        }
    }
}

/// Trust beside the own bundle. All of it is read together with the credentials, and watched as they are.
///
/// Bundles of different trust domains are never united (SPIFFE Federation §4.2), nor are two bundles of one: a domain
/// that two sources have is refused unless both hold the same certificates.
impl CredentialFiles {
    /// Trusts the domains that have a `<trust-domain>.spiffe-trust-bundle.pem` in `dir`, each for its own identities.
    /// Default: no other domain is trusted.
    ///
    /// Files of other names are passed over, and those whose names begin with a dot. The own domain's bundle may be among them, if it is the own bundle itself
    /// or holds the same certificates. A file that appears or goes federates or de-federates; one that is broken is
    /// an error and takes no other domain with it. If the directory itself cannot be listed, nothing is known of its
    /// domains, and the last good bundles stay.
    ///
    /// Errors, when it is read: [`LoadError::BundleMisnamed`], [`LoadError::BundleTwice`],
    /// [`LoadError::DirectoryCrowded`] above 4096 files, and what may be wrong with any bundle. One has at most 1 MiB,
    /// those of all sources together 64 MiB.
    #[must_use]
    pub fn federated_bundles(mut self, dir: impl Into<PathBuf>) -> Self {
        let source = FederatedSource::Directory(dir.into());
        self.trust.federated.push(source);
        self
    }

    /// Trusts this domain by the bundle in this file: PEM, DER, or with the feature `spiffe-json` a SPIFFE bundle in
    /// JSON, told by its contents.
    ///
    /// The file has to be there at first. When it goes later, and its directory stays, the domain is trusted no more.
    ///
    /// Errors, when it is read: as with any bundle, [`LoadError::BundleTwice`], and for JSON
    /// [`LoadError::SpiffeBundleMalformed`] or [`LoadError::JsonNotSupported`]. A JSON bundle without keys is none: it
    /// refuses every peer of its domain.
    #[must_use]
    pub fn federated_bundle(mut self, trust_domain: TrustDomain, path: impl Into<PathBuf>) -> Self {
        let source = FederatedSource::File(trust_domain, path.into());
        self.trust.federated.push(source);
        self
    }

    /// Trusts the domains of this SPIFFE bundle map, `{"trust_domains": {"example.org": {"keys": […]}}}`.
    ///
    /// It is taken as a whole or not at all: one bad bundle, or a domain that is there twice, refuses the map. A map
    /// that is absent says nothing of its domains, and the last good bundles stay.
    ///
    /// Errors, when it is read: [`LoadError::SpiffeBundleMalformed`] with the place, [`LoadError::BundleTwice`] if
    /// another source has one of its domains too.
    #[cfg(feature = "spiffe-json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "spiffe-json")))]
    #[must_use]
    pub fn bundle_map(mut self, path: impl Into<PathBuf>) -> Self {
        let source = FederatedSource::Map(path.into());
        self.trust.federated.push(source);
        self
    }

    /// Reads revocation lists for the local trust domain from a file, or from every `*.crl` and `*.pem` in a directory.
    /// Default: nothing is revoked. Called again, it adds a path.
    ///
    /// A file holds PEM `X509 CRL` blocks or one list in DER, and nothing else. A path that is configured and holds no
    /// list is an error, as is one broken file among several: what is not read would revoke nobody. At first nothing is
    /// served with it; later the lists that it held stay, beside the new ones of its neighbours. All lists together have
    /// at most 64 MiB, the entries of about a million certificates.
    ///
    /// Errors, when it is read: [`LoadError::CrlMissing`], [`LoadError::CrlUnexpected`] for anything but a list, a private
    /// key included, and what may be wrong with any file.
    #[must_use]
    pub fn revocation_lists(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.revocation.push((None, path.into()));
        self
    }

    /// As [`revocation_lists`](Self::revocation_lists), for chains that verify under this domain's bundle. A domain whose
    /// bundle appears later is not federated with before its lists are sound.
    #[must_use]
    pub fn revocation_lists_for(
        mut self,
        trust_domain: TrustDomain,
        path: impl Into<PathBuf>,
    ) -> Self {
        let revocation = &mut self.trust.revocation;
        revocation.push((Some(trust_domain), path.into()));
        self
    }
}

/// Continues a sentence.
impl fmt::Display for TrustFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in &self.federated {
            let path = source.path().display();
            match source {
                FederatedSource::Directory(_) => write!(f, ", federated bundles in `{path}`")?,
                FederatedSource::File(domain, _) => write!(f, ", bundle of {domain} `{path}`")?,
                FederatedSource::Map(_) => write!(f, ", bundle map `{path}`")?,
            }
        }
        for (domain, path) in &self.revocation {
            let path = path.display();
            match domain {
                None => write!(f, ", revocation lists `{path}`")?,
                Some(domain) => write!(f, ", revocation lists of {domain} `{path}`")?,
            }
        }
        Ok(())
    }
}

/// The trust domain that a bundle's file name says, before it is known to be one. What begins with a dot is a writer's
/// own, though a trust domain may: half a file under such a name would federate with nobody anyone meant.
pub(super) fn named_domain(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    if name.starts_with('.') {
        return None;
    }
    Some(name.strip_suffix(BUNDLE_SUFFIX)?.to_owned())
}

/// Whether a file of this name holds revocation lists. Here too, what begins with a dot is a writer's own.
pub(super) fn is_revocation_list(path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return false;
    };
    !name.starts_with('.') && (name.ends_with(".crl") || name.ends_with(".pem"))
}

/// What follows the trust domain in a file's name (SPIFFE Filesystem Delivery, draft).
pub(super) const BUNDLE_SUFFIX: &str = ".spiffe-trust-bundle.pem";
