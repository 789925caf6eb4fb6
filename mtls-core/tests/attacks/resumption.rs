//! Sessions: rustls verifies nothing when it resumes one.
//!
//! Each test resumes against a naive server first, so that the hole is known to be there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_core::rustls::client::{ResolvesClientCert, Resumption as ClientResumption};
use mtls_core::rustls::server::WebPkiClientVerifier;
use mtls_core::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use mtls_core::rustls::sign::CertifiedKey;
use mtls_core::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, HandshakeKind,
    SignatureScheme, client::danger::HandshakeSignatureValid, pki_types::CertificateDer,
    pki_types::UnixTime, server::StoresServerSessions,
};
use mtls_core::testing::{Issued, LeafOptions, TestCa, handshake};
use mtls_core::{
    Authorizer, ClientTls, Denial, PeerIdentity, Policy, Reason, Resumption, ServerTls, TlsVersions,
};

use crate::fixture::*;

/// An authorizer that changes its mind.
#[derive(Debug, Clone, Default)]
struct Switch(Arc<(AtomicBool, AtomicU64)>);

impl Switch {
    fn set(&self, refuses: bool) {
        self.0.0.store(refuses, Ordering::SeqCst);
        self.0.1.fetch_add(1, Ordering::SeqCst);
    }

    fn refuses(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }
}

impl Authorizer for Switch {
    fn authorize(&self, _peer: &PeerIdentity) -> Result<(), Denial> {
        match self.refuses() {
            true => Err(Denial::expected("somebody else")),
            false => Ok(()),
        }
    }

    fn version(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// The naive place for a policy: the verifier of chains.
#[derive(Debug)]
struct Asking(Arc<dyn ClientCertVerifier>, Switch);

impl ClientCertVerifier for Asking {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.1.refuses() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What a client presents, to be replaced while it keeps its sessions.
#[derive(Debug)]
struct Wallet(Mutex<Arc<CertifiedKey>>);

impl Wallet {
    fn new(issued: &Issued) -> Arc<Self> {
        let wallet = Self(Mutex::new(Arc::new(certified(
            issued.chain_der(),
            issued.key_der(),
        ))));
        Arc::new(wallet)
    }

    fn renew(&self, issued: &Issued) {
        *self.0.lock().unwrap() = Arc::new(certified(issued.chain_der(), issued.key_der()));
    }

    fn client(
        self: &Arc<Self>,
        version: &'static rustls::SupportedProtocolVersion,
        server_ca: &TestCa,
    ) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&[server_ca]))
            .with_client_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesClientCert>);
        config.resumption = ClientResumption::in_memory_sessions(32);
        Arc::new(config)
    }
}

