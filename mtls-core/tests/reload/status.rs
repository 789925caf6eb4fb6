//! What a status tells of trust that changed.

use crate::fixture::*;
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{Health, TrustMaterial};
use tracing::Level;

#[tokio::test]
async fn anchors_that_come_and_go_are_listed_and_that_trust_narrows_is_warned_of() {
    let (log, _guard) = Log::start();
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ours.publish(&ours.issue("/web"));
    assert_eq!(source.status().last_trust_change, None);
    let both = || TrustMaterial::new(vec![ours.root_der(), other.root_der()]);

    publisher.publish_trust(both()).unwrap();
    let fingerprint = {
        let snapshot = source.current();
        let anchor = &snapshot.trust().bundle().anchors()[1];
        anchor.sha256().map(|byte| format!("{byte:02x}")).concat()
    };
    let change = source.status().last_trust_change.unwrap();
    assert_eq!((change.generation, change.removed.count), (2, 0));
    assert_eq!(change.added.first[0].fingerprint, fingerprint);
    assert_eq!(log.count(Level::INFO, "trust changed"), 1);
    assert_eq!(log.count(Level::INFO, &fingerprint), 1);
    assert_eq!(log.warnings(), 0);

    // The same again, and new credentials, change no anchor.
    publisher.publish_trust(both()).unwrap();
    let web = ours.issue("/web");
    publisher.publish_credentials(web.material()).unwrap();
    assert_eq!(source.status().last_trust_change, Some(change));
    assert_eq!(log.count(Level::INFO, &fingerprint), 1);

    publisher.publish_trust(ours.trust_material()).unwrap();
    let change = source.status().last_trust_change.unwrap();
    assert!(change.is_narrowing());
    assert_eq!((change.generation, change.added.count), (4, 0));
    assert_eq!(change.removed.first[0].fingerprint, fingerprint);
    assert_eq!(log.count(Level::WARN, "trust narrowed"), 1);
    assert_eq!(log.count(Level::WARN, &fingerprint), 1);
    assert_eq!(log.warnings(), 1);
}

#[tokio::test]
async fn a_bundle_that_has_lost_a_root_is_told_of_as_a_trust_that_narrowed() {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/web"));
    dir.write_bundle(ours.root_pem() + &other.root_pem());
    let source = watch(dir.path()).await;
    for (bundle, narrows) in [
        (ours.root_pem(), true),
        (ours.root_pem() + &other.root_pem(), false),
    ] {
        dir.write_bundle(bundle);
        reload(&source).await;
        let status = source.status();
        let change = status.last_trust_change.unwrap();
        assert_eq!(change.is_narrowing(), narrows);
        assert_eq!(change.generation, status.generation);
        assert_eq!(change.at, status.loaded_at);
        assert_eq!(status.health, Health::Healthy, "that may be meant");
    }
}
