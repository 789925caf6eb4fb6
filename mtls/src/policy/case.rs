//! A case: who asks for what, and what should come of it.

use mtls_core::{Effect, Explanation, RequestFacts};

use super::peer::Named;
use super::word;

#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// `None`: a client without a certificate.
    pub(super) peer: Option<Named>,
    /// `None`: the connection is decided.
    pub(super) request: Option<Request>,
    pub(super) expected: Effect,
    /// The rule that should decide, where that is said.
    pub(super) rule: Option<String>,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: Option<String>,
    pub(super) grpc: bool,
}

impl Case {
    pub(super) fn is_met(&self, found: &Explanation) -> bool {
        let by_the_rule = self
            .rule
            .as_deref()
            .is_none_or(|rule| found.rule() == Some(rule));
        found.effect() == self.expected && by_the_rule
    }

    pub(super) fn expectation(&self) -> String {
        let effect = word(self.expected);
        match &self.rule {
            Some(rule) => format!("{effect} by rule `{rule}`"),
            None => effect.to_owned(),
        }
    }
}

impl Request {
    pub(super) fn facts(&self) -> RequestFacts<'_> {
        let facts = RequestFacts::new(&self.method, &self.path);
        let facts = match &self.host {
            Some(host) => facts.authority(host),
            None => facts,
        };
        match self.grpc {
            true => facts.content_type("application/grpc"),
            false => facts,
        }
    }
}
