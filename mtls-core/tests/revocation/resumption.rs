//! A session of who was revoked since.
//!
//! rustls verifies nothing when it resumes. The control is rustls by itself: it was told of the list, and resumes.

use std::sync::Arc;

use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::{HandshakeKind, RootCertStore, ServerConfig};
use mtls_core::{Reason, rustls};

use crate::site::*;

#[tokio::test]
async fn a_session_of_a_client_that_was_revoked_since_is_not_resumed() {
    for version in VERSIONS {
        let site = Site::new().await;
        let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
        let server = site.server();
        let [bad_caller, good_caller] =
            [&bad, &good].map(|issued| Caller::new(version, &site.ca, issued));
        for caller in [&bad_caller, &good_caller] {
            assert_eq!(accept(&server, caller).kind, Some(HandshakeKind::Full));
            assert_eq!(accept(&server, caller).kind, Some(HandshakeKind::Resumed));
        }
        site.publish(&site.ca.crl().number(2).revoke(&bad)).await;
        let met = accept(&server, &bad_caller);
        assert_ne!(met.kind, Some(HandshakeKind::Resumed));
        assert_eq!(met.refused().0, Reason::Revoked);
        // It has a ticket still, and may try for as long as it likes.
        assert_eq!(accept(&server, &bad_caller).refused().0, Reason::Revoked);
        // Who is not concerned is asked for its certificate once, and not refused.
        assert!(accept(&server, &good_caller).peer.is_ok());
        assert_eq!(
            accept(&server, &good_caller).kind,
            Some(HandshakeKind::Resumed)
        );
    }
}

#[tokio::test]
async fn rustls_by_itself_resumes_a_session_of_a_client_that_is_on_its_list() {
    for version in VERSIONS {
        let site = Site::new().await;
        let bad = site.ca.issue("/bad");
        let (before, caller) = (
            naive_server(version, &site.ca, &site.ca.issue("/api")),
            Caller::new(version, &site.ca, &bad),
        );
        assert_eq!(without_us(&caller, &before), Some(HandshakeKind::Full));

        let mut roots = RootCertStore::empty();
        roots.add(site.ca.root_der()).unwrap();
        let list = site.ca.crl().number(2).revoke(&bad).der();
        let provider = Arc::clone(before.crypto_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.with_crls([list]).build().unwrap();
        let mut after = told_of(&before, verifier);
        let fresh = Caller::new(version, &site.ca, &bad);
        assert_eq!(without_us(&fresh, &Arc::new(after.clone())), None);
        // The sessions of before are kept, as whoever renews a config in place keeps them.
        after.session_storage = Arc::clone(&before.session_storage);
        after.ticketer = Arc::clone(&before.ticketer);
        let resumed = without_us(&caller, &Arc::new(after));
        assert_eq!(resumed, Some(HandshakeKind::Resumed));
    }
}

/// The same server with another verifier of clients.
fn told_of(
    before: &ServerConfig,
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
) -> ServerConfig {
    let provider = Arc::clone(before.crypto_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(&before.cert_resolver))
}

#[tokio::test]
async fn our_client_resumes_no_session_of_a_server_that_was_revoked_since() {
    for version in VERSIONS {
        let site = Site::new().await;
        let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
        let client = site.client();
        let [bad_server, good_server] =
            [&bad, &good].map(|issued| naive_server(version, &site.ca, issued));
        // The client keeps its sessions by the server's name, so these are tried one after the other.
        assert_eq!(dial(&client, &bad_server).kind, Some(HandshakeKind::Full));
        let again = dial(&client, &bad_server);
        assert_eq!(again.kind, Some(HandshakeKind::Resumed));
        let live = again.peer.unwrap();
        site.publish(&site.ca.crl().number(2).revoke(&bad)).await;
        assert_eq!(live.check().unwrap_err().reason(), Reason::Revoked);
        let met = dial(&client, &bad_server);
        assert_ne!(met.kind, Some(HandshakeKind::Resumed));
        assert_eq!(met.refused().0, Reason::Revoked);
        assert!(dial(&client, &good_server).peer.is_ok());
    }
}
