//! Why a config could not be built, and why a handshake failed.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rustls::AlertDescription;

use crate::error::Chained;
use crate::identity::PeerIdentity;
use crate::policy::Denial;
use crate::reason::Reason;
use crate::verify::{ChainError, Presented, Role};

/// Why a [`ServerTls`](crate::ServerTls) or a [`ClientTls`](crate::ClientTls) could not be built.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Our own chain would be refused in this role.
    #[error("our own credentials cannot be used as a {role}")]
    CredentialsLackRole {
        /// The role.
        role: Role,
        /// What a peer would say of our chain.
        #[source]
        source: Box<ChainError>,
    },
    /// The crypto provider has no cipher suite or key exchange for the versions that were asked for.
    #[error("the crypto provider cannot speak the TLS versions that were asked for")]
    ProviderUnsuitable {
        /// rustls' word.
        #[source]
        source: TlsFault,
    },
    /// A server name was given twice.
    #[error("the server name `{name}` was given twice")]
    DuplicateServerName {
        /// The name, as it was given the second time.
        name: String,
    },
    /// What a server is expected at is no destination.
    #[error(
        "`{host}` is no destination, expected a DNS name or an IP address alone, without scheme, port or wildcard"
    )]
    InvalidDestination {
        /// What was given.
        host: String,
    },
    /// What a server should be asked for is no server name.
    #[error(
        "`{name}` is no server name, expected a DNS name, or `*.` and a DNS name, without port or address"
    )]
    InvalidServerName {
        /// What was given.
        name: String,
    },
    /// What is expected of a server is so wide that any workload could impersonate any service.
    #[error(
        "`{pattern}` is met by every workload of its trust domain, expected a pattern that names the service"
    )]
    ServerPatternTooWide {
        /// The pattern.
        pattern: String,
    },
}

impl ConfigError {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::CredentialsLackRole { source, .. } => source.remedy(),
            Self::ProviderUnsuitable { .. } => {
                "use a provider with TLS 1.3 suites and an ECDHE group, such as aws-lc-rs"
            }
            Self::DuplicateServerName { .. } => {
                "let one identity answer to each name; case and a dot at the end make no other name"
            }
            Self::InvalidDestination { .. } => {
                "give the host that is dialled, as it stands in the URL; of each host its own entry"
            }
            Self::InvalidServerName { .. } => {
                "give the DNS name that clients dial; for addresses say what becomes of clients that ask for no name"
            }
            Self::ServerPatternTooWide { .. } => {
                "give the service's SPIFFE ID or a pattern with a fixed segment; `dangerous()` has the wide one"
            }
        }
    }
}

/// Why a handshake failed: refused by us, refused by the peer, or never finished.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer's chain does not verify.
    #[error(transparent)]
    Chain {
        /// What is wrong with it.
        #[from]
        source: Box<ChainError>,
    },
    /// Reading from or writing to the peer failed.
    #[error("the connection failed during the handshake")]
    Io {
        /// The operating system's word.
        #[source]
        source: Arc<io::Error>,
    },
    /// Client and server share no application protocol (RFC 7301 §3.2).
    #[error("no application protocol in common, ours are {}", ours.join(", "))]
    NoCommonProtocol {
        /// What we offer.
        ours: Vec<String>,
    },
    /// Client and server share no version, suite, group or signature scheme.
    #[error("no TLS parameters in common")]
    NoCommonParameters {
        /// rustls' word.
        #[source]
        source: TlsFault,
    },
    /// The client sent no certificate.
    #[error(
        "the client sent no certificate; accepted are those issued by {}",
        names(accepted)
    )]
    NoPeerCertificate {
        /// The CA names that the client was told of.
        accepted: Vec<String>,
    },
    /// A chain was presented without a proof that its key is the presenter's (RFC 8446 §4.4.3): a copy of somebody's
    /// public chain, or a broken peer. It is nobody's identity.
    #[error("{role} presented the chain of {presented} without proving to hold its key")]
    NoProofOfPossession {
        /// What the chain claims.
        presented: Presented,
        /// The role it was presented for.
        role: Role,
    },
    /// The chain verified, the key is the peer's, and policy says no.
    #[error("peer `{peer}` (serial {}) is not authorized: {denial}", peer.serial())]
    NotAuthorized {
        /// Who it is.
        peer: PeerIdentity,
        /// What policy wanted.
        denial: Denial,
    },
    /// The peer closed the connection before the handshake was done: a port probe, or a peer that refused us silently.
    #[error("the peer closed the connection before the handshake was done")]
    PeerClosed,
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS")]
    PlaintextPeer,
    /// The peer refused us, and said so by an alert.
    #[error("the peer refused us by the alert {}", alert_name(*alert))]
    RefusedByPeer {
        /// Its alert.
        alert: Alert,
        /// What we presented to it.
        presented: String,
    },
    /// A session was resumed where every handshake has to present a chain.
    #[error("the session was resumed without the peer's chain")]
    Resumed,
    /// It was the oldest unfinished handshake when a newer one needed its place.
    #[error("given up after {} ms, to make room for newer handshakes", after.as_millis())]
    Shed {
        /// How long it had taken.
        after: Duration,
    },
    /// The handshake was not done in time.
    #[error("not done after {} ms", after.as_millis())]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The peer broke the TLS protocol.
    #[error("TLS protocol error")]
    Tls {
        /// rustls' word.
        #[source]
        source: TlsFault,
    },
    /// The client asked for a name that none of the server's identities has, or for none.
    #[error(
        "the client asked for {}, to which no identity here answers",
        asked.as_ref().map_or_else(|| "no server name".to_owned(), |name| format!("the server name `{name}`"))
    )]
    UnknownServerName {
        /// The name (SNI, RFC 6066 §3).
        asked: Option<String>,
    },
}

