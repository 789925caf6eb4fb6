//! Trust domains: a CA issues identities of its own domain, and nobody else's.

use mtls_core::rustls::pki_types::CertificateDer;
use mtls_core::testing::{CaOptions, Issued, LeafOptions, TestCa, handshake};
use mtls_core::{
    ClientTls, CredentialSource, OwnChain, Policy, Publisher, Reason, ServerTls, TrustDomain,
};

use crate::fixture::*;

fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

/// Two trust domains that know each other.
struct Pair {
    ours: TestCa,
    theirs: TestCa,
}

impl Pair {
    fn new() -> Self {
        Self {
            ours: TestCa::new("example.org"),
            theirs: TestCa::new("partner.example"),
        }
    }

    fn source(&self, issued: &Issued) -> (Publisher, CredentialSource) {
        self.source_with(CredentialSource::builder(), issued)
    }

    fn source_with(
        &self,
        builder: mtls_core::SourceBuilder,
        issued: &Issued,
    ) -> (Publisher, CredentialSource) {
        let trust =
            trust(&[&self.ours]).federate(domain("partner.example"), vec![self.theirs.root_der()]);
        builder.publish(issued.material(), trust).unwrap()
    }

    /// What the partner's CA issues, if it is not honest.
    fn minted(&self, leaf: LeafOptions) -> Issued {
        self.theirs.issue_with(leaf)
    }

    /// A client of ours, before a server that presents this.
    fn dial(&self, source: &CredentialSource, presents: &Issued, name: &str) -> Result<(), Reason> {
        // The server is a rogue: it says nothing of whom it trusts.
        let rogue = CredentialSource::builder()
            .own_chain(OwnChain::FromAnotherPki)
            .trust_domain(domain("example.org"))
            .publish(presents.material(), trust(&[&self.ours]))
            .unwrap();
        let outcome = handshake(&server(&rogue.1), &client(source), name);
        outcome.client.map(drop).map_err(|error| error.reason())
    }
}

