//! Configs that are handed to code which is not ours: what they let in, what they refuse, and what they give up.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is how a test fails"
)]
#![cfg(feature = "aws-lc-rs")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mtls_core::rustls::client::Resumption;
use mtls_core::rustls::crypto::aws_lc_rs::default_provider;
use mtls_core::rustls::pki_types::{CertificateDer, ServerName};
use mtls_core::rustls::sign::{CertifiedKey, SingleCertAndKey};
use mtls_core::rustls::version::{TLS12, TLS13};
use mtls_core::rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, RootCertStore,
    ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use mtls_core::testing::{Issued, LeafOptions, TestCa};
use mtls_core::{
    AuditEvent, AuditOutcome, AuditSubject, Authorizer, ClientTls, Denial, HandshakeError,
    Observer, PeerIdentity, Policy, Publisher, Reason, ServerTls, TlsVersions, TrustMaterial,
};

/// A server with `/api`, which lets in `/web` and is told of what it decides.
struct Site {
    ca: TestCa,
    publisher: Publisher,
    tls: ServerTls,
    told: Arc<Told>,
    asked: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn observe(&self, event: &AuditEvent<'_>) {
        let who = match event.who {
            AuditSubject::Peer(peer) => peer.to_string(),
            AuditSubject::Presented(presented) => format!("presented {}", presented.name),
            _ => "nobody".into(),
        };
        let what = event.reason.map_or("let in", Reason::as_str);
        assert_eq!(event.reason.is_none(), event.outcome == AuditOutcome::Allow);
        self.0.lock().unwrap().push(format!("{who}: {what}"));
    }
}

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A policy that counts how often it is asked.
#[derive(Debug)]
struct Counted(Policy, Arc<AtomicUsize>);

impl Authorizer for Counted {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.authorize(peer)
    }
}

impl Site {
    fn new() -> Self {
        let ca = TestCa::new("example.org");
        let (publisher, source) = ca.publish(&ca.issue("/api"));
        let (told, asked) = (Arc::new(Told::default()), Arc::new(AtomicUsize::new(0)));
        let policy = Policy::spiffe_id("spiffe://example.org/web").unwrap();
        let tls = ServerTls::builder(&source)
            .authorize(Counted(policy, Arc::clone(&asked)))
            .versions(TlsVersions::Tls12AndTls13)
            .audit(Arc::clone(&told))
            .build()
            .unwrap();
        Self {
            ca,
            publisher,
            tls,
            told,
            asked,
        }
    }
}

/// A foreign client that trusts `ca`, and presents one's chain with another's key, or nothing.
fn foreign(
    ca: &TestCa,
    presents: Option<(&Issued, &Issued)>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match presents {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = default_provider()
                .key_provider
                .load_private_key(key.key_der());
            let presented = CertifiedKey::new(chain.chain_der(), key.unwrap());
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(presented)))
        }
    })
}

fn as_peer(ca: &TestCa, leaf: &Issued) -> Arc<ClientConfig> {
    foreign(ca, Some((leaf, leaf)), &TLS13)
}

/// Both ends of a connection, and what each failed by.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    client_error: Option<Error>,
    server_error: Option<Error>,
}

