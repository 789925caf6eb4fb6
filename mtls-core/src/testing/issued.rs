//! What comes out of a certificate authority: a chain, its key, and the bundle to verify it with.

use std::fmt;

use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::crl::pem;
use super::serial::Serial;

/// What a [`TestCa`](super::TestCa) issued: a chain, its private key, and the bundle that verifies it.
///
/// What is `Debug`-printed holds no key.
pub struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key_pem: String,
    key_der: PrivatePkcs8KeyDer<'static>,
    serial: Serial,
    bundle_pem: String,
}

impl Issued {
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &KeyPair,
        serial: Serial,
        bundle_pem: String,
    ) -> Self {
        Self {
            chain,
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der().into(),
            serial,
            bundle_pem,
        }
    }

    /// The leaf, then its intermediates, as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        let blocks = self.chain.iter().map(|der| pem("CERTIFICATE", der));
        blocks.collect()
    }

    /// The leaf, then its intermediates.
    #[must_use]
    pub fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The private key as PEM, in PKCS#8.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The private key, in PKCS#8.
    #[must_use]
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        self.key_der.clone_key().into()
    }

    /// The leaf's serial number as whole bytes in lowercase hex.
    #[must_use]
    pub fn serial(&self) -> String {
        self.serial.to_string()
    }

    pub(super) fn serial_bytes(&self) -> [u8; 16] {
        self.serial.to_be_bytes()
    }

    /// The root that verifies the chain, as PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> &str {
        &self.bundle_pem
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("serial", &format_args!("{}", self.serial))
            .field("chain_len", &self.chain.len())
            .finish_non_exhaustive()
    }
}
