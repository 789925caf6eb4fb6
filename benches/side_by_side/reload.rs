//! What a change costs: until a new certificate is served, and until all live peers have an answer under a new trust.

use std::time::{Duration, Instant};

use mtls_core::rustls::pki_types::CertificateDer;
use mtls_core::testing::{KeyKind, MountedDir, TestCa};
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, Policy, Resumption, ServerTls, TrustMaterial,
};

use benches::ends::{Client, Setting, Tickets, peer};
use benches::measure::{Spread, quantile};
use benches::report::{Bar, Row};

/// From the rename of `..data` to the end of the first handshake that shows the new certificate, by the wall clock. No
/// poll is near: what is measured is the path from the file system's event.
pub(crate) fn swaps() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut took = runtime.block_on(swap_and_shake());
    took.sort_by(f64::total_cmp);
    let at = |of| quantile(&took, of);
    let spread = |median| Spread {
        low: at(0.0),
        median,
        high: at(1.0),
    };
    vec![
        Row::figure(
            format!("swap to first new handshake, {SWAPS} times: median"),
            "ms",
            Spread::of(took.iter().copied()),
            Bar::Most(5.0),
        ),
        Row::figure(
            "the same: 99th percentile, of all",
            "ms",
            spread(at(0.99)),
            Bar::Most(20.0),
        ),
    ]
}

async fn swap_and_shake() -> Vec<f64> {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let files = CredentialFiles::detect(dir.path()).unwrap();
    let source = CredentialSource::watch(files).await.unwrap();
    let server = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let client = ClientTls::builder(&ca.source(&ca.issue("/web")))
        .verify_server_name()
        .build()
        .unwrap();
    let mut took = Vec::new();
    for _ in 0..SWAPS {
        let next = ca.issue("/api");
        let expected: CertificateDer<'_> = next.chain_der().remove(0);
        let mut changes = source.subscribe();
        let began = Instant::now();
        dir.rotate(&next);
        loop {
            let shaken = mtls_core::testing::handshake(&server, &client, "localhost");
            let served = shaken.client.unwrap();
            if served.identity().chain().first() == Some(&expected) {
                break;
            }
            changes.changed().await.unwrap();
        }
        took.push(millis(began.elapsed()));
    }
    took
}

/// Live connections of few or many peers, when a root is added: the publishing, which verifies each peer once, and then one
/// question of each connection.
pub(crate) fn trust_changes() -> Vec<Row> {
    [10, 1000].into_iter().flat_map(trust_change).collect()
}

fn trust_change(peers: usize) -> [Row; 2] {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let (publisher, source) = setting.publish();
    let server = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .resumption(Resumption::Off)
        .build()
        .unwrap();
    let clients: Vec<Client> = (0..peers)
        .map(|_| setting.bare_client(&setting.issue("/web"), Tickets::None))
        .collect();
    let live: Vec<_> = clients
        .iter()
        .cycle()
        .take(CONNECTIONS)
        .map(|client| peer(client, &server))
        .collect();
    let (mut published, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..CHANGES {
        let roots = vec![setting.root_der(), TestCa::new("example.org").root_der()];
        let began = Instant::now();
        publisher.publish_trust(TrustMaterial::new(roots)).unwrap();
        published.push(millis(began.elapsed()));
        let began = Instant::now();
        for peer in &live {
            peer.check().unwrap();
        }
        asked.push(millis(began.elapsed()) * 1e6 / CONNECTIONS as f64);
    }
    let name = format!("{CONNECTIONS} connections of {peers} peers, a new root:");
    [
        Row::figure(
            format!("{name} published"),
            "ms",
            Spread::of(published),
            Bar::None,
        ),
        Row::figure(
            format!("{name} each asked again"),
            "ns",
            Spread::of(asked),
            Bar::None,
        ),
    ]
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

const SWAPS: usize = 200;
const CONNECTIONS: usize = 10_000;
const CHANGES: usize = 10;
