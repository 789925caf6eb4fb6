use super::super::access::{AccessPolicy, RequestPolicy};
use super::super::draws::Draws;
use super::super::request::RequestFacts;
use super::super::rule::Rule;
use super::*;
use crate::identity::PeerIdentity;

fn spiffe(id: &str) -> PeerIdentity {
    PeerIdentity::for_rule_tests(Some(id), &[])
}

fn orders() -> RequestPolicy {
    AccessPolicy::builder()
        .trust_domain("td")
        .deny(
            Rule::named("nobody deletes")
                .anyone()
                .is(Fact::Method, ["DELETE"]),
        )
        .deny(Rule::named("no batch").is(Fact::ServiceAccount, ["shop/batch"]))
        .allow(
            Rule::named("the shop")
                .is(Fact::Namespace, ["shop"])
                .is_not(Fact::Spiffe, ["spiffe://td/ns/shop/sa/old"])
                .is(Fact::Path, ["/orders", "/orders/**"]),
        )
        .allow(
            Rule::named("health")
                .anyone()
                .is(Fact::Path, ["/healthz"])
                .is(Fact::Method, ["GET"]),
        )
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap()
}

#[test]
fn who_may_make_a_request_is_told_by_the_rules_that_it_comes_to() {
    let who = |method, path| {
        orders()
            .who_may(&RequestFacts::new(method, path))
            .to_string()
    };
    assert_eq!(
        who("POST", "/orders/17"),
        "deny   no batch: a peer whose service_account is `td/shop/batch`\n\
         allow  the shop: a peer whose namespace is `td/shop`, and whose spiffe is there and not `spiffe://td/ns/shop/sa/old`\n\
         deny   by default: everybody else\n"
    );
    assert_eq!(
        who("GET", "/healthz"),
        "deny   no batch: a peer whose service_account is `td/shop/batch`\n\
         allow  health: anyone, with a certificate or without\n"
    );
    // Whoever it is: nothing that comes after is told.
    assert_eq!(
        who("DELETE", "/healthz"),
        "deny   nobody deletes: anyone, with a certificate or without\n"
    );
}

#[test]
fn what_a_peer_may_ask_for_is_told_by_the_rules_that_are_about_it() {
    let what = |peer: Option<&PeerIdentity>| orders().what_may(peer).to_string();
    assert_eq!(
        what(Some(&spiffe("spiffe://td/ns/shop/sa/web"))),
        "deny   nobody deletes: a request whose method is `DELETE`\n\
         allow  the shop: a request whose path is one of `/orders`, `/orders/**`\n\
         allow  health: a request whose path is `/healthz`, and whose method is `GET`\n\
         deny   by default: every other request\n"
    );
    assert_eq!(
        what(Some(&spiffe("spiffe://td/ns/shop/sa/batch"))),
        "deny   nobody deletes: a request whose method is `DELETE`\n\
         deny   no batch: every request\n"
    );
    assert_eq!(
        what(None),
        "deny   nobody deletes: a request whose method is `DELETE`\n\
         allow  health: a request whose path is `/healthz`, and whose method is `GET`\n\
         deny   by default: every other request\n"
    );
}

#[test]
fn who_may_connect_is_told_of_a_policy_about_peers() {
    let policy = |otherwise| {
        AccessPolicy::builder()
            .deny(Rule::named("old").is(Fact::Fingerprint, ["0a".repeat(32)]))
            .allow(Rule::named("ours").is(Fact::TrustDomain, ["td"]))
            .otherwise(otherwise)
            .build()
            .unwrap()
    };
    let told = policy(Effect::Deny).who_may().to_string();
    let old = format!(
        "deny   old: a peer whose fingerprint is `{}`\n",
        "0a".repeat(32)
    );
    assert_eq!(
        told,
        format!(
            "{old}allow  ours: a peer whose trust_domain is `td`\ndeny   by default: everybody else\n"
        )
    );
    assert!(
        policy(Effect::Allow)
            .who_may()
            .to_string()
            .ends_with("allow  by default: everybody else\n")
    );
}

