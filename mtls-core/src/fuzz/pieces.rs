//! A chain, its key and its trust bundle, the same in every run. The key is a throw-away: it was made for this.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::snapshot::{Settings, Trust, TrustBundle, TrustParts};
use crate::tls::provider;

pub(super) const CHAIN: &str = include_str!("pieces/chain.pem");
pub(super) const KEY: &str = include_str!("pieces/key.pem");
pub(super) const BUNDLE: &str = include_str!("pieces/bundle.pem");

/// When every exercise takes place: noon on a day on which the pieces are valid.
pub(super) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_014_400))
}

pub(super) fn leaf() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CHAIN.as_bytes()).expect("the piece is PEM")
}

pub(super) fn root() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(BUNDLE.as_bytes()).expect("the piece is PEM")
}

pub(super) fn key() -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("the piece is PEM")
}

/// None in a build without a provider, where nothing can be verified.
pub(super) fn provider() -> Option<&'static Arc<CryptoProvider>> {
    static PROVIDER: OnceLock<Option<Arc<CryptoProvider>>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| provider::resolve(None).ok())
        .as_ref()
}

/// The pieces' own trust: what it authenticates is [`leaf`], and nothing else that can be made without its key.
pub(super) fn trust() -> Option<&'static Trust> {
    static TRUST: OnceLock<Option<Trust>> = OnceLock::new();
    let make = || {
        let domain = "example.org".parse().expect("a trust domain");
        let bundle = TrustBundle::new(Some(domain), vec![root()], "bundle".into(), now().into())
            .expect("the piece is a trust anchor");
        let settings = Settings::of(Arc::clone(provider()?));
        Some(Trust::new(TrustParts::of(bundle), &settings))
    };
    TRUST.get_or_init(make).as_ref()
}
