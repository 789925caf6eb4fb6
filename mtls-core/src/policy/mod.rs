//! May this identity connect, or make this request.
//!
//! A [`Policy`] is one rule over identities. An [`AccessPolicy`] is many: denials, permissions and a default, over peers;
//! a [`RequestPolicy`] is the same over requests too. Rules are written in `rule`, made ready in `compile` and found by
//! `index`; `segments` matches patterns, `path` and `request` read what a peer says it wants. `survey` tells who may, or what,
//! where only the request or only the peer is known.

mod access;
mod authorizer;
mod builder;
mod compile;
#[cfg(test)]
mod draws;
mod explanation;
mod fault;
#[cfg(feature = "policy-file")]
mod file;
mod findings;
mod index;
mod legacy;
mod path;
mod pattern;
mod request;
mod rule;
mod rules;
mod segments;
mod survey;
mod values;

pub use access::{AccessPolicy, RequestPolicy};
pub use authorizer::{Authorizer, Denial, RequestAuthorizer};
pub use builder::{NeedsDefault, PolicyBuilder};
pub use compile::Unreadable;
pub use explanation::{DecidedBy, Explanation};
pub use fault::{RuleError, RuleFault};
#[cfg(feature = "policy-file")]
pub use file::{
    FromPolicyFile, PolicyDocument, PolicyFailure, PolicyFile, PolicyFileError, PolicyFileFault,
    PolicySource, PolicyStatus,
};
pub use findings::PolicyFinding;
pub use path::{PathFault, PathPattern, PathPatternError};
pub use pattern::{PatternError, SpiffePattern};
pub use request::{HostFault, RequestFacts};
pub(crate) use request::{is_host, without_port};
pub use rule::{Effect, Fact, Rule, Who};
pub use rules::{Policy, PolicyError};
pub use survey::{OpenCondition, PolicySurvey, SurveyedRule};
