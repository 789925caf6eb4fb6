//! What is issued is what it says, and an independent verifier agrees.

mod broken;
mod issued;

use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::*;

use super::lifetime::now;

fn verify(
    chain: &[CertificateDer<'_>],
    root: &CertificateDer<'_>,
    role: webpki::KeyUsage,
) -> Result<(), webpki::Error> {
    let anchor = webpki::anchor_from_trusted_cert(root)?;
    let provider = crate::tls::provider::resolve(None).unwrap();
    let now = UnixTime::since_unix_epoch(now().duration_since(SystemTime::UNIX_EPOCH).unwrap());
    webpki::EndEntityCert::try_from(&chain[0])?
        .verify_for_usage(
            provider.signature_verification_algorithms.all,
            &[anchor],
            &chain[1..],
            now,
            role,
            None,
            None,
        )
        .map(|_| ())
}

fn key_fits(leaf: &CertificateDer<'_>, key_pem: &str) -> bool {
    use rcgen::PublicKeyData;

    let key = rcgen::KeyPair::from_pem(key_pem).unwrap();
    parse(leaf).public_key().raw == key.subject_public_key_info()
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().unwrap();
    extension.map_or_else(Vec::new, |san| {
        san.value
            .general_names
            .iter()
            .map(GeneralName::to_string)
            .collect()
    })
}
