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
    let names = of_subject(peer, |subject| texts(subject.iter_common_name()));
    if names.len() == 1 { names } else { Vec::new() }
}

/// The organizational units, in no order of any meaning.
pub(super) fn organizational_units(peer: &PeerIdentity) -> Vec<String> {
    of_subject(peer, |subject| texts(subject.iter_organizational_unit()))
}

fn of_subject(
    peer: &PeerIdentity,
    read: impl FnOnce(&X509Name<'_>) -> Option<Vec<String>>,
) -> Vec<String> {
    if peer.spiffe_id().is_some() {
        return Vec::new();
    }
    let leaf = peer.chain().first();
    leaf.and_then(|der| {
        let (_, leaf) = X509Certificate::from_der(der).ok()?;
        read(leaf.subject())
    })
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
