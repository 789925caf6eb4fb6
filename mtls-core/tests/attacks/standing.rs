//! Open connections: whether their peers would still be let in.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_core::testing::{LeafOptions, TestCa, handshake};
use mtls_core::{
    Authorizer, ClientTls, CredentialSource, Denial, HandshakeError, PeerIdentity, PeerInfo,
    Policy, Reason, Timestamp, TrustDomain,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::fixture::*;

/// A policy that is replaced while it is in use, and tells of it.
#[derive(Debug, Clone)]
struct Replaceable {
    policy: Arc<Mutex<Policy>>,
    version: Arc<watch::Sender<u64>>,
}

impl Replaceable {
    fn new(policy: Policy) -> Self {
        Self {
            policy: Arc::new(Mutex::new(policy)),
            version: Arc::new(watch::Sender::new(0)),
        }
    }

    fn replace(&self, policy: Policy) {
        // The answer first, then the number that says that it may be another.
        *self.policy.lock().unwrap() = policy;
        self.version.send_modify(|version| *version += 1);
    }
}

impl Authorizer for Replaceable {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        self.policy.lock().unwrap().authorize(peer)
    }

    fn version(&self) -> u64 {
        *self.version.borrow()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.version.subscribe())
    }
}

const VERSION: &mtls_core::rustls::SupportedProtocolVersion = VERSIONS[0];

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.unwrap()
}

/// Nothing comes of it, though everybody was given the chance to run.
async fn stays(lost: impl Future<Output = HandshakeError>) {
    let quiet = timeout(Duration::from_millis(50), lost).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_ca_that_is_removed_ends_its_own_peers_and_no_other_notices() {
    let (ours, gone) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = CredentialSource::builder()
        .publish(ours.issue("/api").material(), trust(&[&ours, &gone]))
        .unwrap();
    let server = server(&source);
    let open = |ca: &TestCa| meet(&server, &foreign(VERSION, &ours, &ca.issue("/web"))).full();
    let (theirs, stays_on) = (open(&gone), open(&ours));
    assert!(theirs.check().is_ok() && stays_on.check().is_ok());
    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.lost().await }
    });
    publisher.publish_trust(trust(&[&ours])).unwrap();
    assert_eq!(theirs.check().unwrap_err().reason(), Reason::UnknownIssuer);
    let lost = soon(waiting).await.unwrap();
    assert_eq!(lost.reason(), Reason::UnknownIssuer);
    let presented = lost.presented().unwrap().to_string();
    assert!(
        presented.contains("spiffe://example.org/web"),
        "{presented}"
    );
    assert!(stays_on.check().is_ok());
    stays(stays_on.lost()).await;
    // It is given back, and the connection, if it is still there, is as good as a new one.
    publisher.publish_trust(trust(&[&ours, &gone])).unwrap();
    assert!(theirs.check().is_ok());
    stays(theirs.lost()).await;
}

#[tokio::test]
async fn a_policy_that_is_replaced_ends_whom_it_refuses_and_no_other() {
    let ca = TestCa::new("example.org");
    let both = || Policy::trust_domain("example.org").unwrap();
    let policy = Replaceable::new(both());
    let server = server_for(&ca.source(&ca.issue("/api")), policy.clone());
    let open = |path: &str| meet(&server, &foreign(VERSION, &ca, &ca.issue(path))).full();
    let (web, batch) = (open("/web"), open("/batch"));
    let lost = tokio::spawn({
        let batch = batch.clone();
        async move { batch.lost().await }
    });
    policy.replace(Policy::spiffe_id("spiffe://example.org/web").unwrap());
    assert_eq!(batch.check().unwrap_err().reason(), Reason::NotAuthorized);
    assert_eq!(soon(lost).await.unwrap().reason(), Reason::NotAuthorized);
    assert!(web.check().is_ok());
    stays(web.lost()).await;
    policy.replace(both());
    assert!(batch.check().is_ok());
}

