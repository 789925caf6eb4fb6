//! What the log says of refused peers: everything at debug, a bounded summary at warn.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mtls_core::{Chained, HandshakeError, PeerIdentity, Reason};
use tokio::time::Instant;
use tracing::{debug, field, warn};

/// Logs refusals. Anybody can cause one, as often as they like: a reason gets one warning a minute, which counts the
/// others, so that a misconfigured fleet is not silent and a flood is not loud.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Reason, Recent>>);

#[derive(Debug)]
struct Recent {
    warned: Instant,
    since: u64,
}

impl Refusals {
    pub(crate) fn log(&self, error: &HandshakeError, peer: SocketAddr) {
        let reason = error.reason();
        // Printed by whoever listens: a refusal that nobody logs costs no text.
        let presented = error.presented().map(field::display);
        let identity = error.peer().map(field::display);
        let serial = error.peer().map(PeerIdentity::serial);
        debug!(
            network.peer.address = %peer,
            mtls.side = "server",
            mtls.reason = reason.as_str(),
            mtls.peer_id = identity,
            mtls.peer_serial = serial,
            mtls.presented = presented,
            mtls.remedy = error.remedy(),
            error = %Chained(error),
            "handshake refused"
        );
        // Load balancers probe ports by connecting and closing: that is no refusal.
        if reason == Reason::PeerClosed {
            return;
        }
        if let Some(others) = self.due(reason, Instant::now()) {
            warn!(
                network.peer.address = %peer,
                mtls.side = "server",
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
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let refusals = Refusals::default();
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