impl ResolvesClientCert for Wallet {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn while_nothing_changes_sessions_are_resumed_by_the_same_peer_with_ever_new_tickets() {
    let ca = TestCa::new("example.org");
    for version in VERSIONS {
        let source = ca.source(&ca.issue("/api"));
        let server = server(&source);
        let client = foreign(version, &ca, &ca.issue("/web"));
        let first = meet(&server, &client).full();
        for _ in 0..5 {
            // In TLS 1.3 a ticket is good once, so that each of these was handed out by the one before.
            let again = meet(&server, &client).resumed();
            assert_eq!(again.identity(), first.identity());
            assert_eq!(again.identity().chain(), first.identity().chain());
            assert_eq!(again.to_string(), "spiffe://example.org/web");
            assert_eq!(again.deadline(), first.deadline());
            assert_eq!(again.tls_version(), first.tls_version());
            assert_eq!(again.role(), first.role());
            assert_eq!(again.generation(), 1);
            assert_eq!(again.server_name(), Some("localhost"));
            assert!(again.check().is_ok());
        }
        assert_eq!(source.current().trust().verifications(), 1);
    }
}

#[test]
fn a_client_of_ours_resumes_and_knows_its_server() {
    let ca = TestCa::new("example.org");
    let server = server(&ca.source(&ca.issue("/api")));
    let source = ca.source(&ca.issue("/web"));
    let client = client(&source);
    let first = handshake(&server, &client, "localhost");
    let config = client.handshake().config();
    let again = meet(&server, &config);
    let first = first.client.unwrap();
    assert_eq!(again.resumed().to_string(), "spiffe://example.org/web");
    let again = handshake(&server, &client, "localhost").client.unwrap();
    assert_eq!(again.identity(), first.identity());
    assert_eq!(again.deadline(), first.deadline());
    assert!(again.check().is_ok());
    assert_eq!(source.current().trust().verifications(), 1);
    // Another name is another server: nothing is resumed, and it is verified by that name.
    let elsewhere = handshake(&server, &client, "api.example.org");
    assert_eq!(elsewhere.client.unwrap_err().reason(), Reason::NameMismatch);
}

#[test]
fn after_its_ca_is_removed_a_session_is_declined_and_its_peer_refused() {
    let (ours, gone) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let api = ours.issue("/api");
    for version in VERSIONS {
        let web = gone.issue("/web");
        let before = naive(webpki(&[&ours, &gone]), &api);
        let fooled = foreign(version, &ours, &web);
        meet_naive(&Arc::new(before.clone()), &fooled);
        let after = Arc::new(reloaded(&before, naive(webpki(&[&ours]), &api)));
        let control = meet_naive(&after, &fooled);
        assert_eq!(control.kind, Some(HandshakeKind::Resumed));
        assert_eq!(control.client_chain, Some(web.chain_der()));

        let (publisher, source) = mtls_core::CredentialSource::builder()
            .publish(api.material(), trust(&[&ours, &gone]))
            .unwrap();
        let server = server(&source);
        let [theirs, stays] = [&web, &ours.issue("/batch")].map(|i| foreign(version, &ours, i));
        for client in [&theirs, &stays] {
            meet(&server, client).full();
            meet(&server, client).resumed();
        }
        publisher.publish_trust(trust(&[&ours])).unwrap();
        assert_eq!(meet(&server, &theirs).refused(), Reason::UnknownIssuer);
        assert_eq!(meet(&server, &theirs).refused(), Reason::UnknownIssuer);
        // Who stays is not asked for anything but a full handshake.
        meet(&server, &stays).full();
        meet(&server, &stays).resumed();
    }
}

#[test]
fn after_its_certificate_expired_a_session_is_declined_and_a_renewed_peer_is_let_in() {
    let ca = TestCa::new("example.org");
    let api = ca.issue("/api");
    let short = || {
        let rest = Duration::from_millis(2900);
        ca.issue_with(LeafOptions::service("/web").expires_in(rest))
    };
    let server = server(&ca.source(&api));
    let naive = Arc::new(naive(webpki(&[&ca]), &api));
    let mut clients = Vec::new();
    for version in VERSIONS {
        let [stale, renewed, fooled] = [short(), short(), short()].map(|issued| {
            let wallet = Wallet::new(&issued);
            let client = wallet.client(version, &ca);
            (wallet, client)
        });
        meet_naive(&naive, &fooled.1);
        for (_, client) in [&stale, &renewed] {
            meet(&server, client).full();
            meet(&server, client).resumed();
        }
        clients.push((stale.1, renewed, fooled.1));
    }
    let info = meet(&server, &clients[0].0).resumed();
    assert_eq!(info.deadline(), info.identity().not_after());
    outlive(info.deadline());
    outlive(mtls_core::Timestamp::now());
    for (stale, (wallet, renewed), fooled) in clients {
        let control = meet_naive(&naive, &fooled);
        assert_eq!(control.kind, Some(HandshakeKind::Resumed));
        assert!(control.done);

        assert_eq!(meet(&server, &stale).refused(), Reason::Expired);
        // Had the session been refused after the fact, this peer would be locked out with its new certificate.
        let next = ca.issue("/web");
        wallet.renew(&next);
        let peer = meet(&server, &renewed).full();
        assert_eq!(peer.identity().serial(), next.serial());
        meet(&server, &renewed).resumed();
    }
    assert_eq!(info.check().unwrap_err().reason(), Reason::Expired);
}

#[test]
fn after_the_policy_changed_a_session_is_declined_and_its_peer_refused() {
    let ca = TestCa::new("example.org");
    let api = ca.issue("/api");
    for version in VERSIONS {
        let switch = Switch::default();
        let asking = Arc::new(Asking(webpki(&[&ca]), switch.clone()));
        let naive = Arc::new(naive(asking, &api));
        let fooled = foreign(version, &ca, &ca.issue("/web"));
        let stranger = foreign(version, &ca, &ca.issue("/web"));
        meet_naive(&naive, &fooled);

        let server = server_for(&ca.source(&api), switch.clone());
        let client = foreign(version, &ca, &ca.issue("/web"));
        meet(&server, &client).full();
        let open = meet(&server, &client).resumed();
        switch.set(true);
        assert!(!meet_naive(&naive, &stranger).done);
        let control = meet_naive(&naive, &fooled);
        assert_eq!(control.kind, Some(HandshakeKind::Resumed));
        assert!(control.done);

        assert_eq!(meet(&server, &client).refused(), Reason::NotAuthorized);
        assert_eq!(open.check().unwrap_err().reason(), Reason::NotAuthorized);
        switch.set(false);
        // No session was given for the refused handshake. In TLS 1.2 the one of before is as good as it was.
        let back = meet(&server, &client).server.unwrap();
        assert!(back.check().is_ok() && open.check().is_ok());
        meet(&server, &client).resumed();
    }
}

#[test]
fn a_session_does_not_outlive_a_leaf_of_ours() {
    let ca = TestCa::new("example.org");
    let (old, new) = (ca.issue("/api"), ca.issue("/api"));
    for version in VERSIONS {
        let before = naive(webpki(&[&ca]), &old);
        let fooled = foreign(version, &ca, &ca.issue("/web"));
        meet_naive(&Arc::new(before.clone()), &fooled);
        let after = Arc::new(reloaded(&before, naive(webpki(&[&ca]), &new)));
        let control = meet_naive(&after, &fooled);
        assert_eq!(control.server_chain, Some(old.chain_der()));

        let (publisher, source) = ca.publish(&old);
        let server = server(&source);
        let client = foreign(version, &ca, &ca.issue("/web"));
        meet(&server, &client).full();
        meet(&server, &client).resumed();
        publisher.publish_credentials(new.material()).unwrap();
        let met = meet(&server, &client);
        assert_eq!(met.server_chain, Some(new.chain_der()));
        met.full();
        // The trust is the same, and knows the peer.
        assert_eq!(source.current().trust().verifications(), 1);
        meet(&server, &client).resumed();
    }
}

// After revocation: here, beside removal and expiry, once there are revocation lists.

#[test]
fn a_session_of_one_server_is_worth_nothing_at_another_of_the_same_source() {
    let ca = TestCa::new("example.org");
    let api = ca.issue("/api");
    for version in VERSIONS {
        let open = naive(webpki(&[&ca]), &api);
        let fooled = foreign(version, &ca, &ca.issue("/web"));
        meet_naive(&Arc::new(open.clone()), &fooled);
        let refusing = Switch::default();
        refusing.set(true);
        let strict = naive(Arc::new(Asking(webpki(&[&ca]), refusing)), &api);
        let control = meet_naive(&Arc::new(reloaded(&open, strict)), &fooled);
        assert_eq!(control.kind, Some(HandshakeKind::Resumed));

        let source = ca.source(&api);
        let open = server(&source);
        let strict = server_for(
            &source,
            Policy::spiffe_id("spiffe://example.org/batch").unwrap(),
        );
        let client = foreign(version, &ca, &ca.issue("/web"));
        meet(&open, &client).full();
        assert_eq!(meet(&strict, &client).refused(), Reason::NotAuthorized);
        let batch = foreign(version, &ca, &ca.issue("/batch"));
        meet(&open, &batch).full();
        meet(&strict, &batch).full();
    }
}

#[test]
fn an_anonymous_session_opens_no_door_that_needs_a_certificate() {
    let ca = TestCa::new("example.org");
    let api = ca.issue("/api");
    for version in VERSIONS {
        let anybody =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&[&ca])), provider())
                .allow_unauthenticated()
                .build()
                .unwrap();
        let glass = Arc::new(Glass::default());
        let mut optional = naive(anybody, &api);
        optional.session_storage = Arc::clone(&glass) as Arc<dyn StoresServerSessions>;
        let required = Arc::new(reloaded(&optional, naive(webpki(&[&ca]), &api)));
        let optional = Arc::new(optional);
        let nobody = || {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots(&[&ca]))
                .with_no_client_auth();
            config.resumption = ClientResumption::in_memory_sessions(32);
            Arc::new(config)
        };
        let client = nobody();
        assert!(meet_naive(&optional, &client).done);
        let control = meet_naive(&required, &client);
        assert_eq!(control.kind, Some(HandshakeKind::Resumed));
        assert!(control.done && control.client_chain.is_none());
        assert!(!meet_naive(&required, &nobody()).done, "without a session");

        // Here a connection that has proven nobody can put nothing into the store...
        let server = server(&ca.source(&api));
        let client = nobody();
        assert!(meet_naive(&optional, &client).done);
        let sessions: Vec<_> = glass.0.lock().unwrap().drain().collect();
        assert!(!sessions.is_empty());
        for (key, value) in &sessions {
            let store = Arc::clone(&server.handshake().config().session_storage);
            assert!(!store.put(key.clone(), value.clone()));
            assert_eq!(store.get(key), None);
        }
        assert_eq!(meet(&server, &client).refused(), Reason::NoPeerCertificate);

        // ... and if one got in beside somebody's name, whoever takes it up has no chain, and is nobody.
        let client = nobody();
        assert!(meet_naive(&optional, &client).done);
        let accept = server.handshake();
        let mut web = rustls::ClientConnection::new(
            foreign(version, &ca, &ca.issue("/web")),
            "localhost".try_into().unwrap(),
        )
        .unwrap();
        let mut accepted = rustls::ServerConnection::new(accept.config()).unwrap();
        assert_eq!(exchange(&mut web, &mut accepted), None);
        for (key, value) in glass.0.lock().unwrap().drain() {
            assert!(accept.config().session_storage.put(key, value));
        }
        let met = meet(&server, &client);
        assert_eq!(met.kind, Some(HandshakeKind::Resumed));
        assert_eq!(met.server.unwrap_err().reason(), Reason::NoPeerCertificate);
    }
}

