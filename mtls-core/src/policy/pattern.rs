//! Patterns over SPIFFE IDs, matched segment by segment.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::segments::{ONE, TAIL};
use crate::identity::{SCHEME, SpiffeId, SpiffeIdError};

/// Many SPIFFE IDs of one trust domain, by the segments of their paths.
///
/// `*` stands for exactly one segment. `**` stands for the rest, one segment or more, and comes last. Every other
/// segment, and the trust domain, stands for itself, byte by byte. There is no prefix, suffix or substring: a pattern
/// that lets in `prod*` lets in `prod-evil`.
///
/// ```
/// # use mtls_core::{SpiffeId, SpiffePattern};
/// let pattern: SpiffePattern = "spiffe://example.org/ns/*/sa/web".parse()?;
/// let matches = |id: &str| id.parse::<SpiffeId>().map(|id| pattern.matches(&id));
/// assert!(matches("spiffe://example.org/ns/shop/sa/web")?);
/// assert!(!matches("spiffe://example.org/ns/shop/sa/web-2")?);
/// assert!(!matches("spiffe://example.com/ns/shop/sa/web")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffePattern {
    // INVARIANT: `from_str` accepted the text. A segment with an asterisk is `*` or a last `**`, `path_start` is where the
    // trust domain ends, and `literal_end` where the first asterisk stands, or the end.
    text: Arc<str>,
    path_start: usize,
    literal_end: usize,
}

impl SpiffePattern {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it stands for this ID. Does not allocate.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        let (literal, wild) = self
            .text
            .split_at_checked(self.literal_end)
            .unwrap_or_default();
        let Some(rest) = id.as_str().strip_prefix(literal) else {
            return false;
        };
        // What is asked at each request. An ID has no empty segment, and an asterisk begins one.
        match wild {
            "" => rest.is_empty(),
            ONE => !rest.is_empty() && !rest.as_bytes().contains(&b'/'),
            TAIL => !rest.is_empty(),
            _ => self.matches_by_segment(id),
        }
    }

    fn matches_by_segment(&self, id: &SpiffeId) -> bool {
        if id.trust_domain_str() != self.trust_domain_str() {
            return false;
        }
        let mut segments = id.segments();
        for expected in self.segments() {
            // No segment of an ID has an asterisk, so a wildcard is never mistaken for a literal.
            match segments.next() {
                None => return false,
                Some(_) if expected == TAIL => return true,
                Some(found) if expected == ONE || expected == found => {}
                Some(_) => return false,
            }
        }
        segments.next().is_none()
    }

    fn trust_domain_str(&self) -> &str {
        let scheme_and_domain = self.text.get(..self.path_start).unwrap_or_default();
        scheme_and_domain.rsplit('/').next().unwrap_or_default()
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        let path = self.text.get(self.path_start..).unwrap_or_default();
        path.split('/').skip(1)
    }
}

impl FromStr for SpiffePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // A pattern is a SPIFFE ID but for its asterisks. With a letter in their place the ID's own parser judges the
        // rest, and every position it speaks of is a position in the pattern.
        let stand_in = match text.strip_prefix(SCHEME) {
            Some(rest) => format!("{SCHEME}{}", rest.replace('*', "x")).parse(),
            None => text.parse(),
        };
        let stand_in: SpiffeId = stand_in.map_err(|source| PatternError::NotAnId {
            pattern: text.to_owned(),
            source,
        })?;
        let pattern = Self {
            text: text.into(),
            path_start: text.len() - stand_in.path().len(),
            literal_end: text.find('*').unwrap_or(text.len()),
        };
        if pattern.trust_domain_str().contains('*') {
            return Err(PatternError::WildcardTrustDomain {
                found: pattern.trust_domain_str().to_owned(),
            });
        }
        let mut segments = pattern.segments().peekable();
        if segments.peek().is_none() {
            return Err(PatternError::MissingPath {
                found: text.to_owned(),
            });
        }
        while let Some(segment) = segments.next() {
            match (segment, segments.peek()) {
                (ONE, _) | (TAIL, None) => {}
                (TAIL, Some(next)) => {
                    return Err(PatternError::TailNotLast {
                        followed_by: (*next).to_owned(),
                    });
                }
                (partial, _) if partial.contains('*') => {
                    return Err(PatternError::PartialWildcard {
                        found: partial.to_owned(),
                    });
                }
                _ => {}
            }
        }
        drop(segments);
        Ok(pattern)
    }
}

impl TryFrom<&str> for SpiffePattern {
    type Error = PatternError;

