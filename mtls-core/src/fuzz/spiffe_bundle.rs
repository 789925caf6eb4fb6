//! SPIFFE bundles and bundle maps in JSON.

use std::collections::BTreeSet;

use super::check;
use crate::files::{JsonFault, SpiffeBundle, parse_bundle, parse_map};
use crate::identity::TrustDomain;

/// Bytes are read as a SPIFFE bundle, and as a map of bundles.
pub fn spiffe_bundle(bytes: &[u8]) {
    match parse_bundle(bytes) {
        Ok(bundle) => holds(&bundle, bytes),
        Err(fault) => refused(&fault, bytes),
    }
    match parse_map(bytes) {
        Ok(bundles) => {
            let domains: BTreeSet<_> = bundles.iter().map(|(domain, _)| domain).collect();
            assert_eq!(domains.len(), bundles.len(), "a domain has one bundle");
            for (domain, bundle) in &bundles {
                let again: TrustDomain = domain.as_str().parse().expect("it was parsed before");
                assert_eq!(again, *domain);
                holds(bundle, bytes);
            }
        }
        Err(fault) => refused(&fault, bytes),
    }
}

/// Base64 has four characters for three bytes.
fn holds(bundle: &SpiffeBundle, bytes: &[u8]) {
    let size: usize = bundle.certificates.iter().map(|der| der.len()).sum();
    assert!(size <= bytes.len());
}

fn refused(fault: &JsonFault, bytes: &[u8]) {
    check::bounded(format!("{fault:?}").len(), bytes.len());
}