#[test]
fn a_replayed_chain_gets_no_session_and_takes_none() {
    let ca = TestCa::new("example.org");
    for version in VERSIONS {
        let source = ca.source(&ca.issue("/api"));
        let server = server(&source);
        let victim = ca.issue("/web");
        let theirs = foreign(version, &ca, &victim);
        meet(&server, &theirs).full();
        let thief = holding(
            version,
            &ca,
            victim.chain_der(),
            ca.issue("/thief").key_der(),
        );
        for _ in 0..3 {
            assert_eq!(meet(&server, &thief).refused(), Reason::NoProofOfPossession);
        }
        // The chain is known, and its holder's session is as it was.
        assert_eq!(source.current().trust().verifications(), 1);
        meet(&server, &theirs).resumed();
    }
}

#[test]
fn a_peer_that_resumes_over_and_over_pushes_out_nobody_elses_session() {
    let ca = TestCa::new("example.org");
    let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::any_verified_peer())
        .resumption(Resumption::Sessions(16 * 64))
        .build()
        .unwrap();
    let [quiet, busy] =
        [ca.issue("/quiet"), ca.issue("/busy")].map(|i| foreign(VERSIONS[0], &ca, &i));
    meet(&server, &quiet).full();
    meet(&server, &busy).full();
    // Three times as often as there are places.
    for _ in 0..3000 {
        meet(&server, &busy).resumed();
    }
    meet(&server, &quiet).resumed();
}

