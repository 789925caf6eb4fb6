//! What became of a request that failed, told after the fact: reqwest owns its connections, so all there is is its error.

use std::error::Error as StdError;
use std::{fmt, io};

use mtls_core::rustls::{Error as RustlsError, InvalidMessage, tls_fault};
use mtls_core::{Alert, Chained, HandshakeError, Reason};

/// Says what a request failed of.
///
/// In TLS 1.3 a client's handshake is done before the server has judged the client's certificate. A server that refuses
/// it says so by an alert, which arrives instead of the first response: [`reqwest::Error::is_connect`] is then false, and
/// this finds [`Explanation::RefusedByPeer`]. Now and then the alert is lost: by a race inside hyper, in which it is read
/// before the request is there to fail of it, over HTTP/2 more often than over HTTP/1.1; and with any server that closes its
/// socket without waiting until the alert was read. What is left is [`Explanation::ClosedByPeer`], a possible refusal:
/// [`Client::dial`](crate::Client::dial) then asks whether it is one. Very seldom the same race leaves a request without any
/// answer: a timeout, of the request or by [`configure`](crate::ClientBuilder::configure), ends it.
///
/// # Sending it again after a rotation
///
/// While a CA is being replaced, one side can have the new one before the other, and a handshake is refused that a moment
/// later would not be. Then [`Explanation::retry`] says [`Retry::AfterReload`], and of the first request nothing has come,
/// whatever its method: with [`Explanation::PeerNotTrusted`] it was never sent, since we refused its server first; with
/// [`Explanation::RefusedByPeer`] the server's side of the handshake was never done, and it reads no request before that.
/// There is no early data in which one could be. If redirects were followed this is so of the last request alone.
///
/// [`Explanation::ClosedByPeer`] is no such word: it can be a refusal whose alert was lost, or a server that stopped halfway
/// through. A request that must not be done twice is not sent again on it.
///
/// Subscribe before sending, so that no reload slips between:
///
/// ```no_run
/// # async fn doc(http: mtls_reqwest::Client) -> Result<(), reqwest::Error> {
/// use std::time::Duration;
///
/// use mtls_reqwest::{Retry, explain};
///
/// let mut reloads = http.tls().source().subscribe();
/// let order = http.post("https://orders.shop.svc:8443/orders").body("one");
/// let again = order.try_clone();
/// let answer = match (order.send().await, again) {
///     (Err(error), Some(again)) if explain(&error).retry() == Retry::AfterReload => {
///         let reloaded = tokio::time::timeout(Duration::from_secs(60), reloads.changed()).await;
///         if reloaded.is_err() { Err(error) } else { again.send().await }
///     }
///     (answer, _) => answer,
/// };
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn explain(error: &reqwest::Error) -> Explanation {
    if let Some(refused) = HandshakeError::find(error) {
        return Explanation::PeerNotTrusted {
            error: refused.clone(),
        };
    }
    if let Some(alert) = Alert::find(error) {
        return Explanation::RefusedByPeer { alert };
    }
    if let Some(tls) = find::<RustlsError>(error) {
        return Explanation::from_rustls(tls);
    }
    if error.is_timeout() {
        return Explanation::Timeout;
    }
    let cause = innermost(error);
    if error.is_builder() {
        return Explanation::Setup { cause };
    }
    if Chained(error).causes().any(closed) {
        return Explanation::ClosedByPeer;
    }
    if error.is_connect() || find::<io::Error>(error).is_some() {
        return Explanation::Network { cause };
    }
    Explanation::Other { cause }
}

/// What a request failed of. Its `Display` is for the log, and says enough to do without the error itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Explanation {
    /// The server closed the connection before it had answered: it refused us and the alert was lost, or it stopped.
    /// [`Client::dial`](crate::Client::dial) can tell.
    ClosedByPeer,
    /// Name resolution or TCP failed, or the connection broke.
    Network {
        /// What the system said of it.
        cause: String,
    },
    /// TLS is not what it failed of: a status, a body, a redirect.
    Other {
        /// What the innermost error said.
        cause: String,
    },
    /// We refused the server: its chain does not verify, it is somebody else than expected, or it did not prove its key.
    PeerNotTrusted {
        /// Why.
        error: HandshakeError,
    },
    /// The server does not speak TLS.
    Plaintext,
    /// The server refused us.
    RefusedByPeer {
        /// What it said; only its log knows more.
        alert: Alert,
    },
    /// The request or the client could not be built: a URL that is not `https`, a bad header, a failing `configure`. Also
    /// a redirect to what is no URL.
    Setup {
        /// What is wrong with it.
        cause: String,
    },
    /// Something did not happen in time.
    Timeout,
    /// Both sides speak TLS, and not with each other.
    Tls {
        /// Why.
        error: HandshakeError,
    },
}

/// Whether sending the request again could succeed.
///
/// Whether the server has acted on the first one already is another question. After [`AfterReload`](Self::AfterReload) it
/// has not: a handshake that is refused has [carried no request](explain#sending-it-again-after-a-rotation). After
/// [`Yes`](Self::Yes) nobody knows, and the method has to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Once the source has new credentials or a new trust, and not before: see `CredentialSource::subscribe`.
    AfterReload,
    /// Not until somebody changes something, here or there.
    No,
    /// After a pause, and a few times.
    Yes,
}

