//! What a refused client hears, and what it does not learn.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::time::Duration;

use common::{
    Accepting, Foreign, Log, connect, https, patient, refusal, server, server_for, within,
};
use mtls_core::rustls::version::{TLS12, TLS13};
use mtls_core::testing::TestCa;
use mtls_core::{Alert, ClientTls, Policy, Reason, ServerTls, TlsVersions};
use mtls_tower::{Acceptor, Connector, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tracing::Level;

fn web_only(ca: &TestCa) -> Policy {
    Policy::spiffe_id(ca.spiffe_id("/web")).unwrap()
}

#[tokio::test]
async fn each_of_a_hundred_refused_clients_reads_its_alert_behind_its_request() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let server = Accepting::start(server_for(&ca, web_only(&ca)), patient()).await;
    let kinds = [
        (
            Foreign::presenting(&ca.issue("/batch")).config(&ca),
            "access_denied",
        ),
        (
            Foreign::presenting(&other.issue("/web")).config(&ca),
            "unknown_ca",
        ),
        (Foreign::nobody().config(&ca), "certificate_required"),
    ];
    let mut clients = JoinSet::new();
    for (config, expected) in kinds.iter().cycle().take(100).cloned() {
        let tcp = server.dial().await;
        clients.spawn(async move {
            let mut tls = connect(config, tcp).await.unwrap();
            within(tls.write_all(&[b'x'; 100_000])).await.unwrap();
            within(tls.flush()).await.unwrap();
            let error = within(tls.read_u8()).await.unwrap_err();
            let told = Alert::find(&error).map(|alert| alert.to_string());
            assert_eq!(told.as_deref(), Some(expected), "{error:?}");
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

/// How long the server stays with a refused client that does not close.
async fn stays(linger: Duration) -> Duration {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let limits = Limits::default().linger(linger);
    let acceptor = Acceptor::new(server(&ca)).with_limits(limits);
    let config = Foreign::presenting(&other.issue("/web")).config(&ca);
    let (near, far) = duplex(1 << 20);
    let begun = Instant::now();
    let name = "localhost".try_into().unwrap();
    let (refused, client) = tokio::join!(
        acceptor.accept(near),
        TlsConnector::from(config).connect(name, far)
    );
    assert_eq!(refused.unwrap_err().reason(), Reason::UnknownIssuer);
    let mut client = client.unwrap();
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(common::alert(&error), "unknown_ca");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_is_waited_for_as_long_as_said_and_not_at_all_without() {
    let linger = Duration::from_secs(7);
    assert_eq!(stays(linger).await, linger);
    assert_eq!(stays(Duration::ZERO).await, Duration::ZERO);
}

#[tokio::test]
async fn a_replayed_chain_is_nobodys_identity_and_tells_nothing_about_policy() {
    let ca = TestCa::new("example.org");
    let tls = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(web_only(&ca))
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap();
    let mut log = Log::start();
    let mut server = Accepting::start(tls, patient()).await;
    let thief = ca.issue("/thief");
    for version in [&TLS13, &TLS12] {
        let mut alerts = Vec::new();
        for path in ["/web", "/batch"] {
            let victim = ca.issue(path);
            let replay = Foreign::replaying(&victim, &thief)
                .version(version)
                .config(&ca);
            alerts.push(refusal(replay, server.addr).await);
            let entry = log.next_refusal().await;
            assert_eq!(entry.reason(), "no_proof_of_possession");
            let presented = entry.get("mtls.presented").unwrap();
            assert!(presented.contains(&ca.spiffe_id(path)), "{presented}");
            assert_eq!(entry.get("mtls.peer_id"), None);
        }
        assert_eq!(alerts[0], alerts[1]);

        // Whoever holds the key is a peer, and is told what policy says.
        let batch = Foreign::presenting(&ca.issue("/batch"))
            .version(version)
            .config(&ca);
        assert_eq!(refusal(batch, server.addr).await, "access_denied");
        let entry = log.next_refusal().await;
        assert_eq!(entry.reason(), "not_authorized");
        assert_eq!(
            entry.get("mtls.peer_id"),
            Some("spiffe://example.org/batch")
        );
        assert_eq!(entry.get("mtls.presented"), None);
        let web = Foreign::presenting(&ca.issue("/web"))
            .version(version)
            .config(&ca);
        let _open = connect(web, server.dial().await).await.unwrap();
        assert_eq!(
            server.next().await.peer().unwrap().to_string(),
            "spiffe://example.org/web"
        );
    }
    for entry in log.at(tracing::Level::WARN) {
        if entry.reason() == "no_proof_of_possession" {
            assert_eq!(entry.get("mtls.peer_id"), None);
        }
    }
}

#[tokio::test]
async fn tls_1_2_is_refused_where_it_was_not_switched_on() {
    let ca = TestCa::new("example.org");
    let mut log = Log::start();
    let server = Accepting::start(server(&ca), patient()).await;
    let old = Foreign::presenting(&ca.issue("/web"))
        .version(&TLS12)
        .config(&ca);
    assert_eq!(refusal(old, server.addr).await, "protocol_version");
    assert_eq!(log.next_refusal().await.reason(), "no_common_parameters");
}

#[tokio::test]
async fn a_client_that_is_refused_over_and_over_warns_once_a_minute_and_counts_the_others() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let server = Accepting::start(server(&ca), patient()).await;
    let of_client = |log: &Log, level| {
        let mut entries = log.at(level);
        entries.retain(|entry| entry.get("mtls.side") == Some("client"));
        entries
    };
    // It trusts the server, whom it is a stranger to; and another that is a stranger to it.
    let (_publisher, source) = mtls_core::CredentialSource::builder()
        .publish(
            other.issue("/web").material(),
            mtls_core::TrustMaterial::new(vec![ca.root_der(), other.root_der()]),
        )
        .unwrap();
    let tls = ClientTls::builder(&source).verify_server_name();
    let connector = Connector::new(tls.build().unwrap());
    let log = Log::start();
    for _ in 0..20 {
        within(connector.connect(&https(server.addr)))
            .await
            .unwrap_err();
    }
    let warned = of_client(&log, Level::WARN);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].reason(), "refused_by_peer");
    assert_eq!(warned[0].get("mtls.others"), Some("0"));
    assert!(
        warned[0]
            .get("mtls.remedy")
            .is_some_and(|it| !it.is_empty())
    );
    assert!(warned[0].get("server.address").is_some(), "{warned:?}");
    assert_eq!(of_client(&log, Level::DEBUG).len(), 20);

    // Another reason has a line of its own.
    let stranger = Accepting::start(server_for_stranger(), patient()).await;
    within(connector.connect(&https(stranger.addr)))
        .await
        .unwrap_err();
    let warned = of_client(&log, Level::WARN);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert_eq!(warned[1].reason(), "unknown_issuer");

    // And the first, after a minute.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    within(connector.connect(&https(server.addr)))
        .await
        .unwrap_err();
    let warned = of_client(&log, Level::WARN);
    assert_eq!(warned.len(), 3, "{warned:?}");
    assert_eq!(warned[2].reason(), "refused_by_peer");
    assert_eq!(warned[2].get("mtls.others"), Some("19"));
}

fn server_for_stranger() -> ServerTls {
    server(&TestCa::new("example.org"))
}
