//! Policies of rules: deny, then allow, then a default that somebody stated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, warn};

use super::authorizer::{Authorizer, Denial, RequestAuthorizer};
use super::compile::{Compiled, Holds, Unreadable, parse_trust_domain};
use super::fault::{Place, RuleError, RuleFault};
use super::findings::{self, PolicyFinding};
use super::index::Index;
use super::request::{HostFault, RequestFacts};
use super::rule::{Effect, Rule};
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
pub struct AccessPolicy(Arc<RuleSet>);

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
pub struct RequestPolicy(Arc<RuleSet>);

/// Builder state: nobody has said yet what happens to whom no rule matches.
#[derive(Debug)]
pub struct NeedsDefault(());

/// Rules, on their way to becoming a policy.
#[derive(Debug)]
#[must_use]
pub struct PolicyBuilder<D> {
    pub(super) trust_domain: Option<String>,
    pub(super) deny: Vec<Rule>,
    pub(super) allow: Vec<Rule>,
    pub(super) otherwise: D,
    pub(super) dry_run: bool,
}

struct RuleSet {
    // INVARIANT: the deny rules come first, so that the first rule that holds is the one that decides.
    rules: Vec<Compiled>,
    index: Index,
    otherwise: Effect,
    dry_run: bool,
    reads_requests: bool,
    spared: AtomicU64,
    findings: Vec<PolicyFinding>,
    default_denial: Arc<str>,
}

