//! Policies of rules: deny, then allow, then a default that somebody stated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::debug;

use super::authorizer::{Authorizer, Denial, RequestAuthorizer};
use super::builder::{NeedsDefault, PolicyBuilder};
use super::compile::{Compiled, Half, Holds, Unreadable};
use super::explanation::{DecidedBy, Explanation};
use super::findings::PolicyFinding;
use super::index::{Index, Key};
use super::request::{HostFault, RequestFacts};
use super::rule::Effect;
use super::survey::PolicySurvey;
use crate::identity::PeerIdentity;

/// Who may connect, by rules: what a deny rule matches is denied; else what an allow rule matches is allowed; else the
/// stated default decides.
///
/// It asks about peers alone, so it serves wherever an [`Authorizer`] does, at the handshake first of all. Rules that ask
/// about requests make a [`RequestPolicy`]. For one or two rules, a [`Policy`](crate::Policy) reads shorter.
///
/// ```
/// # use mtls_core::{AccessPolicy, Effect, Fact, Rule};
/// let policy = AccessPolicy::builder()
///     .trust_domain("example.org")
///     .deny(Rule::named("no batch jobs").is(Fact::ServiceAccount, ["shop/batch"]))
///     .allow(Rule::named("the shop").is(Fact::Namespace, ["shop"]))
///     .otherwise(Effect::Deny)
///     .build()?;
/// assert_eq!(policy.findings(), []);
/// # Ok::<(), mtls_core::RuleError>(())
/// ```
///
/// There is no policy without a default:
///
/// ```compile_fail
/// # use mtls_core::{AccessPolicy, Fact, Rule};
/// let policy = AccessPolicy::builder()
///     .allow(Rule::named("everyone verified").verified())
///     .build();
/// ```
#[derive(Clone)]
pub struct AccessPolicy(pub(super) Arc<RuleSet>);

/// Who may make which request, by rules: an [`AccessPolicy`] whose rules may ask about the request as well.
///
/// It is no [`Authorizer`]: at a handshake there is no request, and a rule that nobody can evaluate must not be skipped.
///
/// ```
/// # use mtls_core::{AccessPolicy, Effect, Fact, RequestFacts, Rule};
/// let policy = AccessPolicy::builder()
///     .allow(Rule::named("health").anyone().is(Fact::Path, ["/healthz"]))
///     .allow(Rule::named("orders").is(Fact::TrustDomain, ["example.org"]).is(Fact::Path, ["/orders/**"]))
///     .otherwise(Effect::Deny)
///     .build_for_requests()?;
/// let why = policy.explain(None, &RequestFacts::new("GET", "/orders/17"));
/// assert_eq!(why.to_string(), "denied by default: no rule matches");
/// # Ok::<(), mtls_core::RuleError>(())
/// ```
///
/// ```compile_fail
/// # use mtls_core::{RequestPolicy, ServerTls, CredentialSource};
/// # fn sketch(source: &CredentialSource, policy: RequestPolicy) {
/// ServerTls::builder(source).authorize(policy);
/// # }
/// ```
#[derive(Clone)]
pub struct RequestPolicy(pub(super) Arc<RuleSet>);

pub(super) struct RuleSet {
    // INVARIANT: the deny rules come first, so that the first rule that holds is the one that decides.
    pub(super) rules: Vec<Compiled>,
    pub(super) index: Index,
    pub(super) otherwise: Effect,
    pub(super) dry_run: bool,
    pub(super) reads_requests: bool,
    pub(super) spared: AtomicU64,
    pub(super) findings: Vec<PolicyFinding>,
    pub(super) default_denial: Arc<str>,
}

impl AccessPolicy {
    /// Begins a policy without rules.
    pub fn builder() -> PolicyBuilder<NeedsDefault> {
        PolicyBuilder {
            trust_domain: None,
            deny: Vec::new(),
            allow: Vec::new(),
            otherwise: NeedsDefault(()),
            dry_run: false,
        }
    }

