use rustls::ServerConfig;

use super::*;
use crate::policy::Policy;
use crate::snapshot::{CredentialSource, TrustMaterial};
use crate::testing::TestCa;
use crate::tls::{Resumption, TlsVersions};

fn settings(source: &CredentialSource) -> Arc<ServerSettings> {
    let provider = Arc::clone(source.current().provider());
    let configs = ServerConfig::builder_with_provider(provider);
    let configs = TlsVersions::default().begin(configs);
    Arc::new(ServerSettings {
        client_certificates: Default::default(),
        authorizer: Arc::new(Policy::trust_domain("example.org").unwrap()),
        alpn: Vec::new(),
        configs: configs.unwrap(),
        resumption: Resumption::default(),
        audit: crate::audit::Audit::default(),
    })
}

/// A connection of a client with this chain, as a handshake that is done leaves it.
fn standing(
    source: &CredentialSource,
    settings: &Arc<ServerSettings>,
    issued: &crate::testing::Issued,
) -> Standing {
    let snapshot = source.current();
    let chain = issued.chain_der();
    let peer = snapshot.trust.verify(&chain, Role::Client, clock::now());
    let measure = Measure::Server(Arc::clone(settings));
    let current = Arc::clone(source.cell());
    Standing::new(current, &snapshot, peer.unwrap(), measure, 0)
}

#[test]
fn ten_thousand_connections_of_ten_peers_cost_ten_verifications_when_the_trust_changes() {
    let (ours, theirs) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let next = TestCa::new("example.org");
    let trust = |cas: &[&TestCa]| TrustMaterial::new(cas.iter().map(|ca| ca.root_der()).collect());
    let (publisher, source) = CredentialSource::builder()
        .publish(ours.issue("/api").material(), trust(&[&ours, &theirs]))
        .unwrap();
    let settings = settings(&source);
    // Five peers of each CA, with a thousand connections each.
    let issued: Vec<_> = (0..10)
        .map(|n| [&ours, &theirs][n % 2].issue(&format!("/peer-{n}")))
        .collect();
    let all: Vec<_> = (0..10_000)
        .map(|n| (n % 10, standing(&source, &settings, &issued[n % 10])))
        .collect();
    let verifications = || source.current().trust().verifications();
    assert_eq!(verifications(), 10);
    let ask_all = |stays: fn(usize) -> bool| {
        let now = Timestamp::now();
        for (peer, standing) in &all {
            assert_eq!(standing.check(now).is_ok(), stays(*peer), "peer {peer}");
        }
    };
    // A root more: everybody stays, and nobody is verified a second time.
    publisher
        .publish_trust(trust(&[&ours, &theirs, &next]))
        .unwrap();
    ask_all(|_| true);
    assert_eq!(verifications(), 10);
    // A leaf of ours: the trust is the same, and so is what it remembers.
    publisher
        .publish_credentials(ours.issue("/api").material())
        .unwrap();
    ask_all(|_| true);
    assert_eq!(verifications(), 10);
    // A root less: five peers go. Each was looked at before the trust was published; a no is not remembered by the trust,
    // so that it costs one more for each of the five, and not one for each of their five thousand connections.
    publisher.publish_trust(trust(&[&ours, &next])).unwrap();
    ask_all(|peer| peer % 2 == 0);
    assert_eq!(verifications(), 15);
    // Who goes on asking costs nothing.
    ask_all(|peer| peer % 2 == 0);
    assert_eq!(verifications(), 15);
}

#[test]
fn a_deadline_that_passes_is_asked_about_once() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let settings = settings(&source);
    let standing = standing(&source, &settings, &ca.issue("/web"));
    let last = standing.deadline();
    let verifications = || source.current().trust().verifications();
    assert!(standing.check(last).is_ok());
    assert_eq!(verifications(), 1);
    let past = last.next();
    for _ in 0..100 {
        let refused = standing.check(past).unwrap_err();
        assert_eq!(refused.reason(), crate::Reason::Expired);
    }
    assert_eq!(verifications(), 2);
}

#[test]
fn a_nap_ends_with_the_deadline_and_never_lasts_longer_than_half_a_minute() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let standing = standing(&source, &settings(&source), &ca.issue("/web"));
    let end = standing.deadline().as_unix();
    for (left, expected) in [(3600, 30), (30, 30), (29, 30), (5, 6), (0, 1), (-5, 1)] {
        let now = Timestamp::from_unix(end - left);
        assert_eq!(standing.nap(now), Duration::from_secs(expected));
    }
}
