//! The indexed policy against one that asks each rule in turn, on policies, peers and requests drawn at random.

use super::super::super::draws::Draws;
use super::*;

#[test]
fn an_index_decides_as_asking_each_rule_would_and_names_the_same_one() {
    let mut draws = Draws::new(1);
    let (mut by_rule, mut by_default, mut unreadable) = (0, 0, 0);
    for _ in 0..300 {
        let policy = draws.policy(24);
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

type Numbered = fn(usize) -> Rule;

#[test]
fn ten_thousand_rules_of_each_indexable_kind_are_not_asked_one_by_one() {
    let kinds: [(&str, Numbered); 7] = [
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
        let count = |positions: &[u32], _| asked += positions.len();
        policy.0.index.candidates(Some(&peer), Some(&facts), count);
        assert!(asked <= 1, "{kind}: {asked}");
        assert_eq!(
            policy.explain(Some(&peer), &facts),
            policy.0.first_by_asking_each(Some(&peer), Some(&facts))
        );
    }
}
