//! Somebody who is not here, to ask a policy about.

use std::fmt;

use super::options::CheckOptions;
use crate::error::LoadError;
use crate::files::{self, FileContent};
use crate::identity::PeerIdentity;
use crate::policy::{AccessPolicy, Explanation, PolicySurvey, RequestFacts, RequestPolicy};
use crate::reason::Reason;
use crate::snapshot::{Trust, TrustBundle, TrustParts};
use crate::verify::{ChainError, Role};

/// A chain that a server would verify, of a client who has proven nothing: to ask a policy about, by the code that decides,
/// and for nothing else. There is no way from here to a [`PeerIdentity`].
///
/// ```
/// # #[cfg(feature = "testing")] {
/// # use mtls_core::check::{Candidate, CheckOptions};
/// # use mtls_core::testing::TestCa;
/// # use mtls_core::{AccessPolicy, Effect, Fact, RequestFacts, Rule, Timestamp};
/// # let ca = TestCa::new("example.org");
/// # let (chain, bundle) = (ca.issue("/web").chain_pem(), ca.root_pem());
/// let policy = AccessPolicy::builder()
///     .allow(Rule::named("web").is(Fact::Spiffe, ["spiffe://example.org/web"]))
///     .otherwise(Effect::Deny)
///     .build_for_requests()?;
/// let options = CheckOptions::new(Timestamp::now()).trust_domain("example.org".parse()?);
/// let web = Candidate::verify(("tls.crt", chain.as_bytes()), ("ca.crt", bundle.as_bytes()), &options)?;
/// let why = web.explain(&policy, &RequestFacts::new("GET", "/orders"));
/// assert_eq!(why.to_string(), "allowed by rule `web`");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Candidate(PeerIdentity);

impl Candidate {
    /// Verifies a chain as a server does with this trust bundle, at the options' time: leaf first, each file by its name and its
    /// bytes. Revocation is not asked.
    ///
    /// # Errors
    ///
    /// [`CandidateError::Files`] if one of the files cannot be used, [`CandidateError::Refused`] if a server would refuse the
    /// chain in the handshake, whatever its policy says. Without [`CheckOptions::trust_domain`] that is so of every SPIFFE ID.
    pub fn verify(
        chain: (&str, &[u8]),
        bundle: (&str, &[u8]),
        options: &CheckOptions,
    ) -> Result<Self, CandidateError> {
        let settings = options.settings()?;
        let content = |(name, bytes): (&str, &[u8])| FileContent::of(name, bytes);
        let chain = files::chain(&content(chain))?;
        let anchors = files::bundle(&content(bundle))?;
        let bundle = TrustBundle::new(
            settings.trust_domain.clone(),
            anchors,
            bundle.0.into(),
            options.now,
        )?;
        let trust = Trust::new(TrustParts::of(bundle), &settings);
        let now = options.now.to_unix_time();
        let peer = trust
            .verify(&chain, Role::Client, now)
            .map_err(|error| CandidateError::Refused(Box::new(error)))?;
        Ok(Self(peer.identity().clone()))
    }

    /// Which rule would decide about this request of theirs, and how.
    #[must_use]
    pub fn explain(&self, policy: &RequestPolicy, request: &RequestFacts<'_>) -> Explanation {
        policy.explain(Some(&self.0), request)
    }

    /// Which rule would decide about a connection of theirs, and how.
    #[must_use]
    pub fn explain_connection(&self, policy: &AccessPolicy) -> Explanation {
        policy.explain(Some(&self.0))
    }

    /// What they may ask for.
    #[must_use]
    pub fn what_may(&self, policy: &RequestPolicy) -> PolicySurvey {
        policy.what_may(Some(&self.0))
    }
}

/// As a peer is printed: the SPIFFE ID, if there is one.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Candidate").field(&self.0).finish()
    }
}

/// Why there is nobody to ask a policy about.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// The handshake would fail.
    #[error(transparent)]
    Refused(Box<ChainError>),
}

impl CandidateError {
    /// The stable name of what is wrong.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Files(error) => error.reason(),
            Self::Refused(error) => error.reason(),
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Files(error) => error.remedy(),
            Self::Refused(error) => error.remedy(),
        }
    }
}
