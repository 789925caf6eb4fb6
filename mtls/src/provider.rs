//! The crypto provider that the command was built with.

use std::sync::Arc;

use mtls_core::rustls::crypto::CryptoProvider;

/// `None`: it was built with none, and can judge nothing that takes a signature.
#[cfg(any(feature = "aws-lc-rs", feature = "fips"))]
#[expect(clippy::unnecessary_wraps, reason = "as without a provider")]
pub(crate) fn provider() -> Option<Arc<CryptoProvider>> {
    let provider = mtls_core::rustls::crypto::aws_lc_rs::default_provider();
    Some(Arc::new(provider))
}

#[cfg(all(feature = "ring", not(any(feature = "aws-lc-rs", feature = "fips"))))]
#[expect(clippy::unnecessary_wraps, reason = "as without a provider")]
pub(crate) fn provider() -> Option<Arc<CryptoProvider>> {
    let provider = mtls_core::rustls::crypto::ring::default_provider();
    Some(Arc::new(provider))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "fips", feature = "ring")))]
pub(crate) fn provider() -> Option<Arc<CryptoProvider>> {
    None
}
