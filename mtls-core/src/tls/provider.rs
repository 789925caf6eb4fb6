//! The crypto provider is a value: given, or found, never installed.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::error::LoadError;

/// The provider that was given, else the process's default if somebody installed one, else aws-lc-rs, else ring.
///
/// Both features may be on, since another crate may turn them on: that is no ambiguity here.
pub(crate) fn resolve(
    given: Option<Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, LoadError> {
    given
        .or_else(|| CryptoProvider::get_default().cloned())
        .or_else(built_in)
        .ok_or(LoadError::NoCryptoProvider)
}

#[cfg(feature = "aws-lc-rs")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "without any provider feature there is none"
)]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "without any provider feature there is none"
)]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}
