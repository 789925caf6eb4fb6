use super::super::pem::{bundle, chain, key};
use super::super::read::FileContent;
use super::*;
use crate::error::LoadError;

/// A certificate, its key and what else is made of them.
struct Made {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
    request: rcgen::CertificateSigningRequest,
}

fn made() -> Made {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(["test".to_owned()]).unwrap();
    Made {
        certificate: params.self_signed(&key).unwrap(),
        request: params.serialize_request(&key).unwrap(),
        key,
    }
}

fn file(bytes: impl AsRef<[u8]>) -> FileContent {
    FileContent::of("test", bytes.as_ref())
}

fn relabelled(pem: &str, from: &str, to: &str) -> Vec<u8> {
    pem.replace(&format!("{from}-----"), &format!("{to}-----"))
        .into_bytes()
}

fn utf16(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(encode).collect()
}

/// Every format by a sample or two. Of keystores and PKCS#7 in DER, the beginning of a real one: more is not looked at.
fn samples(made: &Made) -> Vec<(&'static str, FileFormat, Vec<u8>)> {
    use FileFormat as F;

    let (pem, key) = (made.certificate.pem(), made.key.serialize_pem());
    let one_line = pem.replace('\n', "\\n");
    let marked = format!("\u{feff}{pem}");
    vec![
        ("base64 of PEM", F::Base64Pem, BASE64_PEM.into()),
        (
            "a request",
            F::CertificateRequest,
            made.request.pem().unwrap().into(),
        ),
        (
            "a request in DER",
            F::CertificateRequest,
            made.request.der().to_vec(),
        ),
        ("escaped", F::EscapedNewlines, one_line.clone().into()),
        (
            "escaped, a line",
            F::EscapedNewlines,
            format!("{one_line}\n").into(),
        ),
        (
            "escaped, quoted",
            F::EscapedNewlines,
            format!("\"{one_line}\"").into(),
        ),
        (
            "escaped, CRLF",
            F::EscapedNewlines,
            pem.replace('\n', "\\r\\n").into(),
        ),
        (
            "escaped, a key",
            F::EscapedNewlines,
            key.replace('\n', "\\n").into(),
        ),
        (
            "HTML",
            F::Html,
            b"\n<!DOCTYPE html><title>Sign in</title>".to_vec(),
        ),
        ("XML", F::Html, b"<?xml version=\"1.0\"?><Error/>".to_vec()),
        (
            "indented",
            F::IndentedPem,
            pem.replace("-----BEGIN", "  -----BEGIN").into(),
        ),
        (
            "YAML",
            F::IndentedPem,
            format!("ca: |\n  {}", pem.replace('\n', "\n  ")).into(),
        ),
        (
            "JCEKS",
            F::Jceks,
            b"\xce\xce\xce\xce\0\0\0\x02\0\0\0\x01".to_vec(),
        ),
        (
            "JKS",
            F::Jks,
            b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01".to_vec(),
        ),
        (
            "JSON",
            F::Json,
            format!("{{\"certificate\": \"{one_line}\"}}").into(),
        ),
        ("a JSON list", F::Json, b"[\n \"x\"]".to_vec()),
        (
            "OpenSSH",
            F::OpenSshKey,
            relabelled(&key, "PRIVATE KEY", "OPENSSH PRIVATE KEY"),
        ),
        (
            "PKCS#12",
            F::Pkcs12,
            b"\x30\x82\x03\xfc\x02\x01\x03\x30\x82".to_vec(),
        ),
        (
            "PKCS#12 in BER",
            F::Pkcs12,
            b"\x30\x80\x02\x01\x03\x30\x80".to_vec(),
        ),
        ("PKCS#7", F::Pkcs7, relabelled(&pem, "CERTIFICATE", "PKCS7")),
        ("CMS", F::Pkcs7, relabelled(&pem, "CERTIFICATE", "CMS")),
        (
            "PKCS#7 in DER",
            F::Pkcs7,
            b"\x30\x82\x01\x9b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02".to_vec(),
        ),
        (
            "a public key",
            F::PublicKey,
            made.key.public_key_pem().into(),
        ),
        ("a public key in DER", F::PublicKey, PUBLIC_KEY_DER.to_vec()),
        (
            "trusted",
            F::TrustedCertificate,
            relabelled(&pem, "CERTIFICATE", "TRUSTED CERTIFICATE"),
        ),
        ("UTF-16LE", F::Utf16, utf16(&marked, u16::to_le_bytes)),
        ("UTF-16BE", F::Utf16, utf16(&marked, u16::to_be_bytes)),
        (
            "UTF-16LE, unmarked",
            F::Utf16,
            utf16(&pem, u16::to_le_bytes),
        ),
        (
            "UTF-16BE, unmarked",
            F::Utf16,
            utf16(&pem, u16::to_be_bytes),
        ),
        (
            "X509",
            F::X509Certificate,
            relabelled(&pem, "CERTIFICATE", "X509 CERTIFICATE"),
        ),
    ]
}

fn format_of<T: fmt::Debug>(name: &str, outcome: Result<T, LoadError>) -> FileFormat {
    match outcome {
        Err(LoadError::WrongFormat { found, .. }) => found,
        _ => panic!("{name}: {outcome:?}"),
    }
}

#[test]
fn each_format_is_refused_by_its_name_wherever_it_is_found() {
    for (name, expected, bytes) in samples(&made()) {
        let file = file(&bytes);
        assert_eq!(format_of(name, chain(&file)), expected, "{name} as chain");
        assert_eq!(format_of(name, key(&file)), expected, "{name} as key");
        let bundle = bundle(&file);
        if expected == FileFormat::OpenSshKey {
            assert!(
                matches!(bundle, Err(LoadError::KeyInBundle { .. })),
                "{name}"
            );
        } else {
            assert_eq!(format_of(name, bundle), expected, "{name} as bundle");
        }
    }
}