#[tokio::test]
async fn a_certificate_that_expires_ends_its_peers_connection_in_that_second() {
    let ca = TestCa::new("example.org");
    let server = server(&ca.source(&ca.issue("/api")));
    let short = LeafOptions::service("/web").expires_in(Duration::from_millis(2900));
    let info = meet(&server, &foreign(VERSION, &ca, &ca.issue_with(short))).full();
    let long = meet(&server, &foreign(VERSION, &ca, &ca.issue("/web"))).full();
    assert_eq!(info.deadline(), info.identity().not_after());
    assert!(info.check().is_ok());
    let lost = soon(info.lost()).await;
    assert_eq!(lost.reason(), Reason::Expired);
    let late = info.deadline().saturating_since(Timestamp::now());
    assert!(late.is_zero() && Timestamp::now().as_unix() <= info.deadline().as_unix() + 3);
    assert_eq!(info.check().unwrap_err().reason(), Reason::Expired);
    assert!(long.check().is_ok());
}

#[tokio::test]
async fn a_trust_domain_that_is_federated_no_more_ends_its_members_and_no_other() {
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("partner.example"));
    let partner: TrustDomain = "partner.example".parse().unwrap();
    let federated = || trust(&[&ours]).federate(partner.clone(), vec![theirs.root_der()]);
    let (publisher, source) = CredentialSource::builder()
        .publish(ours.issue("/api").material(), federated())
        .unwrap();
    let server = server(&source);
    let open = |issued| meet(&server, &foreign(VERSION, &ours, &issued)).full();
    let (member, local) = (open(theirs.issue("/web")), open(ours.issue("/web")));
    let lost = tokio::spawn({
        let member = member.clone();
        async move { member.lost().await }
    });
    publisher.publish_trust(trust(&[&ours])).unwrap();
    assert_eq!(
        member.check().unwrap_err().reason(),
        Reason::WrongTrustDomain
    );
    assert_eq!(soon(lost).await.unwrap().reason(), Reason::WrongTrustDomain);
    assert!(local.check().is_ok());
    // By an empty bundle, the same (SPIFFE Trust Domain and Bundle §4.1.3).
    publisher.publish_trust(federated()).unwrap();
    assert!(member.check().is_ok());
    publisher
        .publish_trust(trust(&[&ours]).federate(partner.clone(), Vec::new()))
        .unwrap();
    assert_eq!(
        member.check().unwrap_err().reason(),
        Reason::WrongTrustDomain
    );
}

#[tokio::test]
async fn a_client_asks_about_its_server_too() {
    let (ours, gone) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = CredentialSource::builder()
        .publish(ours.issue("/web").material(), trust(&[&ours, &gone]))
        .unwrap();
    let client = client(&source);
    let server_of = |ca: &TestCa| {
        let issued = ca.issue("/api");
        let trusting = CredentialSource::builder()
            .publish(issued.material(), trust(&[&ours, &gone]))
            .unwrap();
        server(&trusting.1)
    };
    let open = |server| -> PeerInfo { handshake(server, &client, "localhost").client.unwrap() };
    let (stays_on, goes) = (server_of(&ours), server_of(&gone));
    let (stays_on, theirs) = (open(&stays_on), open(&goes));
    let lost = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.lost().await }
    });
    publisher.publish_trust(trust(&[&ours])).unwrap();
    assert_eq!(theirs.check().unwrap_err().reason(), Reason::UnknownIssuer);
    assert_eq!(soon(lost).await.unwrap().reason(), Reason::UnknownIssuer);
    assert!(stays_on.check().is_ok());
    // And dials it no more: what it had of sessions was of the trust before.
    let again = handshake(&goes, &client, "localhost").client.unwrap_err();
    assert_eq!(again.reason(), Reason::UnknownIssuer);
}

#[tokio::test]
async fn the_connections_of_a_source_that_is_gone_are_judged_by_its_last_snapshot() {
    let ca = TestCa::new("example.org");
    let (publisher, source) = ca.publish(&ca.issue("/api"));
    let server = server(&source);
    let info = meet(&server, &foreign(VERSION, &ca, &ca.issue("/web"))).full();
    drop((publisher, source, server));
    assert!(info.check().is_ok());
    stays(info.lost()).await;
}

