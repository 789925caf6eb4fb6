//! The indexed policy against one that asks each rule in turn, on policies, peers and requests drawn at random.

use super::*;

/// xorshift64*: the same draws in every run.
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn path(&mut self, segments: &[&str]) -> String {
        let mut path = String::new();
        for _ in 0..=self.below(4) {
            path.push('/');
            path.push_str(self.one(segments));
        }
        path
    }

    fn pattern(&mut self) -> String {
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

    pub(crate) fn rule(&mut self, name: usize) -> Rule {
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

    fn peer(&mut self) -> Option<PeerIdentity> {
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

#[test]
fn an_index_decides_as_asking_each_rule_would_and_names_the_same_one() {
    let mut draws = Draws::new(1);
    let (mut by_rule, mut by_default, mut unreadable) = (0, 0, 0);
    for _ in 0..300 {
        let mut rules = builder();
        for name in 0..=draws.below(24) {
            let rule = draws.rule(name);
            rules = match draws.below(2) {
                0 => rules.deny(rule),
                _ => rules.allow(rule),
            };
        }
        let otherwise = [Effect::Deny, Effect::Allow][draws.below(2)];
        let policy = rules.otherwise(otherwise).build_for_requests().unwrap();
        for _ in 0..40 {
            let peer = draws.peer();
            let path = draws.path(&["ns", "sa", "a", "b", "%61", "", "..", "*"]);
            let host = draws.one(&["a.test", "B.test", "d.test:1"]);
            let mut facts = RequestFacts::new(draws.one(&["GET", "PUT", "get"]), &path);
            if draws.below(4) > 0 {
                facts = facts.authority(host);
            }
            if draws.below(2) == 0 {
                facts = facts.content_type("application/grpc");
            }
            let expected = policy.0.first_by_asking_each(peer.as_ref(), Some(&facts));
            let found = policy.explain(peer.as_ref(), &facts);
            assert_eq!(found, expected, "{peer:?} {facts:?}");
            let allowed = policy.decide(peer.as_ref(), &facts).is_ok();
            assert_eq!(allowed, expected.effect() == Effect::Allow);
            match expected.decided_by() {
                DecidedBy::Default => by_default += 1,
                DecidedBy::Rule { .. } => by_rule += 1,
                DecidedBy::Unreadable { .. } => unreadable += 1,
                DecidedBy::Host(fault) => panic!("{fault}"),
            }
            // What a finding says decides nothing, decides nothing.
            if let Some(rule) = found.rule() {
                let idle = |finding: &PolicyFinding| finding.rule() == rule;
                assert!(
                    !policy.findings().iter().any(idle),
                    "{rule}: {:?}",
                    policy.findings()
                );
            }
        }
    }
    // Draws that never reach a case would prove nothing about it.
    assert!(
        by_rule > 1000 && by_default > 1000 && unreadable > 100,
        "{by_rule} {by_default} {unreadable}"
    );
}

#[test]
fn ten_thousand_rules_of_each_indexable_kind_are_not_asked_one_by_one() {
    let kinds: [(&str, fn(usize) -> Rule); 7] = [
        ("ids", |n| {
            rule().is(Fact::Spiffe, [format!("spiffe://td/w/{n}")])
        }),
        ("patterns", |n| {
            rule().is(Fact::Spiffe, [format!("spiffe://td/ns/{n}/*/web")])
        }),
        ("accounts", |n| {
            rule().is(Fact::ServiceAccount, [format!("ns{n}/web")])
        }),
        ("dns", |n| rule().is(Fact::Dns, [format!("h{n}.test")])),
        ("ips", |n| {
            rule().is(Fact::Ip, [format!("10.0.{}.{}", n / 256, n % 256)])
        }),
        ("paths", |n| {
            rule()
                .is(Fact::TrustDomain, ["td"])
                .is(Fact::Path, [format!("/o/{n}/*")])
        }),
        ("services", |n| {
            rule().verified().is(Fact::GrpcService, [format!("s{n}")])
        }),
    ];
    let peer = PeerIdentity::for_rule_tests(Some("spiffe://td/ns/ns77/sa/web"), &["h1.test"]);
    let facts = RequestFacts::new("GET", "/o/7/x");
    for (kind, make) in kinds {
        let mut rules = builder();
        for n in 0..10_000 {
            let mut rule = make(n);
            rule.name = format!("{kind} {n}");
            rules = rules.allow(rule);
        }
        let policy = rules.otherwise(Effect::Deny).build_for_requests().unwrap();
        let mut asked = 0;
        let count = |positions: &[u32]| asked += positions.len();
        policy.0.index.candidates(Some(&peer), Some(&facts), count);
        assert!(asked <= 1, "{kind}: {asked}");
        assert_eq!(
            policy.explain(Some(&peer), &facts),
            policy.0.first_by_asking_each(Some(&peer), Some(&facts))
        );
    }
}