/// Whether plain rustls with all roots in one store takes the chain for a client's.
fn naive_takes(cas: &[&TestCa], chain: &[CertificateDer<'static>]) -> bool {
    let (leaf, rest) = chain.split_first().unwrap();
    webpki(cas)
        .verify_client_cert(leaf, rest, unix_now())
        .is_ok()
}

#[test]
fn a_federated_ca_mints_no_spiffe_id_of_ours() {
    let pair = Pair::new();
    let minted = pair.minted(
        LeafOptions::new()
            .uri("spiffe://example.org/admin")
            .dns("localhost"),
    );
    assert!(naive_takes(
        &[&pair.ours, &pair.theirs],
        &minted.chain_der()
    ));
    let source = pair.source(&pair.ours.issue("/api")).1;
    let server = server(&source);
    for version in VERSIONS {
        let rogue = foreign(version, &pair.ours, &minted);
        assert_eq!(meet(&server, &rogue).refused(), Reason::UnknownIssuer);
        // Its own members are peers, under their own name.
        let honest = foreign(version, &pair.ours, &pair.theirs.issue("/web"));
        let peer = meet(&server, &honest).full();
        assert_eq!(peer.to_string(), "spiffe://partner.example/web");
        assert!(!peer.identity().names_count());
        assert_eq!(meet(&server, &honest).resumed().identity(), peer.identity());
    }
    assert_eq!(
        pair.dial(&source, &minted, "localhost"),
        Err(Reason::UnknownIssuer)
    );
    // Nor does ours mint theirs.
    let ours = pair
        .ours
        .issue_with(LeafOptions::new().uri("spiffe://partner.example/web"));
    let rogue = foreign(VERSIONS[0], &pair.ours, &ours);
    assert_eq!(meet(&server, &rogue).refused(), Reason::UnknownIssuer);
}

#[test]
fn a_federated_ca_mints_no_dns_name_of_ours_for_a_server() {
    let pair = Pair::new();
    let names = [
        LeafOptions::new().dns("orders.shop.svc"),
        LeafOptions::new().spiffe("/orders").dns("orders.shop.svc"),
    ];
    let (plain, said) = (
        pair.source(&pair.ours.issue("/web")).1,
        pair.source_with(
            CredentialSource::builder().names_from(domain("partner.example")),
            &pair.ours.issue("/web"),
        )
        .1,
    );
    for (leaf, reason) in names
        .into_iter()
        .zip([Reason::UnknownIssuer, Reason::NameMismatch])
    {
        // One store for all roots lets it answer to our name.
        let minted = pair.minted(leaf.clone());
        let union = CredentialSource::builder().trust_domain(domain("partner.example"));
        let union = union
            .own_chain(OwnChain::FromAnotherPki)
            .publish(
                pair.ours.issue("/web").material(),
                trust(&[&pair.ours, &pair.theirs]),
            )
            .unwrap();
        assert_eq!(pair.dial(&union.1, &minted, "orders.shop.svc"), Ok(()));

        assert_eq!(pair.dial(&plain, &minted, "orders.shop.svc"), Err(reason));
        // Unless it was said that it may.
        assert_eq!(pair.dial(&said, &minted, "orders.shop.svc"), Ok(()));
        let honest = pair.ours.issue_with(leaf);
        assert_eq!(pair.dial(&plain, &honest, "orders.shop.svc"), Ok(()));
    }
}

#[test]
fn a_federated_ca_mints_no_name_of_ours_for_a_client() {
    let pair = Pair::new();
    let policy = || Policy::dns_name("web.shop.svc").unwrap();
    let api = pair.ours.issue("/api");
    let plain = server_for(&pair.source(&api).1, policy());
    let names_from = CredentialSource::builder().names_from(domain("partner.example"));
    let said = server_for(&pair.source_with(names_from, &api).1, policy());
    let by_name = LeafOptions::new().dns("web.shop.svc");
    let by_both = LeafOptions::new().spiffe("/web").dns("web.shop.svc");
    for (leaf, reason) in [
        (by_name, Reason::UnknownIssuer),
        (by_both, Reason::NotAuthorized),
    ] {
        let minted = pair.minted(leaf.clone());
        assert!(naive_takes(
            &[&pair.ours, &pair.theirs],
            &minted.chain_der()
        ));
        for version in VERSIONS {
            let rogue = foreign(version, &pair.ours, &minted);
            assert_eq!(meet(&plain, &rogue).refused(), reason);
            assert!(meet(&said, &rogue).server.is_ok());
            let honest = foreign(version, &pair.ours, &pair.ours.issue_with(leaf.clone()));
            assert!(meet(&plain, &honest).server.is_ok());
        }
    }
    // Of a federated member nothing but its SPIFFE ID is told.
    let all = LeafOptions::service("/web")
        .email("root@example.org")
        .common_name("admin");
    let minted = foreign(VERSIONS[0], &pair.ours, &pair.minted(all));
    let peer = meet(&server(&pair.source(&api).1), &minted).full();
    let peer = peer.identity();
    assert!(peer.dns_names().is_empty() && peer.ip_addresses().is_empty());
    assert!(peer.emails().is_empty());
    assert_eq!(peer.common_name(), None);
    assert_eq!(
        peer.uris().collect::<Vec<_>>(),
        ["spiffe://partner.example/web"]
    );
}

#[test]
fn a_federated_service_account_is_its_own_domains() {
    let pair = Pair::new();
    let linkerd = "web.shop.serviceaccount.identity.linkerd.cluster.local";
    let minted = pair.minted(LeafOptions::new().spiffe("/web").dns(linkerd));
    let server = server(&pair.source(&pair.ours.issue("/api")).1);
    let peer = meet(&server, &foreign(VERSIONS[0], &pair.ours, &minted)).full();
    assert_eq!(peer.identity().kubernetes(), None);
}

#[test]
fn an_alias_is_the_same_id_in_the_local_trust_domain_for_as_long_as_it_is_one() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let server = server_for(
        &source,
        Policy::spiffe_id("spiffe://example.org/web").unwrap(),
    );
    let old =
        |path: &str| ca.issue_with(LeafOptions::new().uri(format!("spiffe://old.example{path}")));
    for version in VERSIONS {
        let web = foreign(version, &ca, &old("/web"));
        let batch = foreign(version, &ca, &old("/batch"));
        assert_eq!(meet(&server, &web).refused(), Reason::WrongTrustDomain);
        source.set_trust_domain_aliases([domain("old.example")]);
        let peer = meet(&server, &web).full();
        assert_eq!(peer.to_string(), "spiffe://example.org/web");
        let presented = peer.identity().alias_id().unwrap();
        assert_eq!(presented.as_str(), "spiffe://old.example/web");
        assert!(peer.identity().names_count());
        assert_eq!(meet(&server, &web).resumed().identity(), peer.identity());
        assert_eq!(meet(&server, &batch).refused(), Reason::NotAuthorized);
        let local = foreign(version, &ca, &ca.issue("/web"));
        let local = meet(&server, &local).full();
        assert_eq!(local.identity().alias_id(), None);

        // It takes hold at once: on open connections, on sessions and on the next handshake.
        source.set_trust_domain_aliases([]);
        assert_eq!(peer.check().unwrap_err().reason(), Reason::WrongTrustDomain);
        assert_eq!(meet(&server, &web).refused(), Reason::WrongTrustDomain);
        assert!(local.check().is_ok());
    }
}

