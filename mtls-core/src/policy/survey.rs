//! What a policy comes to where one half is known: who may make a request, or what a peer may ask for.
//!
//! There is no second way of matching here. A rule's conditions on the half that is known are asked as a decision asks them
//! ([`Compiled::may_hold`]); those on the other half are shown as they were written.

use std::fmt;
use std::sync::Arc;

use super::access::RuleSet;
use super::compile::{Compiled, Condition, Half, Holds, Unreadable, Values};
use super::request::HostFault;
use super::rule::{Effect, Fact, Who};
use super::segments::TAIL;
use crate::identity::SCHEME;
use crate::identity::certificate::hex;

/// Which rules of a policy can decide, and for whom or for what, where only the request or only the peer is known. It prints as
/// one line per rule.
///
/// The first rule that fits decides, deny rules before allow rules, and the default decides what is left. Rules that cannot
/// come to it, since one before them takes everybody or everything, are left out.
///
/// ```
/// # use mtls_core::{AccessPolicy, Effect, Fact, RequestFacts, Rule};
/// let policy = AccessPolicy::builder()
///     .allow(Rule::named("the shop").is(Fact::Spiffe, ["spiffe://example.org/ns/shop/**"]).is(Fact::Path, ["/orders"]))
///     .allow(Rule::named("health").anyone().is(Fact::Path, ["/healthz"]))
///     .otherwise(Effect::Deny)
///     .build_for_requests()?;
/// let who = policy.who_may(&RequestFacts::new("POST", "/orders"));
/// assert_eq!(
///     who.to_string(),
///     "allow  the shop: a peer whose spiffe is `spiffe://example.org/ns/shop/**`\n\
///      deny   by default: everybody else\n"
/// );
/// # Ok::<(), mtls_core::RuleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySurvey {
    about: About,
    host: Option<HostFault>,
    rules: Vec<SurveyedRule>,
    otherwise: Option<Effect>,
    dry_run: bool,
}

/// Which half is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Peers,
    Requests,
}

/// A rule that can decide, and what it asks of the half that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyedRule {
    about: About,
    name: Arc<str>,
    effect: Effect,
    who: Who,
    unreadable: Option<Unreadable>,
    conditions: Vec<OpenCondition>,
}

/// What a rule asks of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCondition {
    fact: Fact,
    negated: bool,
    values: Vec<String>,
}

impl PolicySurvey {
    /// The rules that can decide, in the order in which they are asked.
    #[must_use]
    pub fn rules(&self) -> &[SurveyedRule] {
        &self.rules
    }

    /// What the default does with what is left; `None` if nothing is.
    #[must_use]
    pub fn otherwise(&self) -> Option<Effect> {
        self.otherwise
    }

    /// What is wrong with the request's host, so that the request is denied whoever makes it.
    #[must_use]
    pub fn host_fault(&self) -> Option<HostFault> {
        self.host
    }

    /// Whether the policy keeps nobody out, and only tells whom it would have.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

impl SurveyedRule {
    /// The name of the rule.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What becomes of whoever, or whatever, meets the conditions.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whom it is about, before its conditions.
    #[must_use]
    pub fn who(&self) -> Who {
        self.who
    }

    /// What it would have to read of the request and cannot, so that it denies whatever it was written to do.
    #[must_use]
    pub fn unreadable(&self) -> Option<Unreadable> {
        self.unreadable
    }

    /// What it asks of the half that is not known; all of it has to hold. Without any it decides for all it is about.
    #[must_use]
    pub fn conditions(&self) -> &[OpenCondition] {
        &self.conditions
    }
}

impl OpenCondition {
    /// The fact that is asked for.
    #[must_use]
    pub fn fact(&self) -> Fact {
        self.fact
    }

    /// Whether the fact has to be there and be none of the values, and not one of them.
    #[must_use]
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// The values in full, in order: a namespace with its trust domain.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }
}

impl RuleSet {
    pub(super) fn survey(&self, half: Half<'_>) -> PolicySurvey {
        let about = match half {
            Half::Peer(_) => About::Requests,
            Half::Request(_) => About::Peers,
        };
        let mut survey = PolicySurvey {
            about,
            host: None,
            rules: Vec::new(),
            otherwise: None,
            dry_run: self.dry_run,
        };
        if let Half::Request(Some(request)) = half
            && self.reads_requests
            && let Some(fault) = request.host_conflict()
        {
            survey.host = Some(fault);
            return survey;
        }
        let mut left = Left::of(half);
        for rule in &self.rules {
            let unreadable = match rule.may_hold(half) {
                Holds::No => continue,
                Holds::Yes => None,
                Holds::Unreadable(what) => Some(what),
            };
            if left.has_none_of(rule.who) {
                continue;
            }
            let surveyed = SurveyedRule::new(about, rule, unreadable);
            if surveyed.conditions.is_empty() {
                left.without(rule.who);
            }
            survey.rules.push(surveyed);
        }
        survey.otherwise = (!left.is_empty()).then_some(self.otherwise);
        survey
    }
}

/// Whom no rule has taken yet: of peers, those with an identity and those without; of requests, there is one peer.
struct Left {
    verified: bool,
    anonymous: bool,
}

impl Left {
    fn of(half: Half<'_>) -> Self {
        match half {
            Half::Request(_) => Self {
                verified: true,
                anonymous: true,
            },
            Half::Peer(peer) => Self {
                verified: peer.is_some(),
                anonymous: peer.is_none(),
            },
        }
    }

