//! What whoever makes connections tells of them.

#[cfg(feature = "metrics")]
use metrics::{counter, gauge, histogram};
#[cfg(feature = "metrics")]
use tokio::time::Instant;

#[cfg(feature = "metrics")]
use super::catalog::{
    ALERTS, CONNECTIONS_CUT, CONNECTIONS_DRAINED, HANDSHAKE_SECONDS, HANDSHAKES, PLAINTEXT,
    PLAINTEXT_TOTAL, REQUESTS_REFUSED,
};
use crate::reason::Reason;
use crate::tls::{Alert, HandshakeError};
use crate::verify::Role;

/// Measures one handshake. Without the feature `metrics` it is empty.
///
/// One that is dropped without a word counts nothing: a handshake that was given up is told of by whoever gave it up.
#[derive(Debug, Clone, Copy)]
#[must_use = "a handshake is counted when its end is told"]
pub struct HandshakeMeter {
    #[cfg(feature = "metrics")]
    ours: Role,
    #[cfg(feature = "metrics")]
    began: Instant,
}

impl HandshakeMeter {
    /// A handshake begins, in which we play this part.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "nothing is counted")
    )]
    pub fn begin(ours: Role) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            ours,
            #[cfg(feature = "metrics")]
            began: Instant::now(),
        }
    }

    /// It is done, and the peer is in.
    pub fn established(self) {
        #[cfg(feature = "metrics")]
        {
            self.count("ok", NONE);
            histogram!(HANDSHAKE_SECONDS, "side" => self.ours.as_str())
                .record(self.began.elapsed());
        }
    }

    /// It failed.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "nothing is counted")
    )]
    pub fn failed(self, why: &HandshakeError) {
        #[cfg(feature = "metrics")]
        {
            self.count(outcome(why), why.reason().as_str());
            if let HandshakeError::RefusedByPeer { alert, .. } = why {
                alert_received(self.ours, *alert);
            }
        }
    }

    /// It panicked, most likely in an authorizer.
    pub fn panicked(self) {
        #[cfg(feature = "metrics")]
        self.count("failed", Reason::HandshakePanicked.as_str());
    }

    #[cfg(feature = "metrics")]
    fn count(self, outcome: &'static str, reason: &'static str) {
        let side = self.ours.as_str();
        counter!(HANDSHAKES, "side" => side, "outcome" => outcome, "reason" => reason).increment(1);
    }
}

/// Refused by one of both sides, or failed before anybody had decided.
#[cfg(feature = "metrics")]
fn outcome(why: &HandshakeError) -> &'static str {
    match why {
        HandshakeError::Chain { .. }
        | HandshakeError::NoCommonParameters { .. }
        | HandshakeError::NoCommonProtocol { .. }
        | HandshakeError::NoPeerCertificate { .. }
        | HandshakeError::NoProofOfPossession { .. }
        | HandshakeError::NotAuthorized { .. }
        | HandshakeError::RefusedByPeer { .. }
        | HandshakeError::Resumed
        | HandshakeError::UnknownServerName { .. } => "refused",
        HandshakeError::Io { .. }
        | HandshakeError::PeerClosed
        | HandshakeError::PlaintextPeer
        | HandshakeError::Shed { .. }
        | HandshakeError::Timeout { .. }
        | HandshakeError::Tls { .. } => "failed",
    }
}

/// The peer refused us by this alert, on a connection where we play this part. In TLS 1.3 a client hears it after its own
/// handshake is done; [`HandshakeMeter::failed`] counts those that came before.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "nothing is counted")
)]
pub fn alert_received(ours: Role, alert: Alert) {
    #[cfg(feature = "metrics")]
    counter!(ALERTS, "side" => ours.as_str(), "alert" => alert.label()).increment(1);
}

/// A request was answered with a refusal.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "nothing is counted")
)]
pub fn request_refused(reason: Reason) {
    #[cfg(feature = "metrics")]
    counter!(REQUESTS_REFUSED, "reason" => reason.as_str()).increment(1);
}

/// A client is in plaintext, on a server that takes it.
pub fn plaintext_opened() {
    #[cfg(feature = "metrics")]
    {
        counter!(PLAINTEXT_TOTAL).increment(1);
        gauge!(PLAINTEXT).increment(1.0);
    }
}

/// A client that was in plaintext is gone.
pub fn plaintext_closed() {
    #[cfg(feature = "metrics")]
    gauge!(PLAINTEXT).decrement(1.0);
}

/// Why a connection does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// It is old, or its peer's certificates are about to expire.
    Age,
    /// There are as many as there may be.
    Limit,
    /// Its peer would not be let in any more.
    Lost(Reason),
    /// The server shuts down.
    Shutdown,
    /// A new connection would present newer credentials of ours.
    Superseded,
}

impl ConnectionEnd {
    /// The stable name of the cause.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Limit => "limit",
            Self::Lost(_) => "lost",
            Self::Shutdown => "shutdown",
            Self::Superseded => "superseded",
        }
    }

    #[cfg(feature = "metrics")]
    fn reason(self) -> &'static str {
        match self {
            Self::Lost(reason) => reason.as_str(),
            Self::Age | Self::Limit | Self::Shutdown | Self::Superseded => NONE,
        }
    }
}

/// A connection on which we play this part is told to end, and takes no new requests.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "nothing is counted")
)]
pub fn connection_drained(ours: Role, why: ConnectionEnd) {
    #[cfg(feature = "metrics")]
    counter!(
        CONNECTIONS_DRAINED,
        "side" => ours.as_str(), "cause" => why.as_str(), "reason" => why.reason()
    )
    .increment(1);
}

/// So many connections on which we play this part are over, whatever was in flight on them.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "nothing is counted")
)]
pub fn connection_cut(ours: Role, why: ConnectionEnd, count: usize) {
    #[cfg(feature = "metrics")]
    if let Ok(count @ 1..) = u64::try_from(count) {
        counter!(
            CONNECTIONS_CUT,
            "side" => ours.as_str(), "cause" => why.as_str(), "reason" => why.reason()
        )
        .increment(count);
    }
}

/// The label of what has no reason.
#[cfg(feature = "metrics")]
const NONE: &str = "none";
