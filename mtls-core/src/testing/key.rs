//! Kinds of keys, and how they are made.

use std::sync::OnceLock;

use rcgen::{KeyPair, RsaKeySize, SignatureAlgorithm};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// A kind of private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA on P-256, which every stack supports. The default.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521. The ring crypto provider cannot use it.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits. Takes seconds to make.
    Rsa4096,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// A key that nobody else has.
    pub(super) fn generate(self) -> KeyPair {
        let made = match self {
            Self::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::EcdsaP521 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512),
            Self::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Self::Rsa2048 => KeyPair::generate_rsa_for(RSA, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(RSA, RsaKeySize::_3072),
            Self::Rsa4096 => KeyPair::generate_rsa_for(RSA, RsaKeySize::_4096),
        };
        made.expect("the backend makes keys of every kind listed here")
    }

    /// The key that this process made before, if making one is slow.
    pub(super) fn shared(self) -> KeyPair {
        static RSA_2048: OnceLock<Vec<u8>> = OnceLock::new();
        static RSA_3072: OnceLock<Vec<u8>> = OnceLock::new();
        static RSA_4096: OnceLock<Vec<u8>> = OnceLock::new();
        let cell = match self {
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 | Self::Ed25519 => {
                return self.generate();
            }
            Self::Rsa2048 => &RSA_2048,
            Self::Rsa3072 => &RSA_3072,
            Self::Rsa4096 => &RSA_4096,
        };
        let pkcs8 = cell.get_or_init(|| self.generate().serialize_der());
        let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, RSA)
            .expect("the backend reads the key that it wrote")
    }
}

const RSA: &SignatureAlgorithm = &rcgen::PKCS_RSA_SHA256;
