//! What is the same for every config: protocol versions, ALPN, and what is off.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ConfigBuilder, ServerConfig, SupportedProtocolVersion, WantsVerifier, version,
};

use super::error::{ConfigError, TlsFault};

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    /// TLS 1.3 alone. The default: TLS 1.2 sends both certificates in clear.
    #[default]
    Tls13,
    /// TLS 1.3, and 1.2 for peers that have no better: ECDHE with AEAD suites only, extended master secret required
    /// (RFC 7627), no renegotiation.
    Tls12AndTls13,
}

impl TlsVersions {
    /// What the configs of servers begin with. Made once, so that what rustls finds wrong is found before there is a connection
    /// to lose.
    pub(crate) fn server(
        self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, ConfigError> {
        ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(self.enabled())
            .map_err(unsuitable)
    }

    /// The same, of clients.
    pub(crate) fn client(
        self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, ConfigError> {
        ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(self.enabled())
            .map_err(unsuitable)
    }

    fn enabled(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls13 => TLS13,
            Self::Tls12AndTls13 => TLS12_AND_TLS13,
        }
    }
}

fn unsuitable(error: rustls::Error) -> ConfigError {
    let source = TlsFault::new(error);
    ConfigError::ProviderUnsuitable { source }
}

/// HTTP/2, then HTTP/1.1: what an HTTP server or client of ours speaks.
pub(crate) fn http_alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
static TLS12_AND_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
