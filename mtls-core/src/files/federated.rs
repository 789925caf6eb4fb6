//! The bundles of other trust domains: what each domain has, and which have none any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use super::file_set::FileSet;
use super::pem;
use super::read::FileContent;
use super::sniff;
use super::trust_files::{FederatedSource, named_domain};
use super::trust_set::FoundFile;
use crate::error::LoadError;
use crate::files::FileFormat;
use crate::identity::TrustDomain;

/// The bundles of other domains as of one moment, each for itself: a broken one does not hide the others.
#[derive(Debug)]
pub(crate) struct Federated {
    /// Each domain that some source names. The own one may be among them.
    pub(crate) domains: BTreeMap<TrustDomain, FederatedBundle>,
    /// What is wrong beside single domains: a directory that cannot be listed, a map that does not hold, a file name
    /// that is no trust domain.
    pub(crate) faults: Vec<LoadError>,
    /// Whether every directory could be listed and every map read. Only then a domain that is not in `domains` is gone;
    /// else nothing is known of it.
    pub(crate) complete: bool,
}

/// What there is of one domain.
#[derive(Debug)]
pub(crate) enum FederatedBundle {
    /// Its certificates; none at all, if a SPIFFE bundle is empty, which refuses all of its peers (Bundle §4.1.3).
    Found(DomainBundle),
    /// The file that is configured for it is not there, and the directory for it is.
    Gone(LoadError),
    /// Its bundle is there, or might be, and does not hold.
    Broken(LoadError),
}

/// A bundle, and where it was found.
#[derive(Debug)]
pub(crate) struct DomainBundle {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) path: PathBuf,
    #[allow(dead_code, reason = "told by its tests; what counts is the content")]
    /// `spiffe_sequence`, which grows with each version of a SPIFFE bundle.
    pub(crate) sequence: Option<u64>,
    #[allow(dead_code, reason = "told by its tests; what counts is the content")]
    /// `spiffe_refresh_hint`, in seconds.
    pub(crate) refresh_hint: Option<u64>,
}

/// Which domains had a bundle when files were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    domains: BTreeSet<TrustDomain>,
    complete: bool,
}

impl Presence {
    /// Whether a domain that was there before is gone now.
    pub(crate) fn lacks_any_of(&self, before: &Self) -> bool {
        self.complete && !self.domains.is_superset(&before.domains)
    }

    /// What is known to be there after this was read: of what could not be listed, nothing has changed.
    pub(crate) fn after(mut self, before: &Self) -> Self {
        if !self.complete {
            self.domains.extend(before.domains.iter().cloned());
        }
        self
    }
}

impl Federated {
    /// Which domains have a bundle, good or broken.
    pub(crate) fn presence(&self) -> Presence {
        let there = self.domains.iter().filter(|(_, bundle)| match bundle {
            FederatedBundle::Found(_) | FederatedBundle::Broken(_) => true,
            FederatedBundle::Gone(_) => false,
        });
        Presence {
            domains: there.map(|(domain, _)| domain.clone()).collect(),
            complete: self.complete,
        }
    }

    /// The first thing wrong with any of it. Nothing is served before all that is configured has been there once.
    pub(crate) fn first_error(&self) -> Option<&LoadError> {
        let mut domains = self.domains.values().filter_map(|bundle| match bundle {
            FederatedBundle::Found(_) => None,
            FederatedBundle::Gone(error) | FederatedBundle::Broken(error) => Some(error),
        });
        self.faults.first().or_else(|| domains.next())
    }

    fn add(&mut self, domain: TrustDomain, new: FederatedBundle) {
        let merged = match self.domains.remove(&domain) {
            None => new,
            Some(old) => merge(&domain, old, new),
        };
        self.domains.insert(domain, merged);
    }
}

/// The bundles of other domains, from what was read.
pub(crate) fn federated(set: &FileSet) -> Federated {
    let mut all = Federated {
        domains: BTreeMap::new(),
        faults: Vec::new(),
        complete: true,
    };
    for (source, found) in &set.trust.federated {
        let files = match &found.files {
            Ok(files) => files,
            Err(error) => {
                all.faults.push(error.clone());
                all.complete = false;
                continue;
            }
        };
        for file in files {
            match source {
                FederatedSource::Directory(_) => match bundle_domain(&file.path) {
                    // It went between listing and reading.
                    Ok(Some(_)) if file.gone => {}
                    Ok(Some(domain)) => all.add(domain, of_file(file)),
                    Ok(None) => {}
                    Err(error) => all.faults.push(error),
                },
                FederatedSource::File(domain, _) => all.add(domain.clone(), of_file(file)),
                FederatedSource::Map(_) => match map(file) {
                    Ok(bundles) => {
                        for (domain, bundle) in bundles {
                            all.add(domain, FederatedBundle::Found(bundle));
                        }
                    }
                    Err(error) => {
                        all.faults.push(error);
                        all.complete = false;
                    }
                },
            }
        }
    }
    all
}

/// Which domains had a bundle, as far as one is configured.
pub(crate) fn presence(set: &FileSet) -> Presence {
    federated(set).presence()
}

/// What readers pass over in the JSON of other domains' bundles, and in which file.
#[cfg(feature = "spiffe-json")]
pub(crate) fn passed_over(set: &FileSet) -> Vec<(PathBuf, String)> {
    let found = set.trust.federated.iter().map(|(_, found)| found);
    let files = found.flat_map(|found| found.files.iter().flatten());
    let contents = files.filter_map(|file| file.content.as_ref().ok());
    let json = contents.filter(|file| sniff::text(file.bytes()) == Some(FileFormat::Json));
    json.flat_map(|file| {
        let of_file = super::spiffe_bundle::passed_over(file.bytes()).into_iter();
        of_file.map(|what| (file.path().to_path_buf(), what))
    })
    .collect()
}

