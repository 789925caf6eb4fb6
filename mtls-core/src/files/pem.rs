//! What the blocks of a file mean: a chain, a trust bundle, a private key.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::armor::{Block, blocks};
use super::read::FileContent;
use crate::error::LoadError;

/// The certificates of a chain file, in the order of the file. Keys beside them are passed over.
pub(crate) fn chain(file: &FileContent) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    not_empty(file)?;
    let chain = certificates(&blocks(file)?, file)?;
    if chain.is_empty() {
        return Err(LoadError::ChainEmpty {
            path: file.path().to_path_buf(),
        });
    }
    Ok(chain)
}

/// The certificates of a trust bundle.
///
/// A private key among them is refused. Bundles are handed around freely: whoever could read this one has the key.
pub(crate) fn bundle(file: &FileContent) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let blocks = blocks(file)?;
    if blocks.iter().any(Block::is_private_key) {
        return Err(LoadError::KeyInBundle {
            path: file.path().to_path_buf(),
        });
    }
    let bundle = certificates(&blocks, file)?;
    if bundle.is_empty() {
        return Err(LoadError::BundleEmpty {
            path: file.path().to_path_buf(),
        });
    }
    Ok(bundle)
}

/// The one private key of a file; certificates and parameters beside it are passed over, as is a second copy of it.
///
/// What it is (PKCS#8, SEC1 or PKCS#1) is read from its bytes: labels have been known to be wrong.
pub(crate) fn key(file: &FileContent) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    not_empty(file)?;
    let path = || file.path().to_path_buf();
    let mut keys: Vec<Zeroizing<PrivateKeyDer<'static>>> = Vec::new();
    for block in blocks(file)?.iter().filter(|block| block.is_private_key()) {
        if block.is_encrypted() {
            return Err(LoadError::KeyEncrypted { path: path() });
        }
        let key = decode_key(block, file)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) | (_, None) => Err(LoadError::KeyMissing { path: path() }),
        (count, _) => Err(LoadError::KeySeveral {
            path: path(),
            count,
        }),
    }
}

fn certificates(
    blocks: &[Block<'_>],
    file: &FileContent,
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let certificates = blocks.iter().filter(|block| block.is_certificate());
    certificates
        .map(|block| Ok(std::mem::take(&mut *block.decode(file)?).into()))
        .collect()
}

fn decode_key(
    block: &Block<'_>,
    file: &FileContent,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    let unsupported = || LoadError::KeyUnsupported {
        path: file.path().to_path_buf(),
        detail: format!(
            "the block at line {} is no PKCS#8, SEC1 or PKCS#1 key",
            block.line
        ),
    };
    if !block.is_known() {
        return Err(unsupported());
    }
    let mut der = block.decode(file)?;
    // Asked of a borrow first: the owned conversion frees bytes that it refuses, and leaves them as they are.
    PrivateKeyDer::try_from(der.as_slice()).map_err(|_| unsupported())?;
    PrivateKeyDer::try_from(std::mem::take(&mut *der))
        .map(Zeroizing::new)
        .map_err(|_| unsupported())
}

fn not_empty(file: &FileContent) -> Result<(), LoadError> {
    match file.bytes() {
        [] => Err(LoadError::FileEmpty {
            path: file.path().to_path_buf(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