#[test]
fn a_rule_that_names_an_alias_matches_nobody() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    source.set_trust_domain_aliases([domain("old.example")]);
    let old = ca.issue_with(LeafOptions::new().uri("spiffe://old.example/web"));
    let client = foreign(VERSIONS[0], &ca, &old);
    let by_old = Policy::trust_domain("old.example").unwrap();
    let refused = meet(&server_for(&source, by_old), &client).refused();
    assert_eq!(refused, Reason::NotAuthorized);
    let by_new = Policy::trust_domain("example.org").unwrap();
    meet(&server_for(&source, by_new), &client).full();
}

#[test]
fn who_still_uses_an_alias_is_counted_and_told_by_a_few_names() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let server = server_for(&source, Policy::trust_domain("example.org").unwrap());
    source.set_trust_domain_aliases([domain("old.example"), domain("unused.example")]);
    let come = |id: &str| {
        let issued = ca.issue_with(LeafOptions::new().uri(id));
        foreign(VERSIONS[0], &ca, &issued)
    };
    let of = |alias: &str| {
        let uses = source.alias_uses();
        uses.into_iter()
            .find(|of| of.trust_domain.to_string() == alias)
    };
    let web = come("spiffe://old.example/web");
    meet(&server, &web).full();
    meet(&server, &web).resumed();
    meet(&server, &come("spiffe://old.example/batch")).full();
    // Neither who comes by the new name, nor who is refused.
    meet(&server, &come("spiffe://example.org/web")).full();
    meet(&server, &come("spiffe://other.example/web")).refused();
    let stranger = TestCa::new("old.example").issue("/web");
    meet(&server, &foreign(VERSIONS[0], &ca, &stranger)).refused();
    let old = of("old.example").unwrap();
    assert_eq!(old.connections, 3);
    assert!(old.last_seen.is_some());
    let peers: Vec<_> = old.peers.iter().map(ToString::to_string).collect();
    assert_eq!(
        peers,
        ["spiffe://old.example/batch", "spiffe://old.example/web"]
    );
    let unused = of("unused.example").unwrap();
    assert_eq!((unused.connections, unused.last_seen), (0, None));
    assert_eq!(source.alias_uses().len(), 2);

    for n in 0..40 {
        meet(&server, &come(&format!("spiffe://old.example/{n}"))).full();
    }
    let old = of("old.example").unwrap();
    assert_eq!((old.connections, old.peers.len()), (43, 32));
    // What is an alias no more has no row, and begins anew when it is one again.
    source.set_trust_domain_aliases([]);
    assert_eq!(source.alias_uses(), []);
    source.set_trust_domain_aliases([domain("old.example")]);
    assert_eq!(of("old.example").unwrap().connections, 0);
}

