//! A full mutual handshake in memory: ours beside bare rustls, in one run.
//!
//! Both make the same handshake: TLS 1.3, aws-lc-rs, a P-256 leaf, with and without an intermediate, no resumption, no
//! tickets, both chains verified. Each figure is the whole handshake, client and server; the client is bare rustls in
//! both, so that the difference is the server's.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::io;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mtls_core::rustls::client::Resumption;
use mtls_core::rustls::crypto::aws_lc_rs::default_provider;
use mtls_core::rustls::pki_types::ServerName;
use mtls_core::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use mtls_core::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, version,
};
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{Policy, ServerTls};

fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    for intermediates in [0, 1] {
        let root = TestCa::new("example.org");
        let issuer = if intermediates == 0 {
            &root
        } else {
            &root.intermediate()
        };
        let (api, web) = (issuer.issue("/api"), issuer.issue("/web"));
        let client = bare_client(&root, &web);

        let bare = bare_server(&root, &api);
        group.bench_function(BenchmarkId::new("rustls", intermediates), |b| {
            b.iter(|| complete(&client, ServerConnection::new(Arc::clone(&bare)).unwrap()));
        });

        let ours = ServerTls::builder(&root.source(&api))
            .authorize(Policy::spiffe_id("spiffe://example.org/web").unwrap())
            .build()
            .unwrap();
        group.bench_function(BenchmarkId::new("mtls", intermediates), |b| {
            b.iter(|| {
                let handshake = ours.handshake();
                let server = complete(&client, ServerConnection::new(handshake.config()).unwrap());
                handshake.established(&server).unwrap()
            });
        });
    }
    group.finish();
}

/// As a careful engineer would write it by hand; it does not know who its client is.
fn bare_server(ca: &TestCa, leaf: &Issued) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)), Arc::clone(&provider))
            .build()
            .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(leaf.chain_der(), leaf.key_der())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn bare_client(ca: &TestCa, leaf: &Issued) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(leaf.chain_der(), leaf.key_der())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn roots(ca: &TestCa) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    roots
}

fn complete(client: &Arc<ClientConfig>, mut server: ServerConnection) -> ServerConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let to_server = flight(|bytes| client.write_tls(bytes));
        let mut bytes = to_server.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets().unwrap();
        }
        let to_client = flight(|bytes| server.write_tls(bytes));
        let mut bytes = to_client.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    server
}

fn flight(mut write: impl FnMut(&mut Vec<u8>) -> io::Result<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while write(&mut bytes).unwrap() > 0 {}
    bytes
}

criterion_group!(benches, handshake);
criterion_main!(benches);