    /// Whether this peer may connect; `None` is one without a certificate. In a dry run everybody may.
    ///
    /// # Errors
    ///
    /// It may not; the denial names the rule.
    pub fn decide(&self, peer: Option<&PeerIdentity>) -> Result<(), Denial> {
        self.0.decide(peer, None)
    }

    /// Which rule decides about this peer, and how.
    #[must_use]
    pub fn explain(&self, peer: Option<&PeerIdentity>) -> Explanation {
        self.0.judge(peer, None)
    }

    /// Who may connect: which rules decide about whom, in words.
    #[must_use]
    pub fn who_may(&self) -> PolicySurvey {
        self.0.survey(Half::Request(None))
    }

    /// Rules that decide nothing.
    #[must_use]
    pub fn findings(&self) -> &[PolicyFinding] {
        &self.0.findings
    }

    /// How many have been let in that would not have been, had this been no dry run.
    #[must_use]
    pub fn spared(&self) -> u64 {
        self.0.spared.load(Ordering::Relaxed)
    }
}

impl RequestPolicy {
    /// Whether this peer may make this request; `None` is one without a certificate. In a dry run everybody may.
    ///
    /// # Errors
    ///
    /// It may not; the denial names the rule.
    pub fn decide(
        &self,
        peer: Option<&PeerIdentity>,
        request: &RequestFacts<'_>,
    ) -> Result<(), Denial> {
        self.0.decide(peer, Some(request))
    }

    /// Which rule decides about this request, and how.
    #[must_use]
    pub fn explain(&self, peer: Option<&PeerIdentity>, request: &RequestFacts<'_>) -> Explanation {
        self.0.judge(peer, Some(request))
    }

    /// Who may make this request: which rules decide about whom, in words. Of somebody in particular, ask
    /// [`explain`](Self::explain).
    #[must_use]
    pub fn who_may(&self, request: &RequestFacts<'_>) -> PolicySurvey {
        self.0.survey(Half::Request(Some(request)))
    }

    /// What this peer may ask for, `None` being one without a certificate: which rules decide about which requests, in words.
    ///
    /// A request whose path or host can be read in two ways is denied by the first rule that would have to read it, whatever
    /// is said here; so is one with two hosts.
    #[must_use]
    pub fn what_may(&self, peer: Option<&PeerIdentity>) -> PolicySurvey {
        self.0.survey(Half::Peer(peer))
    }

    /// Rules that decide nothing.
    #[must_use]
    pub fn findings(&self) -> &[PolicyFinding] {
        &self.0.findings
    }

    /// How many have been let in that would not have been, had this been no dry run.
    #[must_use]
    pub fn spared(&self) -> u64 {
        self.0.spared.load(Ordering::Relaxed)
    }
}

/// Rules about peers decide about requests too.
impl From<AccessPolicy> for RequestPolicy {
    fn from(policy: AccessPolicy) -> Self {
        Self(policy.0)
    }
}

impl Authorizer for AccessPolicy {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        self.decide(Some(peer))
    }
}

impl RequestAuthorizer for RequestPolicy {
    fn authorize_request(
        &self,
        peer: Option<&PeerIdentity>,
        request: &RequestFacts<'_>,
    ) -> Result<(), Denial> {
        self.decide(peer, request)
    }
}

impl RequestAuthorizer for AccessPolicy {
    fn authorize_request(
        &self,
        peer: Option<&PeerIdentity>,
        _: &RequestFacts<'_>,
    ) -> Result<(), Denial> {
        self.decide(peer)
    }
}

