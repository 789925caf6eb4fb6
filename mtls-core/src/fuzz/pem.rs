//! Files in PEM: chain, bundle and key.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{check, load, pieces};
use crate::files::{self, FileContent};

/// A file is read as a chain, a bundle and a key, and what was found is loaded.
///
/// Our reading of PEM is narrower than others', and where it takes a file it must find what they find: a certificate that
/// only one of two readers sees is trust that somebody else configured.
pub fn pem(bytes: &[u8]) {
    let Some(file) = check::file(bytes) else {
        return;
    };
    let (chain, bundle, key) = (files::chain(&file), files::bundle(&file), files::key(&file));
    let is_der = matches!(chain.as_deref(), Ok([der]) if der.as_ref() == bytes);
    if let Ok(found) = &chain
        && !is_der
    {
        certificates(found, bytes);
    }
    if let Ok(found) = &bundle {
        assert_eq!(chain.as_ref().ok(), Some(found));
        load::trust(found);
    }
    if let Ok(key) = &key {
        assert!(bundle.is_err(), "a bundle with a key in it");
        if key.secret_der() != bytes {
            one_key(key, bytes);
        }
    }
    match (&chain, &key) {
        (Ok(chain), Ok(key)) => load::credentials(chain, key),
        (Ok(chain), Err(_)) => load::credentials(chain, &pieces::key()),
        (Err(_), Ok(key)) => load::credentials(&[pieces::leaf()], key),
        (Err(_), Err(_)) => {}
    }
    let errors = [chain.err(), bundle.err(), key.err()];
    for error in errors.iter().flatten() {
        check::refused(error, bytes);
    }
}

fn certificates(found: &[CertificateDer<'static>], bytes: &[u8]) {
    let text = without_mark(bytes);
    let marked = text.split(|byte| *byte == b'\n').filter(|line| {
        line.trim_ascii()
            .starts_with(b"-----BEGIN CERTIFICATE-----")
    });
    assert_eq!(found.len(), marked.count(), "a certificate was lost");
    // They stop at a block that cannot be decoded, whatever it is; a damaged key is no matter of a chain's.
    let theirs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    assert!(
        theirs.is_err() || theirs.is_ok_and(|theirs| theirs == found),
        "others read it otherwise"
    );
    assert!(found.iter().map(|der| der.len()).sum::<usize>() <= bytes.len());

    let blocks = found.iter().map(|der| armored("CERTIFICATE", der));
    let again = blocks.collect::<String>();
    let again = files::chain(&FileContent::of("file", again.as_bytes()));
    assert_eq!(again.ok().as_deref(), Some(found));
}

fn one_key(key: &PrivateKeyDer<'static>, bytes: &[u8]) {
    if let Ok(theirs) = PrivateKeyDer::from_pem_slice(without_mark(bytes)) {
        assert!(
            theirs.secret_der() == key.secret_der(),
            "others read another key"
        );
    }
    let again = armored("PRIVATE KEY", key.secret_der());
    let again = files::key(&FileContent::of("file", again.as_bytes()));
    assert!(again.is_ok_and(|again| again.secret_der() == key.secret_der()));
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// A block as RFC 7468 §3 has it.
fn armored(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = (0..3).fold(0, |bits, at| {
                bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
            });
            let symbols = (0..4).map(|at| match BASE64.get(bits >> (18 - 6 * at) & 0x3f) {
                Some(symbol) if at <= group.len() => char::from(*symbol),
                Some(_) | None => '=',
            });
            text.extend(symbols);
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