/// What decided, and how; it prints as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    effect: Effect,
    by: DecidedBy,
    dry_run: bool,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecidedBy {
    /// No rule matches.
    Default,
    /// The request says two things of its host, whatever the rules say.
    Host(HostFault),
    /// The first rule that matches, deny rules before allow rules.
    Rule {
        /// Its name.
        name: Arc<str>,
    },
    /// A rule that would have had to read what cannot be read in one way; whatever its effect, that is denied.
    Unreadable {
        /// The name of the rule.
        name: Arc<str>,
        /// What could not be read.
        what: Unreadable,
    },
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

impl<D> PolicyBuilder<D> {
    /// The local trust domain: the one that rules about namespaces and service accounts mean unless they name another.
    /// There is no default; without one, each such rule has to name its own.
    pub fn trust_domain(mut self, name: impl AsRef<str>) -> Self {
        self.trust_domain = Some(name.as_ref().to_owned());
        self
    }

    /// Denies what this rule matches. All deny rules are asked before any allow rule.
    pub fn deny(mut self, rule: Rule) -> Self {
        self.deny.push(rule);
        self
    }

    /// Allows what this rule matches, unless a deny rule does.
    pub fn allow(mut self, rule: Rule) -> Self {
        self.allow.push(rule);
        self
    }

    /// Lets in whom it would deny, and logs and counts them: to try rules out. Default: it denies.
    ///
    /// While it is on, the policy keeps nobody out. Building it warns, and the policy says so where it is printed.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

impl PolicyBuilder<NeedsDefault> {
    /// Says what happens to whom no rule matches. Required: neither is assumed.
    pub fn otherwise(self, otherwise: Effect) -> PolicyBuilder<Effect> {
        PolicyBuilder {
            trust_domain: self.trust_domain,
            deny: self.deny,
            allow: self.allow,
            otherwise,
            dry_run: self.dry_run,
        }
    }
}

impl PolicyBuilder<Effect> {
    /// Builds a policy about peers.
    ///
    /// # Errors
    ///
    /// A rule is wrong, or asks about requests.
    pub fn build(self) -> Result<AccessPolicy, RuleError> {
        let set = self.compile(Asks::Peers)?;
        Ok(AccessPolicy(Arc::new(set.announced())))
    }

    /// Builds a policy about requests.
    ///
    /// # Errors
    ///
    /// A rule is wrong.
    pub fn build_for_requests(self) -> Result<RequestPolicy, RuleError> {
        let set = self.compile(Asks::Requests)?;
        Ok(RequestPolicy(Arc::new(set.announced())))
    }

    fn compile(&self, asks: Asks) -> Result<RuleSet, RuleError> {
        let error = |place, rule: Option<&Rule>, fault| RuleError {
            place,
            rule: rule.map(|rule| rule.name.clone()),
            fault: Box::new(fault),
        };
        let local = match self.trust_domain.as_deref().map(parse_trust_domain) {
            None => None,
            Some(Ok(domain)) => Some(domain),
            Some(Err(fault)) => return Err(error(Place::TrustDomain, None, fault)),
        };
        let deny = self.deny.iter().enumerate();
        let allow = self.allow.iter().enumerate();
        let deny = deny.map(|(at, rule)| (Effect::Deny, at, rule));
        let written = deny.chain(allow.map(|(at, rule)| (Effect::Allow, at, rule)));
        let mut names = std::collections::HashSet::new();
        let mut rules = Vec::with_capacity(self.deny.len() + self.allow.len());
        for (effect, at, rule) in written {
            let compiled = Compiled::new(rule, effect, at, local.as_ref())?;
            if !names.insert(rule.name.as_str()) {
                let found = rule.name.clone();
                let fault = RuleFault::DuplicateName { found };
                return Err(error(Place::Rule(effect, at), Some(rule), fault));
            }
            if let (Asks::Peers, Some((condition, fact))) = (asks, compiled.request_fact()) {
                let place = Place::Condition(effect, at, condition);
                return Err(error(place, Some(rule), RuleFault::RequestFact { fact }));
            }
            rules.push(compiled);
        }
        if rules.is_empty() {
            return Err(error(Place::Policy, None, RuleFault::NoRules));
        }
        let index = Index::of(&rules);
        Ok(RuleSet {
            findings: findings::find(&rules, &index),
            default_denial: default_denial(&self.allow),
            reads_requests: rules.iter().any(|rule| rule.request_fact().is_some()),
            spared: AtomicU64::new(0),
            otherwise: self.otherwise,
            dry_run: self.dry_run,
            index,
            rules,
        })
    }
}

/// What a policy is asked about.
#[derive(Debug, Clone, Copy)]
enum Asks {
    Peers,
    Requests,
}

impl RuleSet {
    fn announced(self) -> Self {
        if self.dry_run {
            warn!(
                mtls.rules = self.rules.len(),
                "policy in a dry run: it keeps nobody out"
            );
        }
        for finding in &self.findings {
            warn!(mtls.rule = finding.rule(), mtls.remedy = finding.remedy(), %finding, "policy rule decides nothing");
        }
        self
    }

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
        self.index.candidates(peer, request, |positions| {
            for &at in positions {
                if first.as_ref().is_some_and(|(first, ..)| *first <= at) {
                    return;
                }
                let Some(rule) = self.rules.get(at as usize) else {
                    return;
                };
                match rule.holds(peer, request) {
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
        let first = rules.find_map(|rule| match rule.holds(peer, request) {
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

fn default_denial(allow: &[Rule]) -> Arc<str> {
    let names = allow
        .iter()
        .take(SHOWN)
        .map(|rule| format!("`{}`", rule.name));
    let shown = names.collect::<Vec<_>>().join(", ");
    match allow.len() {
        0 => "nobody: there is no allow rule".into(),
        1..=SHOWN => format!("a match of an allow rule: {shown}").into(),
        all => format!("a match of an allow rule: {shown} and {} more", all - SHOWN).into(),
    }
}

impl Explanation {
    /// What the rules come to. In a dry run, what they would have come to.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// What decided.
    #[must_use]
    pub fn decided_by(&self) -> &DecidedBy {
        &self.by
    }

    /// The name of the rule that decided, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        match &self.by {
            DecidedBy::Default | DecidedBy::Host(_) => None,
            DecidedBy::Rule { name } | DecidedBy::Unreadable { name, .. } => Some(name),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run && self.effect == Effect::Deny {
            f.write_str("let in by a dry run, would have been ")?;
        }
        let participle = match self.effect {
            Effect::Allow => "allowed",
            Effect::Deny => "denied",
        };
        match &self.by {
            DecidedBy::Default => write!(f, "{participle} by default: no rule matches"),
            DecidedBy::Host(fault) => write!(f, "{participle}: {fault}"),
            DecidedBy::Rule { name } => write!(f, "{participle} by rule `{name}`"),
            DecidedBy::Unreadable { name, what } => {
                write!(
                    f,
                    "{participle} by rule `{name}`, which cannot be read: {what}"
                )
            }
        }
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

/// How many allow rules a denial names: a log line is read by people.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests;
