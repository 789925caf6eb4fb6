//! Request paths, in the one form in which they are compared.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::segments::{ONE, Segment, TAIL};

/// A path whose segments mean one thing to everybody, with its escapes resolved.
///
/// INVARIANT: it begins with a slash, and every slash in it separates two segments: [`canonical`] made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CanonicalPath<'a>(Cow<'a, str>);

impl CanonicalPath<'_> {
    /// The segments; none for the root.
    pub(super) fn segments(&self) -> impl Iterator<Item = Segment<'_>> + Clone {
        self.texts().map(Segment::Literal)
    }

    /// The service and the method of a gRPC call, whose path has exactly these two segments.
    pub(super) fn grpc(&self) -> Option<(&str, &str)> {
        let mut texts = self.texts();
        match (texts.next(), texts.next(), texts.next()) {
            (Some(service), Some(method), None) => Some((service, method)),
            _ => None,
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        segments_of(&self.0)
    }
}

fn segments_of(path: &str) -> impl Iterator<Item = &str> + Clone {
    // `/` alone is the root: no segment, rather than an empty one.
    let rest = path.strip_prefix('/').filter(|rest| !rest.is_empty());
    rest.into_iter().flat_map(|rest| rest.split('/'))
}

/// The canonical form of a request's path; an error if it could be read in two ways.
///
/// A router, a proxy and a rule that read one path differently are how a rule is dodged. So nothing is repaired here: no
/// dot segment is resolved and no slash is merged, since whoever comes next may not do the same.
pub(super) fn canonical(path: &str) -> Result<CanonicalPath<'_>, PathFault> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(PathFault::NotAbsolute);
    };
    let decoded = decode(path)?;
    if let Some(bad) = decoded.chars().find(|c| is_ambiguous(*c)) {
        return Err(PathFault::AmbiguousCharacter { found: bad });
    }
    if !rest.is_empty() {
        for segment in segments_after_slash(&decoded) {
            match segment {
                "" => return Err(PathFault::EmptySegment),
                "." | ".." => return Err(PathFault::DotSegment),
                _ => {}
            }
        }
    }
    Ok(CanonicalPath(decoded))
}

fn segments_after_slash(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

fn decode(path: &str) -> Result<Cow<'_, str>, PathFault> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = (
            bytes.next().and_then(hex_digit),
            bytes.next().and_then(hex_digit),
        );
        let (Some(high), Some(low)) = digits else {
            return Err(PathFault::BadEscape);
        };
        match high << 4 | low {
            b'/' => return Err(PathFault::EncodedSlash),
            byte => decoded.push(byte),
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| PathFault::BadEscape)?;
    if still_encoded(decoded.as_bytes()) {
        return Err(PathFault::EncodedTwice);
    }
    Ok(Cow::Owned(decoded))
}

/// Whoever decodes once more would read something else.
fn still_encoded(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|window| {
        matches!(window, [b'%', high, low] if hex_digit(*high).is_some() && hex_digit(*low).is_some())
    })
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// A backslash is a slash to some; a question mark or a number sign that was decoded ends the path for others; control
/// characters are cut off, skipped or folded. A semicolon starts parameters that some frameworks strip.
fn is_ambiguous(c: char) -> bool {
    c.is_control() || matches!(c, '\\' | '?' | '#' | ';')
}

/// Why a request's path has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// A character that others read as a separator, or drop.
    #[error("the path has {found:?} in it, which not everybody reads alike")]
    AmbiguousCharacter {
        /// The character, decoded.
        found: char,
    },
    /// A percent sign without two hexadecimal digits, or escapes that are no UTF-8.
    #[error("the path has a bad escape")]
    BadEscape,
    /// `.` or `..`, written or encoded.
    #[error("the path has a dot segment")]
    DotSegment,
    /// Two slashes in a row, or one at the end.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A slash within a segment.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// Once decoded it has escapes still.
    #[error("the path is encoded twice")]
    EncodedTwice,
    /// It does not begin with a slash, as in `OPTIONS *` or `CONNECT`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
}

/// Many request paths, by their segments: `*` stands for exactly one, a last `**` for the rest, one or more.
///
/// It is compared with the request's path in its canonical form, in which escapes are resolved. So it is written without
/// any, and byte by byte: `/Orders` is another path than `/orders`.
///
/// ```
/// # use mtls_core::PathPattern;
/// let pattern: PathPattern = "/orders/*/items".parse()?;
/// assert!(pattern.matches("/orders/17/items"));
/// assert!(pattern.matches("/%6frders/17/items"));
/// assert!(!pattern.matches("/orders/17/x/../items"));
/// # Ok::<(), mtls_core::PathPatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(Arc<str>);

