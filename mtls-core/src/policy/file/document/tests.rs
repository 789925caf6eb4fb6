use super::*;
use crate::policy::draws::Draws;
use crate::policy::request::RequestFacts;

/// A policy with everything that a file can say.
const WHOLE: &str = r#"
trust_domain = "example.org"
otherwise = "deny"
mode = "dry-run"

[[deny]]
name = "no batch jobs"
peer = { service_account = "shop/batch" }

[[allow]]
name = "the shop reads orders"
request = { path = ["/orders", "/orders/**"], method = "GET" }
peer = { namespace = ["shop"], dns = ["a.test"] }
not_peer = { spiffe = "spiffe://example.org/ns/shop/sa/canary" }

[[allow]]
name = "health \"check\"\n"
peer = "anyone"
request = { path = "/healthz" }
not_request = { host = "internal.test" }
"#;

const WHOLE_JSON: &str = r#"{
  "trust_domain": "example.org",
  "otherwise": "deny",
  "mode": "dry-run",
  "deny": [{ "name": "no batch jobs", "peer": { "service_account": ["shop/batch"] } }],
  "allow": [
    {
      "name": "the shop reads orders",
      "peer": { "dns": "a.test", "namespace": "shop" },
      "not_peer": { "spiffe": ["spiffe://example.org/ns/shop/sa/canary"] },
      "request": { "method": ["GET"], "path": ["/orders", "/orders/**"] }
    },
    {
      "name": "health \"check\"\n",
      "peer": "anyone",
      "request": { "\u0070ath": ["/healthz"] },
      "not_request": { "host": ["internal.test"] }
    }
  ]
}"#;

fn toml(text: &str) -> PolicyDocument {
    PolicyDocument::from_toml(text.as_bytes()).unwrap()
}

/// What a file prints that does not hold, for one of its rules or as a whole, and the line and column.
fn printed(error: &PolicyFileError) -> String {
    format!("{error}\n  remedy: {}\n", error.remedy())
}

fn refused(name: &str, text: &str) -> PolicyFileError {
    let path = Path::new(name);
    let document = PolicyDocument::from_file(path, text.as_bytes(), None);
    let built = document.and_then(|document| document.access_policy().map_err(|e| e.in_file(path)));
    built.map(|_| ()).unwrap_err()
}

#[test]
fn toml_and_json_say_the_same() {
    let json = PolicyDocument::from_json(WHOLE_JSON.as_bytes()).unwrap();
    assert_eq!(toml(WHOLE), json);
    let policy = json.request_policy().unwrap();
    assert_eq!(
        policy.to_string(),
        "1 deny and 2 allow rules, otherwise deny (dry run: keeps nobody out)"
    );
    let health = RequestFacts::new("GET", "/healthz").host_header("a.test");
    assert_eq!(
        policy.explain(None, &health).rule(),
        Some("health \"check\"\n")
    );
}

#[test]
fn what_is_printed_reads_as_what_was_printed() {
    assert_eq!(toml(&toml(WHOLE).to_string()), toml(WHOLE));
    let mut draws = Draws::new(7);
    for _ in 0..200 {
        let mut document = toml("otherwise = \"allow\"");
        document.dry_run = draws.below(2) == 0;
        document.trust_domain = (draws.below(2) == 0).then(|| "td\u{7f}\\\"\u{1F600}\n".to_owned());
        for name in 0..draws.below(6) {
            let mut rule = draws.rule(name);
            rule.conditions.sort_by_key(|c| (c.fact, c.negated));
            match draws.below(2) {
                0 => document.deny.push(rule),
                _ => document.allow.push(rule),
            }
        }
        let printed = document.to_string();
        assert_eq!(toml(&printed), document, "{printed}");
        assert_eq!(toml(&printed).to_string(), printed);
    }
}

/// Whatever the bytes, reading ends in a document or an error with a place in the file.
#[test]
fn no_bytes_make_reading_panic() {
    let mut draws = Draws::new(3);
    let (mut read, mut refused) = (0, 0);
    for (text, parse) in [
        (WHOLE, PolicyDocument::from_toml as fn(&[u8]) -> _),
        (WHOLE_JSON, PolicyDocument::from_json),
    ] {
        for _ in 0..5_000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=draws.below(3) {
                let at = draws.below(bytes.len().max(1));
                if bytes.is_empty() {
                    break;
                }
                let byte = b"\"{}[]=,\\\n\0\xFFu/*a."[draws.below(16)];
                match draws.below(4) {
                    0 => bytes.truncate(at + 1),
                    1 => bytes.insert(at, byte),
                    2 => drop(bytes.remove(at)),
                    _ => bytes[at] = byte,
                }
            }
            let document: Result<PolicyDocument, PolicyFileError> = parse(&bytes);
            let built = document.and_then(|document| document.request_policy());
            match built {
                Ok(_) => read += 1,
                Err(error) => {
                    refused += 1;
                    let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
                    assert!(
                        error.line().is_some_and(|line| (1..=lines).contains(&line)),
                        "{error}"
                    );
                    assert!(error.column() >= Some(1), "{error}");
                    assert!(!error.to_string().is_empty() && !error.remedy().is_empty());
                }
            }
        }
    }
    assert!(read > 500 && refused > 2_000, "{read} {refused}");
}