impl HandshakeError {
    /// The stable name of what went wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Chain { source } => source.reason(),
            Self::Io { .. } | Self::PeerClosed => Reason::PeerClosed,
            Self::NoCommonProtocol { .. } => Reason::NoCommonProtocol,
            Self::NoCommonParameters { .. } => Reason::NoCommonParameters,
            Self::NoPeerCertificate { .. } | Self::Resumed => Reason::NoPeerCertificate,
            Self::NoProofOfPossession { .. } => Reason::NoProofOfPossession,
            Self::NotAuthorized { .. } => Reason::NotAuthorized,
            Self::PlaintextPeer => Reason::PlaintextPeer,
            Self::RefusedByPeer { .. } => Reason::RefusedByPeer,
            Self::Shed { .. } => Reason::Shed,
            Self::Timeout { .. } => Reason::Timeout,
            Self::Tls { .. } => Reason::TlsProtocol,
            Self::UnknownServerName { .. } => Reason::UnknownServerName,
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Chain { source } => source.remedy(),
            Self::Io { .. } | Self::PeerClosed => {
                "look at the peer's log: it may be a port probe, a proxy's limit, or a peer that refused without an alert"
            }
            Self::NoCommonProtocol { .. } => {
                "let both sides speak one of the protocols, or let one side offer none"
            }
            Self::NoCommonParameters { .. } => {
                "let the peer speak TLS 1.3, or switch TLS 1.2 on for it; check that its key kind is one both support"
            }
            Self::NoPeerCertificate { .. } => {
                "configure a client certificate at the caller; if it has one, it was issued by none of the accepted CAs, or its \
                 key fits no signature scheme, and its TLS stack kept it back"
            }
            Self::NoProofOfPossession { .. } => {
                "find out who is at the peer's address: it replays a public chain, or its chain and key were paired wrongly"
            }
            Self::NotAuthorized { .. } => {
                "allow this identity in the policy, or point the caller elsewhere"
            }
            Self::PlaintextPeer => "let the peer use https, or point it at the plaintext port",
            Self::RefusedByPeer { alert, .. } => alert.remedy(),
            Self::Resumed => "let the peer make a full handshake",
            Self::Shed { .. } | Self::Timeout { .. } => {
                "if it lasts, look for a slow network or a flood of unfinished handshakes"
            }
            Self::Tls { .. } => {
                "check that the peer speaks TLS 1.3 and that nothing between changes its bytes"
            }
            Self::UnknownServerName { .. } => {
                "let the caller dial one of the server's names, add its name here, or say who answers otherwise"
            }
        }
    }

    /// The peer, when it was proven before it was refused.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerIdentity> {
        if let Self::NotAuthorized { peer, .. } = self {
            Some(peer)
        } else {
            None
        }
    }

    /// What the refused chain claims, when nobody has proven it.
    #[must_use]
    pub fn presented(&self) -> Option<&Presented> {
        match self {
            Self::Chain { source } => Some(&source.presented),
            Self::NoProofOfPossession { presented, .. } => Some(presented),
            Self::Io { .. }
            | Self::NoCommonProtocol { .. }
            | Self::NoCommonParameters { .. }
            | Self::NoPeerCertificate { .. }
            | Self::NotAuthorized { .. }
            | Self::PeerClosed
            | Self::PlaintextPeer
            | Self::RefusedByPeer { .. }
            | Self::Resumed
            | Self::Shed { .. }
            | Self::Timeout { .. }
            | Self::Tls { .. }
            | Self::UnknownServerName { .. } => None,
        }
    }

    /// The record that tells a client of a refusal for which rustls has no alert, as long as nothing was sent to it: a
    /// plaintext alert (RFC 8446 §5.1, §6). `None` where rustls has sent what there is to say.
    #[must_use]
    pub fn alert_before_handshake(&self) -> Option<[u8; 7]> {
        // RFC 6066 §3: a server that does not recognize the name may "abort the handshake by sending a fatal-level
        // unrecognized_name(112) alert".
        let unrecognized_name = [
            21,
            3,
            3,
            0,
            2,
            2,
            u8::from(AlertDescription::UnrecognisedName),
        ];
        matches!(self, Self::UnknownServerName { .. }).then_some(unrecognized_name)
    }

    /// Finds one of ours in what another library made of it: in the sources of `error`, or, where rustls keeps a foreign
    /// error out of them, inside its own.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        Chained(error).causes().find_map(|cause| {
            if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) =
                cause.downcast_ref()
            {
                return Self::find(other.0.as_ref());
            }
            cause.downcast_ref()
        })
    }
}

