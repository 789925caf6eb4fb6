//! The crypto provider is a value: found by feature, or passed in, and never ambiguous.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "ring")),
    allow(unused_imports, reason = "what remains is the refusal")
)]

use std::sync::Arc;

use mtls_core::rustls::crypto::CryptoProvider;
use mtls_core::testing::{TestCa, handshake};
use mtls_core::{ClientTls, CredentialSource, LoadError, Policy, ServerTls, TlsVersions};

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn source(ca: &TestCa, path: &str, provider: Option<CryptoProvider>) -> CredentialSource {
    let mut builder = CredentialSource::builder();
    if let Some(provider) = provider {
        builder = builder.provider(Arc::new(provider));
    }
    builder
        .publish(ca.issue(path).material(), ca.trust_material())
        .unwrap()
        .1
}

/// A handshake between two sides with these providers; returns the group.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn meet(server: Option<CryptoProvider>, client: Option<CryptoProvider>) -> String {
    let ca = TestCa::new("example.org");
    let server = ServerTls::builder(&source(&ca, "/api", server))
        .authorize(Policy::spiffe_id("spiffe://example.org/web").unwrap())
        .versions(TlsVersions::Tls12AndTls13)
        .build()
        .unwrap();
    let client = ClientTls::builder(&source(&ca, "/web", client)).verify_server_name();
    let outcome = handshake(&server, &client.build().unwrap(), "localhost");
    assert_eq!(
        outcome.client.unwrap().to_string(),
        "spiffe://example.org/api"
    );
    outcome.server.unwrap().key_exchange().to_owned()
}

#[test]
#[cfg(feature = "aws-lc-rs")]
fn by_default_it_is_aws_lc_rs_with_a_post_quantum_key_exchange_even_if_ring_is_on_too() {
    assert_eq!(meet(None, None), "X25519MLKEM768");
}

#[test]
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn without_aws_lc_rs_it_is_ring() {
    assert_eq!(meet(None, None), "X25519");
}

#[test]
#[cfg(feature = "ring")]
fn ring_can_be_passed_in() {
    let ring = mtls_core::rustls::crypto::ring::default_provider;
    assert_eq!(meet(Some(ring()), Some(ring())), "X25519");
    assert_eq!(meet(Some(ring()), None), "X25519");
    assert_eq!(meet(None, Some(ring())), "X25519");
}

#[test]
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn a_provider_of_ones_own_decides_what_is_spoken() {
    #[cfg(feature = "aws-lc-rs")]
    let mut own = mtls_core::rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let mut own = mtls_core::rustls::crypto::ring::default_provider();
    own.kx_groups
        .retain(|group| group.name() == mtls_core::rustls::NamedGroup::secp384r1);
    assert_eq!(meet(Some(own), None), "secp384r1");
}

#[test]
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn a_provider_that_cannot_speak_tls_is_refused_when_the_server_is_built() {
    #[cfg(feature = "aws-lc-rs")]
    let mut mute = mtls_core::rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    let mut mute = mtls_core::rustls::crypto::ring::default_provider();
    mute.kx_groups.clear();
    let ca = TestCa::new("example.org");
    let source = source(&ca, "/api", Some(mute));
    let built = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build();
    assert!(
        matches!(
            built,
            Err(mtls_core::ConfigError::ProviderUnsuitable { .. })
        ),
        "{built:?}"
    );
}

#[test]
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn without_any_provider_nothing_is_loaded_and_the_error_says_what_to_turn_on() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/api");
    let error = CredentialSource::builder()
        .publish(issued.material(), ca.trust_material())
        .unwrap_err();
    assert!(matches!(error, LoadError::NoCryptoProvider));
    assert!(error.remedy().contains("aws-lc-rs"));
}

#[test]
fn nobody_installs_a_process_default() {
    let ca = TestCa::new("example.org");
    let issued = ca.issue("/api");
    let loaded = CredentialSource::builder().publish(issued.material(), ca.trust_material());
    assert!(loaded.is_ok() || matches!(loaded, Err(LoadError::NoCryptoProvider)));
    assert!(CryptoProvider::get_default().is_none());
}

#[test]
#[cfg(all(feature = "aws-lc-rs", not(feature = "fips")))]
fn without_the_fips_feature_nothing_claims_to_be_fips() {
    let ca = TestCa::new("example.org");
    let source = source(&ca, "/api", None);
    let server = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build();
    assert!(!server.unwrap().fips());
}
