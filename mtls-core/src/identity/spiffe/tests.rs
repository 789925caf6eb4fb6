use super::SpiffeIdError::*;
use super::*;

fn refusal(text: &str) -> SpiffeIdError {
    match text.parse::<SpiffeId>() {
        Ok(id) => panic!("{text:?} was accepted as {id:?}"),
        Err(refused) => refused,
    }
}

fn trust_domain_refusal(text: &str) -> SpiffeIdError {
    match text.parse::<TrustDomain>() {
        Ok(domain) => panic!("{text:?} was accepted as {domain:?}"),
        Err(refused) => refused,
    }
}

fn wrong_scheme(found: &str) -> SpiffeIdError {
    let found = found.to_owned();
    WrongScheme { found }
}

/// Trust domain and path of IDs that are valid, in any mixture.
const TRUST_DOMAINS: [&str; 11] = [
    "trustdomain",
    "td",
    "a_b.example",
    "1.2.3.4",
    "192.168.1.1",
    "td_1.example-2.org",
    "example..org",
    ".example.org",
    "example.org.",
    "-example.org",
    "example-.org",
];
const PATHS: [&str; 9] = [
    "",
    "/path",
    "/path1/path2",
    "/PATH1/PATH2",
    "/9eebccd2-12bf-40a6-b262-65fe0487d453",
    "/.path",
    "/..path",
    "/...",
    "/Path.With-Mixed_Case/a.b-c_D/..x/x..",
];

#[test]
fn valid_ids_keep_their_text_and_come_apart_at_the_trust_domain() {
    for trust_domain in TRUST_DOMAINS {
        for path in PATHS {
            let text = format!("spiffe://{trust_domain}{path}");
            let id: SpiffeId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.as_str(), text);
            assert_eq!(id.trust_domain_str(), trust_domain);
            assert_eq!(id.path(), path);
            assert_eq!(
                id.segments().map(|s| format!("/{s}")).collect::<String>(),
                path
            );
            assert_eq!(id.to_string().parse(), Ok(id.clone()));
            assert_eq!(SpiffeId::try_from(text.as_str()), Ok(id.clone()));
            assert_eq!(SpiffeId::new(&id.trust_domain(), path), Ok(id));
        }
    }
}

#[test]
fn a_trust_domain_has_no_segments() {
    let id: SpiffeId = "spiffe://example.org".parse().unwrap();
    assert_eq!((id.path(), id.segments().count()), ("", 0));
}

#[test]
fn no_text_is_no_id() {
    assert_eq!(refusal(""), Empty);
}

#[test]
fn any_other_scheme_is_refused_and_so_is_uppercase() {
    for (text, found) in [
        ("s", "s"),
        ("spiffe:/", "spiffe:/"),
        ("spiffe:path/x", "spiffe:pa"),
        ("spiffe:/path", "spiffe:/p"),
        ("xspiffe://td/p", "xspiffe:/"),
        ("http://d/p", "http://d/"),
        ("192.168.2.2:6688", "192.168.2"),
        ("Spiffe://", "Spiffe://"),
        ("SPIFFE://td/p", "SPIFFE://"),
        (" spiffe://td/p", " spiffe:/"),
        ("ſpiffe://td/p", "ſpiffe://"),
    ] {
        assert_eq!(refusal(text), wrong_scheme(found), "{text:?}");
    }
}

#[test]
fn a_trust_domain_is_required() {
    for text in ["spiffe://", "spiffe:///", "spiffe:///path"] {
        assert_eq!(refusal(text), MissingTrustDomain, "{text:?}");
    }
}

#[test]
fn a_trust_domain_is_lowercase_and_has_no_user_port_or_escape() {
    for (text, found, at) in [
        ("spiffe://TD/p", 'T', 9),
        ("spiffe://tD/p", 'D', 10),
        ("spiffe://td:8080/p", ':', 11),
        ("spiffe://td:/p", ':', 11),
        ("spiffe://u@td/p", '@', 10),
        ("spiffe://user:pw@td/p", ':', 13),
        ("spiffe://t$d/p", '$', 10),
        ("spiffe://%62%61%64/p", '%', 9),
        ("spiffe://[::1]/p", '[', 9),
        ("spiffe:// td/p", ' ', 9),
        ("spiffe://td?q", '?', 11),
        ("spiffe://td#f", '#', 11),
        ("spiffe://td\\p", '\\', 11),
        ("spiffe://tdé/p", 'é', 11),
        ("spiffe://tԁ/p", 'ԁ', 10),
        ("spiffe://td。org/p", '。', 11),
        ("spiffe://TD/../?", 'T', 9),
    ] {
        assert_eq!(refusal(text), BadTrustDomainChar { found, at }, "{text:?}");
    }
}

