//! Handshakes by the public API: who is let in, who is refused, and what each side learns.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use mtls_core::testing::{
    Broken, BrokenAt, CaOptions, KeyKind, LeafOptions, Outcome, TestCa, handshake,
};
use mtls_core::{
    ChainFault, ClientTls, ConfigError, CredentialMaterial, CredentialSource, HandshakeError,
    OwnChain, Policy, Reason, Role, ServerTls, TlsVersions, TrustMaterial,
};

fn server(source: &CredentialSource) -> ServerTls {
    ServerTls::builder(source)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build()
        .unwrap()
}

fn client(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .build()
        .unwrap()
}

fn meet(server_ca: &TestCa, client_ca: &TestCa) -> Outcome {
    let server = server(&server_ca.source(&server_ca.issue("/api")));
    handshake(
        &server,
        &client(&client_ca.source(&client_ca.issue("/web"))),
        "localhost",
    )
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let ca = TestCa::new("example.org");
    let (api, web) = (ca.issue("/api"), ca.issue("/web"));
    let outcome = handshake(
        &server(&ca.source(&api)),
        &client(&ca.source(&web)),
        "localhost",
    );
    let (seen_client, seen_server) = (outcome.server.unwrap(), outcome.client.unwrap());
    assert_eq!(seen_client.to_string(), "spiffe://example.org/web");
    assert_eq!(seen_client.identity().serial(), web.serial());
    assert_eq!(seen_client.role(), Role::Client);
    assert_eq!(seen_client.tls_version(), "1.3");
    assert_eq!(seen_client.server_name(), Some("localhost"));
    assert_eq!(seen_client.alpn(), Some(&b"h2"[..]));
    assert_eq!(seen_server.to_string(), "spiffe://example.org/api");
    assert_eq!(seen_server.identity().serial(), api.serial());
}

#[test]
fn a_stranger_is_refused_and_learns_no_more_than_unknown_ca() {
    let outcome = meet(&TestCa::new("example.org"), &TestCa::new("example.org"));
    // The client refuses first: it knows the server's CA as little as the server knows its.
    assert_eq!(outcome.client.unwrap_err().reason(), Reason::UnknownIssuer);

    let (ca, stranger) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let server = server(&ca.source(&ca.issue("/api")));
    let trusting = CredentialSource::builder()
        .own_chain(OwnChain::FromAnotherPki)
        .publish(stranger.issue("/web").material(), ca.trust_material())
        .unwrap()
        .1;
    let outcome = handshake(&server, &client(&trusting), "localhost");
    let refused = outcome.server.unwrap_err();
    assert_eq!(refused.reason(), Reason::UnknownIssuer);
    let text = refused.presented().unwrap().to_string();
    assert!(text.contains("spiffe://example.org/web"), "{text}");
    let told = outcome.client.unwrap_err();
    assert!(told.to_string().contains("unknown_ca"), "{told}");
}

#[test]
fn one_who_is_not_authorized_is_refused_with_access_denied() {
    let ca = TestCa::new("example.org");
    let only_web = Policy::spiffe_id("spiffe://example.org/web").unwrap();
    let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(only_web)
        .build()
        .unwrap();
    let accepted = handshake(&server, &client(&ca.source(&ca.issue("/web"))), "localhost");
    assert!(accepted.server.is_ok());
    let outcome = handshake(
        &server,
        &client(&ca.source(&ca.issue("/batch"))),
        "localhost",
    );
    let refused = outcome.server.unwrap_err();
    assert_eq!(refused.reason(), Reason::NotAuthorized);
    assert_eq!(
        refused.peer().unwrap().to_string(),
        "spiffe://example.org/batch"
    );
    assert!(
        refused.to_string().contains("spiffe://example.org/web"),
        "{refused}"
    );
    let told = outcome.client.unwrap_err();
    assert!(told.to_string().contains("access_denied"), "{told}");
}

