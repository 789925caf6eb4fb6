//! What becomes of a list between its file and the handshakes that ask it.

use std::time::{Duration, Instant, SystemTime};

use mtls_core::testing::{PlainDir, TestCa, TestCrl};
use mtls_core::{CredentialFiles, Health, LoadError, Reason, Timestamp};
use tracing::Level;

use crate::fixture::*;
use crate::site::{Site, admits, put, server_of};

#[tokio::test]
async fn a_list_that_is_truncated_to_nothing_is_refused_and_the_last_good_stays() {
    let site = Site::new().await;
    let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
    assert_eq!(site.admits(&bad), Ok(()));
    site.publish(&site.ca.crl().number(2).revoke(&bad)).await;
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));

    site.dir.truncate("ca.crl");
    let refused = refused_reload(&site.source).await;
    assert!(matches!(refused, LoadError::CrlMissing { .. }), "{refused}");
    assert!(refused.to_string().contains("ca.crl"), "{refused}");
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));
    assert_eq!(site.admits(&good), Ok(()));
    assert_eq!(site.source.status().health, Health::Degraded);

    site.dir.remove("ca.crl");
    let refused = refused_reload(&site.source).await;
    assert_eq!(refused.reason(), Reason::FileMissing);
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));

    // And what comes next is taken: another is revoked, the first no longer.
    site.publish(&site.ca.crl().number(3).revoke(&good)).await;
    assert_eq!(site.admits(&good), Err(Reason::Revoked));
    assert_eq!(site.admits(&bad), Ok(()));
    assert_eq!(site.source.status().health, Health::Healthy);
}

#[tokio::test]
async fn a_list_that_is_damaged_forged_or_a_delta_is_refused_by_name_and_the_last_good_stays() {
    let site = Site::new().await;
    let (bad, ca) = (site.ca.issue("/bad"), &site.ca);
    assert_eq!(site.admits(&bad), Ok(()));
    site.publish(&ca.crl().number(2).revoke(&bad)).await;
    let (other, namesake) = (TestCa::new("example.org"), ca.same_name_other_key());
    let der = ca.crl().number(3).der();
    let cut = der.get(..der.len() - 20).unwrap().to_vec();
    let rows = [
        (
            ca.crl().number(3).bad_signature().der().to_vec(),
            "signature",
        ),
        (
            other
                .crl()
                .in_the_name_of(ca)
                .without_key_id()
                .der()
                .to_vec(),
            "signature",
        ),
        // Its key identifier is the attacker's to choose: it waits for an authority that nobody has seen.
        (ca.crl().number(3).delta(2).der().to_vec(), "delta"),
        (ca.crl().number(3).indirect().der().to_vec(), "indirect"),
        (ca.crl().number(3).leaves_only().der().to_vec(), "partial"),
        (
            ca.crl().number(3).without_next_update().der().to_vec(),
            "nextUpdate",
        ),
        (cut, "ends inside"),
        (ca.root_der().to_vec(), "certificate"),
    ];
    for (list, expected) in rows {
        site.dir.rename_over("ca.crl", &list);
        let refused = refused_reload(&site.source).await;
        let text = mtls_core::Chained(&refused).to_string();
        assert!(text.contains(expected) && text.contains("ca.crl"), "{text}");
        assert!(!refused.remedy().is_empty());
        assert_eq!(site.admits(&bad), Err(Reason::Revoked), "{expected}");
        assert_eq!(site.admits(&ca.issue("/good")), Ok(()), "{expected}");
        assert_eq!(site.source.status().revocation_lists[0].entries, 1);
    }
    // The list of somebody else says nothing of our peers. That is no reason to let in who was revoked, or anybody.
    for other in [&other, &namesake] {
        site.publish(&other.crl().number(9)).await;
        assert_eq!(site.admits(&bad), Err(Reason::RevocationUnknown));
        assert_eq!(
            site.admits(&ca.issue("/good")),
            Err(Reason::RevocationUnknown)
        );
        let status = site.source.status();
        assert!(!status.revocation_lists[0].is_bound);
        assert!(status.to_string().contains("signed by nobody we have seen"));
    }
    site.publish(&ca.crl().number(3).revoke(&bad)).await;
    assert_eq!(site.admits(&ca.issue("/good")), Ok(()));
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));
}

#[tokio::test]
async fn an_older_list_does_not_take_the_place_of_a_newer_one() {
    let site = Site::new().await;
    let bad = site.ca.issue("/bad");
    let list = |number| site.ca.crl().number(number);
    assert_eq!(site.admits(&bad), Ok(()));
    site.publish(&list(7).revoke(&bad)).await;
    for number in [6, 1] {
        site.dir.rename_over("ca.crl", list(number).pem());
        let refused = refused_reload(&site.source).await;
        assert_eq!(refused.reason(), Reason::CrlRollback);
        assert_eq!(site.admits(&bad), Err(Reason::Revoked));
    }
    // Nor after it was gone for a while.
    site.dir.remove("ca.crl");
    refused_reload(&site.source).await;
    site.publish(&TestCa::new("example.org").crl()).await;
    site.dir.rename_over("ca.crl", list(6).pem());
    assert_eq!(
        refused_reload(&site.source).await.reason(),
        Reason::CrlRollback
    );
    assert_eq!(site.admits(&bad), Err(Reason::RevocationUnknown));
    site.publish(&list(8)).await;
    assert_eq!(site.admits(&bad), Ok(()));
}

