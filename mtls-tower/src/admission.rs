//! Whom a connection was let in for, and whether they still would be.

use std::future::pending;

#[cfg(feature = "server")]
use http::Extensions;
#[cfg(feature = "server")]
use mtls_core::PeerInfo;
use mtls_core::{AnonymousClient, Client, HandshakeError, Timestamp};

use crate::permissive::Permissive;

/// The client of one connection, and what its being let in rests on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    client: Client,
    /// By whose permission a client is in plaintext.
    permissive: Option<Permissive>,
}

impl Admission {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            permissive: None,
        }
    }

    pub(crate) fn in_plaintext(client: AnonymousClient, permissive: Permissive) -> Self {
        Self {
            client: Client::Anonymous(client),
            permissive: Some(permissive),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the client would still be let in.
    #[cfg(feature = "server")]
    pub(crate) fn check(&self) -> Result<(), HandshakeError> {
        match (&self.client, &self.permissive) {
            (Client::Peer(peer), _) => peer.check(),
            (Client::Anonymous(_), Some(permissive)) if permissive.is_strict() => {
                Err(HandshakeError::PlaintextPeer)
            }
            // By TLS there is nothing of it that could be taken back.
            (Client::Anonymous(_), _) => Ok(()),
        }
    }

    /// Waits until the client would no longer be let in, and says why.
    pub(crate) async fn lost(&self) -> HandshakeError {
        match (&self.client, &self.permissive) {
            (Client::Peer(peer), _) => peer.lost().await,
            (Client::Anonymous(_), Some(permissive)) => {
                permissive.ended().await;
                HandshakeError::PlaintextPeer
            }
            (Client::Anonymous(_), None) => pending().await,
        }
    }

    /// The last second at which the client is let in if nothing changes.
    pub(crate) fn deadline(&self) -> Timestamp {
        match &self.client {
            Client::Peer(peer) => peer.deadline(),
            Client::Anonymous(_) => NEVER,
        }
    }

    /// Waits until a new connection would present newer credentials of ours.
    #[cfg(feature = "client")]
    pub(crate) async fn superseded(&self) {
        match &self.client {
            Client::Peer(peer) => peer.superseded().await,
            Client::Anonymous(_) => pending().await,
        }
    }
}

/// Lets a request know who its client is, and nobody else.
#[cfg(feature = "server")]
pub(crate) fn introduce(client: &Client, extensions: &mut Extensions) {
    match client {
        Client::Peer(peer) => {
            extensions.insert(peer.clone());
            extensions.remove::<AnonymousClient>();
        }
        Client::Anonymous(client) => {
            extensions.insert(client.clone());
            extensions.remove::<PeerInfo>();
        }
    }
}

const NEVER: Timestamp = Timestamp::from_unix(i64::MAX);
