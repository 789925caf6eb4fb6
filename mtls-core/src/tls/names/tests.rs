#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::{Otherwise, ServerNames, ServerTls, Under};
use crate::policy::Policy;
use crate::testing::TestCa;
use crate::tls::{ConfigError, HandshakeError};

fn identity(ca: &TestCa, path: &str) -> ServerTls {
    ServerTls::builder(&ca.source(&ca.issue(path)))
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap()
}

struct Identities {
    api: ServerTls,
    shop: ServerTls,
    cart: ServerTls,
    rest: ServerTls,
}

fn identities() -> Identities {
    let ca = TestCa::new("example.org");
    let [api, shop, cart, rest] = ["/api", "/shop", "/cart", "/rest"].map(|p| identity(&ca, p));
    Identities {
        api,
        shop,
        cart,
        rest,
    }
}

impl Identities {
    fn names(&self, otherwise: Otherwise, nameless: Otherwise) -> ServerNames {
        ServerNames::named("api.example.org", &self.api)
            .and_then(|names| names.named("*.shop.example.org", &self.shop))
            .and_then(|names| names.named("cart.shop.example.org", &self.cart))
            .unwrap()
            .nameless(nameless)
            .otherwise(otherwise)
    }
}

#[test]
fn a_name_finds_its_identity_whatever_its_case_and_an_exact_one_before_a_wildcard() {
    let ids = identities();
    let names = ids.names(Otherwise::Refuse, Otherwise::Refuse);
    for (name, expected) in [
        ("api.example.org", &ids.api),
        ("API.Example.ORG", &ids.api),
        ("api.example.org.", &ids.api),
        ("a.shop.example.org", &ids.shop),
        ("cart.shop.example.org", &ids.cart),
        ("Cart.Shop.example.org", &ids.cart),
    ] {
        assert!(names.find(Some(name)).unwrap().is(expected), "{name}");
    }
}

#[test]
fn a_wildcard_is_one_label_and_what_nobody_has_is_as_was_said() {
    let ids = identities();
    let refusing = ids.names(Otherwise::Refuse, Otherwise::Refuse);
    let serving = ids.names(
        Otherwise::Serve(ids.rest.clone()),
        Otherwise::Serve(ids.api.clone()),
    );
    for unknown in [
        "shop.example.org",
        "a.b.shop.example.org",
        ".shop.example.org",
        "example.org",
        "xapi.example.org",
        "api.example.org.evil.example",
    ] {
        let refused = refusing.find(Some(unknown)).unwrap_err();
        assert!(
            matches!(&refused, HandshakeError::UnknownServerName { asked: Some(name) } if name == unknown)
        );
        assert!(serving.find(Some(unknown)).unwrap().is(&ids.rest));
    }
    let refused = refusing.find(None).unwrap_err();
    assert!(matches!(
        refused,
        HandshakeError::UnknownServerName { asked: None }
    ));
    assert!(serving.find(None).unwrap().is(&ids.api));
    // Without a word of their own, the nameless are as the unknown.
    let builder = || ServerNames::named("api.example.org", &ids.api).unwrap();
    assert!(builder().otherwise(Otherwise::Refuse).find(None).is_err());
    let otherwise = builder().otherwise(Otherwise::Serve(ids.rest.clone()));
    assert!(otherwise.find(None).unwrap().is(&ids.rest));
}

#[test]
fn a_name_that_is_none_or_is_there_twice_is_an_error() {
    let ids = identities();
    for none in [
        "",
        "*",
        "*.",
        "*.*.example.org",
        "a.*.example.org",
        "api*.example.org",
        "api.example.org:443",
        "10.0.0.1",
        "*.10.0.0.1",
        "[::1]",
        "https://api.example.org",
        "api..example.org",
    ] {
        let error = ServerNames::named(none, &ids.api).unwrap_err();
        assert!(
            matches!(&error, ConfigError::InvalidServerName { name } if name == none),
            "{none}"
        );
    }
    for (one, other) in [
        ("api.example.org", "API.example.org"),
        ("api.example.org", "api.example.org."),
        ("*.shop.example.org", "*.Shop.example.org"),
    ] {
        let names = ServerNames::named(one, &ids.api).unwrap();
        let error = names.named(other, &ids.shop).unwrap_err();
        assert!(
            matches!(&error, ConfigError::DuplicateServerName { name } if name == other),
            "{other}"
        );
    }
}

fn answers(names: &ServerNames, connected_to: &str, host: &str) -> bool {
    let index = names.0.index(Some(connected_to)).unwrap();
    let under = Under {
        names: names.clone(),
        index,
    };
    under.answers_for(host.as_bytes())
}

#[test]
fn an_identity_answers_for_the_hosts_that_a_handshake_would_bring_to_it_and_for_no_other() {
    let ids = identities();
    let names = ids.names(
        Otherwise::Serve(ids.rest.clone()),
        Otherwise::Serve(ids.api.clone()),
    );
    let rest = "rest.example.org";
    for (connected_to, host) in [
        ("api.example.org", "api.example.org"),
        ("api.example.org", "Api.Example.Org:8443"),
        ("api.example.org", "api.example.org.:8443"),
        ("api.example.org", "127.0.0.1:8443"),
        ("api.example.org", "[::1]:8443"),
        ("api.example.org", "::1"),
        ("a.shop.example.org", "b.shop.example.org"),
        (rest, "whatever.example"),
    ] {
        assert!(answers(&names, connected_to, host), "{host}");
    }
    for (connected_to, host) in [
        ("api.example.org", "a.shop.example.org"),
        ("api.example.org", "whatever.example"),
        ("a.shop.example.org", "cart.shop.example.org"),
        ("a.shop.example.org", "10.0.0.1"),
        (rest, "api.example.org"),
        (rest, "API.EXAMPLE.ORG.:1"),
        (rest, "127.0.0.1"),
        // What others may read as one of the names.
        (rest, "api.example.org:1:2"),
        (rest, "x@api.example.org"),
        (rest, "[api.example.org]"),
        (rest, "api.example.org, whatever.example"),
        (rest, "whatever.example/"),
        (rest, "whatever.example.."),
        (rest, "%61pi.example.org"),
        (rest, "whatever.example\u{0}"),
        (rest, ""),
        (rest, ":8443"),
    ] {
        assert!(!answers(&names, connected_to, host), "{host}");
    }
}

#[test]
fn where_unknown_names_are_refused_nobody_answers_for_one() {
    let ids = identities();
    let names = ids.names(Otherwise::Refuse, Otherwise::Refuse);
    assert!(answers(&names, "api.example.org", "api.example.org"));
    for host in ["internal.example.org", "10.0.0.1"] {
        assert!(!answers(&names, "api.example.org", host), "{host}");
    }
}
