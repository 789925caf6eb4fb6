//! What a broken set consists of.

use std::fmt;

use crate::testing::Issued;

/// Credentials and their bundle, as bytes: not all of it is PEM, or even text.
///
/// What is `Debug`-printed holds no key.
pub struct BrokenSet {
    /// The chain's file.
    pub chain_pem: Vec<u8>,
    /// The private key's file.
    pub key_pem: Vec<u8>,
    /// The trust bundle's file.
    pub bundle_pem: Vec<u8>,
}

impl BrokenSet {
    pub(super) fn of(issued: &Issued) -> Self {
        Self {
            chain_pem: issued.chain_pem().into(),
            key_pem: issued.key_pem().into(),
            bundle_pem: issued.bundle_pem().into(),
        }
    }

    pub(super) fn chain(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.chain_pem = bytes.into();
        self
    }

    pub(super) fn key(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.key_pem = bytes.into();
        self
    }

    pub(super) fn bundle(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.bundle_pem = bytes.into();
        self
    }
}

impl fmt::Debug for BrokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokenSet")
            .field("chain_pem", &String::from_utf8_lossy(&self.chain_pem))
            .field("bundle_pem", &String::from_utf8_lossy(&self.bundle_pem))
            .finish_non_exhaustive()
    }
}
