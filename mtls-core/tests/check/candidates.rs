//! Somebody to ask a policy about is verified as a peer would be.

use mtls_core::check::{Candidate, CandidateError, CheckOptions};
use mtls_core::testing::{LeafOptions, TestCa};
use mtls_core::{
    AccessPolicy, ChainFault, Effect, Fact, Reason, RequestFacts, RequestPolicy, Rule, Timestamp,
};

use crate::options;

fn of(chain: &str, ca: &TestCa, options: &CheckOptions) -> Result<Candidate, CandidateError> {
    let bundle = ca.root_pem();
    Candidate::verify(
        ("c.pem", chain.as_bytes()),
        ("ca.crt", bundle.as_bytes()),
        options,
    )
}

fn here() -> CheckOptions {
    options().trust_domain("example.org".parse().unwrap())
}

fn policy() -> RequestPolicy {
    AccessPolicy::builder()
        .trust_domain("example.org")
        .allow(
            Rule::named("web")
                .is(Fact::Spiffe, ["spiffe://example.org/web"])
                .is(Fact::Path, ["/orders"]),
        )
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap()
}

#[test]
fn a_chain_that_is_verified_is_decided_and_surveyed_as_its_peer_would_be() {
    let ca = TestCa::new("example.org");
    let below = ca.intermediate();
    let orders = RequestFacts::new("GET", "/orders");
    for issued in [ca.issue("/web"), below.issue("/web")] {
        let web = of(&issued.chain_pem(), &ca, &here()).unwrap();
        assert_eq!(web.to_string(), "spiffe://example.org/web");
        let why = web.explain(&policy(), &orders);
        assert_eq!((why.effect(), why.rule()), (Effect::Allow, Some("web")));
        let peer = ca.peer(&issued);
        assert_eq!(why, policy().explain(Some(peer.identity()), &orders));
        assert_eq!(
            web.what_may(&policy()),
            policy().what_may(Some(peer.identity()))
        );
    }
    let api = of(&ca.issue("/api").chain_pem(), &ca, &here()).unwrap();
    let why = api.explain(&policy(), &orders);
    assert_eq!((why.effect(), why.rule()), (Effect::Deny, None));
}

#[test]
fn a_chain_that_a_server_would_refuse_is_nobody_to_ask_about() {
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let web = ca.issue("/web");
    let leaf = |leaf: LeafOptions| ca.issue_with(leaf).chain_pem();
    let service = || LeafOptions::service("/web");
    for (chain, expected) in [
        (other.issue("/web").chain_pem(), Reason::UnknownIssuer),
        (leaf(service().expired()), Reason::Expired),
        (leaf(service().server_only()), Reason::WrongUsage),
        (
            leaf(LeafOptions::new().uri("spiffe://partner.test/web")),
            Reason::WrongTrustDomain,
        ),
    ] {
        let refused = of(&chain, &ca, &here()).unwrap_err();
        assert!(matches!(refused, CandidateError::Refused(_)), "{refused}");
        assert_eq!(refused.reason(), expected, "{refused}");
    }
    // Who is of no trust domain knows no SPIFFE ID.
    let refused = of(&web.chain_pem(), &ca, &options()).unwrap_err();
    let CandidateError::Refused(error) = &refused else {
        panic!("{refused}");
    };
    assert!(
        matches!(error.fault, ChainFault::WrongTrustDomain { .. }),
        "{refused}"
    );
    // Its time is the options'.
    let later = Timestamp::from_unix(Timestamp::now().as_unix() + 40 * 24 * 60 * 60);
    let later = CheckOptions::new(later).trust_domain("example.org".parse().unwrap());
    assert!(of(&web.chain_pem(), &ca, &later).is_err());
    let unreadable = of("no certificate", &ca, &here()).unwrap_err();
    assert!(
        matches!(unreadable, CandidateError::Files(_)),
        "{unreadable}"
    );
}
