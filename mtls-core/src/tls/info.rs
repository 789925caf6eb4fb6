//! What a connection knows of its peer.

use std::fmt;
use std::sync::Arc;

use rustls::{CommonState, ProtocolVersion};

use crate::identity::PeerIdentity;
use crate::verify::Role;

/// The peer of a connection whose handshake is done: who it is, and how we talk.
///
/// One value per connection, cheap to clone; every request of the connection has it. It exists only for a peer whose
/// chain was verified and whose key was proven.
#[derive(Clone)]
pub struct PeerInfo(Arc<Inner>);

struct Inner {
    identity: PeerIdentity,
    role: Role,
    generation: u64,
    version: &'static str,
    cipher_suite: String,
    key_exchange: String,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
}

impl PeerInfo {
    /// INVARIANT: called when the handshake of `tls` is done, with the identity that was proven in it.
    pub(super) fn new(
        identity: PeerIdentity,
        role: Role,
        generation: u64,
        tls: &CommonState,
        server_name: Option<&str>,
    ) -> Self {
        let named = |name: Option<String>| name.unwrap_or_else(|| "unknown".into());
        Self(Arc::new(Inner {
            identity,
            role,
            generation,
            version: version(tls.protocol_version()),
            cipher_suite: named(
                tls.negotiated_cipher_suite()
                    .map(|s| format!("{:?}", s.suite())),
            ),
            key_exchange: named(
                tls.negotiated_key_exchange_group()
                    .map(|group| format!("{:?}", group.name())),
            ),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name: server_name.map(ToOwned::to_owned),
        }))
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.identity
    }

    /// The part that the peer plays.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// The generation of our snapshot that it was verified under.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The version of TLS, `1.3` or `1.2`.
    #[must_use]
    pub fn tls_version(&self) -> &'static str {
        self.0.version
    }

    /// The cipher suite by its IANA name, as rustls writes it.
    #[must_use]
    pub fn cipher_suite(&self) -> &str {
        &self.0.cipher_suite
    }

    /// The key exchange group by its IANA name, such as `X25519MLKEM768`.
    #[must_use]
    pub fn key_exchange(&self) -> &str {
        &self.0.key_exchange
    }

    /// The application protocol, if one was negotiated (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn.as_deref()
    }

    /// The name that the client asked for (SNI), if it named one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }
}

impl fmt::Display for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.identity(), f)
    }
}

impl fmt::Debug for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerInfo")
            .field("identity", self.identity())
            .field("role", &self.role())
            .field("generation", &self.generation())
            .field("tls_version", &self.tls_version())
            .field("cipher_suite", &self.cipher_suite())
            .field("key_exchange", &self.key_exchange())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .finish_non_exhaustive()
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => "unknown",
    }
}
