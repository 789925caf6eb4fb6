//! What is wrong with a rule.

use std::fmt;

use super::path::PathPatternError;
use super::pattern::PatternError;
use super::rule::{Effect, Fact, Who};
use super::rules::PolicyError;
use crate::error::Chained;
use crate::identity::SpiffeIdError;

/// Why a set of rules could not be built, and which rule it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    pub(super) place: Place,
    pub(super) rule: Option<String>,
    // Boxed: it is far larger than what it is an error of.
    pub(super) fault: Box<RuleFault>,
}

/// Where in a set of rules, for a file to say the line of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The set as a whole.
    Policy,
    /// The local trust domain.
    TrustDomain,
    /// A rule, by its effect and its position among those.
    Rule(Effect, usize),
    /// A condition of a rule, by its position.
    Condition(Effect, usize, usize),
    /// A value of a condition.
    Value(Effect, usize, usize, usize),
}

impl RuleError {
    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> &RuleFault {
        &self.fault
    }

    /// The name of the rule, if it is about one.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.fault.remedy()
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "rule {rule:?}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for RuleError {}

/// What is wrong with a rule, or a set of them. Each says what was found and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// Two rules have one name, so that an explanation could mean either.
    #[error("found the name {found:?} twice, expected a name of its own for each rule")]
    DuplicateName {
        /// The name.
        found: String,
    },
    /// A list of values is empty: it would match nobody, or everybody.
    #[error("found an empty list for `{fact}`, expected at least one value")]
    EmptyList {
        /// The fact.
        fact: Fact,
    },
    /// A fact about the peer is asked of peers that are not known.
    #[error("found `{fact}` in a rule about `{}`, expected no fact about the peer", who.as_str())]
    FactOfNobody {
        /// The fact.
        fact: Fact,
        /// Whom the rule is about.
        who: Who,
    },
    /// It is no DNS name, or none that a peer's certificate is compared with.
    #[error("found a bad DNS name: {}", Chained(fault))]
    InvalidDns {
        /// What is wrong with it.
        fault: PolicyError,
    },
    /// It is no pattern over request paths.
    #[error("{fault}")]
    InvalidPath {
        /// What is wrong with it.
        fault: PathPatternError,
    },
    /// It is no SPIFFE ID, or no pattern.
    #[error("found a bad SPIFFE ID: {}", Chained(fault))]
    InvalidSpiffe {
        /// What is wrong with it.
        fault: PolicyError,
    },
    /// It is no SPIFFE pattern.
    #[error("found a bad SPIFFE pattern: {}", Chained(fault))]
    InvalidSpiffePattern {
        /// What is wrong with it.
        fault: PatternError,
    },
    /// It is no trust domain.
    #[error("found {found:?}, expected the name of a trust domain: {fault}")]
    InvalidTrustDomain {
        /// What was given.
        found: String,
        /// What is wrong with it.
        fault: SpiffeIdError,
    },
    /// It is not what the fact can be.
    #[error("found {found:?} for `{fact}`, expected {expected}")]
    InvalidValue {
        /// The fact.
        fact: Fact,
        /// What was given.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// The rule does not say whom it is about.
    #[error("found no peer, expected facts about it, or `verified`, `anonymous` or `anyone`")]
    MissingPeer,
    /// A rule about a namespace or a service account needs a trust domain: two clusters may have the same one.
    #[error("found `{fact}` {found:?} without a trust domain, expected the local one to be said")]
    MissingTrustDomain {
        /// The fact.
        fact: Fact,
        /// The value.
        found: String,
    },
    /// There are no rules.
    #[error("found no rules, expected at least one")]
    NoRules,
    /// A fact is asked for twice, and both could be meant as alternatives or as conditions.
    #[error("found `{fact}` twice, expected one list of values")]
    RepeatedFact {
        /// The fact.
        fact: Fact,
    },
    /// A rule asks for a fact of the request where there is none, as at the handshake.
    #[error("found `{fact}`, expected facts about the peer alone: a handshake has no request")]
    RequestFact {
        /// The fact.
        fact: Fact,
    },
    /// A rule has no name.
    #[error("found an empty name, expected one that an explanation can tell")]
    Unnamed,
}

impl RuleFault {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::DuplicateName { .. } | Self::Unnamed => "give each rule a name of its own",
            Self::EmptyList { .. } => {
                "list at least one value; if a program made the list, find out why it came out empty"
            }
            Self::FactOfNobody { .. } => {
                "leave out the fact, or say `verified`: whoever is not known has no such fact"
            }
            Self::InvalidDns { .. } => {
                "write one whole DNS name as it stands in the certificate, without wildcard and final dot"
            }
            Self::InvalidPath { fault } => fault.remedy(),
            Self::InvalidSpiffe { .. } => "write spiffe://trust-domain/path in full, or a pattern",
            Self::InvalidSpiffePattern { fault } => fault.remedy(),
            Self::InvalidTrustDomain { .. } => "write its lowercase name, such as example.org",
            Self::InvalidValue { .. } => "write the value in the form that is expected",
            Self::MissingPeer => {
                "name the peers, or say that the rule is about `verified`, `anonymous` or `anyone`"
            }
            Self::MissingTrustDomain { .. } => {
                "say the policy's trust domain, or name one before the namespace, as in example.org/shop"
            }
            Self::NoRules => "write a rule; to deny everyone, deny `anyone`",
            Self::RepeatedFact { .. } => {
                "join the values in one list; for both to hold, write the narrower alone"
            }
            Self::RequestFact { .. } => {
                "use the policy per request, or move this rule to a policy that is used there"
            }
        }
    }
}
