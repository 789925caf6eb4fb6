//! A list whose successor does not come, while nothing changes on disk.

use std::time::{Duration, SystemTime};

use mtls_core::rustls::{AlertDescription, HandshakeKind};
use mtls_core::testing::{LeafOptions, TestCrl};
use mtls_core::{Health, Reason, Revocation, StaleCrl};
use tracing::Level;

use crate::fixture::*;
use crate::site::{Caller, Site, VERSIONS, accept, dial, naive_server};

/// Due so soon that a test can wait for it, and far enough that one can connect before.
fn short<'a>(list: TestCrl<'a>) -> TestCrl<'a> {
    list.next_update(SystemTime::now() + Duration::from_secs(3))
}

#[tokio::test]
async fn a_list_that_becomes_stale_refuses_who_is_new_and_ends_no_connection() {
    let (log, _guard) = Log::start();
    // Nothing changes on disk, so the poll is what finds out that a list is due.
    let quick = builder().poll_interval(Duration::from_millis(50));
    let site = Site::with(quick, |setup| {
        let list = short(setup.ca.crl());
        setup.dir.rename_over("ca.crl", list.pem());
    })
    .await;
    let (server, client) = (site.server(), site.client());
    let peers = [site.ca.issue("/a"), site.ca.issue("/b")];
    let [caller, callee] = &peers;
    let callers = VERSIONS.map(|version| Caller::new(version, &site.ca, caller));
    let servers = VERSIONS.map(|version| naive_server(version, &site.ca, callee));
    let mut live = Vec::new();
    for (caller, server_of_theirs) in callers.iter().zip(&servers) {
        live.push(accept(&server, caller).peer.unwrap());
        live.push(dial(&client, server_of_theirs).peer.unwrap());
        // The control: a session is resumed as long as the list is not stale.
        let again = accept(&server, caller);
        assert_eq!(again.kind, Some(HandshakeKind::Resumed));
        live.push(again.peer.unwrap());
        live.push(dial(&client, server_of_theirs).peer.unwrap());
    }
    let end = live[0].deadline();
    assert_eq!(site.source.status().health, Health::Healthy);
    let generation = site.source.current().generation();

    until("stale", || accept(&server, &callers[0]).peer.is_err()).await;
    for (caller, server_of_theirs) in callers.iter().zip(&servers) {
        let met = accept(&server, caller);
        assert_ne!(met.kind, Some(HandshakeKind::Resumed));
        let alert = AlertDescription::UnknownCA;
        let text = met.peer.as_ref().unwrap_err().to_string();
        assert!(text.contains("due"), "{text}");
        let (reason, sent) = met.refused();
        assert_eq!(reason, Reason::CrlStale);
        assert_eq!(sent, Some(alert));
        let met = dial(&client, server_of_theirs);
        assert_eq!(met.refused().0, Reason::CrlStale);
    }
    for peer in &live {
        peer.check().unwrap();
        assert_eq!(peer.deadline(), end);
    }
    // Nor does another snapshot of the same trust, or of another, end them: of who is here the list said nothing.
    site.dir.rotate(&site.ca.issue("/api"));
    until("a new leaf", || {
        site.source.current().generation() > generation
    })
    .await;
    let elsewhere = mtls_core::testing::TestCa::new("example.org");
    let both = site.ca.root_pem() + &elsewhere.root_pem();
    site.dir.rename_over("ca.crt", both);
    until("a new trust", || {
        site.source.current().trust().bundle().anchors().len() == 2
    })
    .await;
    for peer in &live {
        peer.check().unwrap();
    }
    let status = site.source.status();
    assert_eq!(status.health, Health::Degraded);
    assert!(status.revocation_lists[0].is_stale(mtls_core::Timestamp::now()));
    let told = log.count(Level::WARN, "a revocation list should have been renewed");
    assert_eq!(told, 1);

    // The next list comes late. It lets in again, and revokes who was connected all along.
    site.publish(&site.ca.crl().number(2).revoke(caller)).await;
    for peer in &live {
        let is_revoked = peer.identity().serial() == caller.serial();
        let lost = peer.check().map_err(|lost| lost.reason());
        assert_eq!(
            lost,
            if is_revoked {
                Err(Reason::Revoked)
            } else {
                Ok(())
            }
        );
    }
    assert!(dial(&client, &servers[0]).peer.is_ok());
    assert_eq!(site.source.status().health, Health::Healthy);
}

#[tokio::test]
async fn a_stale_list_keeps_alive_neither_who_is_on_it_nor_whose_time_is_over() {
    let site = Site::new().await;
    let (bad, good) = (site.ca.issue("/bad"), site.ca.issue("/good"));
    let short = LeafOptions::service("/short").expires_in(Duration::from_secs(3));
    let short = site.ca.issue_with(short);
    let server = site.server();
    let connect = |issued| {
        let met = accept(&server, &Caller::new(VERSIONS[0], &site.ca, issued));
        met.peer.unwrap()
    };
    let [bad_peer, good_peer, short_peer] = [&bad, &good, &short].map(connect);
    let late = site.ca.crl().number(2).revoke(&bad);
    let late = late.next_update(SystemTime::now() - Duration::from_secs(60));
    site.publish(&late).await;
    good_peer.check().unwrap();
    assert_eq!(site.admits(&good), Err(Reason::CrlStale));
    // That somebody is revoked is known, however old the list.
    assert_eq!(bad_peer.check().unwrap_err().reason(), Reason::Revoked);
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));
    until("expired", || short_peer.check().is_err()).await;
    assert_eq!(short_peer.check().unwrap_err().reason(), Reason::Expired);
    // Nor does it keep whose CA is gone.
    let other = mtls_core::testing::TestCa::new("example.org");
    site.dir.rotate(&other.issue("/api"));
    site.source.reload().await.ok();
    assert_eq!(
        good_peer.check().unwrap_err().reason(),
        Reason::UnknownIssuer
    );
}

#[tokio::test]
async fn a_stale_list_is_used_on_where_that_was_chosen() {
    let hour = Duration::from_secs(60 * 60);
    let choices = [
        (StaleCrl::Allow, true),
        (StaleCrl::Deny { grace: 2 * hour }, true),
        (StaleCrl::Deny { grace: hour / 2 }, false),
    ];
    for (choice, lets_in) in choices {
        let settings = Revocation::new().stale(choice);
        let site = Site::with(builder().revocation(settings), |_| {}).await;
        let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
        assert_eq!((site.admits(&good), site.admits(&bad)), (Ok(()), Ok(())));
        site.publish(&site.ca.crl().number(2).stale().revoke(&bad))
            .await;
        let expected = if lets_in {
            Ok(())
        } else {
            Err(Reason::CrlStale)
        };
        assert_eq!(site.admits(&good), expected, "{choice:?}");
        assert_eq!(site.admits(&bad), Err(Reason::Revoked), "{choice:?}");
        assert_eq!(site.source.status().health, Health::Degraded);
    }
}