#[test]
fn values_nested_without_end_are_refused_and_the_stack_is_bounded() {
    for depth in [20, 100, 100_000] {
        let json = format!("{{\"allow\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        let toml = format!("allow = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(PolicyDocument::from_json(json.as_bytes()).is_err());
        assert!(PolicyDocument::from_toml(toml.as_bytes()).is_err());
    }
}

#[test]
fn a_place_counts_characters_and_not_bytes() {
    let error = refused("p.toml", "# é\n[[allow]]\npeer = { dns = [\"é\", 1] }");
    assert_eq!((error.line(), error.column()), (Some(3), Some(22)));
    let error = refused("p.json", "{\"otherwise\": \"deny\",\n \"ééé\": 1}");
    assert_eq!((error.line(), error.column()), (Some(2), Some(2)));
    let bytes = b"otherwise = \"deny\"\n\xC3\xA9\xFF";
    let error = PolicyDocument::from_toml(bytes).unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(2), Some(2)));
    assert!(matches!(error.fault(), PolicyFileFault::NotUtf8));
}

#[test]
fn the_trust_domain_of_the_program_and_of_the_file_are_one() {
    let read = |text: &str, local: &str| {
        let local: TrustDomain = local.parse().unwrap();
        PolicyDocument::from_file(Path::new("p.toml"), text.as_bytes(), Some(&local))
    };
    let text = "trust_domain = \"a.test\"\notherwise = \"deny\"";
    assert!(read(text, "a.test").is_ok());
    let error = read(text, "b.test").unwrap_err();
    assert!(matches!(
        error.fault(),
        PolicyFileFault::DomainConflict { .. }
    ));
    assert_eq!((error.line(), error.column()), (Some(1), Some(16)));
    let said = read("otherwise = \"deny\"", "b.test").unwrap();
    assert_eq!(said.trust_domain.as_deref(), Some("b.test"));
}

#[test]
fn a_broken_file_says_where_what_and_what_to_do() {
    let broken = [
        ("syntax.toml", "otherwise = \"deny\"\n[[allow]\n"),
        (
            "syntax.json",
            "{\n  \"otherwise\": \"deny\",\n  \"allow\": [{\n}",
        ),
        (
            "no-default.toml",
            "[[allow]]\nname = \"web\"\npeer = \"verified\"\n",
        ),
        (
            "misspelt.toml",
            "otherwise = \"deny\"\n[[allow]]\nname = \"web\"\npeer = { namspace = \"shop\" }\n",
        ),
        (
            "misspelt.json",
            "{\"otherwise\": \"deny\",\n \"allow\": [{\"name\": \"web\",\n  \"pear\": \"verified\"}]}",
        ),
        (
            "pattern.toml",
            "otherwise = \"deny\"\n[[allow]]\nname = \"web\"\n[allow.peer]\nspiffe = [\n  \"spiffe://td/ok\",\n  \"spiffe://td/prod*\",\n]\n",
        ),
        (
            "pattern.json",
            "{\"otherwise\": \"deny\", \"deny\": [\n  {\"name\": \"x\", \"peer\": {\"dns\": [\"a.test\", \"*.test\"]}}]}",
        ),
        (
            "empty-list.toml",
            "otherwise = \"deny\"\n[[deny]]\nname = \"nobody\"\npeer = { spiffe = [] }\n",
        ),
        (
            "request.toml",
            "otherwise = \"deny\"\n[[deny]]\nname = \"admin\"\npeer = \"anyone\"\nrequest = { path = \"/admin\" }\n",
        ),
        (
            "domain.toml",
            "otherwise = \"deny\"\n[[allow]]\nname = \"shop\"\npeer = { namespace = \"shop\" }\n",
        ),
        (
            "twice.json",
            "{\"otherwise\": \"deny\",\n \"otherwise\": \"allow\"}",
        ),
        (
            "type.toml",
            "otherwise = \"deny\"\n[[allow]]\nname = \"web\"\npeer = { dns = true }\n",
        ),
        (
            "spiffe.toml",
            "otherwise = \"deny\"\n[[allow]]\nname = \"web\"\npeer = { spiffe = \"spiffe://TD/web\" }\n",
        ),
        ("word.toml", "otherwise = \"maybe\"\n"),
        ("nothing.toml", "otherwise = \"deny\"\n"),
        ("policy.yaml", "otherwise: deny\n"),
    ];
    let all: String = broken
        .iter()
        .map(|(name, text)| printed(&refused(name, text)))
        .collect();
    assert_eq!(all, include_str!("broken.txt"), "\n{all}");
}
