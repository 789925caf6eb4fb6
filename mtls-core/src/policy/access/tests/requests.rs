//! Rules about requests, and what an attacker would try with them.

use super::super::super::compile::Unreadable;
use super::super::super::path::PathFault;
use super::*;

/// What an attacker tries to reach `/admin` with, where a rule denies it and everything else is allowed.
#[test]
fn a_path_rule_is_not_dodged_by_encoding() {
    let policy = builder()
        .deny(
            Rule::named("admin")
                .anyone()
                .is(Fact::Path, ["/admin", "/admin/**"]),
        )
        .otherwise(Effect::Allow)
        .build_for_requests()
        .unwrap();
    let allowed = |path| policy.decide(None, &RequestFacts::new("GET", path)).is_ok();
    assert!(allowed("/") && allowed("/public") && allowed("/administrators"));
    for path in [
        "/admin",
        "/admin/users",
        "/%61dmin",
        "/%61%64%6D%69%6e",
        "/admin/",
        "//admin",
        "/./admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public%2F..%2Fadmin",
        "/public%2fadmin",
        "/public\\..\\admin",
        "/public%5c..%5cadmin",
        "/%2561dmin",
        "/admin%2F",
        "/admin%00",
        "/admin;jsessionid=1",
        "/admin%3b",
        "/admin%3Fx",
        "/admin%23",
        "/admin%",
        "/%c0%afadmin",
        "/%ffadmin",
        "admin",
        "",
        "*",
    ] {
        assert!(!allowed(path), "{path}");
    }
}

/// The control: a rule that compares text lets these through, and what stands behind it serves `/admin` for them.
#[test]
fn a_naive_path_rule_is_dodged_by_encoding() {
    let naive = |path: &str| path != "/admin" && !path.starts_with("/admin/");
    assert!(!naive("/admin") && !naive("/admin/users"));
    for path in [
        "/%61dmin",
        "/%61%64%6D%69%6e",
        "//admin",
        "/./admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public%2F..%2Fadmin",
        "/public\\..\\admin",
        "/public%5c..%5cadmin",
        "/%2561dmin",
        "/admin;jsessionid=1",
        "/admin%3b",
    ] {
        assert!(naive(path), "{path}");
        assert_eq!(served_by_the_obliging(path), "/admin", "{path}");
    }
}

/// What a server makes of a path that decodes until there is nothing left to decode, takes a backslash for a slash, cuts
/// path parameters and resolves dots.
fn served_by_the_obliging(path: &str) -> String {
    let mut path = path.to_owned();
    while let Some((before, escaped)) = path.split_once('%') {
        let (digits, rest) = escaped.split_at(2);
        let byte = u8::from_str_radix(digits, 16).unwrap();
        path = format!("{before}{}{rest}", char::from(byte));
    }
    let path = path.replace('\\', "/");
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment.split(';').next().unwrap() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[test]
fn an_odd_path_is_denied_where_a_path_rule_applies_and_only_there() {
    let policy = builder()
        .allow(Rule::named("backup").is(Fact::Dns, ["backup.test"]))
        .allow(
            Rule::named("orders")
                .is(Fact::TrustDomain, ["td"])
                .is(Fact::Path, ["/orders"]),
        )
        .otherwise(Effect::Allow)
        .build_for_requests()
        .unwrap();
    let odd = RequestFacts::new("GET", "/orders//x");
    let why = policy.explain(Some(&spiffe("spiffe://td/web")), &odd);
    assert_eq!(why.effect(), Effect::Deny);
    let (name, what) = ("orders".into(), Unreadable::Path(PathFault::EmptySegment));
    assert_eq!(why.decided_by(), &DecidedBy::Unreadable { name, what });
    assert_eq!(policy.decide(Some(&dns("backup.test")), &odd), Ok(()));
    assert_eq!(
        policy.decide(Some(&spiffe("spiffe://other/x")), &odd),
        Ok(())
    );
}

#[test]
fn a_negated_path_denies_an_odd_one_too() {
    let policy = allowing_requests(rule().anyone().is_not(Fact::Path, ["/admin/**"]));
    let allowed = |path| policy.decide(None, &RequestFacts::new("GET", path)).is_ok();
    assert!(allowed("/public"));
    assert!(!allowed("/admin/x"));
    assert!(!allowed("/x/../admin/x"));
}

#[test]
fn hosts_that_disagree_are_denied_whatever_the_rules_say() {
    let policy = allowing_requests(rule().anyone().is_not(Fact::Method, ["DELETE"]));
    let get = || RequestFacts::new("GET", "/").authority("a.test");
    assert_eq!(policy.decide(None, &get()), Ok(()));
    assert_eq!(policy.decide(None, &get().host_header("A.test")), Ok(()));
    let why = policy.explain(None, &get().host_header("b.test"));
    assert_eq!(why.decided_by(), &DecidedBy::Host(HostFault::Disagree));
    assert_eq!(why.effect(), Effect::Deny);
    assert!(policy.decide(None, &get().host_header("b.test")).is_err());
}

#[test]
fn a_host_rule_denies_a_request_without_a_host_and_is_not_dodged_by_port_or_case() {
    let policy = builder()
        .deny(
            Rule::named("internal")
                .anyone()
                .is(Fact::Host, ["Internal.test"]),
        )
        .otherwise(Effect::Allow)
        .build_for_requests()
        .unwrap();
    let allowed = |host| {
        policy
            .decide(None, &RequestFacts::new("GET", "/").host_header(host))
            .is_ok()
    };
    assert!(allowed("public.test"));
    for host in [
        "internal.test",
        "INTERNAL.test",
        "internal.test:8443",
        "internal.test.",
        "x@internal.test",
    ] {
        assert!(!allowed(host), "{host}");
    }
    assert!(policy.decide(None, &RequestFacts::new("GET", "/")).is_err());
}

#[test]
fn a_grpc_rule_reads_the_path_and_a_denial_does_not_depend_on_the_content_type() {
    let asked = |rule: Rule, effect, path, content_type: &str| {
        let rules = match effect {
            Effect::Allow => builder().allow(rule).otherwise(Effect::Deny),
            Effect::Deny => builder().deny(rule).otherwise(Effect::Allow),
        };
        let facts = RequestFacts::new("POST", path).content_type(content_type);
        let policy = rules.build_for_requests().unwrap();
        policy.explain(None, &facts).rule() == Some("r")
    };
    let orders = || rule().anyone().is(Fact::GrpcService, ["shop.Orders"]);
    let list = || orders().is(Fact::GrpcMethod, ["List"]);
    for effect in [Effect::Allow, Effect::Deny] {
        assert!(asked(
            orders(),
            effect,
            "/shop.Orders/List",
            "application/grpc"
        ));
        assert!(asked(
            list(),
            effect,
            "/shop.Orders/Li%73t",
            "application/grpc+proto"
        ));
        assert!(!asked(
            list(),
            effect,
            "/shop.Orders/Get",
            "application/grpc"
        ));
        assert!(!asked(orders(), effect, "/shop.Orders", "application/grpc"));
        assert!(!asked(
            orders(),
            effect,
            "/shop.Orders/List/x",
            "application/grpc"
        ));
        let without = asked(orders(), effect, "/shop.Orders/List", "text/plain");
        assert_eq!(without, effect == Effect::Deny);
    }
}