    fn try_from(text: &str) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl AsRef<str> for SpiffePattern {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SpiffePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SpiffePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SpiffePattern").field(&self.text).finish()
    }
}

/// Why a text is not a pattern over SPIFFE IDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It has no path, and would match no workload.
    #[error("pattern {found:?} has no path, expected at least one segment")]
    MissingPath {
        /// The pattern.
        found: String,
    },
    /// Its wildcards aside, it is no SPIFFE ID.
    #[error("pattern {pattern:?} is not a SPIFFE ID with wildcards")]
    NotAnId {
        /// The pattern.
        pattern: String,
        /// What is wrong with it; positions are those of the pattern.
        #[source]
        source: SpiffeIdError,
    },
    /// A segment is a wildcard in part.
    #[error("pattern segment `{found}` has a wildcard in it, expected `*`, a last `**`, or none")]
    PartialWildcard {
        /// The segment.
        found: String,
    },
    /// Something comes after `**`.
    #[error("pattern segment `**` is followed by `{followed_by}`, expected it to be the last")]
    TailNotLast {
        /// The next segment.
        followed_by: String,
    },
    /// A wildcard in the trust domain would let in whoever runs a certificate authority.
    #[error("the pattern's trust domain `{found}` has a wildcard, expected its whole name")]
    WildcardTrustDomain {
        /// The trust domain.
        found: String,
    },
}

