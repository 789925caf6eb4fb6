//! What rotation and lost trust do to open channels and calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mtls_core::testing::TestCa;
use mtls_core::{Reason, TrustMaterial};
use mtls_tower::ConnectError;
use mtls_tower::tonic::{PeerExt, channel, serve};
use tonic::Code;
use tonic::service::Routes;

use crate::common::{HOUR, alert, listen, server, within};
use crate::echo::{Echo, ask, open};
use crate::identity::find;
use crate::{By, EITHER, Serving, client_of, endpoint, open_to_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_of_both_ends_under_load_loses_no_call() {
    for by in EITHER {
        let ca = TestCa::new("example.org");
        let (serving_as, source) = ca.publish(&ca.issue("/api"));
        let serving = by.start(open_to_all(&source), Routes::new(Echo::default()));
        let (calling_as, source) = ca.publish(&ca.issue("/web"));
        let channel = channel(client_of(&source), endpoint(serving.addr));

        let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let load: Vec<_> = (0..8)
            .map(|_| {
                let (channel, done) = (channel.clone(), Arc::clone(&done));
                let calls: Arc<AtomicUsize> = Arc::clone(&calls);
                tokio::spawn(async move {
                    while !done.load(Ordering::SeqCst) {
                        ask(channel.clone()).await.expect("no call is lost");
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let mut long = within(open(channel.clone())).await.unwrap();
        for _ in 0..10 {
            // Each rotation has calls before it and after it.
            let before = calls.load(Ordering::SeqCst);
            within(async {
                while calls.load(Ordering::SeqCst) < before + 50 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let (server, client) = (ca.issue("/api"), ca.issue("/web"));
            serving_as.publish_credentials(server.material()).unwrap();
            calling_as.publish_credentials(client.material()).unwrap();
            let answer = within(ask(channel.clone())).await.unwrap();
            assert_eq!(answer.get_ref().serial, client.serial(), "{by:?}");
            if let Some(answered) = answer.peer_info() {
                assert_eq!(answered.identity().serial().to_string(), server.serial());
            }
            // On the connection that it was opened on, ten rotations ago.
            within(long.echo("still here")).await;
        }
        done.store(true, Ordering::SeqCst);
        for task in load {
            within(task).await.unwrap();
        }
    }
}

#[tokio::test]
async fn without_rotation_a_channel_keeps_its_connection() {
    let ca = TestCa::new("example.org");
    let serving = By::Ours.start(server(&ca), Echo::default());
    let source = ca.source(&ca.issue("/web"));
    let channel = channel(client_of(&source), endpoint(serving.addr));
    let first = within(ask(channel.clone())).await.unwrap();
    let second = within(ask(channel)).await.unwrap();
    assert_eq!(first.get_ref().port, second.get_ref().port);
}

#[tokio::test]
async fn a_connection_that_is_drained_under_an_open_stream_loses_no_call() {
    let ca = TestCa::new("example.org");
    let tcp = listen();
    let addr = tcp.local_addr().unwrap();
    let server = serve(tcp, server(&ca), Echo::default())
        .max_age(Duration::from_millis(50))
        .lost_peer_deadline(HOUR);
    let task = tokio::spawn(async move { server.await.unwrap() });
    let _serving = Serving { addr, task };
    let source = ca.source(&ca.issue("/web"));
    let channel = channel(client_of(&source), endpoint(addr));
    let mut long = within(open(channel.clone())).await.unwrap();
    let first = within(ask(channel.clone())).await.unwrap().into_inner();
    within(async { while ask(channel.clone()).await.unwrap().into_inner().port == first.port {} })
        .await;
    within(long.echo("still here")).await;
}

/// The client's CA is trusted no more.
struct Lost {
    _serving: Serving,
    channel: mtls_tower::tonic::Channel,
    publisher: mtls_core::Publisher,
    ca: TestCa,
}

fn about_to_be_lost(start: impl FnOnce(mtls_core::ServerTls) -> Serving) -> Lost {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ca.publish(&ca.issue("/api"));
    let both = || TrustMaterial::new(vec![ca.root_der(), other.root_der()]);
    publisher.publish_trust(both()).unwrap();
    let serving = start(open_to_all(&source));
    let (trusting, source) = other.publish(&other.issue("/web"));
    trusting.publish_trust(both()).unwrap();
    let channel = channel(client_of(&source), endpoint(serving.addr));
    Lost {
        _serving: serving,
        channel,
        publisher,
        ca,
    }
}

impl Lost {
    fn lose(&self) {
        let publisher = &self.publisher;
        publisher.publish_trust(self.ca.trust_material()).unwrap();
    }
}

#[tokio::test]
async fn the_next_call_of_a_lost_client_is_unauthenticated_and_its_stream_has_time() {
    let lost = about_to_be_lost(|tls| By::Ours.start(tls, Echo::default()));
    let mut long = within(open(lost.channel.clone())).await.unwrap();
    within(ask(lost.channel.clone())).await.unwrap();
    lost.lose();
    let refused = within(ask(lost.channel.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    within(long.echo("still here")).await;
    // The connection is draining: the next call has to connect anew.
    let refused = within(ask(lost.channel.clone())).await.unwrap_err();
    assert_eq!(alert(&refused), "unknown_ca");
}

#[tokio::test]
async fn the_stream_of_a_lost_client_is_cut_at_the_deadline() {
    let lost = about_to_be_lost(|tls| {
        let tcp = listen();
        let addr = tcp.local_addr().unwrap();
        let server =
            serve(tcp, tls, Echo::default()).lost_peer_deadline(Duration::from_millis(200));
        let task = tokio::spawn(async move { server.await.unwrap() });
        Serving { addr, task }
    });
    let mut long = within(open(lost.channel.clone())).await.unwrap();
    within(long.echo("one")).await;
    lost.lose();
    within(long.end()).await.unwrap_err();
}

#[tokio::test]
async fn tonics_own_server_cuts_the_stream_of_a_lost_client_at_once() {
    let lost = about_to_be_lost(|tls| By::Tonics.start(tls, Echo::default()));
    let mut long = within(open(lost.channel.clone())).await.unwrap();
    within(long.echo("one")).await;
    lost.lose();
    within(long.end()).await.unwrap_err();
    let refused = within(ask(lost.channel.clone())).await.unwrap_err();
    assert_eq!(alert(&refused), "unknown_ca");
}

#[tokio::test]
async fn a_channel_leaves_a_server_that_it_would_not_accept_any_more() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let both = || TrustMaterial::new(vec![ca.root_der(), other.root_der()]);
    let (trusting, source) = other.publish(&other.issue("/api"));
    trusting.publish_trust(both()).unwrap();
    for by in EITHER {
        let serving = by.start(open_to_all(&source), Echo::default());
        let (publisher, source) = ca.publish(&ca.issue("/web"));
        publisher.publish_trust(both()).unwrap();
        let channel = channel(client_of(&source), endpoint(serving.addr));
        let mut long = within(open(channel.clone())).await.unwrap();
        within(long.echo("one")).await;
        publisher.publish_trust(ca.trust_material()).unwrap();
        within(long.end()).await.unwrap_err();
        let refused = within(ask(channel)).await.unwrap_err();
        let why: &ConnectError = find(&refused);
        assert_eq!(why.reason(), Some(Reason::UnknownIssuer), "{by:?}");
    }
}
