//! `mtls policy who` and `mtls policy what`.

use std::path::Path;

use mtls_core::testing::{LeafOptions, TestCa};
use serde_json::{Value, json};

use crate::{Said, lay_out, mtls};

const POLICY: &str = r#"
trust_domain = "example.org"
otherwise = "deny"

[[deny]]
name = "nobody deletes"
peer = "anyone"
request = { method = "DELETE" }

[[deny]]
name = "no batch jobs"
peer = { service_account = "shop/batch" }

[[allow]]
name = "the shop"
peer = { namespace = "shop" }
request = { method = ["GET", "POST"], path = ["/orders", "/orders/**"] }

[[allow]]
name = "the ledger"
peer = { spiffe = "spiffe://example.org/ledger", dns = "ledger.example.org" }
request = { grpc_service = "shop.v1.Orders" }
"#;

const PEERS: &str = r#"
trust_domain = "example.org"
otherwise = "deny"

[[allow]]
name = "the shop"
peer = { namespace = "shop" }
"#;

fn asked(dir: &Path, command: &str, more: &[&str]) -> Said {
    std::fs::write(dir.join("policy.toml"), POLICY).unwrap();
    std::fs::write(dir.join("peers.toml"), PEERS).unwrap();
    mtls(dir, &[&["policy", command], more].concat())
}

#[test]
fn who_can_call_is_answered_by_rules_and_of_each_candidate_with_the_rule_that_decides() {
    let dir = tempfile::tempdir().unwrap();
    let web = "spiffe://example.org/ns/shop/sa/web";
    let batch = "spiffe://example.org/ns/shop/sa/batch";
    let stranger = "spiffe://elsewhere.test/ns/shop/sa/web";
    let peers = [
        "--peer", web, "--peer", batch, "--peer", stranger, "--peer", "nobody",
    ];
    let question = ["policy.toml", "--request", "POST /orders"];
    let said = asked(dir.path(), "who", &[&question[..], &peers].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let expected = format!(
        "POST /orders\n\
         deny   no batch jobs: a peer whose service_account is `example.org/shop/batch`\n\
         allow  the shop: a peer whose namespace is `example.org/shop`\n\
         deny   by default: everybody else\n\
         yes {web}: allowed by rule `the shop`\n\
         no  {batch}: denied by rule `no batch jobs`\n\
         no  {stranger}: denied by default: no rule matches\n\
         no  nobody: denied by default: no rule matches\n"
    );
    assert_eq!(said.out, expected);
    // Another request, and nobody is asked about who could have made the first.
    let deleted = asked(
        dir.path(),
        "who",
        &["policy.toml", "--request", "DELETE /orders", "--peer", web],
    );
    let expected = format!(
        "DELETE /orders\n\
         deny   nobody deletes: anyone, with a certificate or without\n\
         no  {web}: denied by rule `nobody deletes`\n"
    );
    assert_eq!(deleted.out, expected);
}

#[test]
fn a_call_is_one_of_grpc_and_a_path_that_is_read_in_two_ways_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let who = |more: &[&str]| asked(dir.path(), "who", &[&["policy.toml"], more].concat()).out;
    let call = who(&["--request", "/shop.v1.Orders/List", "--grpc"]);
    assert!(
        call.starts_with("POST /shop.v1.Orders/List (gRPC)\n"),
        "{call}"
    );
    assert!(call.contains("allow  the ledger: a peer whose"), "{call}");
    assert!(!call.contains("the shop:"), "{call}");
    let plain = who(&["--request", "POST /shop.v1.Orders/List"]);
    assert!(!plain.contains("the ledger"), "{plain}");
    let odd = who(&["--request", "/orders/%2e%2e/admin"]);
    assert!(odd.contains("deny   the shop: "), "{odd}");
    assert!(odd.contains("it cannot read the request"), "{odd}");
}

#[test]
fn who_may_connect_is_asked_of_a_policy_about_peers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let said = asked(dir.path(), "who", &["peers.toml", "--peer", "nobody"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.out,
        "connections\n\
         allow  the shop: a peer whose namespace is `example.org/shop`\n\
         deny   by default: everybody else\n\
         no  nobody: denied by default: no rule matches\n"
    );
    let unclear = asked(dir.path(), "who", &["policy.toml"]);
    assert_eq!(unclear.code, 2, "{unclear:?}");
    assert!(unclear.err.contains("--request"), "{unclear:?}");
}

#[test]
fn what_a_peer_may_call_is_told_and_what_it_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let what = |peer: &str| asked(dir.path(), "what", &["policy.toml", "--peer", peer]);
    let web = "spiffe://example.org/ns/shop/sa/web";
    let said = what(web);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        said.out,
        format!(
            "{web}\n\
             deny   nobody deletes: a request whose method is `DELETE`\n\
             allow  the shop: a request whose method is one of `GET`, `POST`, and whose path is one of `/orders`, `/orders/**`\n\
             deny   by default: every other request\n"
        )
    );
    let batch = what("spiffe://example.org/ns/shop/sa/batch");
    assert!(
        batch.out.ends_with("deny   no batch jobs: every request\n"),
        "{batch:?}"
    );
    // The name is right, and of another trust domain it does not count.
    let ledger = what("spiffe://example.org/ledger");
    assert!(!ledger.out.contains("allow"), "{ledger:?}");
}