    fn has_none_of(&self, who: Who) -> bool {
        match who {
            Who::Anonymous => !self.anonymous,
            Who::Anyone => self.is_empty(),
            Who::Verified => !self.verified,
        }
    }

    fn without(&mut self, who: Who) {
        self.verified &= who == Who::Anonymous;
        self.anonymous &= who == Who::Verified;
    }

    fn is_empty(&self) -> bool {
        !self.verified && !self.anonymous
    }
}

impl SurveyedRule {
    fn new(about: About, rule: &Compiled, unreadable: Option<Unreadable>) -> Self {
        let is_open = |condition: &&Condition| match about {
            About::Peers => !condition.fact.is_of_request(),
            About::Requests => condition.fact.is_of_request(),
        };
        let open = rule.conditions.iter().filter(is_open);
        Self {
            about,
            name: Arc::clone(&rule.name),
            effect: match unreadable {
                Some(_) => Effect::Deny,
                None => rule.effect,
            },
            who: rule.who,
            unreadable,
            conditions: open.map(OpenCondition::new).collect(),
        }
    }
}

impl OpenCondition {
    fn new(condition: &Condition) -> Self {
        Self {
            fact: condition.fact,
            negated: condition.negated,
            values: written(condition.fact, &condition.values),
        }
    }
}

/// Values as they could be written in a rule.
fn written(fact: Fact, values: &Values) -> Vec<String> {
    let mut all: Vec<String> = match values {
        Values::Fingerprints(values) => values.iter().map(|value| hex(value)).collect(),
        Values::Ips(values) => values.iter().map(ToString::to_string).collect(),
        Values::Segments(_, texts) => texts.iter().map(|text| segments(fact, text)).collect(),
        Values::Texts(texts) => texts.iter().map(ToString::to_string).collect(),
    };
    all.sort_unstable();
    all
}

fn segments(fact: Fact, text: &str) -> String {
    // Domains and namespaces are kept as patterns of all that is in them.
    let whole = || text.strip_suffix(TAIL).and_then(|t| t.strip_suffix('/'));
    let named = matches!(fact, Fact::Namespace | Fact::TrustDomain);
    if fact == Fact::Spiffe {
        format!("{SCHEME}{text}")
    } else if fact == Fact::Path {
        format!("/{text}")
    } else {
        whole().filter(|_| named).unwrap_or(text).to_owned()
    }
}

impl fmt::Display for PolicySurvey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            f.write_str("dry run: nobody is kept out, and what follows is what would be\n")?;
        }
        if let Some(fault) = self.host {
            return writeln!(f, "deny   everybody: {fault}");
        }
        for rule in &self.rules {
            writeln!(f, "{rule}")?;
        }
        let rest = match (self.about, self.rules.is_empty()) {
            (About::Peers, true) => "everybody",
            (About::Peers, false) => "everybody else",
            (About::Requests, true) => "every request",
            (About::Requests, false) => "every other request",
        };
        match self.otherwise {
            Some(effect) => writeln!(f, "{effect:6} by default: {rest}", effect = effect.as_str()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SurveyedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6} {}: ", self.effect.as_str(), self.name)?;
        match (self.about, self.who) {
            (About::Requests, _) if self.conditions.is_empty() => f.write_str("every request")?,
            (About::Requests, _) => f.write_str("a request")?,
            (About::Peers, Who::Anonymous) => f.write_str("whoever has no certificate")?,
            (About::Peers, Who::Anyone) => f.write_str("anyone, with a certificate or without")?,
            (About::Peers, Who::Verified) if self.conditions.is_empty() => {
                f.write_str("any verified peer")?;
            }
            (About::Peers, Who::Verified) => f.write_str("a peer")?,
        }
        for (at, condition) in self.conditions.iter().enumerate() {
            let joined = if at == 0 { " whose" } else { ", and whose" };
            write!(f, "{joined} {condition}")?;
        }
        match self.unreadable {
            Some(what) => write!(f, "; it cannot read the request, and so denies it: {what}"),
            None => Ok(()),
        }
    }
}

/// Continues a sentence.
impl fmt::Display for OpenCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = match (self.negated, self.values.len()) {
            (false, 1) => "is",
            (false, _) => "is one of",
            (true, 1) => "is there and not",
            (true, _) => "is there and none of",
        };
        write!(f, "{} {is} ", self.fact)?;
        for (at, value) in self.values.iter().take(SHOWN).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{value}`")?;
        }
        match self.values.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

/// How many values are printed of one fact.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests;
