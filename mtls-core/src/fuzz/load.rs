//! What becomes of certificates and keys once they are out of their files.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{check, pieces};
use crate::identity::certificate::{Certificate, printable};
use crate::snapshot::{CredentialMaterial, Credentials, TrustBundle};
use crate::verify::Role;

/// Pairs a chain with a key, as a source does.
pub(super) fn credentials(found: &[CertificateDer<'static>], key: &PrivateKeyDer<'_>) {
    let Some(provider) = pieces::provider() else {
        return;
    };
    let material = CredentialMaterial::new(found.to_vec(), key.clone_key());
    let credentials = match Credentials::new(material, provider) {
        Ok(credentials) => credentials,
        // A certificate's own words are no secret, the key is.
        Err(error) => return check::refused(&error, key.secret_der()),
    };
    let chain = credentials.chain();
    assert!(!chain.is_empty() && chain.len() <= found.len());
    assert!(chain.iter().all(|der| found.contains(der)));
    let parsed = chain
        .iter()
        .map(|der| Certificate::parse(der).expect("it was read before"));
    let parsed: Vec<_> = parsed.collect();
    for pair in parsed.windows(2) {
        if let [issued, issuer] = pair {
            assert_eq!(issued.issuer, issuer.subject);
        }
    }
    if let Some(id) = credentials.spiffe_id() {
        assert_eq!(id.as_str().parse().as_ref(), Ok(id));
    }
    let shown = format!("{credentials:?}");
    check::bounded(shown.len(), found.iter().map(|der| der.len()).sum());
}

/// Takes trust anchors, as a source does.
pub(super) fn trust(found: &[CertificateDer<'static>]) {
    let size = found.iter().map(|der| der.len()).sum();
    let now = pieces::now().into();
    match TrustBundle::new(None, found.to_vec(), "bundle".into(), now) {
        Ok(bundle) => {
            let anchors = bundle.anchors();
            assert!(
                !anchors.is_empty() && anchors.len() + bundle.skipped().len() <= 2 * found.len()
            );
            for anchor in anchors {
                assert!(found.contains(anchor.der()));
                let facts = Certificate::parse(anchor.der()).expect("it was read before");
                assert!(facts.may_sign_certificates() && now <= facts.validity.not_after);
            }
        }
        Err(error) => check::explained(&error, error.remedy(), size),
    }
}

/// Verifies a certificate as a peer's, and as what a peer presents beside a leaf.
pub(super) fn peer(der: &CertificateDer<'static>) {
    let Some(trust) = pieces::trust() else { return };
    let leaf = pieces::leaf();
    for role in [Role::Client, Role::Server] {
        match trust.verify(std::slice::from_ref(der), role, pieces::now()) {
            Ok(peer) => assert!(
                *der == leaf,
                "nobody issued the certificate of {}",
                peer.identity()
            ),
            Err(error) => {
                check::bounded(format!("{error} {error:?}").len(), der.len());
                assert_eq!(printable(&error.to_string()), error.to_string());
            }
        }
        if let Ok(peer) = trust.verify(&[leaf.clone(), der.clone()], role, pieces::now()) {
            let id = peer.identity().to_string();
            assert_eq!(id, "spiffe://example.org/ns/shop/sa/web");
        }
    }
}
