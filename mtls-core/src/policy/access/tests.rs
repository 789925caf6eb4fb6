use super::super::fault::RuleFault;
use super::super::rule::{Fact, Rule, Who};
use super::*;

mod random;
mod requests;

fn spiffe(id: &str) -> PeerIdentity {
    PeerIdentity::for_rule_tests(Some(id), &[])
}

fn dns(name: &str) -> PeerIdentity {
    PeerIdentity::for_rule_tests(None, &[name])
}

fn nameless() -> PeerIdentity {
    PeerIdentity::for_rule_tests(None, &[])
}

fn builder() -> PolicyBuilder<NeedsDefault> {
    AccessPolicy::builder().trust_domain("td")
}

/// A policy with this one rule, which allows; all else is denied.
fn allowing(rule: Rule) -> AccessPolicy {
    builder()
        .allow(rule)
        .otherwise(Effect::Deny)
        .build()
        .unwrap()
}

fn allowing_requests(rule: Rule) -> RequestPolicy {
    let builder = builder().allow(rule).otherwise(Effect::Deny);
    builder.build_for_requests().unwrap()
}

/// Asserts that the rule matches these peers, and none of those.
fn matches(rule: Rule, these: &[PeerIdentity], not_those: &[PeerIdentity]) {
    let policy = allowing(rule.clone());
    let denying = builder()
        .deny(rule)
        .otherwise(Effect::Allow)
        .build()
        .unwrap();
    for peer in these {
        assert_eq!(policy.decide(Some(peer)), Ok(()), "{peer:?}");
        assert!(denying.decide(Some(peer)).is_err(), "{peer:?}");
    }
    for peer in not_those {
        let by = policy.explain(Some(peer));
        assert_eq!((by.effect(), by.rule()), (Effect::Deny, None), "{peer:?}");
        assert_eq!(denying.decide(Some(peer)), Ok(()), "{peer:?}");
    }
}

fn refused(rule: Rule) -> RuleFault {
    let built = builder().allow(rule).otherwise(Effect::Deny);
    built.build().unwrap_err().fault().clone()
}

fn rule() -> Rule {
    Rule::named("r")
}

#[test]
fn deny_comes_before_allow_and_allow_before_the_default() {
    let rules = || {
        builder()
            .allow(Rule::named("domain").is(Fact::TrustDomain, ["td"]))
            .deny(Rule::named("batch").is(Fact::Spiffe, ["spiffe://td/batch"]))
    };
    for (otherwise, by_default) in [(Effect::Deny, "denied"), (Effect::Allow, "allowed")] {
        let policy = rules().otherwise(otherwise).build().unwrap();
        let why = |peer| policy.explain(Some(&spiffe(peer))).to_string();
        assert_eq!(why("spiffe://td/batch"), "denied by rule `batch`");
        assert_eq!(why("spiffe://td/web"), "allowed by rule `domain`");
        let default = format!("{by_default} by default: no rule matches");
        assert_eq!(why("spiffe://other/web"), default);
    }
}

#[test]
fn a_denial_names_the_rule_or_what_would_have_been_allowed() {
    let policy = builder()
        .allow(Rule::named("domain").is(Fact::TrustDomain, ["td"]))
        .deny(Rule::named("batch").is(Fact::Spiffe, ["spiffe://td/batch"]))
        .otherwise(Effect::Deny)
        .build()
        .unwrap();
    let denial = |peer| policy.authorize(&spiffe(peer)).unwrap_err();
    assert_eq!(
        denial("spiffe://td/batch").expectation(),
        "somebody whom the deny rule `batch` does not match"
    );
    assert_eq!(
        denial("spiffe://other/web").expectation(),
        "a match of an allow rule: `domain`"
    );
}