#[test]
fn a_chain_that_is_too_large_to_be_remembered_is_verified_each_time_and_gets_no_session() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let server = server(&source);
    for version in VERSIONS {
        let web = ca.issue("/web");
        let padded = |count| {
            let mut chain = web.chain_der();
            chain.extend((0..count).map(|_| TestCa::new("junk").root_der()));
            holding(version, &ca, chain, web.key_der())
        };
        let before = source.current().trust().verifications();
        let fits = padded(5);
        meet(&server, &fits).full();
        meet(&server, &fits).resumed();
        assert_eq!(source.current().trust().verifications(), before + 1);
        let large = padded(6);
        for _ in 0..3 {
            meet(&server, &large).full();
        }
        assert_eq!(source.current().trust().verifications(), before + 4);
        // Beyond what is read at all.
        assert_eq!(
            meet(&server, &padded(10)).refused(),
            Reason::MalformedCertificate
        );
    }
}

#[test]
fn a_leaf_with_two_chains_is_one_server_by_either() {
    // A client sees two replicas with one leaf; the second sends its root along. The first one's connection and session
    // are its own all the same.
    let ca = TestCa::new("example.org");
    let api = ca.issue("/api");
    let source = ca.source(&ca.issue("/web"));
    let client = client(&source);
    let handshake = client.handshake();
    let replica = |chain| {
        let mut config = naive(webpki(&[&ca]), &api);
        let key = certified(chain, api.key_der());
        config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
        Arc::new(config)
    };
    let with_root = [api.chain_der(), vec![ca.root_der()]].concat();
    let (first, second) = (replica(api.chain_der()), replica(with_root));
    let connect = |server: &Arc<rustls::ServerConfig>| {
        let name = "localhost".try_into().unwrap();
        let mut dialling = rustls::ClientConnection::new(handshake.config(), name).unwrap();
        let mut accepted = rustls::ServerConnection::new(Arc::clone(server)).unwrap();
        assert_eq!(exchange(&mut dialling, &mut accepted), None);
        dialling
    };
    let (one, two) = (connect(&first), connect(&second));
    let stands = |dialled| {
        let name = "localhost".try_into().unwrap();
        handshake.established(dialled, &name).is_ok()
    };
    assert!(stands(&one) && stands(&two));
    let again = connect(&first);
    assert!(stands(&again));
}

