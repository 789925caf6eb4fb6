//! Why a policy decided as it did.

use std::fmt;
use std::sync::Arc;

use super::compile::Unreadable;
use super::request::HostFault;
use super::rule::Effect;

/// What decided, and how; it prints as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub(super) effect: Effect,
    pub(super) by: DecidedBy,
    pub(super) dry_run: bool,
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