#[test]
fn certificates_are_candidates_as_the_servers_bundle_verifies_them() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    std::fs::create_dir(path("peers")).unwrap();
    write("ca.crt", &ca.root_pem());
    let web = "/ns/shop/sa/web";
    lay_out(&path("peers/a-web"), &ca.issue(web));
    let ledger = LeafOptions::new()
        .spiffe("/ledger")
        .dns("ledger.example.org");
    write("peers/b-ledger.pem", &ca.issue_with(ledger).chain_pem());
    let late = ca.issue_with(LeafOptions::service(web).expired());
    write("peers/c-late.crt", &late.chain_pem());
    write("peers/d-stranger.crt", &other.issue(web).chain_pem());
    write(
        "peers/e-ids.txt",
        "# by name\nspiffe://example.org/ns/shop/sa/api\n\nnobody\n",
    );
    write("peers/readme.md", "not a peer");
    let with = |more: &[&str]| {
        let question = [
            "policy.toml",
            "--request",
            "/orders",
            "--peers-from",
            "peers",
        ];
        asked(dir.path(), "who", &[&question[..], more].concat())
    };
    let said = with(&["--bundle", "ca.crt"]);
    assert_eq!(said.code, 0, "{said:?}");
    let answers: Vec<_> = said.out.lines().skip(4).collect();
    let begins = [
        "yes peers/a-web/tls.crt (spiffe://example.org/ns/shop/sa/web): allowed by rule `the shop`",
        "no  peers/b-ledger.pem (spiffe://example.org/ledger): denied by default",
        "no  peers/c-late.crt: refused in the handshake: ",
        "no  peers/d-stranger.crt: refused in the handshake: ",
        "yes spiffe://example.org/ns/shop/sa/api: allowed by rule `the shop`",
        "no  nobody: denied by default",
    ];
    assert_eq!(answers.len(), begins.len(), "{said:?}");
    for (answer, begin) in answers.iter().zip(begins) {
        assert!(answer.starts_with(begin), "{answer}");
    }
    assert!(answers[2].contains("expired"), "{}", answers[2]);
    // Who would be verified is not guessed.
    let unsaid = with(&[]);
    assert_eq!(unsaid.code, 2, "{unsaid:?}");
    assert!(unsaid.err.contains("--bundle"), "{unsaid:?}");

    // The ledger's own question: its DNS name counts, since the bundle is the local one.
    let what = |peer: &str| {
        let question = ["policy.toml", "--bundle", "ca.crt", "--peer", peer];
        asked(dir.path(), "what", &question)
    };
    let ledger = what("peers/b-ledger.pem");
    assert_eq!(ledger.code, 0, "{ledger:?}");
    let allowed = "allow  the ledger: a request whose grpc_service is `shop.v1.Orders`";
    assert!(ledger.out.contains(allowed), "{ledger:?}");
    let refused = what("peers/d-stranger.crt");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("refused in the handshake"));
}

#[test]
fn the_shape_of_the_json_is_this() {
    let dir = tempfile::tempdir().unwrap();
    let web = "spiffe://example.org/ns/shop/sa/web";
    let json_of = |command: &str, more: &[&str]| -> Value {
        let all = [&["policy.toml", "--format", "json"], more].concat();
        let said = asked(dir.path(), command, &all);
        serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"))
    };
    let batch = json!({
        "rule": "no batch jobs",
        "effect": "deny",
        "who": "verified",
        "unreadable": null,
        "conditions": [{
            "fact": "service_account",
            "negated": false,
            "values": ["example.org/shop/batch"],
        }],
    });
    assert_eq!(
        json_of("who", &["--request", "GET /", "--peer", web]),
        json!({
            "version": 1,
            "policy": "policy.toml",
            "request": { "method": "GET", "path": "/", "host": null, "grpc": false },
            "dry_run": false,
            "host_fault": null,
            "rules": [batch],
            "otherwise": "deny",
            "peers": [{
                "peer": web,
                "may": false,
                "effect": "deny",
                "rule": null,
                "why": "denied by default: no rule matches",
            }],
        })
    );
    let method = json!({ "fact": "method", "negated": false, "values": ["DELETE"] });
    assert_eq!(
        json_of("what", &["--peer", "nobody"]),
        json!({
            "version": 1,
            "policy": "policy.toml",
            "peer": "nobody",
            "refused": null,
            "dry_run": false,
            "rules": [{
                "rule": "nobody deletes",
                "effect": "deny",
                "who": "anyone",
                "unreadable": null,
                "conditions": [method],
            }],
            "otherwise": "deny",
        })
    );
}

#[test]
fn a_question_that_is_none_is_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    for (command, arguments, words) in [
        (
            "who",
            &["policy.toml", "--request", "orders"][..],
            "a method and a path",
        ),
        (
            "who",
            &["policy.toml", "--request", "GET /a b"],
            "a method and a path",
        ),
        (
            "who",
            &["policy.toml", "--request", "/", "--peer", "web"],
            "no SPIFFE ID",
        ),
        (
            "who",
            &["policy.toml", "--request", "/", "--peers-from", "none"],
            "cannot be listed",
        ),
        ("who", &["absent.toml", "--request", "/"], "cannot be read"),
        (
            "what",
            &["policy.toml", "--peer", "spiffe://example.org"],
            "no such peer",
        ),
    ] {
        let said = asked(dir.path(), command, arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(said.err.contains(words), "{arguments:?}: {said:?}");
    }
}
