//! The headers by which a proxy of ours tells who its client is.

use super::base64;
use super::claims::{CLIENT_CERT, CLIENT_CERT_CHAIN, XFCC};
use crate::identity::{PeerIdentity, SpiffeId};

/// How a proxy tells who its client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardAs {
    /// `Client-Cert` (RFC 9440 §2.2): the leaf.
    ClientCert,
    /// `Client-Cert` and, if there are intermediates, `Client-Cert-Chain` (RFC 9440 §2.3).
    ClientCertWithChain,
    /// One element of `x-forwarded-client-cert`: `By`, `Hash`, `Subject`, `URI` and `DNS`.
    Xfcc,
    /// The same, with `Cert` and, if there are intermediates, `Chain`: some kilobytes.
    XfccWithCertificates,
}

impl ForwardAs {
    /// The headers, by name and value, that tell of `peer`; `by` is our own SPIFFE ID, where the format names the proxy.
    ///
    /// Take every header of these formats out of the request first, and do so for a request without a peer as well:
    /// RFC 9440 §2.1, and whoever reads them behind us will believe what is left.
    #[must_use]
    pub fn headers(
        self,
        peer: &PeerIdentity,
        by: Option<&SpiffeId>,
    ) -> Vec<(&'static str, String)> {
        match self {
            Self::ClientCert => leaf(peer).into_iter().collect(),
            Self::ClientCertWithChain => {
                let rest = peer.chain().get(1..).unwrap_or_default();
                let rest: Vec<_> = rest.iter().map(|der| byte_sequence(der)).collect();
                let chain = (!rest.is_empty()).then(|| (CLIENT_CERT_CHAIN, rest.join(", ")));
                leaf(peer).into_iter().chain(chain).collect()
            }
            Self::Xfcc => vec![(XFCC, element(peer, by))],
            Self::XfccWithCertificates => {
                let mut element = element(peer, by);
                if let [leaf, rest @ ..] = peer.chain() {
                    element += &format!(";Cert=\"{}\"", percent_encoded(&pem(leaf)));
                    if !rest.is_empty() {
                        let all: String = peer.chain().iter().map(|der| pem(der)).collect();
                        element += &format!(";Chain=\"{}\"", percent_encoded(&all));
                    }
                }
                vec![(XFCC, element)]
            }
        }
    }
}

fn leaf(peer: &PeerIdentity) -> Option<(&'static str, String)> {
    peer.chain()
        .first()
        .map(|der| (CLIENT_CERT, byte_sequence(der)))
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", base64::encode(der))
}

/// Envoy's order. Of the names go only those that no reader could split: a SPIFFE ID, which has nothing to quote, and
/// DNS names that look like one.
fn element(peer: &PeerIdentity, by: Option<&SpiffeId>) -> String {
    let mut pairs = Vec::new();
    pairs.extend(by.map(|id| format!("By={id}")));
    pairs.push(format!("Hash={}", peer.fingerprint()));
    pairs.push(format!("Subject=\"{}\"", escaped(peer.subject())));
    // As it stands in the certificate: a reader that has both compares them.
    let id = peer.alias_id().or(peer.spiffe_id());
    pairs.push(id.map_or_else(|| "URI=".into(), |id| format!("URI={id}")));
    let names = peer.dns_names().iter().filter(|name| is_plain(name));
    pairs.extend(names.map(|name| format!("DNS={name}")));
    pairs.join(";")
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.*".contains(&b);
    !name.is_empty() && name.bytes().all(plain)
}

/// RFC 4514 §2.4: a backslash and two hex digits stand for any byte. So there is no quote to escape, and no backslash at
/// the end that would escape the closing one.
fn escaped(subject: &str) -> String {
    let mut text = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => text.push_str(&format!("\\{byte:02X}")),
            plain => text.push(char::from(plain)),
        }
    }
    text
}

fn pem(der: &[u8]) -> String {
    let encoded = base64::encode(der);
    let lines: Vec<_> = encoded
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