#[test]
fn all_facts_have_to_hold_and_of_each_one_value() {
    matches(
        rule()
            .is(
                Fact::Spiffe,
                ["spiffe://td/ns/*/sa/web", "spiffe://td/ns/*/sa/api"],
            )
            .is(Fact::Dns, ["a.test"]),
        &[
            PeerIdentity::for_rule_tests(Some("spiffe://td/ns/x/sa/web"), &["a.test"]),
            PeerIdentity::for_rule_tests(Some("spiffe://td/ns/x/sa/api"), &["b.test", "A.test"]),
        ],
        &[
            PeerIdentity::for_rule_tests(Some("spiffe://td/ns/x/sa/web"), &["b.test"]),
            PeerIdentity::for_rule_tests(Some("spiffe://td/ns/x/sa/db"), &["a.test"]),
            spiffe("spiffe://td/ns/x/sa/web"),
            dns("a.test"),
        ],
    );
}

#[test]
fn a_negated_fact_never_matches_a_peer_that_has_none() {
    matches(
        rule().is_not(Fact::Spiffe, ["spiffe://td/batch"]),
        &[spiffe("spiffe://td/web"), spiffe("spiffe://other/batch")],
        &[spiffe("spiffe://td/batch"), dns("spiffe.test"), nameless()],
    );
    matches(
        rule().is_not(Fact::Dns, ["a.test"]),
        &[dns("b.test")],
        &[
            dns("a.test"),
            PeerIdentity::for_rule_tests(None, &["b.test", "a.test"]),
            spiffe("spiffe://td/web"),
        ],
    );
    matches(
        rule().is_not(Fact::Namespace, ["shop"]),
        &[
            spiffe("spiffe://td/ns/x/sa/web"),
            spiffe("spiffe://other/ns/shop/sa/web"),
        ],
        &[
            spiffe("spiffe://td/ns/shop/sa/web"),
            spiffe("spiffe://td/web"),
            nameless(),
        ],
    );
}

#[test]
fn nobody_is_matched_by_anonymous_and_anyone_alone() {
    let decides = |rule: Rule, peer: Option<&PeerIdentity>| allowing(rule).decide(peer).is_ok();
    let web = spiffe("spiffe://td/web");
    assert!(decides(rule().anonymous(), None));
    assert!(!decides(rule().anonymous(), Some(&web)));
    assert!(decides(rule().anyone(), None));
    assert!(decides(rule().anyone(), Some(&web)));
    assert!(!decides(rule().verified(), None));
    assert!(decides(rule().verified(), Some(&nameless())));
    assert!(!decides(
        rule().is_not(Fact::Spiffe, ["spiffe://td/x"]),
        None
    ));
    assert!(!decides(rule().is(Fact::TrustDomain, ["td"]), None));
}

#[test]
fn namespaces_and_accounts_mean_the_local_trust_domain_unless_they_name_another() {
    let shop =
        |domain: &str, account: &str| spiffe(&format!("spiffe://{domain}/ns/shop/sa/{account}"));
    matches(
        rule().is(Fact::Namespace, ["shop"]),
        &[shop("td", "web"), shop("td", "a.b")],
        &[
            shop("other", "web"),
            spiffe("spiffe://td/ns/shop"),
            spiffe("spiffe://td/shop/web"),
        ],
    );
    matches(
        rule().is(Fact::ServiceAccount, ["shop/web", "other/shop/api"]),
        &[shop("td", "web"), shop("other", "api")],
        &[shop("td", "api"), shop("other", "web"), dns("web.shop.svc")],
    );
    matches(
        rule()
            .is(Fact::Namespace, ["shop"])
            .is(Fact::TrustDomain, ["other"]),
        &[shop("other", "web")],
        &[shop("td", "web")],
    );
    let linkerd = |domain: &str| {
        dns(&format!(
            "web.shop.serviceaccount.identity.linkerd.{domain}"
        ))
    };
    matches(
        rule().is(Fact::Namespace, ["shop"]),
        &[linkerd("td")],
        &[linkerd("other")],
    );
}

#[test]
fn without_a_trust_domain_a_namespace_has_to_name_one() {
    let build = |value: &str| {
        let rule = rule().is(Fact::Namespace, [value]);
        let built = AccessPolicy::builder().allow(rule).otherwise(Effect::Deny);
        built.build().map(|_| ())
    };
    assert_eq!(build("td/shop"), Ok(()));
    let fault = build("shop").unwrap_err().fault().clone();
    let (fact, found) = (Fact::Namespace, "shop".to_owned());
    assert_eq!(fault, RuleFault::MissingTrustDomain { fact, found });
}

