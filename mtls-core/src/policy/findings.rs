//! Rules that can never decide anything: found when a policy is built, and only where it can be proven.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::compile::{Compiled, Condition, Values};
use super::index::Index;
use super::rule::{Fact, Who};

/// A rule that decides nothing: a mistake, or one that can go.
///
/// What is told here is proven; that nothing is told proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyFinding {
    /// Nobody can meet all of its conditions at once.
    NeverMatches {
        /// The rule.
        rule: Arc<str>,
        /// The conditions that exclude each other.
        between: (Fact, Fact),
    },
    /// Whatever it would allow, a deny rule denies first.
    NeverAllows {
        /// The rule.
        rule: Arc<str>,
        /// The deny rule.
        denied_by: Arc<str>,
    },
    /// Another rule of the same effect decides first whatever it could decide.
    Shadowed {
        /// The rule.
        rule: Arc<str>,
        /// The one before it.
        by: Arc<str>,
    },
}

impl PolicyFinding {
    /// The name of the rule it is about.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::NeverMatches { rule, .. }
            | Self::NeverAllows { rule, .. }
            | Self::Shadowed { rule, .. } => rule,
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NeverMatches { .. } => {
                "leave out one of the two conditions, or write a rule for each"
            }
            Self::NeverAllows { .. } => {
                "narrow the deny rule with a condition that excludes these peers, or remove the allow rule"
            }
            Self::Shadowed { .. } => "remove it, or narrow the rule before it",
        }
    }
}

impl fmt::Display for PolicyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMatches { rule, between } => write!(
                f,
                "rule `{rule}` never matches: its conditions on `{}` and `{}` exclude each other",
                between.0, between.1
            ),
            Self::NeverAllows { rule, denied_by } => write!(
                f,
                "rule `{rule}` never allows anything: the deny rule `{denied_by}` comes first"
            ),
            Self::Shadowed { rule, by } => {
                write!(f, "rule `{rule}` decides nothing: `{by}` comes first")
            }
        }
    }
}

pub(super) fn find(rules: &[Compiled], index: &Index) -> Vec<PolicyFinding> {
    let findings = rules.iter().enumerate().filter_map(|(position, rule)| {
        if let Some(between) = contradiction(rule) {
            let rule = Arc::clone(&rule.name);
            return Some(PolicyFinding::NeverMatches { rule, between });
        }
        let by = covered_by(position, rule, rules, index)?;
        let (rule_name, by_name) = (Arc::clone(&rule.name), Arc::clone(&by.name));
        Some(if by.effect == rule.effect {
            PolicyFinding::Shadowed {
                rule: rule_name,
                by: by_name,
            }
        } else {
            PolicyFinding::NeverAllows {
                rule: rule_name,
                denied_by: by_name,
            }
        })
    });
    findings.collect()
}

/// An earlier rule that holds wherever this one does.
fn covered_by<'a>(
    position: usize,
    rule: &Compiled,
    rules: &'a [Compiled],
    index: &Index,
) -> Option<&'a Compiled> {
    let mut first = None;
    index.wider(&rule.conditions, |positions| {
        let earlier = positions.iter().map(|at| *at as usize);
        let earlier = earlier.take_while(|at| *at < position).take(MOST_COMPARED);
        for at in earlier {
            if first.is_none_or(|first| at < first)
                && rules.get(at).is_some_and(|wider| covers(wider, rule))
            {
                first = Some(at);
            }
        }
    });
    first.and_then(|at| rules.get(at))
}

fn covers(wider: &Compiled, rule: &Compiled) -> bool {
    let who = wider.who == rule.who || wider.who == Who::Anyone;
    who && wider.conditions.iter().all(|wider| {
        rule.conditions.iter().any(|own| {
            let one_kind = kind(own.fact) == kind(wider.fact) && own.negated == wider.negated;
            one_kind
                && if own.negated {
                    wider.values.within(&own.values)
                } else {
                    own.values.within(&wider.values)
                }
        })
    })
}

/// Two conditions that no peer meets together.
fn contradiction(rule: &Compiled) -> Option<(Fact, Fact)> {
    for (at, one) in rule.conditions.iter().enumerate() {
        for other in rule.conditions.iter().skip(at + 1) {
            if excludes(one, other) || excludes(other, one) {
                return Some((one.fact, other.fact));
            }
        }
    }
    None
}

fn excludes(one: &Condition, other: &Condition) -> bool {
    let all_excepted = !one.negated
        && other.negated
        && kind(one.fact) == kind(other.fact)
        && one.values.within(&other.values);
    // Either sign of a condition on a SPIFFE ID needs one, and a peer that has one has no legacy name.
    let legacy = kind(one.fact) == Kind::Spiffe && kind(other.fact) == Kind::Legacy(other.fact);
    let foreign = !one.negated
        && !other.negated
        && match (domains(one), domains(other)) {
            // Of a peer that has both, the account is read from the SPIFFE ID.
            (Some(these), Some(those)) => these.is_disjoint(&those),
            _ => false,
        };
    all_excepted || legacy || foreign
}

/// What kinds of fact are compared with one another.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Account,
    Legacy(Fact),
    Other(Fact),
    Spiffe,
}

fn kind(fact: Fact) -> Kind {
    match fact {
        Fact::Spiffe | Fact::TrustDomain => Kind::Spiffe,
        Fact::Namespace | Fact::ServiceAccount => Kind::Account,
        Fact::LegacyCommonName | Fact::LegacyOrganizationalUnit => Kind::Legacy(fact),
        Fact::Dns
        | Fact::Ip
        | Fact::Fingerprint
        | Fact::Method
        | Fact::Path
        | Fact::Host
        | Fact::GrpcService
        | Fact::GrpcMethod => Kind::Other(fact),
    }
}

/// The trust domains that a condition's values are in, which are literal in each of them.
fn domains(condition: &Condition) -> Option<HashSet<&str>> {
    let Values::Segments(_, texts) = &condition.values else {
        return None;
    };
    let first = texts.iter().filter_map(|text| text.split('/').next());
    (condition.fact != Fact::Path).then(|| first.collect())
}

/// Rules that are found by nothing are compared with this many of those before them: enough for whoever writes by hand,
/// and no more than a moment for whoever generates.
const MOST_COMPARED: usize = 256;