impl PatternError {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::MissingPath { .. } => {
                "add segments, or end it in `/**` for every workload of the trust domain"
            }
            Self::NotAnId { source, .. } => source.remedy(),
            Self::PartialWildcard { .. } => {
                "let the wildcard stand for a whole segment, and list what varies within one"
            }
            Self::TailNotLast { .. } => "write one `*` for each segment that varies before the end",
            Self::WildcardTrustDomain { .. } => "write one pattern for each trust domain",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PatternError::*;
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        let pattern: SpiffePattern = pattern.parse().unwrap();
        pattern.matches(&id.parse().unwrap())
    }

    fn refusal(pattern: &str) -> PatternError {
        pattern.parse::<SpiffePattern>().unwrap_err()
    }

    #[test]
    fn one_asterisk_is_one_segment() {
        let pattern = "spiffe://example.org/ns/*/sa/web";
        assert!(matches(pattern, "spiffe://example.org/ns/shop/sa/web"));
        assert!(matches(pattern, "spiffe://example.org/ns/SHOP.x-1_/sa/web"));
        for id in [
            "spiffe://example.org/ns/shop/eu/sa/web",
            "spiffe://example.org/ns/sa/web",
            "spiffe://example.org/ns/shop/sa",
            "spiffe://example.org/ns/shop/sa/web/x",
            "spiffe://example.org/x/ns/shop/sa/web",
            "spiffe://example.org/ns/shop/sa/web2",
            "spiffe://example.org/ns/shop/sa/WEB",
            "spiffe://example.org",
        ] {
            assert!(!matches(pattern, id), "{id}");
        }
        assert!(!matches(
            "spiffe://example.org/a/*",
            "spiffe://example.org/a"
        ));
    }

    #[test]
    fn the_short_way_to_a_match_and_the_way_by_segments_agree() {
        let paths = [
            "", "/a", "/b", "/a/b", "/a/bb", "/aa/b", "/a/b/c", "/a/b/c/d", "/x/b", "/a/x",
        ];
        let ids: Vec<SpiffeId> = ["example.org", "example.or", "example.org.x"]
            .iter()
            .flat_map(|domain| paths.map(|path| format!("spiffe://{domain}{path}")))
            .map(|id| id.parse().unwrap())
            .collect();
        for path in [
            "/a", "/*", "/**", "/a/b", "/a/*", "/a/**", "/*/b", "/*/*", "/*/**", "/a/*/c",
            "/a/b/**",
        ] {
            let pattern: SpiffePattern = format!("spiffe://example.org{path}").parse().unwrap();
            for id in &ids {
                let by_segment = pattern.matches_by_segment(id);
                assert_eq!(pattern.matches(id), by_segment, "{path} {id}");
            }
        }
    }

    #[test]
    fn two_asterisks_are_one_segment_or_more() {
        let pattern = "spiffe://example.org/ns/prod/**";
        assert!(matches(pattern, "spiffe://example.org/ns/prod/sa"));
        assert!(matches(pattern, "spiffe://example.org/ns/prod/sa/web/x"));
        for id in [
            "spiffe://example.org/ns/prod",
            "spiffe://example.org/ns/prod-evil/sa/web",
            "spiffe://example.org/ns/Prod/sa/web",
            "spiffe://example.org/ns",
            "spiffe://example.org",
        ] {
            assert!(!matches(pattern, id), "{id}");
        }
    }

    #[test]
    fn everyone_in_a_trust_domain_is_not_the_trust_domain_itself() {
        assert!(matches("spiffe://example.org/**", "spiffe://example.org/a"));
        assert!(!matches("spiffe://example.org/**", "spiffe://example.org"));
        assert!(matches("spiffe://td/a/*/**", "spiffe://td/a/b/c"));
        assert!(!matches("spiffe://td/a/*/**", "spiffe://td/a/b"));
    }

    #[test]
    fn the_trust_domain_is_literal() {
        for pattern in ["spiffe://example.org/**", "spiffe://example.org/*"] {
            assert!(matches(pattern, "spiffe://example.org/a"));
            for id in [
                "spiffe://example.com/a",
                "spiffe://evil.example.org/a",
                "spiffe://example.org.evil/a",
                "spiffe://example.or/g",
                "spiffe://a/example.org",
            ] {
                assert!(!matches(pattern, id), "{id}");
            }
        }
    }

    #[test]
    fn without_a_wildcard_it_is_one_id() {
        assert!(matches("spiffe://td/ns/a", "spiffe://td/ns/a"));
        for id in ["spiffe://td/ns/b", "spiffe://td/ns", "spiffe://td/ns/a/b"] {
            assert!(!matches("spiffe://td/ns/a", id), "{id}");
        }
    }

    #[test]
    fn patterns_print_as_they_were_written() {
        for text in ["spiffe://td/*", "spiffe://a_b.c/x/*/Y/**", "spiffe://td/x"] {
            let pattern: SpiffePattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
            assert_eq!(pattern.to_string().parse(), Ok(pattern));
        }
    }

    #[test]
    fn a_wildcard_in_part_of_a_segment_is_refused() {
        for (pattern, segment) in [
            ("spiffe://td/ns/prod*", "prod*"),
            ("spiffe://td/*-web", "*-web"),
            ("spiffe://td/a*b/c", "a*b"),
            ("spiffe://td/***", "***"),
            ("spiffe://td/a**", "a**"),
            ("spiffe://td/*.*", "*.*"),
        ] {
            let found = segment.to_owned();
            assert_eq!(refusal(pattern), PartialWildcard { found }, "{pattern}");
        }
    }

    #[test]
    fn a_wildcard_in_the_trust_domain_is_refused() {
        for (pattern, domain) in [
            ("spiffe://*/ns/a", "*"),
            ("spiffe://**", "**"),
            ("spiffe://*.example.org/a", "*.example.org"),
            ("spiffe://example.*/**", "example.*"),
        ] {
            let found = domain.to_owned();
            assert_eq!(refusal(pattern), WildcardTrustDomain { found }, "{pattern}");
        }
    }

    #[test]
    fn nothing_follows_the_tail() {
        for (pattern, next) in [
            ("spiffe://td/**/sa/web", "sa"),
            ("spiffe://td/a/**/*", "*"),
            ("spiffe://td/**/**", "**"),
        ] {
            let followed_by = next.to_owned();
            assert_eq!(refusal(pattern), TailNotLast { followed_by }, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_has_a_path() {
        let found = "spiffe://td".to_owned();
        assert_eq!(refusal("spiffe://td"), MissingPath { found });
    }

    #[test]
    fn wildcards_aside_a_pattern_is_a_spiffe_id() {
        use SpiffeIdError::*;
        for (pattern, source) in [
            ("", Empty),
            ("*", WrongScheme { found: "*".into() }),
            (
                "/ns/*/sa/web",
                WrongScheme {
                    found: "/ns/*/sa/".into(),
                },
            ),
            ("spiffe://TD/*", BadTrustDomainChar { found: 'T', at: 9 }),
            ("spiffe://td/**/", TrailingSlash { at: 14 }),
            ("spiffe://td/*//a", EmptySegment { at: 14 }),
            (
                "spiffe://td/*/../a",
                DotSegment {
                    found: "..",
                    at: 14,
                },
            ),
            (
                "spiffe://td/*/a?",
                BadPathSegmentChar { found: '?', at: 15 },
            ),
            ("spiffe:///**", MissingTrustDomain),
        ] {
            let refused = refusal(pattern);
            assert_eq!(refused.remedy(), source.remedy());
            let pattern = pattern.to_owned();
            assert_eq!(refused, NotAnId { pattern, source });
        }
    }
}
