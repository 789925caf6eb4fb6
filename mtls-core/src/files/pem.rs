//! What the contents of a file mean: a chain, a trust bundle, a private key.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::armor::{Block, blocks};
use super::format::FileFormat;
use super::read::FileContent;
use super::sniff::{self, Binary};
use crate::error::LoadError;

/// The certificates of a chain file, in the order of the file. Keys beside them are passed over.
///
/// DER is one certificate.
pub(crate) fn chain(file: &FileContent) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    not_empty(file)?;
    let empty = || LoadError::ChainEmpty {
        path: file.path().to_path_buf(),
    };
    match contents(file, CERTIFICATES)? {
        Contents::Blocks(blocks) => certificates(&blocks, file, empty),
        Contents::Certificate => Ok(vec![file.bytes().to_vec().into()]),
        Contents::EncryptedKey | Contents::Key => Err(empty()),
    }
}

/// The certificates of a trust bundle. DER is one certificate.
///
/// A private key among them is refused. Bundles are handed around freely: whoever could read this one has the key.
pub(crate) fn bundle(file: &FileContent) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let key_in_bundle = || LoadError::KeyInBundle {
        path: file.path().to_path_buf(),
    };
    let empty = || LoadError::BundleEmpty {
        path: file.path().to_path_buf(),
    };
    match contents(file, CERTIFICATES)? {
        Contents::Blocks(blocks) if blocks.iter().any(Block::is_private_key) => {
            Err(key_in_bundle())
        }
        Contents::Blocks(blocks) => certificates(&blocks, file, empty),
        Contents::Certificate => Ok(vec![file.bytes().to_vec().into()]),
        Contents::EncryptedKey | Contents::Key => Err(key_in_bundle()),
    }
}

/// The one private key of a file; certificates and parameters beside it are passed over, as is a second copy of it.
///
/// What it is (PKCS#8, SEC1 or PKCS#1) is read from its bytes: labels have been known to be wrong.
pub(crate) fn key(file: &FileContent) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    not_empty(file)?;
    let path = || file.path().to_path_buf();
    let missing = || LoadError::KeyMissing { path: path() };
    let blocks = match contents(file, KEY)? {
        Contents::Blocks(blocks) => blocks,
        Contents::Certificate => return Err(missing()),
        Contents::EncryptedKey => return Err(LoadError::KeyEncrypted { path: path() }),
        Contents::Key => {
            let der = Zeroizing::new(file.bytes().to_vec());
            return key_from_der(der).ok_or_else(missing);
        }
    };
    let mut keys: Vec<Zeroizing<PrivateKeyDer<'static>>> = Vec::new();
    for block in blocks.iter().filter(|block| block.is_private_key()) {
        if let Some(found) = block.wrong_format() {
            return Err(wrong_format(file, found, KEY));
        }
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
        (0, _) | (_, None) => Err(nothing(&blocks, file, KEY, missing())),
        (count, _) => Err(LoadError::KeySeveral {
            path: path(),
            count,
        }),
    }
}

/// The line at which a private key begins in a file of PEM, if one does.
pub(crate) fn private_key_line(file: &FileContent) -> Option<usize> {
    let blocks = blocks(file).ok()?;
    let mut keys = blocks.iter().filter(|block| block.is_private_key());
    keys.next().map(|block| block.line)
}

/// What a file consists of.
enum Contents<'a> {
    Blocks(Vec<Block<'a>>),
    Certificate,
    EncryptedKey,
    Key,
}

fn contents<'a>(file: &'a FileContent, expected: &'static str) -> Result<Contents<'a>, LoadError> {
    match sniff::binary(file.bytes()) {
        None => {
            let blocks = blocks(file).map_err(|error| match sniff::text(file.bytes()) {
                Some(found) => wrong_format(file, found, expected),
                None => error,
            });
            Ok(Contents::Blocks(blocks?))
        }
        Some(Binary::Certificate) => Ok(Contents::Certificate),
        Some(Binary::EncryptedKey) => Ok(Contents::EncryptedKey),
        Some(Binary::Key) => Ok(Contents::Key),
        Some(Binary::Other(found)) => Err(wrong_format(file, found, expected)),
        Some(Binary::Truncated) => Err(LoadError::DerTruncated {
            path: file.path().to_path_buf(),
        }),
    }
}

fn certificates(
    blocks: &[Block<'_>],
    file: &FileContent,
    empty: impl FnOnce() -> LoadError,
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    // Certificates under another name are refused beside others too: passed over, they would be lost without a word.
    let mut formats = blocks.iter().filter_map(Block::wrong_format);
    if let Some(found) = formats.find(|format| format.has_certificates()) {
        return Err(wrong_format(file, found, CERTIFICATES));
    }
    let certificates = blocks.iter().filter(|block| block.is_certificate());
    let certificates: Vec<_> = certificates
        .map(|block| Ok(std::mem::take(&mut *block.decode(file)?).into()))
        .collect::<Result<_, LoadError>>()?;
    match certificates.len() {
        0 => Err(nothing(blocks, file, CERTIFICATES, empty())),
        _ => Ok(certificates),
    }
}

/// Why there is nothing usable: what there is instead, if that can be told.
fn nothing(
    blocks: &[Block<'_>],
    file: &FileContent,
    expected: &'static str,
    otherwise: LoadError,
) -> LoadError {
    let found = match blocks {
        [] => sniff::text(file.bytes()),
        _ => blocks.iter().find_map(Block::wrong_format),
    };
    match found {
        Some(found) => wrong_format(file, found, expected),
        None => otherwise,
    }
}

fn wrong_format(file: &FileContent, found: FileFormat, expected: &'static str) -> LoadError {
    LoadError::WrongFormat {
        path: file.path().to_path_buf(),
        found,
        expected,
    }
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
    key_from_der(block.decode(file)?).ok_or_else(unsupported)
}

fn key_from_der(mut der: Zeroizing<Vec<u8>>) -> Option<Zeroizing<PrivateKeyDer<'static>>> {
    // Asked of a borrow first: the owned conversion frees bytes that it refuses, and leaves them as they are.
    PrivateKeyDer::try_from(der.as_slice()).ok()?;
    let key = PrivateKeyDer::try_from(std::mem::take(&mut *der)).ok()?;
    Some(Zeroizing::new(key))
}

fn not_empty(file: &FileContent) -> Result<(), LoadError> {
    match file.bytes() {
        [] => Err(LoadError::FileEmpty {
            path: file.path().to_path_buf(),
        }),
        _ => Ok(()),
    }
}

const CERTIFICATES: &str = "certificates in PEM or DER";
const KEY: &str = "a private key in PEM or DER";

#[cfg(test)]
mod tests;