#[test]
fn what_says_nothing_or_too_much_is_refused() {
    use RuleFault::*;
    let nothing: [&str; 0] = [];
    let fact = Fact::Spiffe;
    assert_eq!(refused(rule().is(fact, nothing)), EmptyList { fact });
    assert_eq!(refused(rule().is_not(fact, nothing)), EmptyList { fact });
    assert_eq!(refused(rule()), MissingPeer);
    assert_eq!(refused(Rule::named("").verified()), Unnamed);
    let twice = rule()
        .is(fact, ["spiffe://td/a"])
        .is(fact, ["spiffe://td/b"]);
    assert_eq!(refused(twice), RepeatedFact { fact });
    for (rule, who) in [
        (rule().anonymous(), Who::Anonymous),
        (rule().anyone(), Who::Anyone),
    ] {
        let fault = refused(rule.is_not(fact, ["spiffe://td/a"]));
        assert_eq!(fault, FactOfNobody { fact, who });
    }
    let empty = builder().otherwise(Effect::Allow).build().unwrap_err();
    assert_eq!(empty.fault(), &NoRules);
    let same = builder().deny(rule().verified()).allow(rule().anyone());
    let same = same.otherwise(Effect::Deny).build().unwrap_err();
    assert!(matches!(same.fault(), DuplicateName { found } if found == "r"));
}

#[test]
fn a_value_that_its_fact_cannot_be_is_refused() {
    use RuleFault::*;
    let fault = |fact: Fact, value: &str| {
        let rule = match fact.is_of_request() {
            true => rule().anyone(),
            false => rule(),
        };
        let rule = rule.is(fact, [value]);
        let built = builder().allow(rule).otherwise(Effect::Deny);
        built.build_for_requests().unwrap_err().fault().clone()
    };
    assert!(matches!(
        fault(Fact::Spiffe, "td/web"),
        InvalidSpiffe { .. }
    ));
    assert!(matches!(
        fault(Fact::Spiffe, "spiffe://td"),
        InvalidSpiffe { .. }
    ));
    assert!(matches!(
        fault(Fact::Spiffe, "spiffe://*/web"),
        InvalidSpiffePattern { .. }
    ));
    assert!(matches!(
        fault(Fact::TrustDomain, "TD"),
        InvalidTrustDomain { .. }
    ));
    assert!(matches!(fault(Fact::Dns, "*.test"), InvalidDns { .. }));
    assert!(matches!(fault(Fact::Path, "/a%20b"), InvalidPath { .. }));
    for (fact, values) in [
        (Fact::TrustDomain, &["spiffe://td", "spiffe://td/web"][..]),
        (Fact::Namespace, &["", "*", "a/b/c", "Shop", "shop/"]),
        (
            Fact::ServiceAccount,
            &["web", "shop/*", "shop/Web", "a/b/c/d"],
        ),
        (Fact::Ip, &["10.0.0.0/8", "localhost"]),
        (Fact::Fingerprint, &["", "ab", "zz", "é"]),
        (Fact::LegacyCommonName, &[""]),
        (Fact::Method, &["get", "", "G T"]),
        (Fact::Host, &["a.test:1", "a.test.", "*.test", ""]),
        (Fact::GrpcService, &["/shop.Orders", "shop.*", ""]),
        (Fact::GrpcMethod, &["List/", ""]),
    ] {
        for value in values {
            assert!(
                matches!(fault(fact, value), InvalidValue { .. }),
                "{fact} {value}"
            );
        }
    }
}

#[test]
fn a_fingerprint_is_read_with_colons_and_without() {
    let zeros = nameless();
    assert_eq!(*zeros.sha256(), [0; 32]);
    for text in ["00".repeat(32), vec!["00"; 32].join(":")] {
        matches(
            rule().is(Fact::Fingerprint, [text]),
            std::slice::from_ref(&zeros),
            &[],
        );
    }
    matches(
        rule().is(Fact::Fingerprint, ["0A".repeat(32)]),
        &[],
        &[zeros],
    );
}