#[test]
fn an_alias_gives_no_other_ca_an_id_of_ours() {
    let pair = Pair::new();
    let source = pair.source(&pair.ours.issue("/api")).1;
    let server = server_for(&source, Policy::trust_domain("example.org").unwrap());
    let claim = |ca: &TestCa, id: &str| {
        let leaf = ca.issue_with(LeafOptions::new().uri(id));
        let met = meet(&server, &foreign(VERSIONS[0], &pair.ours, &leaf));
        met.server.map(drop).map_err(|error| error.reason())
    };
    source.set_trust_domain_aliases([domain("old.example"), domain("partner.example")]);
    // By the local CA, an alias is ours; by another it is nobody's.
    assert_eq!(claim(&pair.ours, "spiffe://old.example/web"), Ok(()));
    let refused = claim(&pair.theirs, "spiffe://old.example/web");
    assert_eq!(refused, Err(Reason::UnknownIssuer));
    let refused = claim(&pair.theirs, "spiffe://example.org/web");
    assert_eq!(refused, Err(Reason::UnknownIssuer));
    // A domain with a bundle of its own is no alias, whatever is said: its members stay foreigners, and our CA does not
    // issue them. The other way about, whoever federates would hand out our own names.
    let refused = claim(&pair.theirs, "spiffe://partner.example/web");
    assert_eq!(refused, Err(Reason::NotAuthorized));
    let refused = claim(&pair.ours, "spiffe://partner.example/web");
    assert_eq!(refused, Err(Reason::UnknownIssuer));
}

#[test]
fn a_bundle_without_a_trust_domain_has_no_aliases() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue_dns("localhost"));
    source.set_trust_domain_aliases([domain("example.org")]);
    let web = foreign(VERSIONS[0], &ca, &ca.issue("/web"));
    assert_eq!(
        meet(&server(&source), &web).refused(),
        Reason::WrongTrustDomain
    );
    let by_name = foreign(VERSIONS[0], &ca, &ca.issue_dns("web"));
    meet(&server(&source), &by_name).full();
}

#[test]
fn a_certificate_for_clients_is_no_servers_though_it_is_known_as_a_clients() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/both"));
    let server = server(&source);
    let web = ca.issue_with(LeafOptions::service("/web").client_only());
    for _ in 0..2 {
        let met = meet(&server, &foreign(VERSIONS[0], &ca, &web));
        assert!(met.server.is_ok());
    }
    // The same source, and so the same memory, as a client.
    let impostor = std::sync::Arc::new(naive(webpki(&[&ca]), &web));
    let config = client(&source).handshake().config();
    let met = meet_naive(&impostor, &config);
    assert!(!met.done && met.server_chain.is_none());
    let honest = std::sync::Arc::new(naive(webpki(&[&ca]), &ca.issue("/api")));
    assert!(meet_naive(&honest, &config).done);
}