impl Pair {
    fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            client: ClientConnection::new(Arc::clone(client), name).unwrap(),
            server: ServerConnection::new(Arc::clone(server)).unwrap(),
            client_error: None,
            server_error: None,
        }
    }

    /// What the client has to say, and the server's answer, which the client has not read.
    fn client_speaks(&mut self) -> bool {
        let mut bytes = Vec::new();
        while self.client.write_tls(&mut bytes).unwrap() > 0 {}
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            self.server.read_tls(&mut unread).unwrap();
            if let Err(error) = self.server.process_new_packets() {
                self.server_error.get_or_insert(error);
                break;
            }
        }
        !bytes.is_empty()
    }

    fn server_speaks(&mut self) -> bool {
        let mut bytes = Vec::new();
        while self.server.write_tls(&mut bytes).unwrap() > 0 {}
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            self.client.read_tls(&mut unread).unwrap();
            if let Err(error) = self.client.process_new_packets() {
                self.client_error.get_or_insert(error);
                break;
            }
        }
        !bytes.is_empty()
    }

    fn finish(mut self) -> Self {
        while self.client_speaks() | self.server_speaks() {}
        self
    }

    #[track_caller]
    fn accepted(self) -> Self {
        let done = self.finish();
        assert_eq!((&done.client_error, &done.server_error), (&None, &None));
        assert!(!done.client.is_handshaking() && !done.server.is_handshaking());
        done
    }

    /// The alert that the client was refused by.
    #[track_caller]
    fn refused(self) -> AlertDescription {
        let done = self.finish();
        assert!(done.server_error.is_some());
        match done.client_error {
            Some(Error::AlertReceived(alert)) => alert,
            other => panic!("no alert, but {other:?}"),
        }
    }

    fn clients_chain(&self) -> &[CertificateDer<'static>] {
        self.server.peer_certificates().unwrap()
    }

    fn servers_chain(&self) -> &[CertificateDer<'static>] {
        self.client.peer_certificates().unwrap()
    }
}

fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Pair {
    Pair::new(server, client)
}

#[test]
fn a_client_that_may_come_is_let_in_by_every_config_and_identified_by_its_chain() {
    for version in [&TLS12, &TLS13] {
        let site = Site::new();
        let configs = site.tls.configs();
        let web = site.ca.issue("/web");
        let client = foreign(&site.ca, Some((&web, &web)), version);
        for config in [configs.current(), configs.dangerous().self_updating()] {
            let pair = handshake(&config, &client).accepted();
            let peer = configs.identify(pair.clients_chain()).unwrap();
            assert_eq!(peer.to_string(), "spiffe://example.org/web");
            assert_eq!(site.told.take(), ["spiffe://example.org/web: let in"]);
        }
    }
}

#[test]
fn whoever_may_not_is_refused_by_its_alert_and_told_of() {
    let site = Site::new();
    let stranger = TestCa::new("example.org").issue("/web");
    let expired = site.ca.issue_with(LeafOptions::service("/web").expired());
    let batch = site.ca.issue("/batch");
    let configs = site.tls.configs();
    for config in [configs.current(), configs.dangerous().self_updating()] {
        for version in [&TLS12, &TLS13] {
            for (leaf, alert, told) in [
                (
                    &stranger,
                    AlertDescription::UnknownCA,
                    "presented spiffe://example.org/web: unknown_issuer",
                ),
                (
                    &expired,
                    AlertDescription::CertificateExpired,
                    "presented spiffe://example.org/web: expired",
                ),
                (
                    &batch,
                    AlertDescription::AccessDenied,
                    "spiffe://example.org/batch: not_authorized",
                ),
            ] {
                let client = foreign(&site.ca, Some((leaf, leaf)), version);
                assert_eq!(handshake(&config, &client).refused(), alert);
                assert_eq!(site.told.take(), [told]);
                assert!(configs.identify(&leaf.chain_der()).is_err());
            }
            let nobody = foreign(&site.ca, None, version);
            let refused = handshake(&config, &nobody).finish().server_error;
            assert_eq!(refused, Some(Error::NoCertificatesPresented));
        }
    }
}

/// The chain is public, and it verifies: only the proof makes it somebody's.
#[test]
fn a_chain_that_is_presented_and_not_proven_is_nobodys_and_the_policy_is_not_asked() {
    let site = Site::new();
    let configs = site.tls.configs();
    let (web, thief) = (site.ca.issue("/web"), site.ca.issue("/thief"));
    for config in [configs.current(), configs.dangerous().self_updating()] {
        for version in [&TLS12, &TLS13] {
            let client = foreign(&site.ca, Some((&web, &thief)), version);
            assert!(handshake(&config, &client).finish().server_error.is_some());
            let expected = "presented spiffe://example.org/web: no_proof_of_possession";
            assert_eq!(site.told.take(), [expected]);
            let nobody = configs.identify(&web.chain_der()).unwrap_err();
            assert_eq!(nobody.reason(), Reason::NoProofOfPossession);
        }
    }
    assert_eq!(site.asked.load(Ordering::SeqCst), 0);
    // With something of its own behind the leaf it is no better off, and its owner no worse.
    let mut longer = web.chain_der();
    longer.push(thief.chain_der().remove(0));
    assert!(configs.identify(&longer).is_err());
    // Nor does a copy become somebody by what its owner proves later to others' configs.
    handshake(&site.tls.configs().current(), &as_peer(&site.ca, &web)).accepted();
    let nobody = configs.identify(&web.chain_der()).unwrap_err();
    assert_eq!(nobody.reason(), Reason::NoProofOfPossession);
}

