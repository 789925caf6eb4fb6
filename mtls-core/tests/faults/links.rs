//! Links that are turned, come and go, or lead nowhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::*;
use crate::put;
use mtls_core::testing::{PlainDir, TestCa};
use mtls_core::{Health, LoadError, Reason};

/// Makes or turns a link in one step.
fn turn(link: &Path, target: &str) {
    let staged = link.with_extension("staged");
    symlink(target, &staged).unwrap();
    fs::rename(staged, link).unwrap();
}

#[tokio::test]
async fn a_link_outside_the_directory_is_followed_each_time_it_is_turned() {
    let ca = TestCa::new("example.org");
    let outer = PlainDir::empty();
    let issue = |release: &str| {
        let issued = ca.issue("/web");
        let dir = outer.path().join("elsewhere").join(release);
        fs::create_dir_all(&dir).unwrap();
        put(&dir, &issued);
        issued.serial()
    };
    let live = outer.path().join("elsewhere/live");
    let certs = outer.path().join("certs");
    fs::create_dir(&certs).unwrap();
    issue("0");
    turn(&live, "0");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let target = Path::new("../elsewhere/live").join(name);
        symlink(target, certs.join(name)).unwrap();
    }
    let source = watch(&certs).await;
    let mut changes = source.subscribe();
    for (release, generation) in [("1", 2), ("2", 3), ("3", 4)] {
        let serial = issue(release);
        turn(&live, release);
        assert_eq!(next(&mut changes).await, generation);
        assert_eq!(source.current().credentials().serial(), serial);
    }
    assert_eq!(source.status().health, Health::Healthy);
}

#[tokio::test]
async fn a_file_may_become_a_link_and_a_file_again() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    fs::create_dir(dir.file("elsewhere")).unwrap();
    let added = [TestCa::new("example.org"), TestCa::new("example.org")];
    let bundle = |other: &TestCa| ca.root_pem() + &other.root_pem();
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();

    fs::write(dir.file("elsewhere/roots"), bundle(&added[0])).unwrap();
    turn(&dir.file("ca.crt"), "elsewhere/roots");
    assert_eq!(next(&mut changes).await, 2);
    // Where the link leads is watched by now.
    fs::write(dir.file("elsewhere/staged"), bundle(&added[1])).unwrap();
    fs::rename(dir.file("elsewhere/staged"), dir.file("elsewhere/roots")).unwrap();
    assert_eq!(next(&mut changes).await, 3);
    dir.rename_over("ca.crt", bundle(&added[0]));
    assert_eq!(next(&mut changes).await, 4);
    dir.rename_over("ca.crt", bundle(&added[1]));
    assert_eq!(next(&mut changes).await, 5);
}

#[tokio::test]
async fn a_link_that_leads_nowhere_or_in_a_circle_is_named_and_the_last_good_is_served() {
    let ca = TestCa::new("example.org");
    let old = ca.issue("/web");
    let dir = PlainDir::new(&old);
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();

    turn(&dir.file("tls.crt"), "gone/tls.crt");
    let dangling = refused_reload(&source).await;
    let LoadError::FileMissing { path, target } = &dangling else {
        panic!("{dangling:?}")
    };
    assert!(path.ends_with("tls.crt"));
    assert!(target.as_ref().unwrap().ends_with("gone/tls.crt"));

    turn(&dir.file("tls.crt"), "tls.crt");
    let circle = refused_reload(&source).await;
    assert_eq!(circle.reason(), Reason::FileUnreadable);
    assert!(circle.to_string().contains("tls.crt"), "{circle}");
    let status = source.status();
    assert_eq!(status.health, Health::Degraded);
    let failure = status.last_error.unwrap();
    assert_eq!(failure.reason(), Reason::FileUnreadable);
    assert_eq!(source.current().credentials().serial(), old.serial());

    let new = ca.issue("/web");
    dir.rotate(&new);
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(source.current().credentials().serial(), new.serial());
    until("healthy", || source.status().health == Health::Healthy).await;
}