#[test]
fn a_bundle_of_ten_thousand_anchors_works_and_names_none_of_them() {
    let ca = TestCa::new("example.org");
    let few: Vec<_> = (0..10)
        .map(|_| TestCa::new("example.org").root_der())
        .collect();
    let many = ten_thousand_anchors();
    for (others, named) in [(few, 11), (many, 0)] {
        let count = others.len() + 1;
        let anchors = std::iter::once(ca.root_der()).chain(others).collect();
        let (_, source) = CredentialSource::builder()
            .publish(
                ca.issue("/api").material(),
                mtls_core::TrustMaterial::new(anchors),
            )
            .unwrap();
        assert_eq!(source.current().trust().bundle().anchors().len(), count);
        let server = server(&source);
        assert_eq!(named_cas(&server), named);
        for version in VERSIONS {
            let client = foreign(version, &ca, &ca.issue("/web"));
            meet(&server, &client).full();
            meet(&server, &client).resumed();
            let stranger = foreign(version, &ca, &TestCa::new("example.org").issue("/web"));
            assert_eq!(meet(&server, &stranger).refused(), Reason::UnknownIssuer);
        }
    }
}

/// How many CAs the server names to its clients.
fn named_cas(server: &ServerTls) -> usize {
    use mtls_core::rustls::client::ResolvesClientCert;
    use mtls_core::rustls::sign::CertifiedKey;
    use mtls_core::rustls::{ClientConfig, SignatureScheme};
    use std::sync::{Arc, Mutex};

    #[derive(Debug, Default)]
    struct Listening(Mutex<usize>);
    impl ResolvesClientCert for Listening {
        fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            *self.0.lock().unwrap() = hints.len();
            None
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let listening = Arc::new(Listening::default());
    let ca_of = server.source().current();
    let mut roots = mtls_core::rustls::RootCertStore::empty();
    let anchor = ca_of.trust().bundle().anchors().first().unwrap();
    roots.add(anchor.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::clone(&listening) as Arc<dyn ResolvesClientCert>);
    assert_eq!(
        meet(server, &Arc::new(config)).refused(),
        Reason::NoPeerCertificate
    );
    *listening.0.lock().unwrap()
}

/// One certificate under ten thousand names of one length. Nobody looks at the signature of an anchor.
fn ten_thousand_anchors() -> Vec<CertificateDer<'static>> {
    let der = TestCa::new("example.org").root_der().to_vec();
    let prefix = b"mtls test CA ";
    let places: Vec<_> = (0..der.len())
        .filter(|at| der.get(*at..).is_some_and(|rest| rest.starts_with(prefix)))
        .map(|at| at + prefix.len())
        .collect();
    assert_eq!(places.len(), 2, "as issuer and as subject");
    let named = |n: usize| {
        let (mut der, name) = (der.clone(), format!("{n:016}"));
        for at in &places {
            let place = der.get_mut(*at..at + name.len());
            place.unwrap().copy_from_slice(name.as_bytes());
        }
        CertificateDer::from(der)
    };
    (0..10_000).map(named).collect()
}

#[test]
fn a_ca_that_is_restricted_to_other_things_issues_nobody() {
    let root = TestCa::new("example.org");
    let server = server(&root.source(&root.issue("/api")));
    let source = root.source(&root.issue("/web"));
    let by_id = ClientTls::builder(&source).dangerous();
    let by_id = by_id
        .expect_anyone_in(domain("example.org"))
        .build()
        .unwrap();
    let sound = root.intermediate();
    let restricted = root.intermediate_with(CaOptions::new().without_key_cert_sign());
    assert!(naive_takes(&[&root], &restricted.issue("/web").chain_der()));
    for (ca, expected) in [(&sound, None), (&restricted, Some(Reason::CaConstraint))] {
        let issued = ca.issue("/peer");
        for version in VERSIONS {
            let met = meet(&server, &foreign(version, &root, &issued));
            assert_eq!(met.server.err().map(|e| e.reason()), expected);
        }
        let rogue = CredentialSource::builder()
            .own_chain(OwnChain::FromAnotherPki)
            .publish(issued.material(), root.trust_material())
            .unwrap();
        let rogue = ServerTls::builder(&rogue.1).authorize(Policy::any_verified_peer());
        let outcome = handshake(&rogue.build().unwrap(), &by_id, "localhost");
        assert_eq!(outcome.client.err().map(|e| e.reason()), expected);
    }
}
