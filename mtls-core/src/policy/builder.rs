//! Rules, on their way to becoming a policy.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tracing::warn;

use super::access::{AccessPolicy, RequestPolicy, RuleSet};
use super::compile::Compiled;
use super::fault::{Place, RuleError, RuleFault};
use super::findings;
use super::index::Index;
use super::rule::{Effect, Rule};
use super::values::parse_trust_domain;

/// Builder state: nobody has said yet what happens to whom no rule matches.
#[derive(Debug)]
pub struct NeedsDefault(pub(super) ());

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
        Ok(AccessPolicy(Arc::new(announced(set))))
    }

    /// Builds a policy about requests.
    ///
    /// # Errors
    ///
    /// A rule is wrong.
    pub fn build_for_requests(self) -> Result<RequestPolicy, RuleError> {
        let set = self.compile(Asks::Requests)?;
        Ok(RequestPolicy(Arc::new(announced(set))))
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
        let mut names = HashSet::new();
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
        let index = Index::of(&mut rules);
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

/// Says what an operator should know of it, once.
fn announced(set: RuleSet) -> RuleSet {
    if set.dry_run {
        warn!(
            mtls.rules = set.rules.len(),
            "policy in a dry run: it keeps nobody out"
        );
    }
    for finding in &set.findings {
        warn!(mtls.rule = finding.rule(), mtls.remedy = finding.remedy(), %finding, "policy rule decides nothing");
    }
    set
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

/// How many allow rules a denial names: a log line is read by people.
const SHOWN: usize = 8;
