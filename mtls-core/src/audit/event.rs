//! One decision.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::clock;
use crate::identity::{ForwardedError, ForwardedIdentity, PeerIdentity};
use crate::policy::Denial;
use crate::reason::Reason;
use crate::tls::{AnonymousBy, ClientRef, HandshakeError};
use crate::verify::Presented;

/// One decision about one peer: it was let in, or it was not, and why.
///
/// It holds no key and no certificate: names, serials and fingerprints.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AuditEvent<'a> {
    /// When, by this machine's clock.
    pub at: SystemTime,
    /// Where the decision fell.
    pub stage: AuditStage,
    /// Which way it fell.
    pub outcome: AuditOutcome,
    /// The connection that it is about.
    pub connection: ConnectionId,
    /// Where the peer connected from, as far as whoever accepted it knew.
    pub remote_addr: Option<SocketAddr>,
    /// Who it is about.
    pub who: AuditSubject<'a>,
    /// Who stands behind the peer, if it is a proxy that is believed.
    pub forwarded: Option<&'a ForwardedIdentity>,
    /// The stable name of why not. An allow has none.
    pub reason: Option<Reason>,
    /// Why not, in full; [`Chained`](crate::Chained) prints it. An allow has none.
    pub cause: Option<&'a (dyn Error + 'static)>,
    /// What the policy wanted instead, where it was the policy that said no.
    pub rule: Option<&'a str>,
    /// The version of the policy that was asked; none if none was.
    pub policy_version: Option<u64>,
    /// The generation of the snapshot whose trust was asked; none if none was.
    pub generation: Option<u64>,
    /// What was asked for, at [`AuditStage::Request`].
    pub request: Option<AuditRequest<'a>>,
}

/// Where a decision falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditStage {
    /// The handshake: one event for each connection. A port probe is one too, denied for `peer_closed`.
    Handshake,
    /// A request: one event for each layer that decides, and one where a peer that was let in would not be now.
    Request,
    /// An open connection, which is ended because its peer would not be let in now.
    Connection,
}

/// Which way it fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// Let in.
    Allow,
    /// Not let in.
    Deny,
}

/// Who an event is about. What nobody has proven is never an identity.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AuditSubject<'a> {
    /// A client without a certificate, where one may be let in.
    Anonymous(AnonymousBy),
    /// Nothing is known: no certificate was presented, or none could be.
    Nobody,
    /// A verified peer that has proven to hold its key.
    Peer(&'a PeerIdentity),
    /// A chain that nobody has proven to be theirs.
    Presented(&'a Presented),
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AuditRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, without its query: that may hold what no record should.
    pub path: &'a str,
}

impl<'a> AuditRequest<'a> {
    /// A request by its method and its path.
    #[must_use]
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path }
    }
}

/// A connection's number, of which this process gives out no second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What is known of a connection before its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionFacts {
    id: ConnectionId,
    remote_addr: Option<SocketAddr>,
}

impl ConnectionFacts {
    /// A connection that was just accepted, from this address if that is known. It has a number of its own.
    #[must_use]
    pub fn new(remote_addr: Option<SocketAddr>) -> Self {
        let id = ConnectionId::next();
        Self { id, remote_addr }
    }

    /// Its number.
    #[must_use]
    pub fn id(self) -> ConnectionId {
        self.id
    }

    /// Where the peer connected from.
    #[must_use]
    pub fn remote_addr(self) -> Option<SocketAddr> {
        self.remote_addr
    }
}

/// What a decision was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JudgedUnder {
    /// The generation of the snapshot.
    pub generation: u64,
    /// The version of the policy.
    pub policy_version: u64,
}

impl<'a> AuditEvent<'a> {
    fn new(stage: AuditStage, connection: ConnectionFacts, judged: Option<JudgedUnder>) -> Self {
        Self {
            at: clock::wall(),
            stage,
            outcome: AuditOutcome::Allow,
            connection: connection.id,
            remote_addr: connection.remote_addr,
            who: AuditSubject::Nobody,
            forwarded: None,
            reason: None,
            cause: None,
            rule: None,
            policy_version: judged.map(|judged| judged.policy_version),
            generation: judged.map(|judged| judged.generation),
            request: None,
        }
    }

