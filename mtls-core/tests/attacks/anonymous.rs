//! Optional client certificates: who presents none is anonymous, and who presents a bad one is not.

use std::sync::Arc;

use mtls_core::rustls::client::Resumption as ClientResumption;
use mtls_core::rustls::server::StoresServerSessions;
use mtls_core::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConnection, SupportedProtocolVersion,
};
use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{
    AnonymousBy, Client, ClientCertificates, CredentialSource, HandshakeError, Policy, Reason,
    ServerTls, TlsVersions,
};

use crate::fixture::*;

fn optional(source: &CredentialSource, policy: Policy) -> ServerTls {
    ServerTls::builder(source)
        .authorize(policy)
        .client_certificates(ClientCertificates::Optional)
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap()
}

fn nobody(version: &'static SupportedProtocolVersion, ca: &TestCa) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(&[ca]))
        .with_no_client_auth();
    config.resumption = ClientResumption::in_memory_sessions(32);
    Arc::new(config)
}

struct MetClient {
    kind: Option<HandshakeKind>,
    tickets: u32,
    client: Result<Client, HandshakeError>,
    /// By whoever wants a peer.
    peer: Option<Reason>,
}

fn meet_client(server: &ServerTls, config: &Arc<ClientConfig>) -> MetClient {
    let accept = server.handshake();
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut accepted = ServerConnection::new(accept.config()).unwrap();
    let error = exchange(&mut client, &mut accepted);
    let who = match &error {
        Some(error) => Err(accept.explain(&std::io::Error::other(error.clone()))),
        None => accept.established_client(&accepted),
    };
    let peer = accept.established(&accepted);
    MetClient {
        kind: accepted.handshake_kind(),
        tickets: client.tls13_tickets_received(),
        client: who,
        peer: peer.err().map(|why| why.reason()),
    }
}

#[test]
fn who_presents_no_certificate_is_anonymous_where_it_is_optional_and_refused_where_not() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    for version in VERSIONS {
        let met = meet_client(
            &optional(&source, Policy::any_verified_peer()),
            &nobody(version, &ca),
        );
        let client = met.client.unwrap();
        let anonymous = client.anonymous().unwrap();
        assert_eq!(anonymous.by(), AnonymousBy::TlsWithoutCertificate);
        assert!(anonymous.tls_version().is_some());
        assert_eq!(anonymous.server_name(), Some("localhost"));
        assert!(client.peer().is_none());
        assert_eq!(met.peer, Some(Reason::NoPeerCertificate));

        let met = meet_client(&server(&source), &nobody(version, &ca));
        assert_eq!(met.client.unwrap_err().reason(), Reason::NoPeerCertificate);
    }
}

#[test]
fn who_presents_a_good_certificate_is_a_peer_by_full_handshakes_and_by_resumed_ones() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let server = optional(&source, Policy::any_verified_peer());
    for version in VERSIONS {
        let web = foreign(version, &ca, &ca.issue("/web"));
        for kind in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let met = meet_client(&server, &web);
            assert_eq!(met.kind, Some(kind));
            assert_eq!(met.client.unwrap().to_string(), ca.spiffe_id("/web"));
        }
    }
}

#[test]
fn who_presents_a_bad_certificate_is_refused_and_never_anonymous() {
    let ca = TestCa::new("example.org");
    let stranger = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let server = optional(&source, Policy::spiffe_id(ca.spiffe_id("/web")).unwrap());
    let web = ca.issue("/web");
    for version in VERSIONS {
        let bad = [
            (
                foreign(version, &ca, &stranger.issue("/web")),
                Reason::UnknownIssuer,
            ),
            (
                foreign(
                    version,
                    &ca,
                    &ca.issue_with(LeafOptions::service("/web").expired()),
                ),
                Reason::Expired,
            ),
            (
                foreign(
                    version,
                    &ca,
                    &ca.issue_with(LeafOptions::service("/web").server_only()),
                ),
                Reason::WrongUsage,
            ),
            (
                holding(version, &ca, web.chain_der(), ca.issue("/thief").key_der()),
                Reason::NoProofOfPossession,
            ),
            (
                foreign(version, &ca, &ca.issue("/batch")),
                Reason::NotAuthorized,
            ),
        ];
        for (client, reason) in bad {
            let met = meet_client(&server, &client);
            assert_eq!(met.client.unwrap_err().reason(), reason);
            assert!(met.peer.is_some());
        }
    }
}

#[test]
fn an_anonymous_client_gets_no_session() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let (open, closed) = (
        optional(&source, Policy::any_verified_peer()),
        server(&source),
    );
    for version in VERSIONS {
        let client = nobody(version, &ca);
        for _ in 0..3 {
            let met = meet_client(&open, &client);
            assert_eq!(met.kind, Some(HandshakeKind::Full));
            assert_eq!(met.tickets, 0);
            assert!(met.client.unwrap().anonymous().is_some());
        }
        let met = meet_client(&closed, &client);
        assert_eq!(met.client.unwrap_err().reason(), Reason::NoPeerCertificate);
    }
}

/// rustls asks for a session, does not take it up, and then the client presents nothing: what is kept for it after that
/// would be anonymous, and beside somebody's name.
#[test]
fn a_session_that_was_offered_in_vain_gives_an_anonymous_client_neither_name_nor_session() {
    let ca = TestCa::new("example.org");
    let api = ca.issue("/api");
    for version in VERSIONS {
        let server = optional(&ca.source(&api), Policy::any_verified_peer());
        // What an anonymous session looks like.
        let glass = Arc::new(Glass::default());
        let anybody = mtls_core::rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(&[&ca])),
            provider(),
        )
        .allow_unauthenticated()
        .build()
        .unwrap();
        let mut careless = naive(anybody, &api);
        careless.session_storage = Arc::clone(&glass) as Arc<dyn StoresServerSessions>;
        assert!(meet_naive(&Arc::new(careless), &nobody(version, &ca)).done);
        let (_, anonymous_session) = glass.0.lock().unwrap().drain().next().unwrap();

        // A session of a peer, under a key that is known here.
        let accept = server.handshake();
        let name = || "localhost".try_into().unwrap();
        let web = foreign(version, &ca, &ca.issue("/web"));
        let mut client = ClientConnection::new(web, name()).unwrap();
        let mut accepted = ServerConnection::new(accept.config()).unwrap();
        assert_eq!(exchange(&mut client, &mut accepted), None);
        let store = Arc::clone(&accept.config().session_storage);
        assert!(store.put(b"known".to_vec(), b"whatever".to_vec()));

        let accept = server.handshake();
        let store = Arc::clone(&accept.config().session_storage);
        assert!(store.take(b"known").is_some(), "offered");
        let mut client = ClientConnection::new(nobody(version, &ca), name()).unwrap();
        let mut accepted = ServerConnection::new(accept.config()).unwrap();
        assert_eq!(exchange(&mut client, &mut accepted), None);
        let who = accept.established_client(&accepted).unwrap();
        assert!(who.anonymous().is_some());
        assert_eq!(client.tls13_tickets_received(), 0);
        assert!(!store.put(b"mine".to_vec(), anonymous_session));
        assert_eq!(store.get(b"mine"), None);
    }
}
