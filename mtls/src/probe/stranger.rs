//! Two clients that a server has to refuse. One is of a CA that it has never heard of: whoever asks for a certificate and verifies
//! none lets it in. The other bears the name of a CA that it knows: so does whoever compares names and verifies no signature.
//! Neither is enough: nginx's `optional_no_ca` refuses the second and lets in the first.

use std::sync::Arc;

use mtls_core::rustls::sign::CertifiedKey;
use mtls_core::testing::{Issued, LeafOptions, TestCa};

use super::look::{self, Request};
use super::ours::Ours;
use super::request::issuers;
use crate::Failure;

/// A certificate of a CA that is gone when this returns. It says that it is us: all that is not so is who has signed.
pub(super) fn of_nobody(ours: Option<&Ours>) -> Result<Arc<CertifiedKey>, Failure> {
    certified(&TestCa::new(TRUST_DOMAIN).issue_with(like(ours)))
}

/// The same by a CA that the server names, as it says; where it names none, by ours.
pub(super) fn in_the_name_of(
    issuer: &[u8],
    ours: Option<&Ours>,
) -> Result<Arc<CertifiedKey>, Failure> {
    // By the identifier of a key that is another's it would be told from the real one before anybody looks at the signature.
    let options = like(ours).no_authority_key_id();
    certified(&TestCa::new(TRUST_DOMAIN).issue_in_the_name_of(issuer, options))
}

/// Whose name to take, in DER: of those that the server has sent the one that has issued ours, if it did.
pub(super) fn known_ca(request: Option<&Request>, ours: Option<&Ours>) -> Option<Vec<u8>> {
    let issuers = ours.map(|ours| issuers(&ours.chain())).unwrap_or_default();
    let named = request.map(|request| request.names.as_slice());
    let named = named.unwrap_or_default();
    let of_ours = named.iter().find(|name| issuers.contains(name));
    of_ours.or(named.first()).or(issuers.last()).cloned()
}

fn like(ours: Option<&Ours>) -> LeafOptions {
    let snapshot = ours.map(Ours::snapshot);
    let id = snapshot
        .as_ref()
        .and_then(|snapshot| snapshot.credentials().spiffe_id());
    match id {
        Some(id) => LeafOptions::new().uri(id.as_str()).dns("localhost"),
        None => LeafOptions::service("/mtls-probe"),
    }
}

fn certified(issued: &Issued) -> Result<Arc<CertifiedKey>, Failure> {
    let key = look::provider()?
        .key_provider
        .load_private_key(issued.key_der())
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(issued.chain_der(), key)))
}

const TRUST_DOMAIN: &str = "stranger.invalid";