#[cfg(not(feature = "spiffe-json"))]
pub(crate) fn passed_over(_: &FileSet) -> Vec<(PathBuf, String)> {
    Vec::new()
}

/// The trust domain that a bundle's file name says; `None` if it is not named so.
pub(crate) fn bundle_domain(path: &Path) -> Result<Option<TrustDomain>, LoadError> {
    let Some(name) = named_domain(path) else {
        return Ok(None);
    };
    name.parse()
        .map(Some)
        .map_err(|source| LoadError::BundleMisnamed {
            path: path.to_path_buf(),
            source,
        })
}

/// SPIFFE Federation §4.2 forbids to merge bundles; of two that differ nobody knows which is meant.
fn merge(domain: &TrustDomain, old: FederatedBundle, new: FederatedBundle) -> FederatedBundle {
    use FederatedBundle::{Broken, Found, Gone};
    match (old, new) {
        (Found(old), Found(new)) => match same_or_twice(domain, old, &new) {
            Ok(bundle) => Found(bundle),
            Err(error) => Broken(error),
        },
        (Broken(error), _) | (_, Broken(error)) => Broken(error),
        (found @ Found(_), Gone(_)) | (Gone(_), found @ Found(_)) => found,
        (gone @ Gone(_), Gone(_)) => gone,
    }
}

fn same_or_twice(
    domain: &TrustDomain,
    first: DomainBundle,
    second: &DomainBundle,
) -> Result<DomainBundle, LoadError> {
    if same_certificates(&first.certificates, &second.certificates) {
        return Ok(first);
    }
    Err(LoadError::BundleTwice {
        trust_domain: domain.clone(),
        first: first.path,
        second: second.path.clone(),
    })
}

/// The same certificates, in whatever order.
fn same_certificates(a: &[CertificateDer<'_>], b: &[CertificateDer<'_>]) -> bool {
    let set = |certificates: &[CertificateDer<'_>]| -> BTreeSet<Vec<u8>> {
        certificates.iter().map(|der| der.to_vec()).collect()
    };
    set(a) == set(b)
}

fn of_file(file: &FoundFile) -> FederatedBundle {
    let content = match &file.content {
        Ok(content) => content,
        Err(error) if file.gone => return FederatedBundle::Gone(error.clone()),
        Err(error) => return FederatedBundle::Broken(error.clone()),
    };
    let bundle = match sniff::text(content.bytes()) {
        Some(FileFormat::Json) => json_bundle(content),
        _ => pem::bundle(content).map(|certificates| DomainBundle {
            certificates,
            path: file.path.clone(),
            sequence: None,
            refresh_hint: None,
        }),
    };
    match bundle {
        Ok(bundle) => FederatedBundle::Found(bundle),
        Err(error) => FederatedBundle::Broken(error),
    }
}

#[cfg(feature = "spiffe-json")]
mod json {
    use super::{DomainBundle, FileContent, FoundFile, LoadError, PathBuf, TrustDomain};
    use crate::files::spiffe_bundle::{JsonFault, SpiffeBundle, parse_bundle, parse_map};

    pub(super) fn json_bundle(content: &FileContent) -> Result<DomainBundle, LoadError> {
        match parse_bundle(content.bytes()) {
            Ok(bundle) => Ok(located(bundle, content)),
            Err(fault) => Err(refused(content, fault)),
        }
    }

    pub(super) fn map(file: &FoundFile) -> Result<Vec<(TrustDomain, DomainBundle)>, LoadError> {
        let content = file.content.as_ref().map_err(Clone::clone)?;
        if content.bytes().trim_ascii().is_empty() {
            let path = content.path().to_path_buf();
            return Err(LoadError::FileEmpty { path });
        }
        let bundles = parse_map(content.bytes()).map_err(|fault| refused(content, fault))?;
        let bundles = bundles.into_iter();
        Ok(bundles
            .map(|(domain, bundle)| (domain, located(bundle, content)))
            .collect())
    }

    fn located(bundle: SpiffeBundle, content: &FileContent) -> DomainBundle {
        DomainBundle {
            certificates: bundle.certificates,
            path: content.path().to_path_buf(),
            sequence: bundle.sequence,
            refresh_hint: bundle.refresh_hint,
        }
    }

    fn refused(content: &FileContent, fault: JsonFault) -> LoadError {
        let path: PathBuf = content.path().to_path_buf();
        match fault {
            JsonFault::PrivateKey => LoadError::KeyInBundle { path },
            JsonFault::Unexpected {
                at,
                found,
                expected,
            } => LoadError::SpiffeBundleMalformed {
                path,
                at,
                found,
                expected,
            },
        }
    }
}
#[cfg(feature = "spiffe-json")]
use json::{json_bundle, map};

#[cfg(not(feature = "spiffe-json"))]
fn json_bundle(content: &FileContent) -> Result<DomainBundle, LoadError> {
    Err(LoadError::JsonNotSupported {
        path: content.path().to_path_buf(),
    })
}

#[cfg(not(feature = "spiffe-json"))]
fn map(file: &FoundFile) -> Result<Vec<(TrustDomain, DomainBundle)>, LoadError> {
    Err(LoadError::JsonNotSupported {
        path: file.path.clone(),
    })
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
