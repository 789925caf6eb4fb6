//! The leaf profile: what a leaf must be for its names to identify somebody.
//!
//! One function, for our own credentials and for peers: two copies of these rules drift apart.

use super::certificate::{Certificate, UriName};
use super::spiffe::SpiffeId;
use crate::verify::ChainFault;

/// The SPIFFE ID of a leaf, if the SPIFFE profile applies to it and it keeps that profile.
///
/// A leaf without any URI SAN, or with a single one of another scheme, is outside the profile: its other names may
/// still identify it.
pub(crate) fn spiffe_id(leaf: &Certificate) -> Result<Option<SpiffeId>, ChainFault> {
    let uri = match leaf.names.uris.as_slice() {
        [] => return Ok(None),
        [uri] => uri,
        // X509-SVID §2: more than one URI SAN, of whatever scheme, must be refused. A reader that skips
        // what it cannot decode would see one name here, and its neighbour another.
        several => {
            return Err(ChainFault::AmbiguousIdentity {
                found: several.len(),
            });
        }
    };
    let text = match uri {
        UriName::Text(text) if has_spiffe_scheme(text) => text,
        UriName::Text(_) => return Ok(None),
        UriName::Undecodable => return Err(ChainFault::UndecodableUri),
    };
    let id: SpiffeId = text.parse().map_err(|source| ChainFault::InvalidSpiffeId {
        uri: text.clone(),
        source,
    })?;
    // X509-SVID §5.2: a leaf's ID must have a path; without one it names the trust domain itself.
    if id.path().is_empty() {
        return Err(ChainFault::SpiffeIdWithoutPath { id });
    }
    // X509-SVID §5.2: "the cA field ... MUST be false", keyCertSign and cRLSign "MUST NOT be set".
    let usage = leaf.key_usage;
    let detail = match usage {
        _ if leaf.is_ca => "basicConstraints says CA:TRUE",
        Some(usage) if usage.key_cert_sign => "its keyUsage has keyCertSign",
        Some(usage) if usage.crl_sign => "its keyUsage has cRLSign",
        Some(_) | None => return Ok(Some(id)),
    };
    Err(ChainFault::NotEndEntity {
        detail: detail.into(),
    })
}

/// In any case: `SPIFFE://` is a malformed SPIFFE ID, not a URI that means something else.
fn has_spiffe_scheme(uri: &str) -> bool {
    uri.as_bytes()
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"spiffe:"))
}
