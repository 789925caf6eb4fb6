//! Handshakes that fail for other reasons than a chain.

use std::sync::Arc;

use mtls_core::rustls::crypto::{CryptoProvider, aws_lc_rs};
use mtls_core::rustls::server::ResolvesServerCertUsingSni;
use mtls_core::rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, version};
use mtls_core::testing::TestCa;

use crate::leads_to;
use crate::plain::{Own, client, converse, provider, server, shake, take};

#[test]
fn a_client_without_a_certificate_is_told_so_and_the_server_too() {
    let ca = TestCa::new("example.org");
    let told = shake(server(&ca), client(&ca, None).unwrap(), "localhost");
    assert!(told.server().contains("peer sent no certificates"));
    leads_to(told.server(), "no_peer_certificate");
    // In TLS 1.3 its own handshake was done by then: this came with the first read.
    assert!(told.client().contains("CertificateRequired"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

#[test]
fn a_server_without_a_certificate_for_the_name_denies_access() {
    let ca = TestCa::new("example.org");
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let told = shake(server, client(&ca, None).unwrap(), "localhost");
    assert!(
        told.server()
            .contains("no server certificate chain resolved")
    );
    leads_to(told.server(), "unknown_server_name");
    assert!(told.client().contains("AccessDenied"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

fn with_group(name: &str) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .kx_groups
        .retain(|group| format!("{:?}", group.name()) == name);
    assert_eq!(provider.kx_groups.len(), 1);
    Arc::new(provider)
}

#[test]
fn sides_without_a_group_in_common_fail() {
    let ca = TestCa::new("example.org");
    let own = Own::of(&ca.issue("/api"));
    let server = ServerConfig::builder_with_provider(with_group("secp384r1"))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain, own.key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(with_group("X25519"))
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(crate::plain::roots(&ca))
        .with_no_client_auth();
    let told = shake(server, client, "localhost");
    assert!(told.server().contains("NoKxGroupsInCommon"), "{told:?}");
    leads_to(told.server(), "no_common_parameters");
    assert!(told.client().contains("HandshakeFailure"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

#[test]
fn sides_without_a_version_in_common_fail() {
    let ca = TestCa::new("example.org");
    let own = Own::of(&ca.issue("/api"));
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain, own.key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS12])
        .unwrap()
        .with_root_certificates(crate::plain::roots(&ca))
        .with_no_client_auth();
    let told = shake(server, client, "localhost");
    leads_to(told.server(), "no_common_parameters");
    assert!(told.client().contains("ProtocolVersion"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

#[test]
fn sides_without_an_application_protocol_in_common_fail() {
    let ca = TestCa::new("example.org");
    let mut server = server(&ca);
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = client(&ca, Some(Own::of(&ca.issue("/web")))).unwrap();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let told = shake(server, client, "localhost");
    leads_to(told.server(), "no_common_protocol");
    assert!(told.client().contains("NoApplicationProtocol"), "{told:?}");
    leads_to(told.client(), "refused_by_peer");
}

#[test]
fn plaintext_is_told_from_tls() {
    let ca = TestCa::new("example.org");
    let mut server = ServerConnection::new(Arc::new(server(&ca))).unwrap();
    let told = take(&mut server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(told.contains("InvalidContentType"), "{told}");
    leads_to(&told, "plaintext_peer");
}

/// rustls reads it before anything encrypted came, as OpenSSL's client sends it (`foreign.rs`), and not later.
#[test]
fn an_alert_in_plaintext_cannot_be_decrypted_once_its_sender_has_encrypted() {
    let ca = TestCa::new("example.org");
    let web = client(&ca, Some(Own::of(&ca.issue("/web")))).unwrap();
    let name = "localhost".try_into().unwrap();
    let mut web = ClientConnection::new(Arc::new(web), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server(&ca))).unwrap();
    assert!(converse(&mut server, &mut web).server.is_none());
    let unknown_ca = [21, 3, 3, 0, 2, 2, 48];
    let told = take(&mut server, &unknown_ca).unwrap();
    assert_eq!(told, "cannot decrypt peer's message");
    leads_to(&told, "refused_by_peer");
}