#[test]
fn tls_1_2_works_when_it_is_switched_on_and_only_then() {
    let ca = TestCa::new("example.org");
    let source = ca.source(&ca.issue("/api"));
    let legacy = ServerTls::builder(&source)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap();
    let old_client = || {
        let issued = ca.issue("/web");
        let provider = legacy.handshake().config().crypto_provider().clone();
        let mut roots = mtls_core::rustls::RootCertStore::empty();
        roots.add(ca.root_der()).unwrap();
        let config = mtls_core::rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&mtls_core::rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(issued.chain_der(), issued.key_der())
            .unwrap();
        std::sync::Arc::new(config)
    };
    let peer =
        mtls_core::testing::handshake_with_foreign(&legacy, old_client(), "localhost").unwrap();
    assert_eq!(peer.tls_version(), "1.2");
    assert_eq!(peer.to_string(), "spiffe://example.org/web");
    let refused =
        mtls_core::testing::handshake_with_foreign(&server(&source), old_client(), "localhost");
    assert_eq!(refused.unwrap_err().reason(), Reason::NoCommonParameters);
}

#[test]
fn a_client_without_a_certificate_is_refused_and_told_what_would_do() {
    let ca = TestCa::new("example.org");
    let server = server(&ca.source(&ca.issue("/api")));
    let mut roots = mtls_core::rustls::RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    let provider = server.handshake().config().crypto_provider().clone();
    let config = mtls_core::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let refused = mtls_core::testing::handshake_with_foreign(&server, config.into(), "localhost")
        .unwrap_err();
    assert_eq!(refused.reason(), Reason::NoPeerCertificate);
    assert!(refused.to_string().contains("mtls test CA"), "{refused}");
}

#[test]
fn a_server_is_expected_by_spiffe_id_or_pattern() {
    let ca = TestCa::new("example.org");
    let server = server(&ca.source(&ca.issue_with(LeafOptions::new().spiffe("/ns/shop/sa/api"))));
    let source = ca.source(&ca.issue("/web"));
    let expecting = |pattern: &str| {
        let builder = ClientTls::builder(&source)
            .expect_server(pattern.parse().unwrap())
            .unwrap();
        handshake(&server, &builder.build().unwrap(), "10.0.0.1").client
    };
    assert!(expecting("spiffe://example.org/ns/shop/sa/api").is_ok());
    assert!(expecting("spiffe://example.org/ns/shop/sa/*").is_ok());
    let refused = expecting("spiffe://example.org/ns/shop/sa/web").unwrap_err();
    assert_eq!(refused.reason(), Reason::NameMismatch);
    assert!(expecting("spiffe://example.org/ns/shop-evil/**").is_err());
    let wide =
        ClientTls::builder(&source).expect_server("spiffe://example.org/**".parse().unwrap());
    assert!(matches!(
        wide,
        Err(ConfigError::ServerPatternTooWide { .. })
    ));
    let anyone = ClientTls::builder(&source)
        .dangerous()
        .expect_anyone_in("example.org".parse().unwrap());
    assert!(
        handshake(&server, &anyone.build().unwrap(), "10.0.0.1")
            .client
            .is_ok()
    );
}

#[test]
fn a_server_name_has_to_be_among_the_sans_and_a_common_name_is_none() {
    let ca = TestCa::new("example.org");
    let named = |leaf: LeafOptions, dial: &str| {
        let source = CredentialSource::builder()
            .trust_domain("example.org".parse().unwrap())
            .publish(ca.issue_with(leaf).material(), ca.trust_material())
            .unwrap()
            .1;
        handshake(
            &server(&source),
            &client(&ca.source(&ca.issue("/web"))),
            dial,
        )
        .client
    };
    assert!(named(LeafOptions::new().dns("api.shop.svc"), "api.shop.svc").is_ok());
    let other = named(LeafOptions::new().dns("api.shop.svc"), "orders.shop.svc").unwrap_err();
    assert_eq!(other.reason(), Reason::NameMismatch);
    assert!(other.to_string().contains("`orders.shop.svc`"), "{other}");
    let common = named(
        LeafOptions::new().common_name("api.shop.svc"),
        "api.shop.svc",
    )
    .unwrap_err();
    assert_eq!(common.reason(), Reason::NoSan);
}

