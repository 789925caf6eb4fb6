use super::*;
use crate::testing::TestCa;

/// A minimal encoder, for what the tests write.
fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        let word = word << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let symbol = SYMBOLS[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                symbol.into()
            } else {
                '='
            });
        }
    }
    text
}

fn key(x5c: &str) -> String {
    format!(r#"{{"kty":"EC","use":"x509-svid","crv":"P-256","x":"","y":"","x5c":[{x5c}]}}"#)
}

fn root() -> (CertificateDer<'static>, String) {
    let der = TestCa::new("example.org").root_der();
    let text = format!("\"{}\"", base64(&der));
    (der, text)
}

fn refused(text: &str) -> (String, String, &'static str) {
    match parse_bundle(text.as_bytes()) {
        Err(JsonFault::Unexpected {
            at,
            found,
            expected,
        }) => (at, found, expected),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_bundle_is_the_first_certificate_of_each_key_for_x509_svids() {
    let ((a, a_text), (b, b_text)) = (root(), root());
    let text = format!(
        "\u{feff}{{\"spiffe_sequence\":7,\"spiffe_refresh_hint\":300,\"keys\":[{},{}],\"more\":{{}}}}",
        key(&format!("{a_text},{b_text}")),
        key(&b_text),
    );
    let bundle = parse_bundle(text.as_bytes()).unwrap();
    assert_eq!(bundle.certificates, [a, b]);
    assert_eq!((bundle.sequence, bundle.refresh_hint), (Some(7), Some(300)));
}

#[test]
fn what_spiffe_says_to_pass_over_is_passed_over() {
    let (_, text) = root();
    let good = key(&text);
    let passed = [
        good.replace("x509-svid", "jwt-svid"),
        good.replace(r#""use":"x509-svid","#, ""),
        good.replace(r#""kty":"EC","#, ""),
        good.replace(r#""EC""#, r#""oct""#),
        good.replace("x5c", "x5t"),
        key(""),
    ];
    for entry in passed {
        let bundle = parse_bundle(format!(r#"{{"keys":[{entry}]}}"#).as_bytes()).unwrap();
        assert_eq!(bundle.certificates, [], "{entry}");
    }
    let kid = good.replace(r#""use""#, r#""kid":"a","use""#);
    let bundle = parse_bundle(format!(r#"{{"keys":[{kid}]}}"#).as_bytes()).unwrap();
    assert_eq!(bundle.certificates.len(), 1);
}

#[test]
fn keys_may_be_empty_and_not_absent() {
    assert_eq!(parse_bundle(br#"{"keys":[]}"#).unwrap().certificates, []);
    let absent = ("keys".to_owned(), "nothing".to_owned(), "a value");
    assert_eq!(refused(r#"{"spiffe_sequence":1}"#), absent);
    assert_eq!(refused(r#"{"keys":null}"#).2, "an array");
    assert_eq!(refused("[]").2, "an object");
}

#[test]
fn a_refusal_says_where_and_what() {
    let (_, text) = root();
    let bad = |x5c: &str| refused(&format!(r#"{{"keys":[{},{}]}}"#, key(&text), key(x5c)));
    for x5c in [
        "\"\"",
        "\"AAAA\"",
        "\"MII\"",
        "\"MA==\\n\"",
        &text.replace('=', ""),
        &text.replacen('M', "-", 1),
    ] {
        // A certificate whose length divides by three has no padding to lose.
        if x5c == text {
            continue;
        }
        let (at, _, expected) = bad(x5c);
        assert_eq!(at, "keys[1].x5c[0]", "{x5c}");
        assert_eq!(expected, "a certificate's DER in base64");
    }
    assert_eq!(bad("1").1, "a number");
    assert_eq!(refused(r#"{"keys":[1]}"#).0, "keys[0]");
    assert_eq!(refused(r#"{"keys":[{"kty":1}]}"#).0, "keys[0].kty");
    for number in ["-1", "1.5", "18446744073709551616", "\"1\"", "null"] {
        let (at, _, expected) = refused(&format!(r#"{{"keys":[],"spiffe_sequence":{number}}}"#));
        assert_eq!(
            (&*at, expected),
            ("spiffe_sequence", "a whole number from 0")
        );
    }
}

#[test]
fn a_document_that_is_cut_short_or_has_a_key_twice_is_refused() {
    assert_eq!(refused(r#"{"keys":["#).1, "the end of the file");
    assert_eq!(refused(r#"{"keys":[]} x"#).2, "well-formed JSON");
    let twice = refused(r#"{"keys":[],"keys":[]}"#);
    assert_eq!(twice.1, "a key for the second time");
    let deep = "[".repeat(100_000);
    assert_eq!(refused(&deep).2, "well-formed JSON");
}

#[test]
fn a_private_key_in_a_bundle_is_refused() {
    let private = r#"{"keys":[{"kty":"EC","use":"jwt-svid","d":"AAAA"}]}"#;
    assert_eq!(parse_bundle(private.as_bytes()), Err(JsonFault::PrivateKey));
}

#[test]
fn a_map_has_a_bundle_for_each_domain() {
    let (der, text) = root();
    let map = format!(
        r#"{{"trust_domains":{{"a.example":{{"keys":[{}]}},"b.example":{{"keys":[]}}}}}}"#,
        key(&text)
    );
    let map = parse_map(map.as_bytes()).unwrap();
    let names: Vec<_> = map.iter().map(|(domain, _)| domain.as_str()).collect();
    assert_eq!(names, ["a.example", "b.example"]);
    assert_eq!(map[0].1.certificates, [der]);
    assert_eq!(parse_map(br#"{"trust_domains":{}}"#), Ok(Vec::new()));
}

#[test]
fn one_bad_entry_refuses_the_map() {
    let refused = |text: &str| match parse_map(text.as_bytes()) {
        Err(JsonFault::Unexpected { at, expected, .. }) => (at, expected),
        other => panic!("{other:?}"),
    };
    let entries = |entries: &str| refused(&format!(r#"{{"trust_domains":{{{entries}}}}}"#));
    let good = r#""a.example":{"keys":[]}"#;
    assert_eq!(
        entries(&format!(r#"{good},"b.example":{{}}"#)).0,
        r#"trust_domains["b.example"].keys"#
    );
    for name in ["B.example", "", "spiffe://b.example", "b.example/x"] {
        let (at, expected) = entries(&format!(r#"{good},"{name}":{{"keys":[]}}"#));
        assert_eq!(at, format!("trust_domains[{name:?}]"));
        assert_eq!(expected, "a trust domain's bare name");
    }
    assert_eq!(
        entries(&format!("{good},{good}")).1,
        "each key of an object once"
    );
    // The same key in other letters of JSON.
    let escaped = format!(r#"{good},"\u0061.example":{{"keys":[]}}"#);
    assert_eq!(entries(&escaped).1, "each key of an object once");
    assert_eq!(refused(r#"{"keys":[]}"#).0, "trust_domains");
}
