use std::error::Error as _;

use super::PolicyError::*;
use super::*;

fn spiffe(id: &str) -> PeerIdentity {
    PeerIdentity::for_rule_tests(Some(id), &[])
}

fn dns(names: &[&str]) -> PeerIdentity {
    PeerIdentity::for_rule_tests(None, names)
}

/// Asserts that the policy lets these in.
fn allows(policy: &Policy, peers: &[PeerIdentity]) {
    for peer in peers {
        assert_eq!(policy.decide(peer), Ok(()), "{policy} and {peer:?}");
        assert_eq!(policy.authorize(peer), Ok(()), "{policy} and {peer:?}");
    }
}

/// Asserts that the policy refuses these, and says that it expected something else.
fn denies(policy: &Policy, peers: &[PeerIdentity], expected: &str) {
    for peer in peers {
        let denial = match policy.decide(peer) {
            Ok(()) => panic!("{policy} let in {peer:?}"),
            Err(denial) => denial,
        };
        assert_eq!(denial.expectation(), expected);
        assert_eq!(policy.authorize(peer), Err(denial));
    }
}

fn owned(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_trust_domain_lets_in_its_own_workloads() {
    for name in ["example.org", "spiffe://example.org"] {
        let policy = Policy::trust_domain(name).unwrap();
        allows(
            &policy,
            &[
                spiffe("spiffe://example.org/web"),
                spiffe("spiffe://example.org/ns/shop/sa/web"),
                PeerIdentity::for_rule_tests(Some("spiffe://example.org/web"), &["evil.test"]),
            ],
        );
    }
}

#[test]
fn a_trust_domain_refuses_every_other_and_peers_that_have_none() {
    denies(
        &Policy::trust_domain("example.org").unwrap(),
        &[
            spiffe("spiffe://example.com/web"),
            spiffe("spiffe://evil.example.org/web"),
            spiffe("spiffe://example.org.evil/web"),
            spiffe("spiffe://evil/example.org"),
            dns(&["example.org"]),
            dns(&["spiffe://example.org/web"]),
            dns(&[]),
        ],
        "trust domain `example.org`",
    );
}

#[test]
fn a_trust_domain_is_not_taken_from_the_id_of_a_workload() {
    assert_eq!(
        Policy::trust_domain("spiffe://example.org/web").unwrap_err(),
        PathInTrustDomain {
            found: owned("spiffe://example.org/web")
        }
    );
    for (text, found, at) in [("Example.org", 'E', 0), ("*.org", '*', 0), ("td:1", ':', 2)] {
        let source = SpiffeIdError::BadTrustDomainChar { found, at };
        let found = owned(text);
        let refused = Policy::trust_domain(text).unwrap_err();
        assert_eq!(refused, InvalidTrustDomain { found, source });
        assert!(refused.source().is_some());
    }
}

#[test]
fn a_parsed_trust_domain_is_taken_as_it_is() {
    let domain: TrustDomain = "example.org".parse().unwrap();
    let policy = Policy::trust_domain(&domain).unwrap();
    allows(&policy, &[spiffe("spiffe://example.org/web")]);
}

#[test]
fn a_spiffe_id_lets_in_its_holder_alone() {
    let id = "spiffe://example.org/ns/shop/sa/web";
    let policies = [
        Policy::spiffe_id(id).unwrap(),
        Policy::spiffe_ids([id]).unwrap(),
        Policy::try_from(id).unwrap(),
        Policy::try_from(owned(id)).unwrap(),
        id.parse::<SpiffeId>().unwrap().into(),
    ];
    for policy in policies {
        allows(&policy, &[spiffe(id)]);
        denies(
            &policy,
            &[
                spiffe("spiffe://example.com/ns/shop/sa/web"),
                spiffe("spiffe://example.org/ns/shop/sa/Web"),
                spiffe("spiffe://example.org/ns/shop/sa/web2"),
                spiffe("spiffe://example.org/ns/shop/sa/we"),
                spiffe("spiffe://example.org/ns/shop/sa"),
                spiffe("spiffe://example.org/ns/shop/sa/web/x"),
                spiffe("spiffe://example.org"),
                dns(&[id]),
                dns(&["web.shop.svc", id]),
                dns(&[]),
            ],
            &policy.to_string(),
        );
    }
}

#[test]
fn a_spiffe_id_in_a_policy_is_valid_and_has_a_path() {
    let source = |text: &str| text.parse::<SpiffeId>().unwrap_err();
    for text in [
        "",
        "spiffe://example.org/a/*",
        "spiffe://example.org/a/",
        "web",
    ] {
        let expected = InvalidSpiffeId {
            found: owned(text),
            source: source(text),
        };
        assert_eq!(Policy::spiffe_id(text).unwrap_err(), expected);
        let among = Policy::spiffe_ids(["spiffe://example.org/a", text]);
        assert_eq!(among.unwrap_err(), expected);
    }
    let found = owned("spiffe://example.org");
    let expected = MissingPath { found };
    assert_eq!(
        Policy::spiffe_id("spiffe://example.org").unwrap_err(),
        expected
    );
    assert_eq!(
        Policy::try_from("spiffe://example.org").unwrap_err(),
        expected
    );
    assert!(expected.remedy().contains("Policy::trust_domain"));
}

#[test]
fn a_set_of_spiffe_ids_lets_in_each_of_them_and_nobody_else() {
    let all: Vec<_> = (0..10_000).map(|n| format!("spiffe://td/w/{n}")).collect();
    let policy = Policy::spiffe_ids(&all).unwrap();
    allows(
        &policy,
        &[spiffe("spiffe://td/w/0"), spiffe("spiffe://td/w/9999")],
    );
    let text = policy.to_string();
    assert!(
        text.starts_with("one of `spiffe://td/w/0`, `spiffe://td/w/1`, `spiffe://td/w/10`, "),
        "{text}"
    );
    assert!(text.ends_with(", and 9992 more"), "{text}");
    let strangers = [spiffe("spiffe://td/w/10000"), spiffe("spiffe://other/w/0")];
    denies(&policy, &strangers, &text);
}

#[test]
fn a_pattern_lets_in_what_it_matches() {
    let text = "spiffe://example.org/ns/prod/sa/*";
    let policies = [
        Policy::pattern(text).unwrap(),
        Policy::try_from(text).unwrap(),
        text.parse::<SpiffePattern>().unwrap().into(),
    ];
    for policy in policies {
        allows(&policy, &[spiffe("spiffe://example.org/ns/prod/sa/web")]);
        denies(
            &policy,
            &[
                spiffe("spiffe://example.org/ns/prod-evil/sa/web"),
                spiffe("spiffe://example.com/ns/prod/sa/web"),
                spiffe("spiffe://example.org/ns/prod/sa/web/x"),
                dns(&["spiffe://example.org/ns/prod/sa/web"]),
                dns(&[text]),
            ],
            "`spiffe://example.org/ns/prod/sa/*`",
        );
    }
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let expected = InvalidPattern(PatternError::PartialWildcard {
        found: owned("prod*"),
    });
    for refused in [
        Policy::pattern("spiffe://example.org/ns/prod*").unwrap_err(),
        Policy::try_from("spiffe://example.org/ns/prod*").unwrap_err(),
    ] {
        assert_eq!(refused, expected);
        assert!(refused.remedy().contains("whole segment"));
    }
}

#[test]
fn a_dns_name_lets_in_peers_that_have_it_in_any_case() {
    let policy = Policy::dns_name("API.shop.svc").unwrap();
    assert_eq!(policy.to_string(), "DNS name `api.shop.svc`");
    allows(
        &policy,
        &[
            dns(&["api.shop.svc"]),
            dns(&["Api.Shop.Svc"]),
            dns(&["web.shop.svc", "api.shop.svc"]),
            PeerIdentity::for_rule_tests(Some("spiffe://td/api"), &["api.shop.svc"]),
        ],
    );
}

#[test]
fn a_dns_name_refuses_every_other_and_peers_that_have_none() {
    denies(
        &Policy::dns_name("api.shop.svc").unwrap(),
        &[
            dns(&[]),
            dns(&["api.shop.svc.evil", "evil.api.shop.svc"]),
            dns(&["api.shop.svc."]),
            dns(&["*.shop.svc"]),
            dns(&["*"]),
            dns(&["api-shop.svc", "pi.shop.svc"]),
            spiffe("spiffe://api.shop.svc/x"),
            spiffe("spiffe://td/api.shop.svc"),
        ],
        "DNS name `api.shop.svc`",
    );
}

#[test]
fn a_dns_name_is_one_whole_name() {
    let found = owned;
    for (name, expected) in [
        (
            "*.shop.svc",
            Wildcard {
                found: found("*.shop.svc"),
            },
        ),
        ("*", Wildcard { found: found("*") }),
        (
            "api.*.svc",
            Wildcard {
                found: found("api.*.svc"),
            },
        ),
        (
            "api.shop.svc.",
            TrailingDot {
                found: found("api.shop.svc."),
            },
        ),
        (
            "10.0.0.1",
            IpAddress {
                found: found("10.0.0.1"),
            },
        ),
        (
            "::1",
            IpAddress {
                found: found("::1"),
            },
        ),
        ("", InvalidDnsName { found: found("") }),
        (".", InvalidDnsName { found: found(".") }),
        (
            ".shop.svc",
            InvalidDnsName {
                found: found(".shop.svc"),
            },
        ),
        (
            "api..svc",
            InvalidDnsName {
                found: found("api..svc"),
            },
        ),
        (
            "api.shop.svc:8443",
            InvalidDnsName {
                found: found("api.shop.svc:8443"),
            },
        ),
        (
            "api shop",
            InvalidDnsName {
                found: found("api shop"),
            },
        ),
        (
            "apí.shop.svc",
            InvalidDnsName {
                found: found("apí.shop.svc"),
            },
        ),
        (
            "spiffe://td/api",
            InvalidDnsName {
                found: found("spiffe://td/api"),
            },
        ),
    ] {
        assert_eq!(Policy::dns_name(name).unwrap_err(), expected);
    }
}

#[test]
fn any_lets_in_whom_one_of_them_lets_in() {
    let policy = Policy::any([
        Policy::spiffe_id("spiffe://td/web").unwrap(),
        Policy::dns_name("api.shop.svc").unwrap(),
    ])
    .unwrap();
    allows(
        &policy,
        &[spiffe("spiffe://td/web"), dns(&["api.shop.svc"])],
    );
    denies(
        &policy,
        &[spiffe("spiffe://td/api"), dns(&["web.shop.svc"]), dns(&[])],
        "any of (`spiffe://td/web`; DNS name `api.shop.svc`)",
    );
}

#[test]
fn all_lets_in_whom_each_of_them_lets_in_and_names_the_first_that_did_not() {
    let policy = Policy::all([
        Policy::trust_domain("td").unwrap(),
        Policy::dns_name("api.shop.svc").unwrap(),
    ])
    .unwrap();
    let peer = |id, name| PeerIdentity::for_rule_tests(Some(id), &[name]);
    allows(&policy, &[peer("spiffe://td/web", "api.shop.svc")]);
    let wrong_name = [peer("spiffe://td/web", "x"), spiffe("spiffe://td/web")];
    denies(&policy, &wrong_name, "DNS name `api.shop.svc`");
    let wrong_domain = [
        peer("spiffe://ts/web", "api.shop.svc"),
        dns(&["api.shop.svc"]),
    ];
    denies(&policy, &wrong_domain, "trust domain `td`");
    assert_eq!(
        policy.to_string(),
        "all of (trust domain `td`; DNS name `api.shop.svc`)"
    );
}

#[test]
fn an_empty_list_is_refused() {
    let nobody: [Policy; 0] = [];
    for (refused, list) in [
        (Policy::any(nobody.clone()), "any"),
        (Policy::all(nobody), "all"),
        (Policy::spiffe_ids([""; 0]), "spiffe_ids"),
    ] {
        assert_eq!(refused.unwrap_err(), EmptyList { list });
    }
}

#[test]
fn any_verified_peer_lets_in_everyone_whom_the_bundle_verifies() {
    allows(
        &Policy::any_verified_peer(),
        &[spiffe("spiffe://td/web"), dns(&["x"]), dns(&[])],
    );
}

#[test]
fn any_verified_peer_is_never_what_a_text_means() {
    for text in ["", "*", "**", "spiffe://", "any", "any verified peer"] {
        assert!(text.parse::<Policy>().is_err(), "{text:?}");
    }
}

#[test]
fn a_text_that_could_mean_several_things_is_refused() {
    for text in [
        "example.org",
        "*.example.org",
        "SPIFFE://td/web",
        "/ns/a",
        "",
    ] {
        let refused = Policy::try_from(text).unwrap_err();
        assert_eq!(refused, NotASpiffeId { found: owned(text) });
        for way_out in ["Policy::dns_name", "Policy::trust_domain"] {
            assert!(refused.remedy().contains(way_out));
        }
    }
}

#[test]
fn a_clone_shares_what_it_decides_by() {
    let policy = Policy::trust_domain("td").unwrap();
    assert!(Arc::ptr_eq(&policy.0, &policy.clone().0));
}