#[test]
fn every_kind_of_key_that_the_provider_knows_works_on_both_sides() {
    for kind in KeyKind::ALL {
        if !is_known(*kind) {
            continue;
        }
        let ca = TestCa::new("example.org");
        let leaf = |path| ca.issue_with(LeafOptions::service(path).key(*kind));
        let outcome = handshake(
            &server(&ca.source(&leaf("/api"))),
            &client(&ca.source(&leaf("/web"))),
            "localhost",
        );
        assert!(
            outcome.server.is_ok() && outcome.client.is_ok(),
            "{kind:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_key_that_the_provider_does_not_know_is_refused_when_it_is_loaded() {
    let ca = TestCa::new("example.org");
    for kind in KeyKind::ALL {
        let leaf = ca.issue_with(LeafOptions::service("/api").key(*kind));
        let loaded = CredentialSource::builder().publish(leaf.material(), ca.trust_material());
        match loaded {
            Ok(_) => assert!(is_known(*kind), "{kind:?}"),
            Err(refused) => {
                assert!(!is_known(*kind), "{kind:?}");
                assert_eq!(refused.reason(), Reason::KeyUnusable);
            }
        }
    }
}

/// ring has no P-521.
fn is_known(kind: KeyKind) -> bool {
    cfg!(feature = "aws-lc-rs") || kind != KeyKind::EcdsaP521
}

#[test]
fn intermediates_are_presented_and_their_depth_is_bounded_by_the_ca() {
    let root = TestCa::new("example.org");
    let deep = root.intermediate().intermediate();
    let server = server(&root.source(&deep.issue("/api")));
    let outcome = handshake(
        &server,
        &client(&root.source(&deep.issue("/web"))),
        "localhost",
    );
    assert_eq!(outcome.server.unwrap().identity().chain().len(), 3);

    let shallow = TestCa::with_options("example.org", CaOptions::new().path_len(0));
    let source = CredentialSource::builder().publish(
        shallow.intermediate().issue("/web").material(),
        shallow.trust_material(),
    );
    // webpki does not look at the path length of a trust anchor.
    let error = source.unwrap_err();
    assert_eq!(error.reason(), Reason::CaConstraint, "{error:?}");
}

/// Presents what `broken` makes to a server that trusts the CA that it was made with.
fn present(ca: &TestCa, broken: Broken) -> Result<mtls_core::PeerInfo, HandshakeError> {
    use mtls_core::rustls::pki_types::pem::PemObject;
    use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let set = broken.make(ca);
    let chain = CertificateDer::pem_slice_iter(&set.chain_pem)
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(&set.key_pem).unwrap();
    let server = ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::trust_domain(ca.trust_domain()).unwrap())
        .build()
        .unwrap();
    let provider = server.handshake().config().crypto_provider().clone();
    let signer = provider.key_provider.load_private_key(key).unwrap();
    let certified = mtls_core::rustls::sign::CertifiedKey::new(chain, signer);
    let mut roots = mtls_core::rustls::RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    let config = mtls_core::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(std::sync::Arc::new(
            mtls_core::rustls::sign::SingleCertAndKey::from(certified),
        ));
    mtls_core::testing::handshake_with_foreign(&server, config.into(), "localhost")
}

#[test]
fn every_broken_chain_is_refused_for_its_reason_when_a_peer_presents_it() {
    for broken in Broken::ALL {
        let refused_by_peer = match broken.at() {
            BrokenAt::Load => continue,
            BrokenAt::LoadAndHandshake | BrokenAt::Handshake => present,
        };
        // A leaf for clients alone is a fine client; one without a name verifies, and no rule about names lets it in.
        if matches!(broken, Broken::LeafClientOnly | Broken::SanMissing) {
            continue;
        }
        for ca in [
            TestCa::new("example.org"),
            TestCa::new("example.org").intermediate(),
        ] {
            let refused = refused_by_peer(&ca, *broken).unwrap_err();
            assert_eq!(
                refused.reason(),
                broken.expected_reason(),
                "{broken}: {refused:?}"
            );
        }
    }
}

#[test]
fn a_spiffe_id_under_a_bundle_without_a_trust_domain_is_refused() {
    let ca = TestCa::new("example.org");
    let nameless = ca.source(&ca.issue_dns("api.shop.svc"));
    let server = ServerTls::builder(&nameless)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let by_name = ClientTls::builder(&ca.source(&ca.issue_dns("web.shop.svc")));
    let by_name = by_name.verify_server_name().build().unwrap();
    let accepted = handshake(&server, &by_name, "api.shop.svc").server.unwrap();
    assert_eq!(accepted.to_string(), "web.shop.svc");
    let refused = handshake(
        &server,
        &client(&ca.source(&ca.issue("/web"))),
        "api.shop.svc",
    )
    .server;
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason(), Reason::WrongTrustDomain);
    let HandshakeError::Chain { source } = &refused else {
        panic!("{refused:?}")
    };
    assert!(matches!(
        source.fault,
        ChainFault::WrongTrustDomain { ref expected, .. } if expected.is_empty()
    ));

    let told = CredentialSource::builder()
        .trust_domain("example.org".parse().unwrap())
        .publish(ca.issue_dns("api.shop.svc").material(), ca.trust_material())
        .unwrap()
        .1;
    let server = ServerTls::builder(&told)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let accepted = handshake(
        &server,
        &client(&ca.source(&ca.issue("/web"))),
        "api.shop.svc",
    );
    assert!(accepted.server.is_ok());
}

