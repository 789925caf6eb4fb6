//! Files in DER, and what a certificate says.

use rustls_pki_types::CertificateDer;

use super::{check, load, pieces};
use crate::files;
use crate::identity::certificate::{Certificate, UriName, printable, sha256};
use crate::identity::profile;

/// Bytes are read as a file in DER, and as a certificate that somebody presents.
pub fn der(bytes: &[u8]) {
    let Some(file) = check::file(bytes) else {
        return;
    };
    let (chain, bundle, key) = (files::chain(&file), files::bundle(&file), files::key(&file));
    assert!(chain.is_err() || key.is_err() || !is_der(bytes));
    match &key {
        Ok(key) => load::credentials(&[pieces::leaf()], key),
        Err(error) => check::refused(error, bytes),
    }
    for error in [chain.err(), bundle.err()].iter().flatten() {
        check::refused(error, bytes);
    }

    let der = CertificateDer::from(bytes.to_vec());
    load::credentials(std::slice::from_ref(&der), &pieces::key());
    load::trust(std::slice::from_ref(&der));
    load::peer(&der);
    match Certificate::parse(&der) {
        Ok(certificate) => says(&certificate, bytes),
        Err(detail) => check::bounded(detail.len(), bytes.len()),
    }
}

/// What a certificate says is what its bytes hold, is fit for a log, and no more than they can hold.
fn says(certificate: &Certificate, bytes: &[u8]) {
    let longer = CertificateDer::from([bytes, &[0]].concat());
    assert!(Certificate::parse(&longer).is_err(), "it has an end");

    let names = &certificate.names;
    let presented = certificate.presented(&sha256(&longer));
    let (subject, issuer) = (&certificate.subject, &certificate.issuer);
    let mut texts = vec![subject.text(), issuer.text(), &presented.name];
    texts.extend(subject.common_name());
    texts.extend(names.dns.iter().chain(&names.emails).map(String::as_str));
    for text in &texts {
        assert_eq!(printable(text), **text, "it could forge a log line");
    }
    // A name has a tag and a length.
    let count = names.uris.len() + names.dns.len() + names.ips.len() + names.emails.len();
    assert!(2 * count <= bytes.len());
    let held = [certificate.spki.as_slice(), subject.der(), issuer.der()];
    assert!(held.iter().all(|part| part.len() < bytes.len()));
    let made = texts.iter().map(|text| text.len()).sum::<usize>() + presented.serial.len();
    check::bounded(made, bytes.len());

    match profile::spiffe_id(certificate) {
        Ok(Some(id)) => {
            assert_eq!(names.uris, [UriName::Text(id.as_str().to_owned())]);
            assert!(!certificate.is_ca && !id.path().is_empty());
        }
        Ok(None) => assert!(names.uris.len() <= 1),
        Err(fault) => check::explained(&fault, fault.remedy(), bytes.len()),
    }
}

/// Whether it begins as a SEQUENCE does, which no PEM does.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0x84, ..])
}
