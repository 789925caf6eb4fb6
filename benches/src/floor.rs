//! What nobody can be below.
//!
//! With a peer that is known: rustls with a verifier that costs nothing. A full handshake has key exchange, our signature and
//! the check of the peer's. All else of it, path building and the signatures of the chain first of all, can be remembered,
//! and at best for free: whoever has a handshake that takes less has left one of the former out. It lets in anybody, and is
//! for measuring alone.
//!
//! At first contact: rustls with its own verifier, and then one look at who it was. rustls keeps the leaf as bytes.

use std::sync::Arc;

use mtls_core::rustls::client::danger::HandshakeSignatureValid;
use mtls_core::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use mtls_core::rustls::pki_types::{CertificateDer, UnixTime};
use mtls_core::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use mtls_core::rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Asks for the proof that the key of a leaf is held, and nothing about the leaf.
#[derive(Debug)]
pub struct ProofAlone(pub Arc<CryptoProvider>);

impl ClientCertVerifier for ProofAlone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            leaf,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            leaf,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The first URI of a leaf.
pub fn read_name(leaf: &CertificateDer<'_>) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let names = leaf.subject_alternative_name().ok()??;
    let uri = |name: &GeneralName<'_>| {
        let GeneralName::URI(uri) = name else {
            return None;
        };
        Some((*uri).to_owned())
    };
    names.value.general_names.iter().find_map(uri)
}