#[test]
fn credentials_without_a_role_do_not_build_for_it() {
    let ca = TestCa::new("example.org");
    let client_only = ca.source(&ca.issue_with(LeafOptions::service("/web").client_only()));
    let built = ServerTls::builder(&client_only)
        .authorize(Policy::any_verified_peer())
        .build();
    assert!(matches!(
        built,
        Err(ConfigError::CredentialsLackRole {
            role: Role::Server,
            ..
        })
    ));
    assert!(
        ClientTls::builder(&client_only)
            .verify_server_name()
            .build()
            .is_ok()
    );
}

#[test]
fn nothing_prints_a_key() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/api");
    let key = issued.key_der().secret_der().to_vec();
    let window = |bytes: &[u8]| {
        bytes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let secret = window(&key[40..52]);
    let material = CredentialMaterial::new(issued.chain_der(), issued.key_der());
    let trust = TrustMaterial::new(vec![ca.root_der()]);
    let mut texts = vec![format!("{material:?}"), format!("{issued:?}")];
    let (publisher, source) = CredentialSource::builder()
        .publish(material, trust)
        .unwrap();
    let server = server(&source);
    let client = client(&source);
    texts.extend([
        format!("{publisher:?}"),
        format!("{source:?}"),
        format!("{:?}", source.status()),
        format!("{:?}", source.current()),
        format!("{server:?}"),
        format!("{:?}", server.handshake()),
        format!("{client:?}"),
        format!("{:?}", client.handshake()),
        format!("{:?}", ca.peer(&issued)),
    ]);
    for text in texts {
        assert!(!text.contains(&secret), "a key in {text}");
        assert!(!text.contains("PRIVATE KEY"));
    }
}

#[test]
fn a_handshake_sees_one_snapshot_though_the_source_moves_on_during_it() {
    use mtls_core::rustls::{ClientConnection, ServerConnection};
    let (ca, next) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let (api, web) = (ca.issue("/api"), ca.issue("/web"));
    let (publisher, source) = ca.publish(&api);
    let (server, client) = (server(&source), client(&ca.source(&web)));

    let (accept, dial) = (server.handshake(), client.handshake());
    let mut dialling =
        ClientConnection::new(dial.config(), "localhost".try_into().unwrap()).unwrap();
    let mut accepting = ServerConnection::new(accept.config()).unwrap();
    let mut bytes = Vec::new();
    dialling.write_tls(&mut bytes).unwrap();
    accepting.read_tls(&mut bytes.as_slice()).unwrap();
    accepting.process_new_packets().unwrap();
    // Between the client's first bytes and its certificate, everything is replaced.
    publisher
        .publish(next.issue("/api").material(), next.trust_material())
        .unwrap();
    loop {
        let (mut down, mut up) = (Vec::new(), Vec::new());
        while accepting.write_tls(&mut down).unwrap() > 0 {}
        let mut rest = down.as_slice();
        while !rest.is_empty() {
            dialling.read_tls(&mut rest).unwrap();
            dialling.process_new_packets().unwrap();
        }
        while dialling.write_tls(&mut up).unwrap() > 0 {}
        let mut rest = up.as_slice();
        while !rest.is_empty() {
            accepting.read_tls(&mut rest).unwrap();
            accepting.process_new_packets().unwrap();
        }
        if down.is_empty() && up.is_empty() {
            break;
        }
    }
    let (seen_client, seen_server) = (
        accept.established(&accepting).unwrap(),
        dial.established(&dialling, &"localhost".try_into().unwrap())
            .unwrap(),
    );
    assert_eq!((seen_client.generation(), accept.generation()), (1, 1));
    assert_eq!(seen_client.identity().serial(), web.serial());
    assert_eq!(seen_server.identity().serial(), api.serial());

    let after = handshake(&server, &client, "localhost");
    assert_eq!(server.handshake().generation(), 2);
    assert_eq!(after.client.unwrap_err().reason(), Reason::UnknownIssuer);
}

