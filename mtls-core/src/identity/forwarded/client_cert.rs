//! `Client-Cert` and `Client-Cert-Chain` (RFC 9440), as structured fields (RFC 8941), strictly.

use rustls_pki_types::CertificateDer;

use super::base64;
use super::claims::{CLIENT_CERT, CLIENT_CERT_CHAIN, Claims, joined};
use super::error::ForwardedError;

/// What the two headers claim; nothing if neither is there.
pub(super) fn read<'v>(
    leaf: impl IntoIterator<Item = &'v [u8]>,
    chain: impl IntoIterator<Item = &'v [u8]>,
) -> Result<Option<Claims>, ForwardedError> {
    let leaf = joined(CLIENT_CERT, leaf)?;
    let chain = joined(CLIENT_CERT_CHAIN, chain)?;
    let (leaf, chain) = match (leaf, chain) {
        (None, None) => return Ok(None),
        // RFC 9440 §2.3: "The Client-Cert-Chain header field MUST NOT be used unless Client-Cert is also present".
        (None, Some(_)) => return Err(ForwardedError::ChainWithoutLeaf),
        (Some(leaf), chain) => (leaf, chain),
    };
    // RFC 9440 §2.2: a single byte sequence. Two lines would be a list, which no byte sequence reads as.
    let (der, rest) = byte_sequence(CLIENT_CERT, &leaf, 0)?;
    if !rest.trim_end_matches(' ').is_empty() {
        let at = leaf.len() - rest.len();
        return Err(malformed(CLIENT_CERT, at, "the end of the header"));
    }
    let mut certificates = vec![CertificateDer::from(der)];
    if let Some(chain) = chain {
        list(&chain, &mut certificates)?;
    }
    Claims::of_chain(certificates).map(Some)
}

/// RFC 8941 §4.2.1, of byte sequences without parameters.
fn list(text: &str, into: &mut Vec<CertificateDer<'static>>) -> Result<(), ForwardedError> {
    let mut at = 0;
    loop {
        let (der, rest) = byte_sequence(CLIENT_CERT_CHAIN, text, at)?;
        into.push(CertificateDer::from(der));
        let rest = rest.trim_start_matches([' ', '\t']);
        at = text.len() - rest.len();
        match rest.strip_prefix(',') {
            // A comma has to be followed by a member.
            Some(next) => at = text.len() - next.trim_start_matches([' ', '\t']).len(),
            None if rest.is_empty() => return Ok(()),
            None => return Err(malformed(CLIENT_CERT_CHAIN, at, "`,` or the end")),
        }
    }
}

/// RFC 8941 §4.2.7, from `at`: the bytes, and what follows them.
fn byte_sequence<'t>(
    header: &'static str,
    text: &'t str,
    at: usize,
) -> Result<(Vec<u8>, &'t str), ForwardedError> {
    let from = text.get(at..).unwrap_or_default();
    let from = if at == 0 {
        from.trim_start_matches(' ')
    } else {
        from
    };
    let at = text.len() - from.len();
    let inside = from
        .strip_prefix(':')
        .ok_or_else(|| malformed(header, at, "`:`, which begins a byte sequence"))?;
    let (encoded, rest) = inside
        .split_once(':')
        .ok_or_else(|| malformed(header, text.len(), "`:`, which ends a byte sequence"))?;
    let bytes = base64::decode(encoded)
        .ok_or_else(|| malformed(header, at + 1, "base64 with its padding"))?;
    Ok((bytes, rest))
}

fn malformed(header: &'static str, at: usize, expected: &'static str) -> ForwardedError {
    ForwardedError::MalformedHeader {
        header,
        at,
        expected,
    }
}
