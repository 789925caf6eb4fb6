//! Revocation lists, as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustls_pki_types::CertificateRevocationListDer;

use super::armor::{Block, blocks};
use super::file_set::FileSet;
use super::format::FileFormat;
use super::read::FileContent;
use super::sniff::{self, Binary};
use super::trust_set::Found;
use crate::error::LoadError;
use crate::identity::TrustDomain;

/// One list and the file it was in. Who signed it, and whether it is in time, is not known here.
#[derive(Debug)]
pub(crate) struct RevocationList {
    pub(crate) der: CertificateRevocationListDer<'static>,
    pub(crate) path: PathBuf,
}

/// What was found of the lists of one trust domain.
#[derive(Debug, Default)]
pub(crate) struct RevocationFound {
    pub(crate) lists: Vec<RevocationList>,
    /// What could not be read, file by file. What it revoked must not be forgotten for that.
    pub(crate) faults: Vec<LoadError>,
}

/// The lists of each trust domain for which some are configured; `None` is the local one. Each file stands for itself.
pub(crate) fn revocation(set: &FileSet) -> BTreeMap<Option<TrustDomain>, RevocationFound> {
    let mut all: BTreeMap<_, RevocationFound> = BTreeMap::new();
    for (domain, found) in &set.trust.revocation {
        all.entry(domain.clone()).or_default().add(found);
    }
    all
}

impl RevocationFound {
    fn add(&mut self, found: &Found) {
        let files = match &found.files {
            Ok(files) => files,
            Err(error) => return self.faults.push(error.clone()),
        };
        if files.is_empty() {
            self.faults.push(LoadError::CrlMissing {
                path: found.path.clone(),
                found: "a directory without any `*.crl` or `*.pem`",
            });
        }
        for file in files {
            let content = file.content.as_ref().map_err(Clone::clone);
            match content.and_then(revocation_lists) {
                Ok(lists) => self.lists.extend(lists.into_iter().map(|der| {
                    let path = file.path.clone();
                    RevocationList { der, path }
                })),
                Err(error) => self.faults.push(error),
            }
        }
    }
}

/// The lists of one file: PEM blocks, or one list in DER. Text around blocks is passed over, other blocks are not.
pub(crate) fn revocation_lists(
    file: &FileContent,
) -> Result<Vec<CertificateRevocationListDer<'static>>, LoadError> {
    let unexpected = |found: String| LoadError::CrlUnexpected {
        path: file.path().to_path_buf(),
        found,
    };
    let missing = |found| LoadError::CrlMissing {
        path: file.path().to_path_buf(),
        found,
    };
    match sniff::binary(file.bytes()) {
        None => {}
        Some(Binary::Other(FileFormat::RevocationList)) => {
            return Ok(vec![file.bytes().to_vec().into()]);
        }
        Some(Binary::Other(found)) => return Err(unexpected(found.to_string())),
        Some(Binary::Certificate) => return Err(unexpected("a certificate in DER".to_owned())),
        Some(Binary::EncryptedKey | Binary::Key) => {
            return Err(unexpected("a private key in DER".to_owned()));
        }
        Some(Binary::Truncated) => {
            return Err(LoadError::DerTruncated {
                path: file.path().to_path_buf(),
            });
        }
    }
    let named = |found: FileFormat| unexpected(found.to_string());
    let blocks = blocks(file).map_err(|error| sniff::text(file.bytes()).map_or(error, named))?;
    if let Some(other) = blocks.iter().find(|block| !block.is_revocation_list()) {
        return Err(unexpected(describe(other)));
    }
    if blocks.is_empty() {
        return Err(match sniff::text(file.bytes()) {
            Some(found) => named(found),
            None if file.bytes().trim_ascii().is_empty() => missing("an empty file"),
            None => missing("text without any `X509 CRL` block"),
        });
    }
    blocks
        .iter()
        .map(|block| Ok(std::mem::take(&mut *block.decode(file)?).into()))
        .collect()
}

fn describe(block: &Block<'_>) -> String {
    let line = block.line;
    if block.is_private_key() {
        format!("a private key at line {line}")
    } else if block.is_certificate() {
        format!("a certificate at line {line}")
    } else if let Some(format) = block.wrong_format() {
        format!("{format} at line {line}")
    } else {
        format!("a PEM block of another kind at line {line}")
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
