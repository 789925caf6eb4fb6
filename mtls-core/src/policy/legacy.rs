//! Names from a certificate's subject, for peers that have nothing better.
//!
//! RFC 9525 §2 leaves the common name out of every check, since it is free text that many authorities sign as asked. So
//! these are read for rules that ask for them by a name that says so, and of peers without a SPIFFE ID alone: a peer that
//! has one is known by it, and a federated authority, whose names do not count here, vouches for SPIFFE IDs only.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::identity::PeerIdentity;

/// The common name, if there is exactly one: of several, whoever reads the first and whoever reads the last disagree.
pub(super) fn common_names(peer: &PeerIdentity) -> Vec<String> {
    subject(peer).map(single_common_name).unwrap_or_default()
}

/// The organizational units, in no order of any meaning.
pub(super) fn organizational_units(peer: &PeerIdentity) -> Vec<String> {
    subject(peer).map(units).unwrap_or_default()
}

/// The leaf's DER, of a peer whose subject counts.
fn subject(peer: &PeerIdentity) -> Option<&[u8]> {
    let leaf = peer.chain().first().map(AsRef::as_ref);
    leaf.filter(|_| peer.spiffe_id().is_none())
}

fn single_common_name(leaf: &[u8]) -> Vec<String> {
    let names = read(leaf, |subject| texts(subject.iter_common_name()));
    if names.len() == 1 { names } else { Vec::new() }
}

fn units(leaf: &[u8]) -> Vec<String> {
    read(leaf, |subject| texts(subject.iter_organizational_unit()))
}

fn read(leaf: &[u8], names: impl FnOnce(&X509Name<'_>) -> Option<Vec<String>>) -> Vec<String> {
    let leaf = X509Certificate::from_der(leaf).ok();
    leaf.and_then(|(_, leaf)| names(leaf.subject()))
        .unwrap_or_default()
}

/// `None` if one of them cannot be read: a name that hides another is none.
fn texts<'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Option<Vec<String>> {
    attributes
        .map(|attribute| attribute.as_str().ok().map(ToOwned::to_owned))
        .collect()
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn leaf(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_read_from_their_own_attribute_alone() {
        let der = leaf(&[
            (DnType::CommonName, "web, OU=admins"),
            (DnType::OrganizationalUnitName, "shop"),
            (DnType::OrganizationName, "admins"),
        ]);
        assert_eq!(single_common_name(&der), ["web, OU=admins"]);
        assert_eq!(units(&der), ["shop"]);
    }

    #[test]
    fn a_leaf_without_them_or_that_is_none_has_no_names() {
        for der in [leaf(&[]), Vec::new(), vec![0x30, 0x80]] {
            assert_eq!(single_common_name(&der), [""; 0]);
            assert_eq!(units(&der), [""; 0]);
        }
    }
}