#[test]
fn a_config_that_is_used_past_its_time_lets_in_fewer_and_never_more() {
    let site = Site::new();
    let configs = site.tls.configs();
    let old = configs.current();
    let web = site.ca.issue("/web");
    let pair = handshake(&old, &as_peer(&site.ca, &web)).accepted();

    // Another authority comes: the old config does not know it, the new one does.
    let next = TestCa::new("example.org");
    let both = TrustMaterial::new(vec![site.ca.root_der(), next.root_der()]);
    site.publisher.publish_trust(both).unwrap();
    let new_web = next.issue("/web");
    let of_next = as_peer(&site.ca, &new_web);
    handshake(&old, &of_next).refused();
    handshake(&configs.current(), &of_next).accepted();

    // The first one goes: nobody lets in what it has issued, and an open connection is told so when it is asked.
    assert!(configs.identify(pair.clients_chain()).is_ok());
    let (api, trust) = (next.issue("/api"), next.trust_material());
    site.publisher.publish(api.material(), trust).unwrap();
    let of_first = as_peer(&site.ca, &web);
    assert_eq!(
        handshake(&old, &of_first).refused(),
        AlertDescription::UnknownCA
    );
    let lost = configs.identify(pair.clients_chain()).unwrap_err();
    assert_eq!(lost.reason(), Reason::UnknownIssuer);
}

#[test]
fn no_session_is_resumed_and_no_ticket_given() {
    let site = Site::new();
    let configs = site.tls.configs();
    let web = site.ca.issue("/web");
    for version in [&TLS12, &TLS13] {
        let mut client = Arc::unwrap_or_clone(foreign(&site.ca, Some((&web, &web)), version));
        client.resumption = Resumption::in_memory_sessions(8);
        let client = Arc::new(client);
        for config in [configs.current(), configs.dangerous().self_updating()] {
            for _ in 0..2 {
                let pair = handshake(&config, &client).accepted();
                assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
                assert_eq!(pair.client.tls13_tickets_received(), 0);
            }
        }
    }
}

#[tokio::test]
async fn a_subscription_tells_of_the_next_config_which_presents_the_next_certificate() {
    let site = Site::new();
    let mut configs = site.tls.configs();
    let web = site.ca.issue("/web");
    let client = as_peer(&site.ca, &web);
    let first = configs.current();
    let renewed = site.ca.issue("/api");
    let material = renewed.material();
    site.publisher.publish_credentials(material).unwrap();
    let next = configs.changed().await;
    let pair = handshake(&next, &client).accepted();
    assert_eq!(pair.servers_chain(), renewed.chain_der());
    let pair = handshake(&first, &client).accepted();
    assert_ne!(pair.servers_chain(), renewed.chain_der());
}

#[test]
fn a_self_updating_config_follows_credentials_and_trust_and_gives_no_hints() {
    let site = Site::new();
    let configs = site.tls.configs();
    let config = configs.dangerous().self_updating();
    let next = TestCa::new("example.org");
    let (api, web) = (next.issue("/api"), next.issue("/web"));
    handshake(&config, &as_peer(&site.ca, &web)).refused();
    let trust = next.trust_material();
    site.publisher.publish(api.material(), trust).unwrap();
    let pair = handshake(&config, &as_peer(&next, &web)).accepted();
    assert_eq!(pair.servers_chain(), api.chain_der());

    let of_now = hints(&configs.current(), &next);
    let of_life = hints(&config, &next);
    assert_eq!((of_now, of_life), (1, 0));
}