#[tokio::test]
async fn a_broken_list_holds_back_no_revocation_in_a_file_beside_it() {
    let ca = TestCa::new("example.org");
    let below = ca.intermediate();
    let (a, b, c) = (ca.issue("/a"), below.issue("/b"), below.issue("/c"));
    let dir = PlainDir::new(&ca.issue("/api"));
    std::fs::create_dir(dir.file("crl")).unwrap();
    put(&dir, "crl/root.crl", ca.crl().pem());
    put(&dir, "crl/below.crl", below.crl().pem());
    let files = CredentialFiles::kubernetes(dir.path()).revocation_lists(dir.file("crl"));
    let source = builder().watch(files).await.unwrap();
    let admits = |caller| admits(&server_of(&source), &ca, caller);
    assert_eq!((admits(&a), admits(&b)), (Ok(()), Ok(())));

    // The one is cut short, as a new one arrives in the other.
    put(
        &dir,
        "crl/below.crl",
        below.crl().number(2).revoke(&b).pem(),
    );
    reload(&source).await;
    dir.write_in_place("crl/below.crl", "-----BEGIN X509 CRL-----\nMIIB");
    put(&dir, "crl/root.crl", ca.crl().number(2).revoke(&a).pem());
    let refused = refused_reload(&source).await;
    assert!(refused.to_string().contains("below.crl"), "{refused}");
    assert_eq!(admits(&a), Err(Reason::Revoked));
    assert_eq!(admits(&b), Err(Reason::Revoked));
    // The intermediate is revoked too, while its own list is still broken.
    put(
        &dir,
        "crl/root.crl",
        ca.crl().number(3).revoke_ca(&below).pem(),
    );
    refused_reload(&source).await;
    assert_eq!(admits(&a), Ok(()));
    assert_eq!(admits(&c), Err(Reason::Revoked));
    // A file that is gone beside a broken one is not forgotten either.
    dir.remove("crl/root.crl");
    refused_reload(&source).await;
    assert_eq!(admits(&c), Err(Reason::Revoked));
    assert_eq!(admits(&a), Ok(()));
}

#[tokio::test]
async fn two_cas_of_one_name_each_have_their_own_list() {
    let old = TestCa::new("example.org");
    let new = old.same_name_other_key();
    let dir = PlainDir::new(&old.issue("/api"));
    dir.rename_over("ca.crt", old.root_pem() + &new.root_pem());
    let (a, b) = (old.issue("/a"), new.issue("/b"));
    dir.rename_over("old.crl", old.crl().pem());
    dir.rename_over("new.crl", new.crl().pem());
    let files = CredentialFiles::kubernetes(dir.path())
        .revocation_lists(dir.file("old.crl"))
        .revocation_lists(dir.file("new.crl"));
    let source = builder().watch(files).await.unwrap();
    let admits = |caller| admits(&server_of(&source), &old, caller);
    assert_eq!((admits(&a), admits(&b)), (Ok(()), Ok(())));
    // Each list names both, and speaks of its own alone.
    dir.rename_over("new.crl", new.crl().number(2).revoke(&a).revoke(&b).pem());
    reload(&source).await;
    assert_eq!((admits(&a), admits(&b)), (Ok(()), Err(Reason::Revoked)));
    dir.rename_over("old.crl", old.crl().number(2).revoke(&a).revoke(&b).pem());
    dir.rename_over("new.crl", new.crl().number(3).pem());
    reload(&source).await;
    assert_eq!((admits(&a), admits(&b)), (Err(Reason::Revoked), Ok(())));
}

#[tokio::test]
async fn lists_that_name_our_own_trust_domain_are_our_own() {
    let ca = TestCa::new("example.org");
    let bad = ca.issue("/bad");
    let dir = PlainDir::new(&ca.issue("/api"));
    dir.rename_over("ca.crl", ca.crl().pem());
    let domain = "example.org".parse().unwrap();
    let files =
        CredentialFiles::kubernetes(dir.path()).revocation_lists_for(domain, dir.file("ca.crl"));
    let source = builder().watch(files).await.unwrap();
    let admits = || admits(&server_of(&source), &ca, &bad);
    assert_eq!(admits(), Ok(()));
    dir.rename_over("ca.crl", ca.crl().number(2).revoke(&bad).pem());
    reload(&source).await;
    assert_eq!(admits(), Err(Reason::Revoked));
}

#[tokio::test]
async fn a_source_does_not_start_without_the_lists_it_was_told_of() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/api"));
    let files = || CredentialFiles::kubernetes(dir.path()).revocation_lists(dir.file("ca.crl"));
    let refused = builder().watch(files()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::FileMissing);
    dir.rename_over("ca.crl", ca.crl().bad_signature().pem());
    let refused = builder().watch(files()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::CrlUnusable);
    dir.rename_over("ca.crl", "");
    assert!(builder().watch(files()).await.is_err());
    dir.rename_over("ca.crl", ca.crl().pem());
    assert!(builder().watch(files()).await.is_ok());
}