#[test]
fn a_request_fact_at_the_handshake_is_an_error_when_built() {
    for fact in Fact::ALL
        .iter()
        .copied()
        .filter(|fact| fact.is_of_request())
    {
        // Neither a method in small letters nor a path without its slash would be looked at as far as this.
        let value = [("GET", Fact::Method), ("/a", Fact::Path)]
            .into_iter()
            .find_map(|(value, of)| (of == fact).then_some(value))
            .unwrap_or("a");
        for rule in [
            rule().anyone().is(fact, [value]),
            rule().anyone().is_not(fact, [value]),
        ] {
            assert_eq!(refused(rule.clone()), RuleFault::RequestFact { fact });
            allowing_requests(rule);
        }
    }
}

#[test]
fn a_dry_run_lets_in_counts_and_says_so_by_name() {
    let policy = builder()
        .allow(rule().is(Fact::TrustDomain, ["td"]))
        .otherwise(Effect::Deny)
        .dry_run()
        .build()
        .unwrap();
    assert_eq!(policy.decide(Some(&spiffe("spiffe://td/web"))), Ok(()));
    assert_eq!(policy.spared(), 0);
    assert_eq!(policy.decide(Some(&spiffe("spiffe://other/web"))), Ok(()));
    assert_eq!(policy.decide(None), Ok(()));
    assert_eq!(policy.spared(), 2);
    assert_eq!(
        policy.to_string(),
        "0 deny and 1 allow rules, otherwise deny (dry run: keeps nobody out)"
    );
    assert_eq!(
        policy.explain(None).to_string(),
        "let in by a dry run, would have been denied by default: no rule matches"
    );
    assert!(
        allowing(rule().is(Fact::TrustDomain, ["td"]))
            .decide(None)
            .is_err()
    );
}

#[test]
fn rules_that_can_decide_nothing_are_found() {
    let found = |rules: PolicyBuilder<NeedsDefault>| -> Vec<String> {
        let policy = rules.otherwise(Effect::Deny).build_for_requests().unwrap();
        policy.findings().iter().map(ToString::to_string).collect()
    };
    let domain = || Rule::named("domain").is(Fact::TrustDomain, ["td"]);
    let shop = || Rule::named("shop").is(Fact::Spiffe, ["spiffe://td/ns/shop/**"]);
    assert_eq!(
        found(builder().allow(domain()).allow(shop())),
        ["rule `shop` decides nothing: `domain` comes first"]
    );
    assert_eq!(
        found(builder().deny(domain()).allow(shop())),
        ["rule `shop` never allows anything: the deny rule `domain` comes first"]
    );
    assert_eq!(found(builder().allow(shop()).allow(domain())), [""; 0]);
    assert_eq!(found(builder().deny(shop()).allow(domain())), [""; 0]);
    let narrower = shop().is(Fact::Path, ["/x"]);
    assert_eq!(
        found(builder().allow(narrower.clone()).allow(domain())),
        [""; 0]
    );
    assert_eq!(found(builder().allow(domain()).allow(narrower)).len(), 1);
    for (one, other) in [
        (
            domain(),
            Rule::named("x")
                .is(Fact::LegacyCommonName, ["web"])
                .is(Fact::TrustDomain, ["td"]),
        ),
        (
            domain(),
            Rule::named("x")
                .is(Fact::Spiffe, ["spiffe://a/b"])
                .is(Fact::TrustDomain, ["c"]),
        ),
        (
            domain(),
            Rule::named("x")
                .is(Fact::ServiceAccount, ["other/a/b"])
                .is(Fact::Spiffe, ["spiffe://td/**"]),
        ),
        (
            domain(),
            Rule::named("x")
                .is(Fact::Dns, ["a.b"])
                .is_not(Fact::Dns, ["a.b", "c.d"]),
        ),
    ] {
        let found = found(builder().deny(other).allow(one));
        assert!(
            matches!(&found[..], [one] if one.contains("`x` never matches")),
            "{found:?}"
        );
    }
}