impl PathPattern {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for this path, as it came with the request and without its query. One that has no canonical
    /// form it never stands for.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Ok(path) = canonical(path) else {
            return false;
        };
        let mut found = path.texts();
        for expected in self.segments() {
            match (expected, found.next()) {
                (_, None) => return false,
                (Segment::Tail, Some(_)) => return true,
                (Segment::Literal(expected), Some(found)) if expected != found => return false,
                (Segment::Literal(_) | Segment::One, Some(_)) => {}
            }
        }
        found.next().is_none()
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = Segment<'_>> + Clone {
        segments_of(&self.0).map(Segment::written)
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let found = || text.to_owned();
        if text.len() > MAX_PATTERN {
            return Err(PathPatternError::TooLong { len: text.len() });
        }
        if text.contains('%') {
            return Err(PathPatternError::Encoded { found: found() });
        }
        if let Err(fault) = canonical(text) {
            let found = found();
            return Err(PathPatternError::NotCanonical { found, fault });
        }
        let mut segments = segments_of(text).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                ONE => {}
                TAIL => {
                    if let Some(next) = segments.peek() {
                        return Err(PathPatternError::TailNotLast {
                            followed_by: (*next).to_owned(),
                        });
                    }
                }
                partial if partial.contains('*') => {
                    return Err(PathPatternError::PartialWildcard {
                        found: partial.to_owned(),
                    });
                }
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a pattern over request paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathPatternError {
    /// Paths are compared decoded.
    #[error("path pattern {found:?} has a percent sign, expected decoded text")]
    Encoded {
        /// The pattern.
        found: String,
    },
    /// No request's canonical path can be like this.
    #[error("path pattern {found:?} matches no request, expected a canonical path: {fault}")]
    NotCanonical {
        /// The pattern.
        found: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// A segment is a wildcard in part.
    #[error(
        "path pattern segment `{found}` has a wildcard in it, expected `*`, a last `**`, or none"
    )]
    PartialWildcard {
        /// The segment.
        found: String,
    },
    /// Something comes after `**`.
    #[error("path pattern segment `**` is followed by `{followed_by}`, expected it to be the last")]
    TailNotLast {
        /// The next segment.
        followed_by: String,
    },
    /// It is longer than a pattern may be.
    #[error("path pattern has {len} bytes, expected at most {MAX_PATTERN}")]
    TooLong {
        /// Its length.
        len: usize,
    },
}

impl PathPatternError {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Encoded { .. } => "write the character itself: paths are compared decoded",
            Self::NotCanonical { .. } => {
                "begin with one slash, end without one, and leave out dot segments, query and escapes"
            }
            Self::PartialWildcard { .. } => {
                "let the wildcard stand for a whole segment, and list what varies within one"
            }
            Self::TailNotLast { .. } => "write one `*` for each segment that varies before the end",
            Self::TooLong { .. } => "match the beginning, and end the pattern in `/**`",
        }
    }
}

/// As long as a SPIFFE ID may be; it bounds how deep patterns nest.
const MAX_PATTERN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &str) -> PathFault {
        canonical(path).unwrap_err()
    }

    #[test]
    fn escapes_are_resolved_once() {
        for (path, expected) in [
            ("/", "/"),
            ("/orders", "/orders"),
            ("/%6Frder%73/17", "/orders/17"),
            ("/caf%C3%A9", "/café"),
            ("/100%25", "/100%"),
            ("/a%20b", "/a b"),
            ("/a...b/...", "/a...b/..."),
        ] {
            assert_eq!(canonical(path).unwrap().0, expected, "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_canonical_form() {
        use PathFault::*;
        for (path, expected) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("admin", NotAbsolute),
            ("%2Fadmin", NotAbsolute),
            ("/public/%2e%2e/admin", DotSegment),
            ("/public/../admin", DotSegment),
            ("/./admin", DotSegment),
            ("/admin/.", DotSegment),
            ("/%2E/admin", DotSegment),
            ("//admin", EmptySegment),
            ("/admin/", EmptySegment),
            ("//", EmptySegment),
            ("/public%2Fadmin", EncodedSlash),
            ("/public%2fadmin", EncodedSlash),
            ("/admin%", BadEscape),
            ("/admin%2", BadEscape),
            ("/admin%zz", BadEscape),
            ("/admin%+1", BadEscape),
            ("/%FFadmin", BadEscape),
            ("/%C0%AFadmin", BadEscape),
            ("/%2561dmin", EncodedTwice),
            ("/%252Fadmin", EncodedTwice),
            ("/admin%00", AmbiguousCharacter { found: '\0' }),
            ("/admin%0a", AmbiguousCharacter { found: '\n' }),
            ("/admin;x=1", AmbiguousCharacter { found: ';' }),
            ("/public\\admin", AmbiguousCharacter { found: '\\' }),
            ("/public%5Cadmin", AmbiguousCharacter { found: '\\' }),
            ("/admin%3Fx", AmbiguousCharacter { found: '?' }),
            ("/admin#x", AmbiguousCharacter { found: '#' }),
        ] {
            assert_eq!(fault(path), expected, "{path}");
        }
    }

    #[test]
    fn a_pattern_matches_by_segment() {
        let matches = |pattern: &str, path: &str| {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
            pattern.matches(path)
        };
        assert!(matches("/", "/"));
        assert!(!matches("/", "/a"));
        assert!(matches("/a/*", "/a/b"));
        assert!(!matches("/a/*", "/a"));
        assert!(!matches("/a/*", "/a/b/c"));
        assert!(!matches("/a/*", "/ab/c"));
        assert!(matches("/a/**", "/a/b/c"));
        assert!(!matches("/a/**", "/a"));
        assert!(!matches("/**", "/"));
        assert!(matches("/*", "/%2A"));
        assert!(!matches("/a", "/A"));
    }

    #[test]
    fn a_pattern_that_no_canonical_path_can_match_is_refused() {
        use PathPatternError::*;
        let refusal = |text: &str| text.parse::<PathPattern>().unwrap_err();
        for text in ["", "a", "/a/", "//", "/../a", "/a?x", "/a;b"] {
            assert!(matches!(refusal(text), NotCanonical { .. }), "{text}");
        }
        assert!(matches!(refusal("/a%20b"), Encoded { .. }));
        assert!(matches!(refusal("/a*"), PartialWildcard { .. }));
        assert!(matches!(refusal("/***"), PartialWildcard { .. }));
        assert!(matches!(refusal("/**/a"), TailNotLast { .. }));
        assert!(matches!(refusal(&"/a".repeat(1025)), TooLong { len: 2050 }));
        assert!("/a".repeat(1024).parse::<PathPattern>().is_ok());
    }
}