#[test]
fn a_path_has_no_trailing_slash_and_no_empty_segment() {
    for (text, expected) in [
        ("spiffe://td/", TrailingSlash { at: 11 }),
        ("spiffe://td/path/", TrailingSlash { at: 16 }),
        ("spiffe://td//", EmptySegment { at: 12 }),
        ("spiffe://td//path", EmptySegment { at: 12 }),
        ("spiffe://td/path//other", EmptySegment { at: 17 }),
        ("spiffe://td/path//", EmptySegment { at: 17 }),
    ] {
        assert_eq!(refusal(text), expected, "{text:?}");
    }
}

#[test]
fn a_relative_segment_is_refused_and_not_resolved() {
    for (text, found, at) in [
        ("spiffe://td/.", ".", 12),
        ("spiffe://td/./path", ".", 12),
        ("spiffe://td/path/./x", ".", 17),
        ("spiffe://td/path/..", "..", 17),
        ("spiffe://td/..", "..", 12),
        ("spiffe://td/../path", "..", 12),
        ("spiffe://td/path/../x", "..", 17),
        ("spiffe://td/../x/", "..", 12),
        ("spiffe://td/../a!b", "..", 12),
    ] {
        assert_eq!(refusal(text), DotSegment { found, at }, "{text:?}");
    }
}

#[test]
fn a_path_has_no_query_fragment_escape_or_punctuation() {
    for (text, found, at) in [
        ("spiffe://td/path?q=1", '?', 16),
        ("spiffe://td/path?", '?', 16),
        ("spiffe://td/path#f", '#', 16),
        ("spiffe://td/path#", '#', 16),
        ("spiffe://td/a!b", '!', 13),
        ("spiffe://td/a b", ' ', 13),
        ("spiffe://td/path\n", '\n', 16),
        ("spiffe://td/path\0", '\0', 16),
        ("spiffe://td/%41", '%', 12),
        ("spiffe://td/%2e%2e/x", '%', 12),
        ("spiffe://td/%F0%9F%A4%AF", '%', 12),
        ("spiffe://td/elem%5uent", '%', 16),
        ("spiffe://td/foo%5Cbar", '%', 15),
        ("spiffe://td/a*", '*', 13),
        ("spiffe://td/🤯", '🤯', 12),
        ("spiffe://td/.!", '!', 13),
    ] {
        assert_eq!(refusal(text), BadPathSegmentChar { found, at }, "{text:?}");
    }
}

#[test]
fn every_byte_is_judged_in_the_trust_domain() {
    for found in (0..=u8::MAX).map(char::from) {
        let text = format!("spiffe://trustdomain{found}/path");
        match found {
            'a'..='z' | '0'..='9' | '.' | '-' | '_' => {
                assert_eq!(text.parse::<SpiffeId>().unwrap().as_str(), text);
            }
            '/' => assert_eq!(refusal(&text), EmptySegment { at: 21 }),
            _ => assert_eq!(refusal(&text), BadTrustDomainChar { found, at: 20 }),
        }
    }
}

#[test]
fn every_byte_is_judged_in_the_path() {
    for found in (0..=u8::MAX).map(char::from) {
        let text = format!("spiffe://trustdomain/path{found}");
        match found {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '-' | '_' => {
                assert_eq!(text.parse::<SpiffeId>().unwrap().as_str(), text);
            }
            '/' => assert_eq!(refusal(&text), TrailingSlash { at: 25 }),
            _ => assert_eq!(refusal(&text), BadPathSegmentChar { found, at: 25 }),
        }
    }
}

#[test]
fn an_id_has_up_to_2048_bytes() {
    let with_len = |len: usize| format!("spiffe://td/{}", "a".repeat(len - "spiffe://td/".len()));
    assert!(with_len(2048).parse::<SpiffeId>().is_ok());
    let limit = 2048;
    assert_eq!(
        refusal(&with_len(2049)),
        TooLong { found: 2049, limit },
        "one byte over"
    );
    let domain: TrustDomain = "td".parse().unwrap();
    let path = format!("/{}", "a".repeat(2048));
    assert_eq!(
        SpiffeId::new(&domain, &path),
        Err(TooLong { found: 2060, limit })
    );
}

