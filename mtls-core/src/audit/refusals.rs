//! What the log says of refusals: everything at debug, a bounded summary at warn.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, field, warn};

use crate::error::Chained;
use crate::identity::PeerIdentity;
use crate::reason::Reason;
use crate::tls::HandshakeError;
use crate::verify::Role;

/// Logs handshakes that failed. Anybody can cause one, as often as they like: a reason gets one warning a minute, with one of
/// them as an example and the number of the others, so that a misconfigured fleet is not silent and a flood is not loud. At
/// debug each is told.
///
/// One for each server and for each client, whatever they have of connections; the adapters have theirs.
#[derive(Debug)]
pub struct RefusalLog {
    ours: Role,
    recent: Mutex<HashMap<Reason, Recent>>,
}

#[derive(Debug)]
struct Recent {
    warned: Instant,
    since: u64,
}

impl RefusalLog {
    /// For handshakes in which we play this part.
    #[must_use]
    pub fn new(ours: Role) -> Self {
        Self {
            ours,
            recent: Mutex::default(),
        }
    }

    /// A handshake with a client at this address failed.
    pub fn client(&self, error: &HandshakeError, peer: SocketAddr) {
        self.log(error, Some(&peer), None);
    }

    /// A handshake with this server failed, by the name or the address that was dialled.
    pub fn server(&self, error: &HandshakeError, dialled: &str) {
        self.log(error, None, Some(dialled));
    }

    fn log(&self, error: &HandshakeError, peer: Option<&dyn fmt::Display>, dialled: Option<&str>) {
        let (side, reason) = (self.ours.as_str(), error.reason());
        // Printed by whoever listens: a refusal that nobody logs costs no text.
        let peer = peer.map(field::display);
        let presented = error.presented().map(field::display);
        let identity = error.peer().map(field::display);
        let serial = error.peer().map(PeerIdentity::serial);
        debug!(
            network.peer.address = peer,
            server.address = dialled,
            mtls.side = side,
            mtls.reason = reason.as_str(),
            mtls.peer_id = identity,
            mtls.peer_serial = serial,
            mtls.presented = presented,
            mtls.remedy = error.remedy(),
            error = %Chained(error),
            "handshake refused"
        );
        // Load balancers probe ports by connecting and closing: that is no refusal.
        if self.ours == Role::Server && reason == Reason::PeerClosed {
            return;
        }
        if let Some(others) = self.due(reason, Instant::now()) {
            warn!(
                network.peer.address = peer,
                server.address = dialled,
                mtls.side = side,
                mtls.reason = reason.as_str(),
                mtls.peer_id = identity,
                mtls.peer_serial = serial,
                mtls.presented = presented,
                mtls.others = others,
                mtls.remedy = error.remedy(),
                error = %Chained(error),
                "handshakes are refused; at most one of these a minute for each reason"
            );
        }
    }

    /// How many were not warned of since the last warning, if the next is due.
    fn due(&self, reason: Reason, now: Instant) -> Option<u64> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match recent.get_mut(&reason) {
            Some(known) if now - known.warned < WINDOW => {
                known.since += 1;
                None
            }
            Some(known) => {
                known.warned = now;
                Some(std::mem::take(&mut known.since))
            }
            None => {
                recent.insert(
                    reason,
                    Recent {
                        warned: now,
                        since: 0,
                    },
                );
                Some(0)
            }
        }
    }
}

const WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_warned_of_once_a_minute_and_the_others_are_counted() {
        let refusals = RefusalLog::new(Role::Server);
        let start = Instant::now();
        assert_eq!(refusals.due(Reason::Expired, start), Some(0));
        for second in 1..60 {
            assert_eq!(
                refusals.due(Reason::Expired, start + Duration::from_secs(second)),
                None
            );
        }
        assert_eq!(refusals.due(Reason::UnknownIssuer, start), Some(0));
        assert_eq!(refusals.due(Reason::Expired, start + WINDOW), Some(59));
        assert_eq!(refusals.due(Reason::Expired, start + WINDOW * 2), Some(0));
    }
}
