//! What a status tells: what is served, what is not and why, what changed, and what is late.

use std::time::{Duration, SystemTime};

use crate::fixture::*;
use mtls_core::testing::{Broken, Issued, LeafOptions, MountedDir, TestCa};
use mtls_core::{Health, Reason, TrustMaterial};
use tracing::Level;

/// A leaf whose lifetime of a thousand minutes has come to this age, in thousandths.
fn aged(ca: &TestCa, age: u64) -> Issued {
    let minutes = |count| Duration::from_secs(60 * count);
    let now = SystemTime::now();
    let (from, until) = (now - minutes(age), now + minutes(1000 - age));
    ca.issue_with(LeafOptions::service("/web").validity(from, until))
}

#[tokio::test]
async fn a_leaf_that_is_older_than_those_before_it_became_is_told_of_once_until_it_is_replaced() {
    let (log, _guard) = Log::start();
    let warnings = || log.count(Level::WARN, "should have been renewed");
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&aged(&ca, 600));
    let source = watch(dir.path()).await;
    assert_eq!(source.status().late_renewal, None, "no habit is known yet");
    // Replaced at 60 %, so that is the habit.
    dir.rotate(&aged(&ca, 590));
    assert_eq!(reload(&source).await, 2);
    assert_eq!(source.status().health, Health::Healthy);
    assert_eq!(warnings(), 0);

    let old = aged(&ca, 580);
    dir.rotate(&old);
    assert_eq!(reload(&source).await, 3);
    assert_eq!(source.status().late_renewal, None);
    // The clock cannot be turned, so the next comes as old as it is late.
    let late = aged(&ca, 710);
    dir.rotate(&late);
    assert_eq!(reload(&source).await, 4);
    for _ in 0..3 {
        reload(&source).await;
        let status = source.status();
        assert_eq!(status.health, Health::Degraded);
        let told = status.late_renewal.as_ref().unwrap();
        assert!(told.expected < status.last_check && status.last_check < told.not_after);
        assert_eq!(told.not_after, status.leaf.validity.not_after);
        assert_eq!(told.renewals_seen, 2);
        assert!(status.to_string().contains("late renewal"), "{status}");
        assert_eq!(warnings(), 1);
    }

    dir.rotate(&aged(&ca, 0));
    assert_eq!(reload(&source).await, 5);
    assert_eq!(source.status().health, Health::Healthy);
    assert_eq!(source.status().late_renewal, None);
    assert_eq!(log.warnings(), 1);
}

#[tokio::test]
async fn what_was_found_and_is_not_served_is_told_with_the_reason() {
    let ca = TestCa::new("example.org");
    let web = ca.issue("/web");
    let dir = MountedDir::new(&web);
    let source = watch(dir.path()).await;
    let served = source.status();
    assert_eq!(served.leaf.serial, web.serial());
    assert_eq!(
        served.leaf.fingerprint,
        source.current().credentials().fingerprint()
    );
    assert!(served.not_served.is_none());
    assert!(!served.to_string().contains("not served"), "{served}");

    let expired = ca.issue_with(LeafOptions::service("/web").expired());
    dir.rotate(&expired);
    let refused = refused_reload(&source).await;
    refused_reload(&source).await;
    let status = source.status();
    assert_eq!(status.leaf, served.leaf);
    assert_eq!(status.leaf_since, served.leaf_since);
    let not_served = status.not_served.as_ref().unwrap();
    let found = not_served.leaf.as_ref().unwrap();
    assert_eq!(found.serial, expired.serial());
    let reasons: Vec<_> = not_served.faults.iter().map(|f| f.reason()).collect();
    assert_eq!(reasons, [Reason::Expired]);
    assert_eq!(refused.reason(), Reason::Expired);
    let text = status.to_string();
    for expected in [
        "degraded".to_owned(),
        format!("leaf: serial {}", web.serial()),
        format!("not served: leaf serial {}", expired.serial()),
    ] {
        assert!(text.contains(&expected), "no `{expected}` in:\n{text}");
    }

    // A key of another leaf: the chain is named all the same.
    Broken::KeyMismatch.write(&ca, &dir);
    refused_reload(&source).await;
    let not_served = source.status().not_served.unwrap();
    assert_ne!(not_served.leaf.as_ref().unwrap(), found);
    assert_eq!(not_served.faults[0].reason(), Reason::KeyMismatch);

    // Nothing was found that could be named.
    dir.rotate_files(&[]);
    refused_reload(&source).await;
    let status = source.status();
    let not_served = status.not_served.as_ref().unwrap();
    assert_eq!(not_served.leaf, None);
    let [chain, bundle] = &not_served.faults[..] else {
        panic!("{not_served:?}")
    };
    for missing in [chain, bundle] {
        assert_eq!(missing.reason(), Reason::FileMissing);
        let text = status.to_string();
        assert_eq!(text.matches(&missing.to_string()).count(), 1, "{text}");
    }

    dir.rotate(&ca.issue("/web"));
    assert_eq!(reload(&source).await, 2);
    assert!(source.status().not_served.is_none());
}

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
    let text = source.status().to_string();
    assert!(text.contains(&fingerprint), "{text}");
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