/// How many authorities the server says that a client's certificate may come from.
fn hints(server: &Arc<ServerConfig>, ca: &TestCa) -> usize {
    #[derive(Debug)]
    struct Counts(AtomicUsize);
    impl mtls_core::rustls::client::ResolvesClientCert for Counts {
        fn resolve(
            &self,
            hints: &[&[u8]],
            _: &[mtls_core::rustls::SignatureScheme],
        ) -> Option<Arc<CertifiedKey>> {
            self.0.store(hints.len(), Ordering::SeqCst);
            None
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let counts = Arc::new(Counts(AtomicUsize::new(usize::MAX)));
    let mut client = Arc::unwrap_or_clone(foreign(ca, None, &TLS13));
    client.client_auth_cert_resolver = Arc::clone(&counts) as _;
    handshake(server, &Arc::new(client)).finish();
    counts.0.load(Ordering::SeqCst)
}

/// The limit that is stated: our certificate of the one snapshot, the client's verification by the next.
#[test]
fn a_self_updating_config_may_present_by_one_snapshot_and_verify_by_the_next() {
    let site = Site::new();
    let config = site.tls.configs().dangerous().self_updating();
    let next = TestCa::new("example.org");
    let (web, new_web) = (site.ca.issue("/web"), next.issue("/web"));
    // Two clients that have read the old certificate when trust changes.
    let mut begun = [&web, &new_web].map(|leaf| Pair::new(&config, &as_peer(&site.ca, leaf)));
    for pair in &mut begun {
        pair.client_speaks();
    }
    let api = next.issue("/api");
    site.publisher
        .publish(api.material(), next.trust_material())
        .unwrap();
    let [of_before, of_now] = begun;
    assert_eq!(of_before.refused(), AlertDescription::UnknownCA);
    let pair = of_now.accepted();
    assert_ne!(pair.servers_chain(), api.chain_der());
}

#[test]
fn a_client_verifies_and_identifies_its_server_and_refuses_another() {
    let ca = TestCa::new("example.org");
    let next = TestCa::new("example.org");
    let (publisher, source) = ca.publish(&ca.issue("/web"));
    let tls = ClientTls::builder(&source)
        .expect_server("spiffe://example.org/api".parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let server = |ca: &TestCa, path| {
        let source = ca.source(&ca.issue(path));
        let tls = ServerTls::builder(&source).authorize(Policy::any_verified_peer());
        tls.build().unwrap().configs().current()
    };
    let (api, other, stranger) = (
        server(&ca, "/api"),
        server(&ca, "/x"),
        server(&next, "/api"),
    );
    let configs = tls.configs();
    let name = ServerName::try_from("localhost").unwrap();
    let (old, living) = (configs.current(), configs.dangerous().self_updating());
    for config in [&old, &living] {
        let pair = handshake(&api, config).accepted();
        assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
        let peer = configs.identify(pair.servers_chain(), &name).unwrap();
        assert_eq!(peer.to_string(), "spiffe://example.org/api");
        let from_server = pair.clients_chain().first();
        assert_eq!(from_server, source.current().credentials().chain().first());
        for (server, reason) in [
            (&other, Reason::NameMismatch),
            (&stranger, Reason::UnknownIssuer),
        ] {
            let error = handshake(server, config).finish().client_error.unwrap();
            let ours = HandshakeError::find(&error).unwrap();
            assert_eq!(ours.reason(), reason);
        }
    }
    // A chain that nobody has proven here.
    let unproven = ca.issue("/api").chain_der();
    let nobody = configs.identify(&unproven, &name).unwrap_err();
    assert_eq!(nobody.reason(), Reason::NoProofOfPossession);

    // The one that lives on moves along; the other refuses whom the current trust refuses.
    let moved = next.issue("/web");
    let trust = next.trust_material();
    publisher.publish(moved.material(), trust).unwrap();
    let pair = handshake(&stranger, &living).accepted();
    assert_eq!(pair.clients_chain(), moved.chain_der());
    for config in [&old, &living] {
        let error = handshake(&api, config).finish().client_error.unwrap();
        let ours = HandshakeError::find(&error).unwrap();
        assert_eq!(ours.reason(), Reason::UnknownIssuer);
    }
}