/// What rustls found, in its own words. Which kind of thing it is, [`HandshakeError::reason`] says.
// Ours, and closed: a major of rustls is none of ours because of a word.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct TlsFault(rustls::Error);

impl TlsFault {
    pub(crate) fn new(found: rustls::Error) -> Self {
        Self(found)
    }
}

/// A TLS alert that a peer refused us by (RFC 8446 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub(crate) AlertDescription);

impl Alert {
    /// The alert's number.
    #[must_use]
    pub fn code(self) -> u8 {
        u8::from(self.0)
    }

    /// Finds the alert that ended a connection in the sources of `error`.
    ///
    /// h2 keeps of an I/O error its kind and its text: there the alert is the one that rustls prints like that.
    #[must_use]
    pub fn find(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        Chained(error).causes().find_map(|cause| {
            if let Some(HandshakeError::RefusedByPeer { alert, .. }) = cause.downcast_ref() {
                return Some(*alert);
            }
            match cause.downcast_ref() {
                Some(rustls::Error::AlertReceived(alert)) => Some(Self(*alert)),
                Some(_) | None => cause.downcast_ref().and_then(Self::by_text),
            }
        })
    }

    fn by_text(error: &io::Error) -> Option<Self> {
        if error.kind() != io::ErrorKind::InvalidData {
            return None;
        }
        let text = error.to_string();
        let mut alerts = (0..=u8::MAX).map(AlertDescription::from);
        alerts
            .find(|alert| rustls::Error::AlertReceived(*alert).to_string() == text)
            .map(Self)
    }

    /// Its name where it is a label: all that a peer may make up is one.
    #[cfg(feature = "metrics")]
    pub(crate) fn label(self) -> String {
        if matches!(self.0, AlertDescription::Unknown(_)) {
            "unknown".to_owned()
        } else {
            alert_name(self)
        }
    }

    /// What the peer most likely means, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        // AlertDescription is rustls' open list of a registry's numbers; what is not named here says little.
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "an open list of another crate"
        )]
        match self.0 {
            AlertDescription::AccessDenied => {
                "our certificate is accepted, and its identity is not authorized there"
            }
            AlertDescription::BadCertificate => {
                "our certificate, or one in its chain, is malformed or breaks a rule there"
            }
            AlertDescription::CertificateExpired => {
                "our certificate has expired, or is not valid yet, by the peer's clock"
            }
            AlertDescription::CertificateRequired => {
                "we presented no certificate and the peer requires one"
            }
            AlertDescription::CertificateRevoked => "our certificate is revoked",
            AlertDescription::CertificateUnknown => {
                "the peer refused our certificate for a reason it does not tell"
            }
            AlertDescription::DecryptError => {
                "a signature of ours did not verify: another key under a known CA's name"
            }
            AlertDescription::HandshakeFailure => {
                "the peer refused the handshake; older stacks say so for any fault"
            }
            AlertDescription::NoApplicationProtocol => {
                "the peer speaks none of the application protocols that we offer"
            }
            AlertDescription::ProtocolVersion => {
                "the peer does not speak the versions of TLS that we offer"
            }
            AlertDescription::UnknownCA => {
                "the peer's trust bundle has no CA that our chain leads to"
            }
            AlertDescription::UnrecognisedName => {
                "the peer answers to other server names than the one that we asked for"
            }
            AlertDescription::UnsupportedCertificate => {
                "our certificate may not be used in this role, or its kind is unsupported"
            }
            _ => "the peer ended the handshake",
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "an open list of another crate"
        )]
        match self.0 {
            AlertDescription::AccessDenied => "allow our identity in the peer's policy",
            AlertDescription::CertificateExpired => {
                "renew our certificate, and compare both clocks"
            }
            AlertDescription::CertificateRequired => "present a client certificate",
            AlertDescription::CertificateRevoked => "have a new certificate issued",
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                "give the peer the CA that issued our chain, and present our intermediates"
            }
            AlertDescription::UnrecognisedName => {
                "dial the peer by one of its names, or have it answer to this one"
            }
            AlertDescription::UnsupportedCertificate => {
                "reissue our certificate with extended key usages clientAuth and serverAuth"
            }
            _ => "look at the peer's log, which has the reason",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alert_name(*self))
    }
}

/// `AccessDenied` as the RFC writes it: `access_denied`.
fn alert_name(alert: Alert) -> String {
    let mut name = String::new();
    for c in format!("{:?}", alert.0).chars() {
        if c.is_ascii_uppercase() && !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    // The registry writes it with a z.
    name.replace("_c_a", "_ca")
        .replace("_p_s_k", "_psk")
        .replace("unrecognised", "unrecognized")
}

fn names(accepted: &[String]) -> String {
    if accepted.is_empty() {
        "(the CAs are not named to clients)".into()
    } else {
        format!("`{}`", accepted.join("`, `"))
    }
}