/// A server that is not ours, of one version.
fn of_version(
    version: &'static rustls::SupportedProtocolVersion,
    ca: &TestCa,
    issued: &Issued,
) -> Arc<rustls::ServerConfig> {
    let key = certified(issued.chain_der(), issued.key_der());
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(webpki(&[ca]))
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    Arc::new(config)
}

#[test]
fn a_client_resumes_nothing_with_a_server_whose_certificate_has_expired() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/web"));
    let mut scenes = Vec::new();
    for version in VERSIONS {
        let rest = Duration::from_millis(2900);
        let api = ca.issue_with(LeafOptions::service("/api").expires_in(rest));
        let server = of_version(version, &ca, &api);
        let ours = ClientTls::builder(&source)
            .verify_server_name()
            .versions(TlsVersions::Tls12AndTls13)
            .build()
            .unwrap();
        let fooled = foreign(version, &ca, &ca.issue("/web"));
        let config = ours.handshake().config();
        for client in [&config, &fooled] {
            assert_eq!(meet_naive(&server, client).kind, Some(HandshakeKind::Full));
            let again = meet_naive(&server, client);
            assert_eq!(again.kind, Some(HandshakeKind::Resumed));
        }
        scenes.push((server, config, fooled));
    }
    outlive(mtls_core::Timestamp::from_unix(
        mtls_core::Timestamp::now().as_unix() + 3,
    ));
    for (server, config, fooled) in scenes {
        let control = meet_naive(&server, &fooled);
        assert_eq!(control.kind, Some(HandshakeKind::Resumed));
        assert!(control.done);
        let met = meet_naive(&server, &config);
        assert_ne!(met.kind, Some(HandshakeKind::Resumed));
        assert!(!met.done);
    }
}

