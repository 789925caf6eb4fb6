//! The leaf profile: what a leaf must be for its names to identify somebody.
//!
//! One function, for our own credentials and for peers: two copies of these rules drift apart.

use std::fmt;

use super::certificate::{Certificate, UriName};
use super::spiffe::SpiffeId;
use crate::verify::ChainFault;

/// The SPIFFE ID of a leaf, if the SPIFFE profile applies to it and it keeps that profile.
///
/// A leaf without any URI SAN, or with a single one of another scheme, is outside the profile: its other names may
/// still identify it.
pub(crate) fn spiffe_id(leaf: &Certificate) -> Result<Option<SpiffeId>, ChainFault> {
    let Some(id) = spiffe_id_of(&leaf.names.uris)? else {
        return Ok(None);
    };
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

/// The part of the profile that is about the names alone.
pub(crate) fn spiffe_id_of(uris: &[UriName]) -> Result<Option<SpiffeId>, ChainFault> {
    let uri = match uris {
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
    Ok(Some(id))
}

/// What an X509-SVID of ours lacks of what its issuer owes it. Our peers' verifiers need not mind, and some do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuanceFinding {
    /// X509-SVID §4.3: a leaf must set digitalSignature.
    NoDigitalSignature,
    /// X509-SVID §4.3: keyUsage must be present.
    NoKeyUsage,
    /// X509-SVID §4.3: keyUsage must be marked critical.
    KeyUsageNotCritical,
    /// X509-SVID §4.4: where extendedKeyUsage is present, it must have clientAuth and serverAuth.
    OnePurpose,
    /// RFC 5280 §4.2.1.6: with an empty subject, subjectAltName must be marked critical.
    SanNotCritical,
}

impl IssuanceFinding {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NoDigitalSignature | Self::NoKeyUsage | Self::KeyUsageNotCritical => {
                "reissue with a critical keyUsage that has digitalSignature"
            }
            Self::OnePurpose => "reissue with extended key usages clientAuth and serverAuth",
            Self::SanNotCritical => {
                "reissue with a critical subjectAltName, or with a subject that is not empty"
            }
        }
    }
}

impl fmt::Display for IssuanceFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDigitalSignature => "its keyUsage has no digitalSignature (X509-SVID §4.3)",
            Self::NoKeyUsage => "it has no keyUsage (X509-SVID §4.3)",
            Self::KeyUsageNotCritical => "its keyUsage is not critical (X509-SVID §4.3)",
            Self::OnePurpose => {
                "its extendedKeyUsage has one of clientAuth and serverAuth (X509-SVID §4.4)"
            }
            Self::SanNotCritical => {
                "its subject is empty and its subjectAltName not critical (RFC 5280 §4.2.1.6)"
            }
        })
    }
}

/// Holds a leaf of ours against what X509-SVID asks of issuers. A leaf without a SPIFFE ID is no X509-SVID: nothing is found.
pub(crate) fn issuance_findings(leaf: &Certificate) -> Vec<IssuanceFinding> {
    if !matches!(spiffe_id(leaf), Ok(Some(_))) {
        return Vec::new();
    }
    let usage = match leaf.key_usage {
        None => Some(IssuanceFinding::NoKeyUsage),
        Some(usage) if !usage.digital_signature => Some(IssuanceFinding::NoDigitalSignature),
        Some(usage) if !usage.is_critical => Some(IssuanceFinding::KeyUsageNotCritical),
        Some(_) => None,
    };
    let purposes = leaf.extended_key_usage;
    let purpose = purposes
        .is_some_and(|purposes| !(purposes.client_auth && purposes.server_auth))
        .then_some(IssuanceFinding::OnePurpose);
    let names = (leaf.subject.der() == EMPTY_NAME && !leaf.san_is_critical)
        .then_some(IssuanceFinding::SanNotCritical);
    usage.into_iter().chain(purpose).chain(names).collect()
}

/// The DER of a subject that says nothing.
const EMPTY_NAME: [u8; 2] = [0x30, 0x00];

/// In any case: `SPIFFE://` is a malformed SPIFFE ID, not a URI that means something else.
fn has_spiffe_scheme(uri: &str) -> bool {
    uri.as_bytes()
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"spiffe:"))
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use super::*;
    use crate::identity::certificate::Name;
    use crate::testing::{LeafOptions, TestCa};

    fn found(options: LeafOptions) -> Vec<IssuanceFinding> {
        let issued = TestCa::new("example.org").issue_with(options);
        issuance_findings(&Certificate::parse(&issued.chain_der()[0]).unwrap())
    }

    #[test]
    fn what_the_test_ca_issues_lacks_nothing() {
        assert_eq!(found(LeafOptions::service("/web")), []);
    }

    #[test]
    fn what_an_issuer_left_out_is_found() {
        let leaf = || LeafOptions::service("/web");
        let cases = [
            (leaf().no_key_usage(), IssuanceFinding::NoKeyUsage),
            (
                leaf().key_usage_key_encipherment_only(),
                IssuanceFinding::NoDigitalSignature,
            ),
            (leaf().server_only(), IssuanceFinding::OnePurpose),
            (leaf().client_only(), IssuanceFinding::OnePurpose),
        ];
        for (options, expected) in cases {
            assert_eq!(found(options), [expected]);
        }
        let mut leaf =
            Certificate::parse(&TestCa::new("example.org").issue("/web").chain_der()[0]).unwrap();
        leaf.subject = Name::of_der(&EMPTY_NAME);
        assert_eq!(issuance_findings(&leaf), [IssuanceFinding::SanNotCritical]);
    }

    #[test]
    fn a_leaf_without_a_spiffe_id_is_not_held_against_the_profile() {
        assert_eq!(found(LeafOptions::new().dns("web.test").no_key_usage()), []);
    }
}
