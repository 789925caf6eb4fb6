//! What a verified peer is known by, and what it is not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;

use mtls_core::rustls::sign::{Signer, SigningKey};
use mtls_core::rustls::{
    Error, SignatureAlgorithm, SignatureScheme, credentials_with_signing_key, pki_types,
};
use mtls_core::testing::{KeyKind, LeafOptions, TestCa, handshake};
use mtls_core::{
    ClientTls, CredentialSource, LoadError, MeshForm, PeerInfo, Policy, Reason, ServerTls,
};

/// What a server learns of a client that presents this leaf.
fn peer(leaf: LeafOptions) -> PeerInfo {
    let ca = TestCa::new("example.org");
    ca.peer(&ca.issue_with(leaf))
}

#[test]
fn a_peer_is_known_by_everything_that_its_leaf_says() {
    let ca = TestCa::new("example.org");
    let leaf = LeafOptions::new()
        .spiffe("/ns/shop/sa/web")
        .dns("Web.Shop.SVC")
        .dns("web")
        .ip([10, 0, 0, 7])
        .email("web@example.org")
        .common_name("the web");
    let issued = ca.issue_with(leaf);
    let info = ca.peer(&issued);
    let peer = info.identity();
    assert_eq!(peer.to_string(), "spiffe://example.org/ns/shop/sa/web");
    assert_eq!(peer.spiffe_id().unwrap().path(), "/ns/shop/sa/web");
    assert_eq!(peer.dns_names(), ["web.shop.svc", "web"]);
    assert_eq!(
        peer.ip_addresses(),
        ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(peer.emails(), ["web@example.org"]);
    assert_eq!(
        peer.uris().collect::<Vec<_>>(),
        ["spiffe://example.org/ns/shop/sa/web"]
    );
    assert_eq!(peer.common_name(), Some("the web"));
    assert!(peer.subject().contains("CN=the web"));
    assert!(peer.issuer().contains("mtls test CA"));
    assert_eq!(peer.serial(), issued.serial());
    assert!(peer.not_before() < peer.not_after());
    assert_eq!(peer.fingerprint().len(), 64);
    assert_eq!(peer.chain(), issued.chain_der());
    let account = peer.kubernetes().unwrap();
    assert_eq!((account.namespace(), account.name()), ("shop", "web"));
    assert_eq!(account.form(), MeshForm::Istio);
}

#[test]
fn the_validity_of_a_peer_ends_with_the_first_certificate_of_its_path() {
    let root = TestCa::new("example.org");
    let issued = root.intermediate().issue("/web");
    let peer = root.peer(&issued);
    let window = peer.identity().window();
    assert!(window.not_after <= peer.identity().not_after());
    assert!(window.not_before >= peer.identity().not_before());
}

#[test]
fn linkerds_form_is_a_service_account_too_and_several_of_them_are_none() {
    let name = |ns: &str| format!("web.{ns}.serviceaccount.identity.linkerd.cluster.local");
    let ca = TestCa::new("example.org");
    let server = CredentialSource::builder()
        .trust_domain("example.org".parse().unwrap())
        .publish(ca.issue_dns("api").material(), ca.trust_material())
        .unwrap()
        .1;
    let server = ServerTls::builder(&server)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let seen = |leaf: LeafOptions| {
        let client = ClientTls::builder(&ca.source(&ca.issue_with(leaf)));
        let client = client.verify_server_name().build().unwrap();
        handshake(&server, &client, "api").server.unwrap()
    };
    let one = seen(LeafOptions::new().dns(name("shop")));
    let account = one.identity().kubernetes().unwrap();
    assert_eq!(
        (account.namespace(), account.form()),
        ("shop", MeshForm::Linkerd)
    );
    let two = seen(LeafOptions::new().dns(name("shop")).dns(name("bank")));
    assert!(two.identity().kubernetes().is_none());
}

#[test]
fn a_common_name_identifies_nobody() {
    let ca = TestCa::new("example.org");
    let server = ServerTls::builder(&ca.source(&ca.issue_dns("api")))
        .authorize(Policy::dns_name("web.shop.svc").unwrap())
        .build()
        .unwrap();
    let present = |leaf: LeafOptions| {
        let client = ClientTls::builder(&ca.source(&ca.issue_with(leaf)));
        handshake(
            &server,
            &client.verify_server_name().build().unwrap(),
            "api",
        )
        .server
    };
    assert!(present(LeafOptions::new().dns("web.shop.svc")).is_ok());
    let refused = present(LeafOptions::new().common_name("web.shop.svc")).unwrap_err();
    assert_eq!(refused.reason(), Reason::NotAuthorized);
    let wildcard = present(LeafOptions::new().dns("*.shop.svc")).unwrap_err();
    assert_eq!(wildcard.reason(), Reason::NotAuthorized);
}

#[test]
fn a_name_that_could_forge_a_log_line_is_printed_escaped() {
    let peer = peer(LeafOptions::service("/web").common_name("web\nALERT all is well\u{1b}[2K"));
    assert!(
        !peer.identity().subject().contains(['\n', '\u{1b}']),
        "{:?}",
        peer.identity()
    );
    assert!(peer.identity().subject().contains("\\u{a}"));
}

/// A key in a token: it signs, and shows nothing else.
#[derive(Debug)]
struct Token {
    inner: Arc<dyn SigningKey>,
    tells_public_key: bool,
}

impl SigningKey for Token {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.inner.choose_scheme(offered)
    }

    fn public_key(&self) -> Option<pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.inner.public_key().filter(|_| self.tells_public_key)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

fn token(
    key: pki_types::PrivateKeyDer<'static>,
    tells_public_key: bool,
) -> Result<Arc<Token>, Error> {
    let ca = TestCa::new("example.org");
    let client = ClientTls::builder(&ca.source(&ca.issue("/web"))).verify_server_name();
    let config = client.build().unwrap().handshake().config();
    let inner = config
        .crypto_provider()
        .key_provider
        .load_private_key(key)?;
    Ok(Arc::new(Token {
        inner,
        tells_public_key,
    }))
}

#[test]
fn a_key_that_is_held_elsewhere_signs_for_its_leaf() {
    let ca = TestCa::new("example.org");
    for tells_public_key in [true, false] {
        let issued = ca.issue_with(LeafOptions::service("/api").key(KeyKind::EcdsaP384));
        let key = token(issued.key_der(), tells_public_key).unwrap();
        let material = credentials_with_signing_key(issued.chain_der(), key);
        let source = CredentialSource::builder()
            .publish(material, ca.trust_material())
            .unwrap()
            .1;
        let server = ServerTls::builder(&source)
            .authorize(Policy::any_verified_peer())
            .build()
            .unwrap();
        let client = ClientTls::builder(&ca.source(&ca.issue("/web")));
        let outcome = handshake(
            &server,
            &client.verify_server_name().build().unwrap(),
            "localhost",
        );
        assert_eq!(outcome.client.unwrap().identity().serial(), issued.serial());
    }
}

#[test]
fn a_key_that_is_held_elsewhere_and_belongs_to_another_leaf_is_not_published() {
    let ca = TestCa::new("example.org");
    let (api, other) = (ca.issue("/api"), ca.issue("/api"));
    let key = token(other.key_der(), true).unwrap();
    let material = credentials_with_signing_key(api.chain_der(), key);
    let refused = CredentialSource::builder()
        .publish(material, ca.trust_material())
        .unwrap_err();
    assert!(
        matches!(refused, LoadError::KeyMismatch { .. }),
        "{refused}"
    );
}
