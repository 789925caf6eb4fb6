//! SPIFFE IDs and trust domains, read byte by byte as the standard writes them.
//!
//! No URL parser comes near an identity: one that lowers case, resolves `..`, drops an empty fragment or decodes `%2e`
//! turns a name that nobody issued into one that somebody trusts. A text is a SPIFFE ID as it stands, or it is refused.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a workload, `spiffe://trust-domain/path`, or of a trust domain itself, which has no path.
///
/// It holds only what the SPIFFE-ID standard allows and is compared byte by byte. Cloning it does not allocate.
///
/// ```
/// # use mtls_core::SpiffeId;
/// let id: SpiffeId = "spiffe://example.org/ns/shop/sa/web".parse()?;
/// assert_eq!(id.trust_domain_str(), "example.org");
/// assert_eq!(id.path(), "/ns/shop/sa/web");
/// assert!("spiffe://EXAMPLE.org/web".parse::<SpiffeId>().is_err());
/// # Ok::<(), mtls_core::SpiffeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    // INVARIANT: `check` accepted the text, and the trust domain is the `trust_domain_len` bytes after `SCHEME`.
    // The length follows from the text, so that the derived comparisons are those of the text.
    text: Arc<str>,
    trust_domain_len: usize,
}

impl SpiffeId {
    /// The identity with this path in this trust domain; the path is empty or begins with `/`.
    ///
    /// # Errors
    ///
    /// The path is not one that a SPIFFE ID may have, or makes it too long. Positions count from the start of the ID.
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, SpiffeIdError> {
        // Without its slash the path would lengthen the trust domain.
        match path.chars().next() {
            Some(found) if found != '/' => Err(SpiffeIdError::NoLeadingSlash { found }),
            _ => format!("{SCHEME}{trust_domain}{path}").parse(),
        }
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain it belongs to. Allocates; to compare, see [`is_member_of`](Self::is_member_of).
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.trust_domain_str().into())
    }

    /// The name of the trust domain it belongs to.
    #[must_use]
    pub fn trust_domain_str(&self) -> &str {
        let end = SCHEME.len() + self.trust_domain_len;
        self.text.get(SCHEME.len()..end).unwrap_or_default()
    }

    /// What follows the trust domain: empty, or `/` and segments.
    #[must_use]
    pub fn path(&self) -> &str {
        let start = SCHEME.len() + self.trust_domain_len;
        self.text.get(start..).unwrap_or_default()
    }

    /// The segments of the path, in order; none if the path is empty.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path().split('/').skip(1)
    }

    /// Whether it belongs to this trust domain.
    #[must_use]
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain_str() == trust_domain.as_str()
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let trust_domain_len = check(text)?;
        Ok(Self {
            text: text.into(),
            trust_domain_len,
        })
    }
}

impl TryFrom<&str> for SpiffeId {
    type Error = SpiffeIdError;

    fn try_from(text: &str) -> Result<Self, SpiffeIdError> {
        text.parse()
    }
}

impl AsRef<str> for SpiffeId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SpiffeId").field(&self.text).finish()
    }
}

/// The name of a trust domain: one issuing authority, and the SPIFFE IDs that it answers for.
///
/// It is lowercase, and compared byte by byte. Cloning it does not allocate.
///
/// ```
/// # use mtls_core::TrustDomain;
/// let domain: TrustDomain = "example.org".parse()?;
/// assert_eq!(domain, "spiffe://example.org/web".parse()?);
/// # Ok::<(), mtls_core::SpiffeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// The name, without the scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a bare name, or takes the trust domain of a whole SPIFFE ID, which is then checked to its end.
impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        // A bare name has neither character, so this is an ID or an attempt at one.
        if text.contains(":/") {
            return Ok(text.parse::<SpiffeId>()?.trust_domain());
        }
        check_trust_domain(text, 0)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<&str> for TrustDomain {
    type Error = SpiffeIdError;

    fn try_from(text: &str) -> Result<Self, SpiffeIdError> {
        text.parse()
    }
}

/// So that a map of trust domains can be asked by a name.
impl Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TrustDomain {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustDomain").field(&self.0).finish()
    }
}