#[test]
fn a_trust_domain_has_up_to_255_bytes() {
    let (fits, over) = ("a".repeat(255), "a".repeat(256));
    let refused = TrustDomainTooLong {
        found: 256,
        limit: 255,
    };
    assert!(format!("spiffe://{fits}/p").parse::<SpiffeId>().is_ok());
    assert!(fits.parse::<TrustDomain>().is_ok());
    assert_eq!(refusal(&format!("spiffe://{over}/p")), refused);
    assert_eq!(trust_domain_refusal(&over), refused);
}

#[test]
fn a_trust_domain_is_read_from_its_name_or_from_an_id() {
    for name in TRUST_DOMAINS {
        let domain: TrustDomain = name.parse().unwrap();
        assert_eq!(domain.to_string(), name);
        assert_eq!(TrustDomain::try_from(name), Ok(domain.clone()));
        for path in PATHS {
            assert_eq!(format!("spiffe://{name}{path}").parse(), Ok(domain.clone()));
        }
    }
}

#[test]
fn a_trust_domain_with_anything_beside_its_name_is_refused() {
    let bad = |found, at| BadTrustDomainChar { found, at };
    for (text, expected) in [
        ("", MissingTrustDomain),
        ("EXAMPLE.org", bad('E', 0)),
        ("example.org/web", bad('/', 11)),
        ("td:8080", bad(':', 2)),
        ("*.example.org", bad('*', 0)),
        (" td", bad(' ', 0)),
        ("td\n", bad('\n', 2)),
        ("spiffe:td", bad(':', 6)),
        ("spiffe:/td", wrong_scheme("spiffe:/t")),
        ("td:/p", wrong_scheme("td:/p")),
        ("https://td/p", wrong_scheme("https://t")),
        ("spiffe://", MissingTrustDomain),
        ("spiffe://td/", TrailingSlash { at: 11 }),
        (
            "spiffe://td/../x/",
            DotSegment {
                found: "..",
                at: 12,
            },
        ),
    ] {
        assert_eq!(trust_domain_refusal(text), expected, "{text:?}");
    }
}

#[test]
fn a_path_given_by_itself_begins_with_a_slash() {
    let domain: TrustDomain = "td".parse().unwrap();
    let joined = |path| SpiffeId::new(&domain, path);
    assert_eq!(joined("/foo/bar").unwrap().as_str(), "spiffe://td/foo/bar");
    assert_eq!(joined("").unwrap().as_str(), "spiffe://td");
    for (path, found) in [("foo", 'f'), (".evil/x", '.'), ("@x/y", '@'), ("$", '$')] {
        assert_eq!(joined(path), Err(NoLeadingSlash { found }), "{path:?}");
    }
    for (path, expected) in [
        ("/", TrailingSlash { at: 11 }),
        ("/foo/", TrailingSlash { at: 15 }),
        (
            "/..",
            DotSegment {
                found: "..",
                at: 12,
            },
        ),
        ("/$", BadPathSegmentChar { found: '$', at: 12 }),
    ] {
        assert_eq!(joined(path), Err(expected), "{path:?}");
    }
}

#[test]
fn membership_is_of_the_whole_trust_domain() {
    let id: SpiffeId = "spiffe://example.org/web".parse().unwrap();
    assert!(id.is_member_of(&"example.org".parse().unwrap()));
    for other in [
        "example.or",
        "xample.org",
        "org",
        "example.org.",
        "sub.example.org",
    ] {
        assert!(!id.is_member_of(&other.parse().unwrap()), "{other}");
    }
}

#[test]
fn paths_differ_by_case() {
    let [web, same, other] = ["spiffe://td/web", "spiffe://td/web", "spiffe://td/Web"]
        .map(|text| text.parse::<SpiffeId>().unwrap());
    assert_eq!(web, same);
    assert_ne!(web, other);
}

#[test]
fn messages_escape_what_a_stranger_wrote() {
    assert_eq!(
        refusal("spiffe://td/a\u{1b}[31m").to_string(),
        r"'\u{1b}' at byte 13 is not allowed in a path, expected A-Z a-z 0-9 . - _"
    );
    assert_eq!(
        refusal("\r\nfake log line").to_string(),
        r#"it begins with "\r\nfake lo", expected "spiffe://""#
    );
}
