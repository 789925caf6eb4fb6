//! What is the same for every config: protocol versions, ALPN, and what is off.

use rustls::{
    ClientConfig, ConfigBuilder, ConfigSide, ServerConfig, SupportedProtocolVersion, WantsVerifier,
    WantsVersions, version,
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
    /// What all configs of a server or a client begin with. Made once, so that what rustls finds wrong is found before there is
    /// a connection to lose.
    pub(crate) fn begin<S: ConfigSide>(
        self,
        builder: ConfigBuilder<S, WantsVersions>,
    ) -> Result<ConfigBuilder<S, WantsVerifier>, ConfigError> {
        builder
            .with_protocol_versions(self.enabled())
            .map_err(TlsFault::new)
            .map_err(|source| ConfigError::ProviderUnsuitable { source })
    }

    fn enabled(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls13 => TLS13,
            Self::Tls12AndTls13 => TLS12_AND_TLS13,
        }
    }
}

/// No early data; and no TLS 1.2 without the extended master secret, for such a handshake can be spliced (triple handshake,
/// RFC 7627 §5.3).
pub(crate) fn restrict_server(config: &mut ServerConfig) {
    config.max_early_data_size = 0;
    config.require_ems = true;
}

/// The same, as a client.
pub(crate) fn restrict_client(config: &mut ClientConfig) {
    config.enable_early_data = false;
    config.require_ems = true;
}

/// HTTP/2, then HTTP/1.1: what an HTTP server or client of ours speaks.
pub(crate) fn http_alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
static TLS12_AND_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
