//! Revocation lists.

use rustls_pki_types::CertificateDer;

use super::{check, pieces};
use crate::files;
use crate::identity::certificate::Certificate;
use crate::verify::revocation::{CrlMaterial, CrlsFound, RevocationLists};
use crate::verify::{ChainFault, Revocation};

/// Bytes are read as a file of revocation lists; each of them is judged, and asked about a certificate.
pub fn crl(bytes: &[u8]) {
    let Some(file) = check::file(bytes) else {
        return;
    };
    let lists = match files::revocation_lists(&file) {
        Ok(lists) => lists,
        Err(error) => return check::refused(&error, bytes),
    };
    assert!(!lists.is_empty(), "a file without a list is refused");
    let size: usize = lists.iter().map(|der| der.len()).sum();
    assert!(size <= bytes.len());
    let Some(provider) = pieces::provider() else {
        return;
    };
    let algorithms = provider.signature_verification_algorithms;
    let material = lists.into_iter().map(|der| CrlMaterial {
        der,
        origin: "file".into(),
    });
    let found = CrlsFound {
        lists: material.collect(),
        faults: Vec::new(),
    };
    let (leaf, authority) = (parsed(&pieces::leaf()), parsed(&pieces::root()));
    let now = pieces::now().into();
    let load = |previous| {
        let issuers = [&authority];
        let settings = Revocation::new();
        RevocationLists::load(found.clone(), &issuers, previous, settings, algorithms, now)
    };
    let loaded = match load(None) {
        Ok((loaded, errors)) => {
            assert!(
                errors.is_empty(),
                "with nothing before, an error refuses all"
            );
            loaded
        }
        Err(error) => return check::explained(&error, error.remedy(), bytes.len()),
    };
    let (again, errors) = load(Some(&loaded)).expect("it was taken a moment ago");
    assert!(errors.is_empty(), "the same bytes are sound again");
    assert!(again.same_as(&loaded), "the same bytes are no news");
    for status in loaded.status() {
        // An entry is a serial number and a date: twenty bytes at the least.
        assert!(20 * status.entries <= bytes.len());
        assert!(status.this_update <= status.next_update || status.is_stale(now));
        check::bounded(status.to_string().len(), bytes.len());
    }
    // Nobody can sign for this authority: its key was never kept. So no list of its is here, and nobody is spoken of.
    let judged = loaded.judge([(&leaf, &authority)].into_iter(), now);
    assert!(matches!(judged, Err(ChainFault::RevocationUnknown { .. })));
}

fn parsed(der: &CertificateDer<'_>) -> Certificate {
    Certificate::parse(der).expect("the piece is a certificate")
}
