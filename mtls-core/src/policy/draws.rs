//! Policies, peers and requests drawn at random, the same in every run.

use super::access::{AccessPolicy, RequestPolicy};
use super::rule::{Effect, Fact, Rule};
use crate::identity::PeerIdentity;

/// xorshift64*: the same draws in every run.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    pub(super) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    pub(super) fn path(&mut self, segments: &[&str]) -> String {
        let mut path = String::new();
        for _ in 0..=self.below(4) {
            path.push('/');
            path.push_str(self.one(segments));
        }
        path
    }

    pub(super) fn pattern(&mut self) -> String {
        let mut path = self.path(&["ns", "sa", "a", "b", "*"]);
        if self.below(3) == 0 {
            path.push_str("/**");
        }
        path
    }

    fn value(&mut self, fact: Fact) -> String {
        match fact {
            Fact::Spiffe => format!("spiffe://{}{}", self.one(&["td", "other"]), self.pattern()),
            Fact::TrustDomain => self.one(&["td", "other", "third"]).into(),
            Fact::Namespace => self.one(&["a", "b", "other/a"]).into(),
            Fact::ServiceAccount => self.one(&["a/a", "a/b", "other/b/a"]).into(),
            Fact::Dns | Fact::Host => self.one(&["a.test", "b.test", "c.test"]).into(),
            Fact::Ip => self.one(&["192.0.2.1", "::1"]).into(),
            Fact::Fingerprint => self.one(&["00", "01"]).repeat(32),
            Fact::LegacyCommonName | Fact::LegacyOrganizationalUnit => "web".into(),
            Fact::Method => self.one(&["GET", "PUT"]).into(),
            Fact::Path => self.pattern(),
            Fact::GrpcService | Fact::GrpcMethod => self.one(&["a", "b", "ns"]).into(),
        }
    }

    pub(super) fn rule(&mut self, name: usize) -> Rule {
        let mut rule = Rule::named(format!("rule {name}"));
        let mut about_peer = false;
        for fact in Fact::ALL {
            if self.below(6) != 0 {
                continue;
            }
            let values: Vec<_> = (0..=self.below(3)).map(|_| self.value(*fact)).collect();
            rule = match self.below(4) {
                0 => rule.is_not(*fact, values),
                _ => rule.is(*fact, values),
            };
            about_peer |= !fact.is_of_request();
        }
        match (about_peer, self.below(3)) {
            (true, _) => rule,
            (false, 0) => rule.verified(),
            (false, 1) => rule.anonymous(),
            (false, _) => rule.anyone(),
        }
    }

    /// In the trust domain `td`, of so many rules at most, and at least one.
    pub(super) fn policy(&mut self, most: usize) -> RequestPolicy {
        let mut rules = AccessPolicy::builder().trust_domain("td");
        for name in 0..=self.below(most) {
            let rule = self.rule(name);
            rules = match self.below(2) {
                0 => rules.deny(rule),
                _ => rules.allow(rule),
            };
        }
        let otherwise = [Effect::Deny, Effect::Allow][self.below(2)];
        rules.otherwise(otherwise).build_for_requests().unwrap()
    }

    pub(super) fn peer(&mut self) -> Option<PeerIdentity> {
        let spiffe = (self.below(3) > 0).then(|| {
            let path = match self.below(2) {
                0 => self.path(&["ns", "sa", "a", "b"]),
                _ => format!("/ns/{}/sa/{}", self.one(&["a", "b"]), self.one(&["a", "b"])),
            };
            format!("spiffe://{}{path}", self.one(&["td", "other", "fourth"]))
        });
        let names = ["a.test", "b.test", "a.a.serviceaccount.identity.linkerd.td"];
        let dns: Vec<_> = (0..self.below(3)).map(|_| self.one(&names)).collect();
        (self.below(8) > 0).then(|| PeerIdentity::for_rule_tests(spiffe.as_deref(), &dns))
    }
}
