//! A list that revokes who is connected.

use std::time::Duration;

use mtls_core::{PeerInfo, Reason};
use tokio::time::timeout;

use crate::fixture::*;
use crate::site::{Caller, Site, VERSIONS, accept, dial, naive_server};

/// Waits until the peer is lost, in a task of its own.
fn watch_for_loss(peer: &PeerInfo) -> tokio::task::JoinHandle<Reason> {
    let peer = peer.clone();
    tokio::spawn(async move { peer.lost().await.reason() })
}

#[tokio::test]
async fn a_connected_peer_that_is_revoked_is_lost_and_others_notice_nothing() {
    let site = Site::new().await;
    let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
    let (server, client) = (site.server(), site.client());
    let connect = |issued| -> Vec<PeerInfo> {
        let both = VERSIONS.map(|version| {
            let accepted = accept(&server, &Caller::new(version, &site.ca, issued)).peer;
            let dialled = dial(&client, &naive_server(version, &site.ca, issued)).peer;
            [accepted.unwrap(), dialled.unwrap()]
        });
        both.into_iter().flatten().collect()
    };
    let (stay, go) = (connect(&good), connect(&bad));
    for peer in stay.iter().chain(&go) {
        peer.check().unwrap();
    }
    let staying: Vec<_> = stay.iter().map(watch_for_loss).collect();
    let going: Vec<_> = go.iter().map(watch_for_loss).collect();

    // Nobody asks: the event of the file has to wake them.
    let list = site.ca.crl().number(2).revoke(&bad);
    site.dir.rename_over("ca.crl", list.pem());
    for lost in going {
        let reason = timeout(DEADLINE, lost).await.expect("woken").unwrap();
        assert_eq!(reason, Reason::Revoked);
    }
    for peer in &go {
        assert_eq!(peer.check().unwrap_err().reason(), Reason::Revoked);
    }
    for peer in &stay {
        peer.check().unwrap();
    }
    assert_eq!(site.admits(&bad), Err(Reason::Revoked));
    assert_eq!(site.admits(&good), Ok(()));
    assert!(staying.iter().all(|task| !task.is_finished()));
    for task in staying {
        task.abort();
    }
}

#[tokio::test]
async fn a_connected_peer_that_no_list_speaks_of_any_more_is_lost() {
    let site = Site::new().await;
    let caller = site.ca.issue("/caller");
    let met = accept(&site.server(), &Caller::new(VERSIONS[0], &site.ca, &caller));
    let peer = met.peer.unwrap();
    site.publish(&site.ca.crl().number(2)).await;
    peer.check().unwrap();
    site.publish(&site.ca.same_name_other_key().crl()).await;
    assert_eq!(
        peer.check().unwrap_err().reason(),
        Reason::RevocationUnknown
    );
}

#[tokio::test]
async fn a_list_that_is_refused_ends_no_connection() {
    let site = Site::new().await;
    let caller = site.ca.issue("/caller");
    let met = accept(&site.server(), &Caller::new(VERSIONS[0], &site.ca, &caller));
    let peer = met.peer.unwrap();
    site.dir.rename_over(
        "ca.crl",
        site.ca.crl().revoke(&caller).bad_signature().pem(),
    );
    refused_reload(&site.source).await;
    peer.check().unwrap();
    let lost = timeout(Duration::from_millis(50), peer.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}