#[test]
fn one_bad_anchor_among_good_ones_is_skipped_and_reported_and_none_left_is_an_error() {
    let good = TestCa::new("example.org");
    let with = |bad: &TestCa| vec![bad.root_der(), good.root_der()];
    let leaf_as_anchor = good.issue("/leaf").chain_der().remove(0);
    let options: [fn() -> CaOptions; 3] = [
        || CaOptions::new().expired(),
        || CaOptions::new().without_key_cert_sign(),
        || CaOptions::new().ca_false(),
    ];
    let mut bundles: Vec<_> = options
        .iter()
        .map(|options| with(&TestCa::with_options("example.org", options())))
        .collect();
    bundles.push(vec![leaf_as_anchor, good.root_der()]);
    for bundle in bundles {
        let bad = bundle.first().cloned().unwrap();
        let publish = |anchors| {
            CredentialSource::builder()
                .publish(good.issue("/api").material(), TrustMaterial::new(anchors))
        };
        let source = publish(bundle).unwrap().1;
        let status = source.status();
        assert_eq!(status.skipped_anchors.len(), 1, "{status:?}");
        assert_eq!(source.current().trust().bundle().anchors().len(), 1);
        let none_left = publish(vec![bad]).unwrap_err();
        assert_eq!(none_left.reason(), Reason::EmptyBundle, "{none_left}");
        assert_eq!(
            publish(Vec::new()).unwrap_err().reason(),
            Reason::EmptyBundle
        );
    }
}

#[test]
fn a_leaf_in_the_bundle_issues_nobody() {
    // rustls takes any certificate of a bundle for an authority: whoever holds that leaf's key could then issue peers.
    let ca = TestCa::new("example.org");
    let rogue = TestCa::with_options("example.org", CaOptions::new().ca_false());
    let trust = TrustMaterial::new(vec![ca.root_der(), rogue.root_der()]);
    let source = CredentialSource::builder()
        .publish(ca.issue("/api").material(), trust)
        .unwrap()
        .1;
    let issued = rogue.issue("/web");
    let mut roots = mtls_core::rustls::RootCertStore::empty();
    roots.add(ca.root_der()).unwrap();
    let provider = server(&source)
        .handshake()
        .config()
        .crypto_provider()
        .clone();
    let config = mtls_core::rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(issued.chain_der(), issued.key_der())
        .unwrap();
    let present = mtls_core::testing::handshake_with_foreign;
    let refused = present(&server(&source), config.into(), "localhost").unwrap_err();
    assert_eq!(refused.reason(), Reason::UnknownIssuer);

    // The control: bare rustls with the same bundle lets it in.
    roots.add(rogue.root_der()).unwrap();
    let naive = mtls_core::rustls::server::WebPkiClientVerifier::builder_with_provider(
        std::sync::Arc::new(roots),
        provider,
    )
    .build()
    .unwrap();
    let chain = issued.chain_der();
    let (leaf, intermediates) = chain.split_first().unwrap();
    let now =
        mtls_core::rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            u64::try_from(mtls_core::Timestamp::now().as_unix()).unwrap(),
        ));
    assert!(naive.verify_client_cert(leaf, intermediates, now).is_ok());
}