impl Explanation {
    /// The stable name of what went wrong, where it has one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::ClosedByPeer => Some(Reason::PeerClosed),
            Self::PeerNotTrusted { error } | Self::Tls { error } => Some(error.reason()),
            Self::Plaintext => Some(Reason::PlaintextPeer),
            Self::RefusedByPeer { .. } => Some(Reason::RefusedByPeer),
            Self::Timeout => Some(Reason::Timeout),
            Self::Network { .. } | Self::Setup { .. } | Self::Other { .. } => None,
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::ClosedByPeer => HandshakeError::PeerClosed.remedy(),
            Self::Network { .. } => {
                "check that the server runs, its name, its port, and what lies between"
            }
            Self::Setup { .. } => "use an https:// URL, and look at the cause",
            Self::Other { .. } => "look at the cause",
            Self::PeerNotTrusted { error } | Self::Tls { error } => error.remedy(),
            Self::Plaintext => {
                "point the client at the server's TLS port, or let the server speak TLS"
            }
            Self::RefusedByPeer { alert } => alert.remedy(),
            Self::Timeout => "look for a slow server or network, or allow more time",
        }
    }

    /// Whether sending it again could succeed.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::ClosedByPeer | Self::Network { .. } | Self::Timeout => Retry::Yes,
            Self::Setup { .. } | Self::Other { .. } | Self::Plaintext | Self::Tls { .. } => {
                Retry::No
            }
            Self::PeerNotTrusted { error } => retry_after(error.reason()),
            Self::RefusedByPeer { alert } if NO_CREDENTIALS_HELP.contains(&alert.code()) => {
                Retry::No
            }
            Self::RefusedByPeer { .. } => Retry::AfterReload,
        }
    }

    /// What a handshake of our own failed of.
    pub(crate) fn from_handshake(error: HandshakeError) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "an open list of another crate, whose rest is a matter of TLS"
        )]
        match error {
            HandshakeError::Chain { .. } | HandshakeError::NoProofOfPossession { .. } => {
                Self::PeerNotTrusted { error }
            }
            HandshakeError::PeerClosed => Self::ClosedByPeer,
            HandshakeError::PlaintextPeer => Self::Plaintext,
            HandshakeError::RefusedByPeer { alert, .. } => Self::RefusedByPeer { alert },
            HandshakeError::Io { .. } => Self::Network {
                cause: innermost(&error),
            },
            _ => Self::Tls { error },
        }
    }

    fn from_rustls(error: &RustlsError) -> Self {
        if *error == RustlsError::InvalidMessage(InvalidMessage::InvalidContentType) {
            return Self::Plaintext;
        }
        let source = tls_fault(error.clone());
        let error = if matches!(error, RustlsError::PeerIncompatible(_)) {
            HandshakeError::NoCommonParameters { source }
        } else {
            HandshakeError::Tls { source }
        };
        Self::Tls { error }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByPeer => f.write_str(
                "the server closed the connection before it had answered; if it always does, it may be refusing us, and its alert is lost",
            ),
            Self::Network { cause } => {
                write!(f, "the network failed before the server answered: {cause}")
            }
            Self::Setup { cause } => {
                write!(f, "the request or the client could not be built: {cause}")
            }
            Self::Other { cause } => write!(f, "the request failed, and not of TLS: {cause}"),
            Self::PeerNotTrusted { error } => write!(f, "we refused the server: {error}"),
            Self::Plaintext => f.write_str("the server does not speak TLS"),
            Self::RefusedByPeer { alert } => {
                write!(f, "the server refused us by the alert {alert}: {}", alert.meaning())
            }
            Self::Timeout => f.write_str("the time was up before the server answered"),
            Self::Tls { error } => write!(f, "no TLS with the server: {error}"),
        }
    }
}

/// Whether a server that we refused for this could be accepted later.
fn retry_after(refusal: Reason) -> Retry {
    if OUR_TRUST_MAY_BE_BEHIND.contains(&refusal) {
        Retry::AfterReload
    } else if refusal == Reason::NotYetValid {
        Retry::Yes
    } else {
        Retry::No
    }
}

/// Whether this says that the server went away. `NotConnected` is what some systems make of a reset.
fn closed(cause: &(dyn StdError + 'static)) -> bool {
    let by_hyper = cause.downcast_ref().is_some_and(|error: &hyper::Error| {
        error.is_closed() || error.is_canceled() || error.is_incomplete_message()
    });
    let by_system = cause.downcast_ref().is_some_and(|error: &io::Error| {
        [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::NotConnected,
            io::ErrorKind::UnexpectedEof,
        ]
        .contains(&error.kind())
    });
    by_hyper || by_system
}

/// What an error comes from in the end: what libraries say on top of it repeats each other.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let last = Chained(error).causes().last();
    last.unwrap_or(error).to_string()
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    Chained(error)
        .causes()
        .find_map(|cause| cause.downcast_ref())
}

const OUR_TRUST_MAY_BE_BEHIND: &[Reason] = &[
    Reason::UnknownIssuer,
    Reason::UntrustedKey,
    Reason::WrongTrustDomain,
];

/// protocol_version, access_denied, insufficient_security and no_application_protocol (RFC 8446 §6): our certificate is
/// not the matter, or it is good and its identity not allowed.
const NO_CREDENTIALS_HELP: &[u8] = &[49, 70, 71, 120];