/// Why a text is not a SPIFFE ID, or not a trust domain: the first thing wrong with it, from the left.
///
/// Positions are in bytes, from 0. What was found is printed escaped: it may come from a stranger's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// SPIFFE-ID §2.2: a path segment has letters, digits, `.`, `-` and `_`. There is no query and no fragment (§2).
    #[error("{found:?} at byte {at} is not allowed in a path, expected A-Z a-z 0-9 . - _")]
    BadPathSegmentChar {
        /// The character.
        found: char,
        /// Where it is.
        at: usize,
    },
    /// SPIFFE-ID §2.1: a trust domain has lowercase letters, digits, `.`, `-` and `_`; no user, no port.
    #[error("{found:?} at byte {at} is not allowed in a trust domain, expected a-z 0-9 . - _")]
    BadTrustDomainChar {
        /// The character.
        found: char,
        /// Where it is.
        at: usize,
    },
    /// SPIFFE-ID §2.2: a path has no relative segments.
    #[error("the path segment `{found}` at byte {at} is relative")]
    DotSegment {
        /// `.` or `..`.
        found: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// There is no text.
    #[error("it is empty, expected {SCHEME}trust-domain/path")]
    Empty,
    /// SPIFFE-ID §2.2: a path has no empty segments.
    #[error("the path segment at byte {at} is empty")]
    EmptySegment {
        /// Where it should begin.
        at: usize,
    },
    /// SPIFFE-ID §2.1: a trust domain is not empty.
    #[error("the trust domain is missing, expected {SCHEME}trust-domain/path")]
    MissingTrustDomain,
    /// A path that was given by itself does not begin with a slash.
    #[error("the path begins with {found:?}, expected '/'")]
    NoLeadingSlash {
        /// What it begins with.
        found: char,
    },
    /// SPIFFE-ID §2.3 asks everyone to read 2048 bytes, and nobody to write more.
    #[error("it has {found} bytes, the limit is {limit}")]
    TooLong {
        /// The length in bytes.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// SPIFFE-ID §2.2: a path does not end in a slash.
    #[error("the path ends in a slash at byte {at}")]
    TrailingSlash {
        /// Where the slash is.
        at: usize,
    },
    /// SPIFFE-ID §2.3: a trust domain has at most 255 bytes.
    #[error("the trust domain has {found} bytes, the limit is {limit}")]
    TrustDomainTooLong {
        /// The length in bytes.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// SPIFFE-ID §2: the scheme is `spiffe`, here in lowercase and with both slashes.
    #[error("it begins with {found:?}, expected {SCHEME:?}")]
    WrongScheme {
        /// As many characters from its start as the scheme would take.
        found: String,
    },
}

impl SpiffeIdError {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::BadPathSegmentChar { .. } => {
                "use letters, digits, `.`, `-` and `_` in path segments; nothing is percent-decoded, and there is no query or fragment"
            }
            Self::BadTrustDomainChar { .. } => {
                "use lowercase letters, digits, `.`, `-` and `_` in the trust domain, without a port or a user"
            }
            Self::DotSegment { .. } => "write the path out: `.` and `..` are never resolved",
            Self::Empty | Self::MissingTrustDomain => {
                "write a SPIFFE ID of the form spiffe://trust-domain/path"
            }
            Self::EmptySegment { .. } => "write a single slash between path segments",
            Self::NoLeadingSlash { .. } => "begin the path with a slash, or leave it empty",
            Self::TooLong { .. } => "shorten the path",
            Self::TrailingSlash { .. } => "leave out the slash at the end",
            Self::TrustDomainTooLong { .. } => "choose a shorter trust domain",
            Self::WrongScheme { .. } => "begin it with spiffe:// in lowercase",
        }
    }
}

/// Checks a whole ID and returns the length of its trust domain.
fn check(text: &str) -> Result<usize, SpiffeIdError> {
    if text.is_empty() {
        return Err(SpiffeIdError::Empty);
    }
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return Err(SpiffeIdError::WrongScheme {
            found: text.chars().take(SCHEME.len()).collect(),
        });
    };
    if text.len() > MAX_ID {
        return Err(SpiffeIdError::TooLong {
            found: text.len(),
            limit: MAX_ID,
        });
    }
    let (trust_domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    check_trust_domain(trust_domain, SCHEME.len())?;
    check_path(path, SCHEME.len() + trust_domain.len())?;
    Ok(trust_domain.len())
}

/// SPIFFE-ID §2.1. `start` is where the name begins in the text that an error speaks of.
///
/// The name may look like a DNS name or an address; "MUST NOT be processed differently" for that, so it is not.
fn check_trust_domain(name: &str, start: usize) -> Result<(), SpiffeIdError> {
    if let Some((at, found)) = find_char(name, |c| !is_trust_domain_char(c)) {
        let at = start + at;
        return Err(SpiffeIdError::BadTrustDomainChar { found, at });
    }
    match name.len() {
        0 => Err(SpiffeIdError::MissingTrustDomain),
        found if found > MAX_TRUST_DOMAIN => Err(SpiffeIdError::TrustDomainTooLong {
            found,
            limit: MAX_TRUST_DOMAIN,
        }),
        _ => Ok(()),
    }
}

/// SPIFFE-ID §2.2. `start` is where the path begins in the text that an error speaks of.
fn check_path(path: &str, start: usize) -> Result<(), SpiffeIdError> {
    let mut at = start + 1;
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if let Some((offset, found)) = find_char(segment, |c| !is_segment_char(c)) {
            let at = at + offset;
            return Err(SpiffeIdError::BadPathSegmentChar { found, at });
        }
        match segment {
            "" if segments.peek().is_none() => {
                return Err(SpiffeIdError::TrailingSlash { at: at - 1 });
            }
            "" => return Err(SpiffeIdError::EmptySegment { at }),
            "." => return Err(SpiffeIdError::DotSegment { found: ".", at }),
            ".." => return Err(SpiffeIdError::DotSegment { found: "..", at }),
            _ => at += segment.len() + 1,
        }
    }
    Ok(())
}

fn find_char(text: &str, wanted: impl Fn(char) -> bool) -> Option<(usize, char)> {
    text.char_indices().find(|&(_, c)| wanted(c))
}

fn is_trust_domain_char(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')
}

fn is_segment_char(c: char) -> bool {
    is_trust_domain_char(c) || c.is_ascii_uppercase()
}

/// How every SPIFFE ID begins. SPIFFE-ID §2.4 calls the scheme case-insensitive, §2.1 has it written in lowercase;
/// a verifier that reads the lowercase form only never sees two spellings of one name.
pub(crate) const SCHEME: &str = "spiffe://";

/// SPIFFE-ID §2.3.
const MAX_ID: usize = 2048;

/// SPIFFE-ID §2.3, after the longest host that RFC 3986 §3.2.2 has in mind.
const MAX_TRUST_DOMAIN: usize = 255;

#[cfg(test)]
mod tests;