#[test]
fn a_thousand_resumed_connections_of_ten_peers_cost_ten_verifications_when_the_trust_changes() {
    let (ours, next) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (publisher, source) = ours.publish(&ours.issue("/api"));
    let server = server(&source);
    let mut open = Vec::new();
    for peer in 0..10 {
        let client = foreign(VERSION, &ours, &ours.issue(&format!("/peer-{peer}")));
        open.push(meet(&server, &client).full());
        open.extend((1..100).map(|_| meet(&server, &client).resumed()));
    }
    let verifications = || source.current().trust().verifications();
    assert_eq!(verifications(), 10);
    publisher.publish_trust(trust(&[&ours, &next])).unwrap();
    assert!(open.iter().all(|info| info.check().is_ok()));
    assert_eq!(verifications(), 10);
}

#[test]
fn one_who_holds_a_name_no_longer_counting_is_no_server_by_name_any_more() {
    // What names_from allows is part of the source, and its bundle is not: with it goes the server.
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("partner.example"));
    let partner: TrustDomain = "partner.example".parse().unwrap();
    let (publisher, source) = CredentialSource::builder()
        .names_from(partner.clone())
        .publish(
            ours.issue("/web").material(),
            trust(&[&ours]).federate(partner, vec![theirs.root_der()]),
        )
        .unwrap();
    let client = ClientTls::builder(&source).verify_server_name();
    let client = client.build().unwrap();
    let api = CredentialSource::builder().publish(
        theirs.issue("/api").material(),
        trust(&[&theirs]).federate("example.org".parse().unwrap(), vec![ours.root_der()]),
    );
    let server = server(&api.unwrap().1);
    let info = handshake(&server, &client, "localhost").client.unwrap();
    assert!(info.check().is_ok());
    publisher.publish_trust(trust(&[&ours])).unwrap();
    assert_eq!(info.check().unwrap_err().reason(), Reason::WrongTrustDomain);
}

#[test]
fn no_request_passes_once_a_policy_refuses_its_peer_however_many_ask_at_once() {
    let ca = TestCa::new("example.org");
    let allowing = || Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let refusing = || Policy::spiffe_id("spiffe://example.org/batch").unwrap();
    let policy = Replaceable::new(allowing());
    let server = server_for(&ca.source(&ca.issue("/api")), policy.clone());
    let info = meet(&server, &foreign(VERSION, &ca, &ca.issue("/web"))).full();
    // The version is odd from the very moment on at which the peer is refused, until it is about to be let in again.
    let (asked, about, done) = (
        AtomicU64::new(0),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    let refused = || policy.version() % 2 == 1 && !about.load(Ordering::SeqCst);
    let ask = || {
        while !done.load(Ordering::SeqCst) {
            let before = (policy.version(), refused());
            let answer = info.check();
            if before.1 && before == (policy.version(), refused()) {
                assert!(answer.is_err());
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        for _ in 0..300 {
            let answered = asked.load(Ordering::SeqCst);
            policy.replace(refusing());
            while asked.load(Ordering::SeqCst) < answered + 3
                && asking.iter().all(|thread| !thread.is_finished())
            {
                std::thread::yield_now();
            }
            about.store(true, Ordering::SeqCst);
            policy.replace(allowing());
            assert!(info.check().is_ok());
            about.store(false, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_trust_that_changes_while_chains_are_verified_lets_in_nobody_of_the_other() {
    let (ours, comes_and_goes) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (wide, narrow) = (|| trust(&[&ours, &comes_and_goes]), || trust(&[&ours]));
    let (publisher, source) = CredentialSource::builder()
        .publish(ours.issue("/api").material(), wide())
        .unwrap();
    let server = server(&source);
    let client = || foreign(VERSION, &ours, &comes_and_goes.issue("/web"));
    let known = client();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Handshakes that begin under one trust and end under another.
        let meet_on = || {
            while !done.load(Ordering::SeqCst) {
                let _ = meet(&server, &known);
            }
        };
        scope.spawn(meet_on);
        for _ in 0..15 {
            let fresh = client();
            publisher.publish_trust(narrow()).unwrap();
            for client in [&fresh, &known] {
                assert_eq!(meet(&server, client).refused(), Reason::UnknownIssuer);
            }
            publisher.publish_trust(wide()).unwrap();
            for client in [&fresh, &known] {
                assert!(meet(&server, client).server.is_ok());
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}