#[test]
fn each_format_has_a_sample_and_says_in_its_own_words_what_to_do() {
    let samples = samples(&made());
    let formats: std::collections::HashSet<_> = samples.iter().map(|(_, f, _)| *f).collect();
    let remedies: std::collections::HashSet<_> = formats.iter().map(|f| f.remedy()).collect();
    let names: std::collections::HashSet<_> = formats.iter().map(|f| f.to_string()).collect();
    assert_eq!((formats.len(), remedies.len(), names.len()), (15, 15, 15));
}

#[test]
fn pem_and_der_are_taken() {
    let made = made();
    let (pem, der) = (made.certificate.pem(), made.certificate.der());
    for bytes in [pem.as_bytes(), der.as_ref()] {
        assert_eq!(chain(&file(bytes)).unwrap(), std::slice::from_ref(der));
        assert_eq!(bundle(&file(bytes)).unwrap(), std::slice::from_ref(der));
    }
    let key_pem = made.key.serialize_pem();
    for bytes in [key_pem.as_bytes(), &made.key.serialize_der()] {
        let read = key(&file(bytes)).unwrap();
        assert_eq!(read.secret_der(), made.key.serialize_der());
    }
}

#[test]
fn der_of_another_kind_is_told_apart() {
    let made = made();
    let (certificate, own) = (file(made.certificate.der()), file(made.key.serialize_der()));
    assert!(matches!(chain(&own), Err(LoadError::ChainEmpty { .. })));
    assert!(matches!(bundle(&own), Err(LoadError::KeyInBundle { .. })));
    assert!(matches!(
        key(&certificate),
        Err(LoadError::KeyMissing { .. })
    ));
    // PBES2 (RFC 8018), as `openssl pkcs8 -topk8` writes it, with nothing in it.
    let encrypted =
        file(b"\x30\x11\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d\x30\x00\x04\x00");
    assert!(matches!(
        key(&encrypted),
        Err(LoadError::KeyEncrypted { .. })
    ));
    assert!(matches!(
        bundle(&encrypted),
        Err(LoadError::KeyInBundle { .. })
    ));
}

#[test]
fn der_that_is_cut_is_truncated_and_der_with_more_behind_it_is_not_taken() {
    let der = made().certificate.der().to_vec();
    for cut in 4..der.len() {
        let refused = chain(&file(&der[..cut])).unwrap_err();
        assert!(
            matches!(refused, LoadError::DerTruncated { .. }),
            "{cut}: {refused}"
        );
        assert!(refused.is_transient());
    }
    let two = [der.clone(), der].concat();
    assert!(matches!(
        chain(&file(&two)),
        Err(LoadError::ChainEmpty { .. })
    ));
    assert!(matches!(
        bundle(&file(&two)),
        Err(LoadError::BundleEmpty { .. })
    ));
}

#[test]
fn no_beginning_of_any_sample_panics_or_is_taken() {
    for (name, _, bytes) in samples(&made()) {
        for cut in 0..bytes.len() {
            let file = file(&bytes[..cut]);
            assert!(chain(&file).is_err(), "{name} cut at {cut}");
            assert!(bundle(&file).is_err(), "{name} cut at {cut}");
            assert!(key(&file).is_err(), "{name} cut at {cut}");
        }
    }
}

#[test]
fn text_that_looks_like_another_format_is_passed_over_beside_what_is_needed() {
    let made = made();
    let (pem, own) = (made.certificate.pem(), made.key.serialize_pem());
    for before in [
        "{\n",
        "<html>\n",
        "[\"\n",
        "LS0tLS1CRUdJTi\n",
        r"-----\n",
        "0\u{1}\n",
    ] {
        let text = format!("{before}\n{own}{pem}");
        assert_eq!(chain(&file(&text)).unwrap().len(), 1, "{before}");
        key(&file(&text)).unwrap();
        assert_eq!(
            bundle(&file(format!("{before}\n{pem}"))).unwrap().len(),
            1,
            "{before}"
        );
    }
    for beside in [made.request.pem().unwrap(), made.key.public_key_pem()] {
        assert_eq!(chain(&file(format!("{beside}{pem}"))).unwrap().len(), 1);
        assert_eq!(bundle(&file(format!("{beside}{pem}"))).unwrap().len(), 1);
        key(&file(format!("{beside}{own}"))).unwrap();
    }
}

#[test]
fn certificates_that_would_be_lost_are_refused_beside_others_too() {
    let pem = made().certificate.pem();
    for label in ["PKCS7", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"] {
        let other = String::from_utf8(relabelled(&pem, "CERTIFICATE", label)).unwrap();
        for text in [format!("{pem}{other}"), format!("{other}{pem}")] {
            format_of(label, chain(&file(&text)));
            format_of(label, bundle(&file(&text)));
        }
    }
}

/// `-----BEGIN CERTIFICATE-----` and a line break.
const BASE64_PEM: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==";

/// An Ed25519 key (RFC 8410 §10.1).
const PUBLIC_KEY_DER: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\0\
    \x19\xbf\x44\x09\x69\x84\xcd\xfe\x85\x41\xba\xc1\x67\xdc\x3b\x96\
    \xc8\x50\x86\xaa\x30\xb6\xb6\xcb\x0c\x5c\x38\xad\x70\x31\x66\xe1";
