//! The client of a connection, where one without a certificate may be let in.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::CommonState;

use super::info::{PeerInfo, version};
use super::names::Under;
use crate::audit::{Audit, ConnectionFacts, ConnectionId};

/// Whether a client has to present a certificate.
///
/// Whichever it is, a certificate that was presented counts: a client whose chain does not verify, who does not hold its
/// key or whom the authorizer refuses is refused, and never taken for an anonymous one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// A client that presents none is refused. The default.
    #[default]
    Required,
    /// A client that presents none is let in as an [`AnonymousClient`], and asks the authorizer nothing: what such a client
    /// may do has to be said for each request.
    Optional,
}

/// The client of an accepted connection.
#[derive(Debug, Clone)]
pub enum Client {
    /// A verified peer that has proven to hold its key.
    Peer(PeerInfo),
    /// Nobody that we know.
    Anonymous(AnonymousClient),
}

/// A client that has presented no certificate: how it came, and no identity.
///
/// One value per connection, cheap to clone.
#[derive(Clone)]
pub struct AnonymousClient(Arc<Inner>);

struct Inner {
    connection: ConnectionFacts,
    audit: Audit,
    tls: Option<Tls>,
}

struct Tls {
    version: &'static str,
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    /// The identity of ours that it connected to, where the server has several.
    under: Option<Under>,
}

/// How an anonymous client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnonymousBy {
    /// In plaintext: whatever it says may have been written, or read, by whoever is in between.
    Plaintext,
    /// By TLS, without a certificate.
    TlsWithoutCertificate,
}

/// A [`Client`] that is somebody else's.
#[derive(Debug, Clone, Copy)]
pub enum ClientRef<'a> {
    /// A verified peer that has proven to hold its key.
    Peer(&'a PeerInfo),
    /// Nobody that we know.
    Anonymous(&'a AnonymousClient),
}

impl Client {
    /// The verified peer, if it is one.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerInfo> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::Anonymous(_) => None,
        }
    }

    /// How an anonymous client came, if it is one.
    #[must_use]
    pub fn anonymous(&self) -> Option<&AnonymousClient> {
        match self {
            Self::Peer(_) => None,
            Self::Anonymous(client) => Some(client),
        }
    }

    /// The connection's number, of which this process gives out no second.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        ClientRef::from(self).connection().id()
    }

    /// Where the client connected from, if whoever accepted the connection said so.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        ClientRef::from(self).connection().remote_addr()
    }

    /// The application protocol, if one was negotiated (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Peer(peer) => peer.alpn(),
            Self::Anonymous(client) => client.alpn(),
        }
    }

    /// The name that the client asked for (SNI), if it named one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match self {
            Self::Peer(peer) => peer.server_name(),
            Self::Anonymous(client) => client.server_name(),
        }
    }

    /// Whether the identity of ours that the client connected to answers for these hosts, which a request names: see
    /// [`PeerInfo::answers_for`]. Whoever came in plaintext has connected to none, and is anonymous to all of them.
    #[must_use]
    pub fn answers_for<'a>(&self, hosts: impl IntoIterator<Item = &'a [u8]>) -> bool {
        match self {
            Self::Peer(peer) => peer.answers_for(hosts),
            Self::Anonymous(client) => Under::answers_for_all(client.under(), hosts),
        }
    }

    /// The version of TLS, `1.3` or `1.2`; none in plaintext.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        match self {
            Self::Peer(peer) => Some(peer.tls_version()),
            Self::Anonymous(client) => client.tls_version(),
        }
    }

    /// The observer of the server that it connected to, if there is one.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        match self {
            Self::Peer(peer) => peer.audit(),
            Self::Anonymous(client) => client.audit(),
        }
    }
}

impl AnonymousClient {
    pub(super) fn by_tls(
        connection: ConnectionFacts,
        audit: Audit,
        tls: &CommonState,
        server_name: Option<&str>,
        under: Option<Under>,
    ) -> Self {
        let tls = Some(Tls {
            version: version(tls.protocol_version()),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            server_name: server_name.map(ToOwned::to_owned),
            under,
        });
        Self(Arc::new(Inner {
            connection,
            audit,
            tls,
        }))
    }

    pub(super) fn by_plaintext(connection: ConnectionFacts, audit: Audit) -> Self {
        let tls = None;
        Self(Arc::new(Inner {
            connection,
            audit,
            tls,
        }))
    }

    /// How it came.
    #[must_use]
    pub fn by(&self) -> AnonymousBy {
        match self.0.tls {
            Some(_) => AnonymousBy::TlsWithoutCertificate,
            None => AnonymousBy::Plaintext,
        }
    }

    /// The connection's number, of which this process gives out no second.
    #[must_use]
    pub fn connection_id(&self) -> ConnectionId {
        self.0.connection.id()
    }

    /// Where the client connected from, if whoever accepted the connection said so. It identifies nobody.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.connection.remote_addr()
    }

    /// The version of TLS, `1.3` or `1.2`; none in plaintext.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        self.0.tls.as_ref().map(|tls| tls.version)
    }

    /// The application protocol, if one was negotiated (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.tls.as_ref()?.alpn.as_deref()
    }

    /// The name that the client asked for (SNI), if it named one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.0.tls.as_ref()?.server_name.as_deref()
    }

    fn under(&self) -> Option<&Under> {
        self.0.tls.as_ref()?.under.as_ref()
    }

    /// Whom decisions about this client are told to: the observer of the server that it connected to, if there is one.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.0.audit
    }
}

impl AnonymousBy {
    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::TlsWithoutCertificate => "tls_without_certificate",
        }
    }
}

impl ClientRef<'_> {
    pub(crate) fn connection(self) -> ConnectionFacts {
        match self {
            Self::Peer(peer) => peer.connection(),
            Self::Anonymous(client) => client.0.connection,
        }
    }
}

impl<'a> From<&'a Client> for ClientRef<'a> {
    fn from(client: &'a Client) -> Self {
        match client {
            Client::Peer(peer) => Self::Peer(peer),
            Client::Anonymous(client) => Self::Anonymous(client),
        }
    }
}

impl<'a> From<&'a PeerInfo> for ClientRef<'a> {
    fn from(peer: &'a PeerInfo) -> Self {
        Self::Peer(peer)
    }
}

impl<'a> From<&'a AnonymousClient> for ClientRef<'a> {
    fn from(client: &'a AnonymousClient) -> Self {
        Self::Anonymous(client)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => fmt::Display::fmt(peer, f),
            Self::Anonymous(client) => fmt::Display::fmt(client, f),
        }
    }
}

impl fmt::Display for AnonymousClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by() {
            AnonymousBy::Plaintext => f.write_str("an anonymous client in plaintext"),
            AnonymousBy::TlsWithoutCertificate => f.write_str("an anonymous client by TLS"),
        }
    }
}

impl fmt::Debug for AnonymousClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnonymousClient")
            .field("by", &self.by())
            .field("connection", &self.connection_id().get())
            .field("remote_addr", &self.remote_addr())
            .field("tls_version", &self.tls_version())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .field("server_name", &self.server_name())
            .finish()
    }
}
