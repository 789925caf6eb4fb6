//! Roots that come and go.

use std::time::Duration;

use crate::fixture::*;
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{Health, Reason};

#[tokio::test]
async fn a_root_that_is_removed_beside_our_own_takes_hold_without_any_grace() {
    let (ours, gone) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    dir.write_bundle(ours.root_pem() + &gone.root_pem());
    let source = watch_with(builder().grace(HOUR), dir.path()).await;
    let server = server(&source);
    assert_eq!(lets_in(&server, &ours, &gone), Ok(()));
    let mut changes = source.subscribe();
    dir.write_bundle(ours.root_pem());
    next(&mut changes).await;
    assert_eq!(lets_in(&server, &ours, &gone), Err(Reason::UnknownIssuer));
    assert_eq!(lets_in(&server, &ours, &ours), Ok(()));
    assert_eq!(source.status().health, Health::Healthy);
}

#[tokio::test]
async fn our_own_root_that_is_removed_takes_hold_when_the_grace_is_over() {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    dir.write_bundle(ours.root_pem() + &other.root_pem());
    let grace = Duration::from_millis(500);
    let source = watch_with(builder().grace(grace), dir.path()).await;
    let server = server(&source);
    let serial = source.current().credentials().serial().to_owned();
    let mut changes = source.subscribe();
    dir.write_bundle(other.root_pem());
    next(&mut changes).await;
    assert_eq!(lets_in(&server, &ours, &ours), Err(Reason::UnknownIssuer));
    assert_eq!(lets_in(&server, &ours, &other), Ok(()));
    assert_eq!(source.current().credentials().serial(), serial);
    let status = source.status();
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.last_error.unwrap().reason(), Reason::UnknownIssuer);

    // The chain that fits heals it.
    let api = other.issue("/api");
    dir.rotate(&api);
    next(&mut changes).await;
    assert_eq!(source.current().credentials().serial(), api.serial());
    assert_eq!(source.status().health, Health::Healthy);
}

#[tokio::test]
async fn within_the_grace_a_bundle_without_our_own_root_waits_for_the_chain_that_fits() {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    let source = watch_with(builder().grace(HOUR), dir.path()).await;
    let server = server(&source);
    dir.write_bundle(other.root_pem());
    for _ in 0..3 {
        let refused = refused_reload(&source).await;
        assert_eq!(refused.reason(), Reason::UnknownIssuer);
    }
    assert_eq!(source.status().generation, 1);
    assert_eq!(lets_in(&server, &ours, &ours), Ok(()));
    assert_eq!(lets_in(&server, &ours, &other), Err(Reason::UnknownIssuer));
    dir.rotate(&other.issue("/api"));
    assert_eq!(reload(&source).await, 2);
    assert_eq!(lets_in(&server, &other, &other), Ok(()));
    assert_eq!(lets_in(&server, &other, &ours), Err(Reason::UnknownIssuer));
}