    fn of(stage: AuditStage, client: ClientRef<'a>) -> Self {
        let (who, judged) = match client {
            ClientRef::Peer(peer) => {
                let who = AuditSubject::Peer(peer.identity());
                (who, Some(peer.judged_under()))
            }
            // Of whom neither trust nor policy were asked.
            ClientRef::Anonymous(client) => (AuditSubject::Anonymous(client.by()), None),
        };
        let mut event = Self::new(stage, client.connection(), judged);
        event.who = who;
        event
    }

    fn denied(mut self, reason: Reason, cause: Option<&'a (dyn Error + 'static)>) -> Self {
        self.outcome = AuditOutcome::Deny;
        self.reason = Some(reason);
        self.cause = cause;
        self
    }

    /// The handshake is done, and the client is in; in plaintext, where there is none, its first byte was.
    #[must_use]
    pub fn handshake_allowed(client: impl Into<ClientRef<'a>>) -> Self {
        Self::of(AuditStage::Handshake, client.into())
    }

    /// The peer is let in, as far as a verifier knows that sees no connection: what is left of the handshake is in its peer's
    /// hands.
    pub(crate) fn handshake_proven(
        connection: ConnectionFacts,
        judged: JudgedUnder,
        peer: &'a PeerIdentity,
    ) -> Self {
        let mut event = Self::new(AuditStage::Handshake, connection, Some(judged));
        event.who = AuditSubject::Peer(peer);
        event
    }

    /// The handshake failed. `judged` is what it was judged by, if it came as far.
    #[must_use]
    pub fn handshake_refused(
        connection: ConnectionFacts,
        judged: Option<JudgedUnder>,
        why: &'a HandshakeError,
    ) -> Self {
        let mut event = Self::new(AuditStage::Handshake, connection, judged);
        event.who = match (why.peer(), why.presented()) {
            (Some(peer), _) => AuditSubject::Peer(peer),
            (None, Some(presented)) => AuditSubject::Presented(presented),
            (None, None) => AuditSubject::Nobody,
        };
        event.lost(why)
    }

    /// The handshake panicked, most likely in an authorizer: nobody is let in by that.
    #[must_use]
    pub fn handshake_panicked(connection: ConnectionFacts) -> Self {
        let event = Self::new(AuditStage::Handshake, connection, None);
        event.denied(Reason::HandshakePanicked, None)
    }

    /// A request of this client was let through.
    #[must_use]
    pub fn request(client: impl Into<ClientRef<'a>>, request: AuditRequest<'a>) -> Self {
        let mut event = Self::of(AuditStage::Request, client.into());
        event.request = Some(request);
        event
    }

    /// An open connection is ended, because its client would not be let in now.
    #[must_use]
    pub fn connection_lost(client: impl Into<ClientRef<'a>>, why: &'a HandshakeError) -> Self {
        Self::of(AuditStage::Connection, client.into()).lost(why)
    }

    /// It was not: a new handshake of this peer would be refused.
    #[must_use]
    pub fn lost(mut self, why: &'a HandshakeError) -> Self {
        if let HandshakeError::NotAuthorized { denial, .. } = why {
            self.rule = Some(denial.expectation());
        }
        self.denied(why.reason(), Some(why))
    }

    /// It was not: a policy said no.
    #[must_use]
    pub fn not_authorized(mut self, denial: &'a Denial) -> Self {
        self.rule = Some(denial.expectation());
        self.denied(Reason::NotAuthorized, Some(denial))
    }

    /// It was not: who asks is anonymous, and may not.
    #[must_use]
    pub fn no_peer(self) -> Self {
        self.denied(Reason::NoPeerCertificate, None)
    }

    /// It was not: who stands behind the proxy cannot be told.
    #[must_use]
    pub fn malformed(self, why: &'a ForwardedError) -> Self {
        self.denied(why.reason(), Some(why))
    }

    /// It was not: it came by a connection to another identity of the server than the one that answers for its host.
    #[must_use]
    pub fn misdirected(self) -> Self {
        self.denied(Reason::Misdirected, None)
    }

    /// It was asked of a policy of this version, and not of the server's.
    #[must_use]
    pub fn policy_version(mut self, version: u64) -> Self {
        self.policy_version = Some(version);
        self
    }

    /// A proxy that is believed says who stands behind it.
    #[must_use]
    pub fn forwarded(mut self, client: Option<&'a ForwardedIdentity>) -> Self {
        self.forwarded = client;
        self
    }
}

impl AuditStage {
    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Request => "request",
            Self::Connection => "connection",
        }
    }
}

impl AuditOutcome {
    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