#[test]
fn our_own_certificate_on_our_list_is_told_of_once_and_served_on() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let own = ca.issue("/api");
    let (publisher, source) = ca.publish(&own);
    let publish = |list: TestCrl<'_>| {
        let trust = ca.trust_material().revoke([list.der()]);
        publisher.publish_trust(trust).unwrap()
    };
    publish(ca.crl());
    assert!(source.status().own_revoked.is_none());
    assert_eq!(source.status().health, Health::Healthy);
    for number in 2..6 {
        publish(ca.crl().number(number).revoke(&own));
        let status = source.status();
        let revoked = status.own_revoked.clone().unwrap();
        assert_eq!(revoked.reason(), Reason::Revoked);
        assert_eq!(status.health, Health::Degraded);
        assert_eq!(source.current().credentials().serial(), own.serial());
        let text = status.to_string();
        let line = text.lines().find(|line| line.starts_with("revoked: "));
        assert!(line.unwrap().contains(&own.serial()), "{text}");
        let told = "our own certificate is revoked";
        assert_eq!(log.count(Level::WARN, told), 1);
    }
    // Peers decide for themselves: one without the list is served.
    assert_eq!(admits(&server_of(&source), &ca, &ca.issue("/web")), Ok(()));
    let renewed = ca.issue("/api");
    publisher.publish_credentials(renewed.material()).unwrap();
    assert!(source.status().own_revoked.is_none());
    assert_eq!(source.status().health, Health::Healthy);
    assert_eq!(log.warnings(), 1);
    // The next of ours that is revoked is told of again.
    publish(ca.crl().number(7).revoke(&renewed));
    assert_eq!(log.warnings(), 2);
}

#[tokio::test]
async fn a_list_whose_successor_is_due_is_warned_of_once() {
    let (log, _guard) = Log::start();
    let site = Site::new().await;
    assert_eq!(log.warnings(), 0);
    let now = SystemTime::now();
    let hours = |n: u64| Duration::from_secs(n * 60 * 60);
    // Of nine hours three and a half are left, and then two and a half.
    let list = |number, left: Duration| {
        let next = now + left;
        let issued = site.ca.crl().number(number).this_update(next - hours(9));
        issued.next_update(next)
    };
    let half = Duration::from_secs(30 * 60);
    site.publish(&list(2, hours(3) + half)).await;
    let due = |site: &Site| site.source.status().revocation_lists[0].is_due(Timestamp::now());
    assert!(!due(&site));
    assert_eq!(log.warnings(), 0);
    for number in [3, 4] {
        site.publish(&list(number, hours(2) + half - Duration::from_secs(number)))
            .await;
        reload(&site.source).await;
        reload(&site.source).await;
        assert!(due(&site));
        let told = log.count(Level::WARN, "a revocation list should have been renewed");
        assert_eq!(told, usize::try_from(number - 2).unwrap());
        assert_eq!(log.count(Level::WARN, "ca.crl"), told);
    }
    let status = site.source.status();
    let line = format!(
        "the next is due at {}",
        status.revocation_lists[0].next_update
    );
    let text = status.to_string();
    assert!(
        text.contains("revocation list: ") && text.contains(&line),
        "{text}"
    );
}

/// The runtime has one thread: while it reads a list, nothing here would tick.
#[tokio::test]
async fn a_list_of_a_hundred_thousand_entries_is_read_beside_the_executor() {
    let site = Site::new().await;
    let bad = site.ca.issue("/bad");
    assert_eq!(site.admits(&bad), Ok(()));
    let list = site
        .ca
        .crl()
        .number(2)
        .revoke_many(100_000)
        .revoke(&bad)
        .pem();
    let ticker = tokio::spawn(async {
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        let mut ticks = 0_u32;
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
            ticks += 1;
            TICKS.store(ticks, std::sync::atomic::Ordering::SeqCst);
            LONGEST.store(
                u32::try_from(longest.as_millis()).unwrap(),
                std::sync::atomic::Ordering::SeqCst,
            );
        }
    });
    site.dir.rename_over("ca.crl", list);
    let begun = Instant::now();
    reload(&site.source).await;
    let (took, ticks) = (
        begun.elapsed(),
        TICKS.load(std::sync::atomic::Ordering::SeqCst),
    );
    ticker.abort();
    let longest = Duration::from_millis(LONGEST.load(std::sync::atomic::Ordering::SeqCst).into());
    assert_eq!(site.source.status().revocation_lists[0].entries, 100_001);
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));
    assert_eq!(site.admits(&site.ca.issue("/good")), Ok(()));
    // Parsing alone takes a good part of this, in one piece.
    assert!(ticks > 10, "{ticks} ticks in {took:?}");
    assert!(
        longest < took / 2,
        "nothing ticked for {longest:?} of {took:?}"
    );
}

static TICKS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
static LONGEST: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
