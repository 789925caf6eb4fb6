//! What we offer on the wire, as a snapshot: a change here is a change of policy, and belongs into the changelog.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![cfg(feature = "aws-lc-rs")]

use std::sync::Arc;

use mtls_core::rustls::server::Acceptor;
use mtls_core::rustls::{
    CipherSuite, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use mtls_core::testing::TestCa;
use mtls_core::{ClientTls, Policy, Resumption, ServerTls, TlsVersions};

fn server(versions: TlsVersions) -> ServerTls {
    let ca = TestCa::new("example.org");
    ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .versions(versions)
        .build()
        .unwrap()
}

fn client(versions: TlsVersions) -> ClientTls {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/web"));
    ClientTls::builder(&source)
        .verify_server_name()
        .versions(versions)
        .build()
        .unwrap()
}

/// What a client hello of ours offers, read by rustls' own reader.
fn hello(client: &ClientTls) -> (Vec<CipherSuite>, Vec<NamedGroup>, Vec<String>) {
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(client.handshake().config(), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut bytes.as_slice()).unwrap();
    let accepted = acceptor
        .accept()
        .map_err(|(error, _)| error)
        .unwrap()
        .unwrap();
    let hello = accepted.client_hello();
    (
        hello.cipher_suites().to_vec(),
        hello.named_groups().unwrap().to_vec(),
        hello
            .alpn()
            .unwrap()
            .map(|name| String::from_utf8(name.to_vec()).unwrap())
            .collect(),
    )
}

const TLS13_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

const TLS12_SUITES: [CipherSuite; 6] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// RFC 5746 §3.3: not a suite, but the word that renegotiation is not spoken.
const NO_RENEGOTIATION: CipherSuite = CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV;

const GROUPS: [NamedGroup; 4] = [
    NamedGroup::X25519MLKEM768,
    NamedGroup::X25519,
    NamedGroup::secp256r1,
    NamedGroup::secp384r1,
];

#[test]
fn a_client_prefers_tls_1_3_suites_and_a_post_quantum_group_and_has_aead_alone() {
    // rustls lists the suites of both versions even where `supported_versions` names TLS 1.3 alone; that a TLS 1.2 peer is
    // then refused is tested by a handshake.
    let (suites, groups, alpn) = hello(&client(TlsVersions::default()));
    assert_eq!(suites, [&TLS13_SUITES[..], &TLS12_SUITES].concat());
    assert_eq!(groups.first(), Some(&NamedGroup::X25519MLKEM768));
    assert!(
        groups.iter().all(|group| GROUPS.contains(group)),
        "{groups:?}"
    );
    assert_eq!(alpn, ["h2", "http/1.1"]);
}

#[test]
fn tls_1_2_brings_ecdhe_with_aead_and_no_renegotiation() {
    let (suites, ..) = hello(&client(TlsVersions::Tls12AndTls13));
    assert_eq!(
        suites,
        [&TLS13_SUITES[..], &TLS12_SUITES, &[NO_RENEGOTIATION]].concat()
    );
}

/// What can be read of a config; the rest shows in the handshakes below.
fn posture(config: &ServerConfig) -> String {
    format!(
        "early data {}, tickets {}, sessions kept {}, stateless tickets {}, secrets extractable {}, \
         extended master secret required {}",
        config.max_early_data_size,
        config.send_tls13_tickets,
        config.session_storage.can_cache(),
        config.ticketer.enabled(),
        config.enable_secret_extraction,
        config.require_ems,
    )
}

#[test]
fn a_server_gives_one_ticket_takes_no_early_data_and_demands_the_extended_master_secret() {
    for versions in [TlsVersions::Tls13, TlsVersions::Tls12AndTls13] {
        assert_eq!(
            posture(&server(versions).handshake().config()),
            "early data 0, tickets 1, sessions kept true, stateless tickets false, secrets \
             extractable false, extended master secret required true"
        );
    }
}

#[test]
fn a_client_takes_no_early_data_and_demands_the_extended_master_secret() {
    let config = client(TlsVersions::Tls12AndTls13).handshake().config();
    assert!(!config.enable_early_data && config.require_ems && !config.enable_secret_extraction);
    assert!(config.enable_sni);
}

#[test]
fn without_resumption_a_second_handshake_is_a_full_one_and_no_ticket_is_given() {
    let ca = TestCa::new("example.org");
    for versions in [TlsVersions::Tls13, TlsVersions::Tls12AndTls13] {
        let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
            .authorize(Policy::any_verified_peer())
            .versions(versions)
            .resumption(Resumption::Off)
            .build()
            .unwrap();
        assert_eq!(server.handshake().config().send_tls13_tickets, 0);
        // A client that would resume if it could: rustls' own, with its default store.
        let mut config = (*client_of(&ca, versions).handshake().config()).clone();
        config.resumption = mtls_core::rustls::client::Resumption::in_memory_sessions(32);
        let config = Arc::new(config);
        for _ in 0..3 {
            let name = "localhost".try_into().unwrap();
            let mut client = ClientConnection::new(Arc::clone(&config), name).unwrap();
            let handshake = server.handshake();
            let mut accepted = ServerConnection::new(handshake.config()).unwrap();
            exchange(&mut client, &mut accepted);
            assert_eq!(accepted.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(accepted.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert!(handshake.established(&accepted).is_ok());
        }
    }
}

#[test]
fn a_config_that_is_used_for_a_second_connection_identifies_nobody() {
    let ca = TestCa::new("example.org");
    let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let handshake = server.handshake();
    let config = client_of(&ca, TlsVersions::Tls13).handshake().config();
    let accept = || {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut accepted = ServerConnection::new(handshake.config()).unwrap();
        exchange(&mut client, &mut accepted);
        accepted
    };
    let first = accept();
    assert!(handshake.established(&first).is_ok());
    let second = accept();
    assert!(second.is_handshaking());
    assert!(handshake.established(&second).is_err());
}

fn client_of(ca: &TestCa, versions: TlsVersions) -> ClientTls {
    let source = ca.source(&ca.issue("/web"));
    ClientTls::builder(&source)
        .verify_server_name()
        .versions(versions)
        .build()
        .unwrap()
}

/// Moves bytes until neither side has any more to say.
fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) {
    loop {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.write_tls(&mut up).unwrap() > 0 {}
        let mut bytes = up.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            let _ = server.process_new_packets();
        }
        while server.write_tls(&mut down).unwrap() > 0 {}
        let mut bytes = down.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            let _ = client.process_new_packets();
        }
        if up.is_empty() && down.is_empty() {
            return;
        }
    }
}