#[test]
fn a_late_ticket_of_a_server_that_was_forgotten_is_not_kept() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/web"));
    let client = ClientTls::builder(&source)
        .expect_server("spiffe://example.org/api".parse().unwrap())
        .unwrap()
        .build()
        .unwrap();
    let config = client.handshake().config();
    let server = of_version(VERSIONS[0], &ca, &ca.issue("/api"));
    let pair = |name: &str| {
        let name = name.to_owned().try_into().unwrap();
        let dialling = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let accepted = rustls::ServerConnection::new(Arc::clone(&server)).unwrap();
        (dialling, accepted)
    };
    let connect = |name: &str| {
        let (mut dialling, mut accepted) = pair(name);
        assert_eq!(exchange(&mut dialling, &mut accepted), None);
        accepted.handshake_kind().unwrap()
    };
    // The handshake is done, and the server keeps its tickets to itself for now.
    let (mut dialling, mut accepted) = pair("first.example");
    let carry = |bytes: Vec<u8>, to: &mut rustls::ConnectionCommon<_>| {
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            to.read_tls(&mut bytes).unwrap();
            to.process_new_packets().unwrap();
        }
    };
    let mut hello = Vec::new();
    dialling.write_tls(&mut hello).unwrap();
    server_reads(&mut accepted, &hello);
    let mut flight = Vec::new();
    while accepted.write_tls(&mut flight).unwrap() > 0 {}
    carry(flight, &mut dialling);
    let mut finished = Vec::new();
    while dialling.write_tls(&mut finished).unwrap() > 0 {}
    server_reads(&mut accepted, &finished);
    assert!(!dialling.is_handshaking() && !accepted.is_handshaking());
    let mut tickets = Vec::new();
    while accepted.write_tls(&mut tickets).unwrap() > 0 {}
    assert!(!tickets.is_empty());

    for other in 0..1024 {
        connect(&format!("{other}.example"));
    }
    carry(tickets, &mut dialling);
    // When its time ends is not known any more, so that it would be resumed for ever.
    assert_eq!(connect("first.example"), HandshakeKind::Full);
    assert_eq!(connect("first.example"), HandshakeKind::Resumed);
    assert_eq!(connect("1023.example"), HandshakeKind::Resumed);
}

fn server_reads(server: &mut rustls::ServerConnection, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).unwrap();
        server.process_new_packets().unwrap();
    }
}

#[test]
fn a_chain_without_proof_of_its_key_puts_no_session_into_the_store() {
    let ca = TestCa::new("example.org");
    let server = server(&ca.source(&ca.issue("/api")));
    let victim = ca.issue("/web");
    let thief = ca.issue("/thief").key_der();
    for (key, is_kept) in [(victim.key_der(), true), (thief, false)] {
        let client = holding(VERSIONS[0], &ca, victim.chain_der(), key);
        let accept = server.handshake();
        let name = "localhost".try_into().unwrap();
        let mut dialling = rustls::ClientConnection::new(client, name).unwrap();
        let mut accepted = rustls::ServerConnection::new(accept.config()).unwrap();
        let failed = exchange(&mut dialling, &mut accepted).is_some();
        assert_eq!(failed, !is_kept);
        let store = Arc::clone(&accept.config().session_storage);
        assert_eq!(store.put(b"key".to_vec(), b"session".to_vec()), is_kept);
    }
}
