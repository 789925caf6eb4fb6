//! What a connection knows of its peer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{CommonState, ProtocolVersion};

use super::error::HandshakeError;
use super::names::Under;
use super::standing::Standing;
use crate::audit::{Audit, ConnectionFacts, ConnectionId, JudgedUnder};
use crate::identity::{PeerIdentity, Timestamp};
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
    standing: Standing,
    connection: ConnectionFacts,
    version: &'static str,
    cipher_suite: &'static str,
    key_exchange: &'static str,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    under: Option<Under>,
}

impl PeerInfo {
    /// INVARIANT: called when the handshake of `tls` is done, with the identity that was proven in it.
    pub(super) fn new(
        identity: PeerIdentity,
        role: Role,
        standing: Standing,
        tls: &CommonState,
        server_name: Option<&str>,
        under: Option<Under>,
        connection: ConnectionFacts,
    ) -> Self {
        Self(Arc::new(Inner {
            identity,
            role,
            generation: standing.generation(),
            standing,
            connection,
            version: version(tls.protocol_version()),
            cipher_suite: tls
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or(UNKNOWN),
            key_exchange: tls
                .negotiated_key_exchange_group()
                .and_then(|group| group.name().as_str())
                .unwrap_or(UNKNOWN),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name: server_name.map(ToOwned::to_owned),
            under,
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

    /// Whether the peer would still be let in, by the trust and the policy of this moment: a request on a connection that
    /// is open is asked this first. When nothing has changed since the last time it costs some nanoseconds.
    ///
    /// # Errors
    ///
    /// Why a new handshake would be refused: the chain no longer verifies, it has expired or was revoked, or the authorizer
    /// says no.
    pub fn check(&self) -> Result<(), HandshakeError> {
        self.0.standing.check(Timestamp::now())
    }

    /// The last second at which the peer is let in if nothing changes: the end of its certificates' validity. That a
    /// revocation list becomes stale ends no connection.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.0.standing.deadline()
    }

    /// Waits until the peer would no longer be let in, and says why. It is woken by a new snapshot, by a new policy and by
    /// the [`deadline`](Self::deadline), and looks at the clock every 30 s.
    ///
    /// Cancel safe.
    pub async fn lost(&self) -> HandshakeError {
        self.0.standing.lost().await
    }

    /// The connection's number, of which this process gives out no second: what an audit's events of one connection have
    /// in common.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        self.0.connection.id()
    }

    /// Where the peer connected from, if whoever accepted the connection said so.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.connection.remote_addr()
    }

    /// Whom decisions about this peer are told to: the observer of the server that it connected to, if there is one.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        self.0.standing.audit()
    }

    pub(crate) fn connection(&self) -> ConnectionFacts {
        self.0.connection
    }

    /// What the last answer of [`check`](Self::check) was given by, and before the first one the handshake's.
    pub(crate) fn judged_under(&self) -> JudgedUnder {
        self.0.standing.judged_under()
    }

    /// Whether a new connection would present other credentials of ours than this one did: they were rotated since. The
    /// peer is as good as before; a client's pool moves on, so that the old certificate is used no longer than it has to.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.0.standing.is_superseded()
    }

    /// Waits until the connection [`is_superseded`](Self::is_superseded). Cancel safe.
    pub async fn superseded(&self) {
        self.0.standing.superseded().await;
    }

    /// The version of TLS, `1.3` or `1.2`.
    #[must_use]
    pub fn tls_version(&self) -> &'static str {
        self.0.version
    }

    /// The cipher suite by its IANA name, as rustls writes it.
    #[must_use]
    pub fn cipher_suite(&self) -> &str {
        self.0.cipher_suite
    }

    /// The key exchange group by its IANA name, such as `X25519MLKEM768`.
    #[must_use]
    pub fn key_exchange(&self) -> &str {
        self.0.key_exchange
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

    /// Whether the identity that the client connected to answers for everything that a request says of its host: its
    /// `:authority` and each `Host` header, as they came. The port says nothing.
    ///
    /// A server with [several identities](crate::ServerNames) has let the client in under one of them. A request for a host
    /// of another's, for a host that no handshake would be accepted for, or for what is no host is not to be answered here:
    /// 421 Misdirected Request (RFC 9110 §15.5.20). Always true where a server is one [`ServerTls`](crate::ServerTls), and of a
    /// request that names no host.
    #[must_use]
    pub fn answers_for<'a>(&self, hosts: impl IntoIterator<Item = &'a [u8]>) -> bool {
        Under::answers_for_all(self.0.under.as_ref(), hosts)
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
            .field("connection", &self.connection_id().get())
            .field("tls_version", &self.tls_version())
            .field("cipher_suite", &self.cipher_suite())
            .field("key_exchange", &self.key_exchange())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .finish_non_exhaustive()
    }
}

pub(super) fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        _ => UNKNOWN,
    }
}

/// What a provider of the program's own may bring that rustls has no name for.
const UNKNOWN: &str = "unknown";
