//! What nobody can be below.
//!
//! With a peer that is known: rustls with a verifier that costs nothing. A full handshake has key exchange, our signature and
//! the check of the peer's. All else of it, path building and the signatures of the chain first of all, can be remembered,
//! and at best for free: whoever has a handshake that takes less has left one of the former out. It lets in anybody, and is
//! for measuring alone.
//!
//! At first contact: rustls with its own verifier in a config of each connection's own, and then one look at who it was.
//! rustls does not tell a verifier which connection it verifies for, and nothing replaces the verifier of a config that is
//! made: whoever has to know has one made for each. And it keeps the leaf as bytes.

use std::sync::Arc;

use mtls_core::rustls::client::danger::HandshakeSignatureValid;
use mtls_core::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use mtls_core::rustls::pki_types::{CertificateDer, UnixTime};
use mtls_core::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use mtls_core::rustls::{
    ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    WantsVerifier,
};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::SubjectAlternativeName;
use x509_parser::nom::Parser;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer, GeneralName};

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

/// Makes a config for each connection, like one that is there. All that is costly in it was made before.
pub struct ConfigEach {
    pub builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    pub verifier: Arc<dyn ClientCertVerifier>,
    pub like: ServerConfig,
}

impl ConfigEach {
    pub fn make(&self) -> Arc<ServerConfig> {
        let Self {
            builder,
            verifier,
            like,
        } = self;
        let mut config = builder
            .clone()
            .with_client_cert_verifier(Arc::clone(verifier))
            .with_cert_resolver(Arc::clone(&like.cert_resolver));
        config.alpn_protocols.clone_from(&like.alpn_protocols);
        config.session_storage = Arc::clone(&like.session_storage);
        config.send_tls13_tickets = like.send_tls13_tickets;
        Arc::new(config)
    }
}

/// The first URI of a leaf. No other extension is looked into.
pub fn read_name(leaf: &CertificateDer<'_>) -> Option<String> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (_, leaf) = parser.parse(leaf).ok()?;
    let names = leaf
        .get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME)
        .ok()??;
    let (_, names) = SubjectAlternativeName::from_der(names.value).ok()?;
    let uri = |name: &GeneralName<'_>| {
        let GeneralName::URI(uri) = name else {
            return None;
        };
        Some((*uri).to_owned())
    };
    names.general_names.iter().find_map(uri)
}
