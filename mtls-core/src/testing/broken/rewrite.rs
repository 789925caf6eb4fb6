//! Sound bytes, changed in one way.

use rcgen::{CertificateParams, KeyPair};

/// The PEM text without its last 100 bytes, so that it ends in the base64 of its last block.
pub(super) fn cut(pem: impl Into<Vec<u8>>) -> Vec<u8> {
    let mut bytes = pem.into();
    bytes.truncate(bytes.len().saturating_sub(100));
    bytes
}

pub(in crate::testing) fn first_block(pem: &str) -> String {
    pem.split_inclusive("-----END CERTIFICATE-----")
        .take(1)
        .collect()
}

pub(super) fn relabelled(pem: &str, label: &str) -> String {
    pem.replace("CERTIFICATE-----", &format!("{label}-----"))
}

pub(super) fn key_pair(pem: &str) -> KeyPair {
    KeyPair::from_pem(pem).expect("we have just written it")
}

pub(super) fn request_pem(key: &str) -> String {
    let request = CertificateParams::default().serialize_request(&key_pair(key));
    let pem = request.and_then(|request| request.pem());
    pem.expect("a key can sign a request")
}

/// DER of `GeneralNames` with these URIs: a SEQUENCE of `[6]` strings, all of them short.
pub(super) fn uri_sans(uris: &[&[u8]]) -> Vec<u8> {
    let tagged = |tag: u8, content: &[u8]| {
        let len = u8::try_from(content.len()).ok().filter(|len| *len < 0x80);
        let len = len.expect("a trust domain in a test is short");
        [&[tag, len], content].concat()
    };
    let names: Vec<u8> = uris.iter().flat_map(|uri| tagged(0x86, uri)).collect();
    tagged(0x30, &names)
}
