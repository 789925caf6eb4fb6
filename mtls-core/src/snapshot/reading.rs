//! What the files held, as material to be judged.

use super::credentials::{CredentialMaterial, KeyMaterial};
use super::material::TrustMaterial;
use crate::error::LoadError;
use crate::files::{self, FederatedBundle, FileContent, FileSet, RevocationList};
use crate::verify::revocation::{CrlMaterial, CrlsFound};

/// Credentials from what was read.
pub(crate) fn credentials(set: &FileSet) -> Result<CredentialMaterial, LoadError> {
    let (chain, key) = (found(&set.chain)?, found(&set.key)?);
    Ok(CredentialMaterial::from_parts(
        files::chain(chain)?,
        KeyMaterial::Der(files::key(key)?),
        chain.path().to_owned(),
        key.path().to_owned(),
    ))
}

/// Trust from what was read.
pub(super) fn trust(set: &FileSet) -> TrustMaterial {
    let local = found(&set.bundle);
    let local = local.and_then(|file| Ok((files::bundle(file)?, file.path().to_owned())));
    // A directory that is being unmounted loses everything at once: that is no word about whom to trust.
    let ours_is_there = local.is_ok() && set.chain.is_ok() && set.key.is_ok();
    let federated = files::federated(set);
    let mut material = TrustMaterial::found(local).with_faults(federated.faults);
    if !federated.complete || !ours_is_there {
        material = material.keeping_absent();
    }
    for (domain, bundle) in federated.domains {
        let found = match bundle {
            FederatedBundle::Found(bundle) => Ok((bundle.certificates, bundle.path)),
            // No longer federated with: a removed file is a removed federation.
            FederatedBundle::Gone(_) if ours_is_there => continue,
            FederatedBundle::Gone(error) | FederatedBundle::Broken(error) => Err(error),
        };
        material = material.with_federated(domain, found);
    }
    for (domain, found) in files::revocation(set) {
        let lists = found.lists.into_iter().map(Into::into).collect();
        let faults = found.faults;
        material = material.with_lists(domain, CrlsFound { lists, faults });
    }
    material
}

impl From<RevocationList> for CrlMaterial {
    fn from(list: RevocationList) -> Self {
        Self {
            der: list.der,
            origin: list.path,
        }
    }
}

/// What a first load does not do without: all that is configured has to be there once.
pub(crate) fn first_trust(set: &FileSet) -> Result<TrustMaterial, LoadError> {
    match files::federated(set).first_error() {
        Some(error) => Err(error.clone()),
        None => Ok(trust(set)),
    }
}

fn found(file: &Result<FileContent, LoadError>) -> Result<&FileContent, LoadError> {
    file.as_ref().map_err(Clone::clone)
}