impl RuleSet {
    fn decide(
        &self,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> Result<(), Denial> {
        let (effect, by) = self.first(peer, request);
        if effect == Effect::Allow {
            return Ok(());
        }
        if self.dry_run {
            self.spared.fetch_add(1, Ordering::Relaxed);
            let why = self.explanation(effect, by);
            let peer = peer.map(tracing::field::display);
            debug!(mtls.peer_id = peer, mtls.dry_run = true, %why, "policy would have denied");
            return Ok(());
        }
        Err(Denial::expected(match by {
            By::Default => Arc::clone(&self.default_denial),
            By::Host(fault) => format!("a request with one host: {fault}").into(),
            By::Rule(rule, None) => match &rule.denial {
                Some(text) => Arc::clone(text),
                None => Arc::clone(&self.default_denial),
            },
            By::Rule(rule, Some(what)) => {
                format!("a request that rule `{}` can read: {what}", rule.name).into()
            }
        }))
    }

    fn judge(
        &self,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> Explanation {
        let (effect, by) = self.first(peer, request);
        self.explanation(effect, by)
    }

    /// The first rule that holds, and what follows.
    fn first(
        &self,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> (Effect, By<'_>) {
        if self.reads_requests
            && let Some(fault) = request.and_then(RequestFacts::host_conflict)
        {
            return (Effect::Deny, By::Host(fault));
        }
        let mut first: Option<(u32, &Compiled, Option<Unreadable>)> = None;
        self.index.candidates(peer, request, |positions, key| {
            for &at in positions {
                if first.as_ref().is_some_and(|(first, ..)| *first <= at) {
                    return;
                }
                let Some(rule) = self.rules.get(at as usize) else {
                    return;
                };
                let known = rule.key.filter(|_| key == Key::Holds);
                match rule.holds(known, peer, request) {
                    Holds::No => {}
                    Holds::Yes => first = Some((at, rule, None)),
                    Holds::Unreadable(what) => first = Some((at, rule, Some(what))),
                }
            }
        });
        outcome(first.map(|(_, rule, what)| (rule, what)), self.otherwise)
    }

    fn explanation(&self, effect: Effect, by: By<'_>) -> Explanation {
        let name = |rule: &Compiled| Arc::clone(&rule.name);
        Explanation {
            effect,
            by: match by {
                By::Default => DecidedBy::Default,
                By::Host(fault) => DecidedBy::Host(fault),
                By::Rule(rule, None) => DecidedBy::Rule { name: name(rule) },
                By::Rule(rule, Some(what)) => DecidedBy::Unreadable {
                    name: name(rule),
                    what,
                },
            },
            dry_run: self.dry_run,
        }
    }

    /// As `first`, by asking every rule in turn: what the index is measured against.
    #[cfg(test)]
    fn first_by_asking_each(
        &self,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> Explanation {
        let mut rules = self.rules.iter();
        let first = rules.find_map(|rule| match rule.holds(None, peer, request) {
            Holds::No => None,
            Holds::Yes => Some((rule, None)),
            Holds::Unreadable(what) => Some((rule, Some(what))),
        });
        let (effect, by) = outcome(first, self.otherwise);
        self.explanation(effect, by)
    }
}

/// What decided, without a copy of its name.
#[derive(Clone, Copy)]
enum By<'a> {
    Default,
    Host(HostFault),
    Rule(&'a Compiled, Option<Unreadable>),
}

fn outcome(first: Option<(&Compiled, Option<Unreadable>)>, otherwise: Effect) -> (Effect, By<'_>) {
    match first {
        None => (otherwise, By::Default),
        Some((rule, None)) => (rule.effect, By::Rule(rule, None)),
        Some((rule, what)) => (Effect::Deny, By::Rule(rule, what)),
    }
}

impl fmt::Display for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deny = self
            .rules
            .iter()
            .filter(|r| r.effect == Effect::Deny)
            .count();
        let allow = self.rules.len() - deny;
        write!(
            f,
            "{deny} deny and {allow} allow rules, otherwise {}",
            self.otherwise
        )?;
        if self.dry_run {
            f.write_str(" (dry run: keeps nobody out)")?;
        }
        Ok(())
    }
}

impl fmt::Display for AccessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RequestPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AccessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessPolicy({})", self.0)
    }
}

impl fmt::Debug for RequestPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestPolicy({})", self.0)
    }
}

#[cfg(test)]
mod tests;