#[test]
fn a_request_that_cannot_be_read_is_denied_by_whom_it_would_have_been_allowed() {
    let survey = orders().who_may(&RequestFacts::new("GET", "/orders/%2e%2e/x"));
    let [_, shop, health] = survey.rules() else {
        panic!("{survey}");
    };
    for rule in [shop, health] {
        assert_eq!(rule.effect(), Effect::Deny, "{rule}");
        assert!(matches!(rule.unreadable(), Some(Unreadable::Path(_))));
    }
    assert_eq!(survey.otherwise(), None, "{survey}");
    let two = RequestFacts::new("GET", "/healthz")
        .authority("a.test")
        .host_header("b.test");
    let survey = orders().who_may(&two);
    assert_eq!(survey.host_fault(), Some(HostFault::Disagree));
    assert_eq!(
        survey.to_string(),
        "deny   everybody: `Host` and `:authority` disagree\n"
    );
}

#[test]
fn a_dry_run_says_so_and_long_lists_are_cut_where_they_are_printed() {
    let ids = (0..20).map(|n| format!("spiffe://td/w{n:02}"));
    let policy = AccessPolicy::builder()
        .allow(Rule::named("many").is(Fact::Spiffe, ids))
        .otherwise(Effect::Deny)
        .dry_run()
        .build()
        .unwrap();
    let survey = policy.who_may();
    assert!(survey.is_dry_run());
    assert!(
        survey
            .to_string()
            .starts_with("dry run: nobody is kept out")
    );
    assert!(
        survey
            .to_string()
            .contains("`spiffe://td/w07`, and 12 more")
    );
    assert_eq!(survey.rules()[0].conditions()[0].values().len(), 20);
}

/// What the survey says, applied: the first rule whose other half holds too, else the default.
fn applied<'s>(
    survey: &'s PolicySurvey,
    set: &RuleSet,
    other: Half<'_>,
) -> (Option<&'s str>, Effect) {
    for surveyed in survey.rules() {
        let rule = set.rules.iter().find(|rule| rule.name == surveyed.name);
        match rule.unwrap().may_hold(other) {
            Holds::No => {}
            Holds::Yes => return (Some(surveyed.name()), surveyed.effect()),
            Holds::Unreadable(_) => return (Some(surveyed.name()), Effect::Deny),
        }
    }
    (None, survey.otherwise().expect("somebody is left"))
}

/// Neither what is left out, nor the order, nor the default makes a difference to what is decided of anybody.
#[test]
fn both_surveys_come_to_what_is_decided_on_policies_drawn_at_random() {
    let mut draws = Draws::new(5);
    let (mut by_rule, mut by_default, mut cut) = (0, 0, 0);
    for _ in 0..300 {
        let policy = draws.policy(12);
        for _ in 0..20 {
            let peer = draws.peer();
            let path = draws.path(&["ns", "sa", "a", "b", "%61", "", ".."]);
            let mut facts = RequestFacts::new(draws.one(&["GET", "PUT"]), &path);
            if draws.below(4) > 0 {
                facts = facts.authority("a.test");
            }
            if draws.below(2) == 0 {
                facts = facts.content_type("application/grpc");
            }
            let decided = policy.explain(peer.as_ref(), &facts);
            let expected = (decided.rule(), decided.effect());
            let (who, what) = (policy.who_may(&facts), policy.what_may(peer.as_ref()));
            let of_request = applied(&who, &policy.0, Half::Peer(peer.as_ref()));
            assert_eq!(of_request, expected, "{who}{peer:?} {facts:?}");
            let of_peer = applied(&what, &policy.0, Half::Request(Some(&facts)));
            assert_eq!(of_peer, expected, "{what}{peer:?} {facts:?}");
            match decided.rule() {
                Some(_) => by_rule += 1,
                None => by_default += 1,
            }
            cut += usize::from(who.otherwise().is_none());
        }
    }
    // Draws that never reach a case would prove nothing about it.
    assert!(
        by_rule > 1000 && by_default > 500 && cut > 100,
        "{by_rule} {by_default} {cut}"
    );
}
