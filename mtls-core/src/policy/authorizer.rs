//! Who decides, and what a no looks like.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::request::RequestFacts;
use crate::identity::PeerIdentity;

/// Says which authenticated peers may connect.
///
/// It is asked after the chain has verified and the peer has proven to hold its key. It is asked again, for sessions
/// that are resumed and for requests on open connections, so it answers from memory. Most programs need a
/// [`Policy`](crate::Policy); implement this for a decision that rules cannot express.
///
/// ```
/// # use mtls_core::{Authorizer, Denial, PeerIdentity};
/// #[derive(Debug)]
/// struct OwnTeam;
///
/// impl Authorizer for OwnTeam {
///     fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
///         let team = peer.spiffe_id().and_then(|id| id.segments().nth(1));
///         match team {
///             Some("shop") => Ok(()),
///             _ => Err(Denial::expected("a workload of team shop")),
///         }
///     }
/// }
/// ```
pub trait Authorizer: fmt::Debug + Send + Sync + 'static {
    /// Whether this peer may connect.
    ///
    /// # Errors
    ///
    /// It may not; the denial says who may.
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial>;

    /// A number that grows whenever an answer may have changed. Default: 0, for an authorizer that never changes its mind.
    /// It is asked on every request, so it is read and not worked out. Change the answer first and then the version: an answer
    /// that was given for a version is kept for it.
    fn version(&self) -> u64 {
        0
    }

    /// Tells of each new [`version`](Self::version), so that idle connections of peers that may no longer connect are
    /// ended. Default: there is nothing to tell.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

impl<A: Authorizer + ?Sized> Authorizer for Arc<A> {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        (**self).authorize(peer)
    }

    fn version(&self) -> u64 {
        (**self).version()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        (**self).changes()
    }
}

/// Says which requests may be made, and by whom: what an [`Authorizer`] says of connections.
///
/// Most programs need a [`RequestPolicy`](crate::RequestPolicy).
pub trait RequestAuthorizer: fmt::Debug + Send + Sync + 'static {
    /// Whether this peer may make this request; `None` is one without a certificate.
    ///
    /// # Errors
    ///
    /// It may not; the denial says who may.
    fn authorize_request(
        &self,
        peer: Option<&PeerIdentity>,
        request: &RequestFacts<'_>,
    ) -> Result<(), Denial>;

    /// A number that grows whenever an answer may have changed. Default: 0, for what never changes.
    fn version(&self) -> u64 {
        0
    }
}

impl<A: RequestAuthorizer + ?Sized> RequestAuthorizer for Arc<A> {
    fn authorize_request(
        &self,
        peer: Option<&PeerIdentity>,
        request: &RequestFacts<'_>,
    ) -> Result<(), Denial> {
        (**self).authorize_request(peer, request)
    }

    fn version(&self) -> u64 {
        (**self).version()
    }
}

/// A peer that is known, and may not connect. It says who may; whom it refused, its receiver knows.
///
/// It is for our own operators: a peer that reads it learns whom to impersonate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    // Shared with the policy: a peer can be refused at will, and each refusal should cost next to nothing.
    expected: Arc<str>,
}

impl Denial {
    /// A denial by what was expected instead, as it would follow the word "expected".
    #[must_use]
    pub fn expected(what: impl Into<Arc<str>>) -> Self {
        Self {
            expected: what.into(),
        }
    }

    /// What was expected, such as "one of `spiffe://example.org/a`, `spiffe://example.org/b`".
    #[must_use]
    pub fn expectation(&self) -> &str {
        &self.expected
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::error::Error for Denial {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Named(&'static str);

    impl Authorizer for Named {
        fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
            match peer.spiffe_id() {
                Some(id) if id.as_str() == self.0 => Ok(()),
                _ => Err(Denial::expected(self.0)),
            }
        }
    }

    #[test]
    fn a_shared_authorizer_decides_as_the_one_it_shares() {
        let shared: Arc<dyn Authorizer> = Arc::new(Named("spiffe://td/web"));
        let web = PeerIdentity::for_rule_tests(Some("spiffe://td/web"), &[]);
        let api = PeerIdentity::for_rule_tests(Some("spiffe://td/api"), &[]);
        assert_eq!(shared.authorize(&web), Ok(()));
        let denial = Authorizer::authorize(&shared, &api).unwrap_err();
        assert_eq!(denial.expectation(), "spiffe://td/web");
        assert_eq!(denial.to_string(), "expected spiffe://td/web");
    }
}
