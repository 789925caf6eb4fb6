//! Policies: rules over verified identities, as values.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::authorizer::{Authorizer, Denial};
use super::pattern::{PatternError, SpiffePattern};
use crate::identity::{PeerIdentity, SCHEME, SpiffeId, SpiffeIdError, TrustDomain};

/// Who may connect, as a value: built once, printed, tested without a network, and cheap to clone.
///
/// A rule about one kind of identity never matches a peer that lacks that kind: a rule about SPIFFE IDs refuses a peer
/// that has DNS names only, whatever they say. There is no default, and no empty list.
///
/// ```
/// # use mtls_core::Policy;
/// let policy = Policy::any([
///     Policy::pattern("spiffe://example.org/ns/shop/sa/*")?,
///     Policy::dns_name("backup.example.org")?,
/// ])?;
/// assert_eq!(
///     policy.to_string(),
///     "any of (`spiffe://example.org/ns/shop/sa/*`; DNS name `backup.example.org`)"
/// );
/// # Ok::<(), mtls_core::PolicyError>(())
/// ```
#[derive(Clone)]
pub struct Policy(Arc<Stated>);

/// A rule, and how it reads. The text is made once, so that a denial costs no more than a pointer.
struct Stated {
    rule: Rule,
    text: Arc<str>,
}

enum Rule {
    // INVARIANT: `non_empty` made the lists, so `All` cannot hold by having nothing to ask.
    All(Vec<Policy>),
    Any(Vec<Policy>),
    AnyVerifiedPeer,
    // INVARIANT: `parse_dns_name` made it: lowercase, and no wildcard.
    DnsName(String),
    Pattern(SpiffePattern),
    SpiffeId(SpiffeId),
    SpiffeIds(HashSet<SpiffeId>),
    TrustDomain(TrustDomain),
}

impl Policy {
    /// Every peer whose SPIFFE ID is in this trust domain, given as `example.org` or `spiffe://example.org`.
    ///
    /// # Errors
    ///
    /// It is no trust domain, or it is the SPIFFE ID of a workload: to take only its domain would let in too many.
    pub fn trust_domain(name: impl AsRef<str>) -> Result<Self, PolicyError> {
        let found = name.as_ref();
        let trust_domain: TrustDomain =
            found
                .parse()
                .map_err(|source| PolicyError::InvalidTrustDomain {
                    found: found.to_owned(),
                    source,
                })?;
        let bare = found.strip_prefix(SCHEME).unwrap_or(found);
        if bare != trust_domain.as_str() {
            return Err(PolicyError::PathInTrustDomain {
                found: found.to_owned(),
            });
        }
        Ok(Self::stated(Rule::TrustDomain(trust_domain)))
    }

    /// The peer with exactly this SPIFFE ID.
    ///
    /// # Errors
    ///
    /// It is no SPIFFE ID, or one without a path, which no workload has.
    pub fn spiffe_id(id: impl AsRef<str>) -> Result<Self, PolicyError> {
        parse_workload_id(id.as_ref()).map(|id| Self::stated(Rule::SpiffeId(id)))
    }

    /// The peers with exactly these SPIFFE IDs. Deciding takes as long for ten thousand as for one.
    ///
    /// # Errors
    ///
    /// There are none, or one of them is refused by [`spiffe_id`](Self::spiffe_id).
    ///
    /// ```
    /// # use mtls_core::{Policy, PolicyError};
    /// let policy = Policy::spiffe_ids(["spiffe://example.org/web", "spiffe://example.org/api"])?;
    /// let nobody: [&str; 0] = [];
    /// assert!(matches!(Policy::spiffe_ids(nobody), Err(PolicyError::EmptyList { .. })));
    /// # Ok::<(), PolicyError>(())
    /// ```
    pub fn spiffe_ids(ids: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, PolicyError> {
        let ids = ids
            .into_iter()
            .map(|id| parse_workload_id(id.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let ids = non_empty(ids, "spiffe_ids")?;
        Ok(Self::stated(Rule::SpiffeIds(ids.into_iter().collect())))
    }

    /// The peers whose SPIFFE IDs match this [`SpiffePattern`].
    ///
    /// # Errors
    ///
    /// It is no pattern.
    pub fn pattern(pattern: impl AsRef<str>) -> Result<Self, PolicyError> {
        let pattern: SpiffePattern = pattern.as_ref().parse()?;
        Ok(pattern.into())
    }

    /// The peers that have this DNS name among theirs; it is compared whole, and without regard to ASCII case.
    ///
    /// Certificates for servers may have wildcard names. As the name of a client a wildcard is a name like any other: it
    /// is not expanded, and since none can be written here, it matches nothing.
    ///
    /// # Errors
    ///
    /// It is no DNS name, has a wildcard or a dot at its end, or is an IP address.
    pub fn dns_name(name: impl AsRef<str>) -> Result<Self, PolicyError> {
        parse_dns_name(name.as_ref()).map(|name| Self::stated(Rule::DnsName(name)))
    }

    /// The peers that at least one of these lets in.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn any(policies: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self, PolicyError> {
        let policies = policies.into_iter().map(Into::into).collect();
        Ok(Self::stated(Rule::Any(non_empty(policies, "any")?)))
    }

    /// The peers that each of these lets in.
    ///
    /// # Errors
    ///
    /// There are none. Mathematics would then let everyone in; a list that a program filtered down to nothing should not.
    pub fn all(policies: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self, PolicyError> {
        let policies = policies.into_iter().map(Into::into).collect();
        Ok(Self::stated(Rule::All(non_empty(policies, "all")?)))
    }

    /// Whoever holds a certificate that the trust bundle verifies: everyone its authorities ever signed, for whatever
    /// reason, until it expires.
    ///
    /// It is for an authority that signs for this service's callers and nobody else. In a cluster that is rarely so:
    /// every workload there has a certificate, and with this policy each of them may connect.
    #[must_use]
    pub fn any_verified_peer() -> Self {
        Self::stated(Rule::AnyVerifiedPeer)
    }

    /// Whether this peer is let in.
    ///
    /// # Errors
    ///
    /// It is not; the denial says who is. Of several that must all agree it names the first that did not.
    pub fn decide(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        let id = peer.spiffe_id();
        let allowed = match &self.0.rule {
            Rule::All(policies) => return policies.iter().try_for_each(|p| p.decide(peer)),
            Rule::Any(policies) => policies.iter().any(|p| p.decide(peer).is_ok()),
            Rule::AnyVerifiedPeer => true,
            Rule::DnsName(name) => {
                let mut names = peer.dns_names().iter();
                names.any(|found| found.eq_ignore_ascii_case(name))
            }
            Rule::Pattern(pattern) => id.is_some_and(|id| pattern.matches(id)),
            Rule::SpiffeId(expected) => id.is_some_and(|id| id == expected),
            Rule::SpiffeIds(ids) => id.is_some_and(|id| ids.contains(id)),
            Rule::TrustDomain(domain) => id.is_some_and(|id| id.is_member_of(domain)),
        };
        if allowed {
            Ok(())
        } else {
            Err(Denial::expected(Arc::clone(&self.0.text)))
        }
    }

    fn stated(rule: Rule) -> Self {
        let text = rule.to_string().into();
        Self(Arc::new(Stated { rule, text }))
    }
}

impl Authorizer for Policy {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        self.decide(peer)
    }
}

/// Reads `spiffe://…` as one SPIFFE ID, or as a pattern if it has an asterisk. Nothing else: a bare word could be meant
/// as a trust domain or as a DNS name, and it is not for us to guess.
///
/// ```
/// # use mtls_core::{Policy, PolicyError};
/// let one: Policy = "spiffe://example.org/ns/shop/sa/web".parse()?;
/// let many: Policy = "spiffe://example.org/ns/shop/**".parse()?;
/// assert!(matches!("example.org".parse::<Policy>(), Err(PolicyError::NotASpiffeId { .. })));
/// # Ok::<(), PolicyError>(())
/// ```
impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if !text.starts_with(SCHEME) {
            return Err(PolicyError::NotASpiffeId {
                found: text.to_owned(),
            });
        }
        if text.contains('*') {
            Self::pattern(text)
        } else {
            Self::spiffe_id(text)
        }
    }
}

impl TryFrom<&str> for Policy {
    type Error = PolicyError;

    fn try_from(text: &str) -> Result<Self, PolicyError> {
        text.parse()
    }
}

impl TryFrom<String> for Policy {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

/// The peer with exactly this SPIFFE ID. If it has no path, that is nobody.
impl From<SpiffeId> for Policy {
    fn from(id: SpiffeId) -> Self {
        Self::stated(Rule::SpiffeId(id))
    }
}

impl From<SpiffePattern> for Policy {
    fn from(pattern: SpiffePattern) -> Self {
        Self::stated(Rule::Pattern(pattern))
    }
}

/// Long lists are cut short, and say by how many.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Policy").field(&self.0.text).finish()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(policies) => write!(
                f,
                "all of ({})",
                listed(policies, "; ", ToString::to_string)
            ),
            Self::Any(policies) => write!(
                f,
                "any of ({})",
                listed(policies, "; ", ToString::to_string)
            ),
            Self::AnyVerifiedPeer => f.write_str("any verified peer"),
            Self::DnsName(name) => write!(f, "DNS name `{name}`"),
            Self::Pattern(pattern) => write!(f, "`{pattern}`"),
            Self::SpiffeId(id) => write!(f, "`{id}`"),
            Self::SpiffeIds(ids) => {
                let mut ids: Vec<_> = ids.iter().collect();
                ids.sort_unstable();
                write!(f, "one of {}", listed(ids, ", ", |id| format!("`{id}`")))
            }
            Self::TrustDomain(domain) => write!(f, "trust domain `{domain}`"),
        }
    }
}

/// Why a policy could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A list of alternatives or conditions is empty: nobody could connect, or everybody.
    #[error("the list given to `Policy::{list}` is empty")]
    EmptyList {
        /// The function it was given to.
        list: &'static str,
    },
    /// It is no DNS name.
    #[error("{found:?} is not a DNS name")]
    InvalidDnsName {
        /// What was given.
        found: String,
    },
    /// It is no pattern.
    #[error(transparent)]
    InvalidPattern(#[from] PatternError),
    /// It is no SPIFFE ID.
    #[error("{found:?} is not a SPIFFE ID")]
    InvalidSpiffeId {
        /// What was given.
        found: String,
        /// What is wrong with it.
        #[source]
        source: SpiffeIdError,
    },
    /// It is no trust domain.
    #[error("{found:?} is not a trust domain")]
    InvalidTrustDomain {
        /// What was given.
        found: String,
        /// What is wrong with it.
        #[source]
        source: SpiffeIdError,
    },
    /// An IP address stands where a DNS name should.
    #[error("`{found}` is an IP address, expected a DNS name")]
    IpAddress {
        /// The address.
        found: String,
    },
    /// It is the SPIFFE ID of a trust domain, which no workload has (X509-SVID §5.2): nobody could connect.
    #[error("`{found}` has no path, expected the SPIFFE ID of a workload")]
    MissingPath {
        /// The ID.
        found: String,
    },
    /// A text that should say what it means does not begin with `spiffe://`.
    #[error("{found:?} does not begin with {SCHEME:?}, so what it means cannot be told")]
    NotASpiffeId {
        /// What was given.
        found: String,
    },
    /// It is the SPIFFE ID of a workload, where a whole trust domain would have been let in.
    #[error("`{found}` has a path, expected a trust domain")]
    PathInTrustDomain {
        /// The ID.
        found: String,
    },
    /// A DNS name ends in a dot, as no name in a certificate does.
    #[error("`{found}` ends in a dot, expected a name as certificates have it")]
    TrailingDot {
        /// The name.
        found: String,
    },
    /// A DNS name has a wildcard. Names of peers are compared whole.
    #[error("`{found}` has a wildcard, expected one DNS name")]
    Wildcard {
        /// The name.
        found: String,
    },
}

/// So that whatever takes a policy, or a text that may be none, has one kind of error.
impl From<Infallible> for PolicyError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl PolicyError {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::EmptyList { .. } => {
                "list at least one; if a program made the list, find out why it came out empty"
            }
            Self::InvalidDnsName { .. } => {
                "give the name as it stands in the certificate's DNS SAN; for a spiffe:// name use Policy::spiffe_id"
            }
            Self::InvalidPattern(source) => source.remedy(),
            Self::InvalidSpiffeId { .. } => {
                "write spiffe://trust-domain/path in full; for wildcards use Policy::pattern"
            }
            Self::InvalidTrustDomain { .. } => {
                "write the trust domain's lowercase name, such as example.org; for a DNS name use Policy::dns_name"
            }
            Self::IpAddress { .. } => {
                "give a DNS name or a SPIFFE ID that the peer's certificate has; addresses are reused"
            }
            Self::MissingPath { .. } => {
                "add the workload's path, or use Policy::trust_domain for every workload of the trust domain"
            }
            Self::NotASpiffeId { .. } => {
                "begin it with spiffe://, or use Policy::dns_name or Policy::trust_domain to say which it is"
            }
            Self::PathInTrustDomain { .. } => {
                "use Policy::spiffe_id for this workload alone, or leave out the path for all of the trust domain"
            }
            Self::TrailingDot { .. } => "leave out the dot at the end",
            Self::Wildcard { .. } => {
                "list the names with Policy::any, or give the peers SPIFFE IDs and use Policy::pattern"
            }
        }
    }
}

pub(super) fn parse_workload_id(text: &str) -> Result<SpiffeId, PolicyError> {
    let id: SpiffeId = text
        .parse()
        .map_err(|source| PolicyError::InvalidSpiffeId {
            found: text.to_owned(),
            source,
        })?;
    if id.path().is_empty() {
        return Err(PolicyError::MissingPath {
            found: text.to_owned(),
        });
    }
    Ok(id)
}

pub(super) fn parse_dns_name(text: &str) -> Result<String, PolicyError> {
    let found = text.to_owned();
    match ServerName::try_from(text) {
        Ok(ServerName::IpAddress(_)) => Err(PolicyError::IpAddress { found }),
        Ok(ServerName::DnsName(_)) if text.ends_with('.') => {
            Err(PolicyError::TrailingDot { found })
        }
        Ok(ServerName::DnsName(name)) => Ok(name.as_ref().to_ascii_lowercase()),
        Err(_) if text.contains('*') => Err(PolicyError::Wildcard { found }),
        // `ServerName` may grow a kind of name; it is not one that this rule compares.
        Ok(_) | Err(_) => Err(PolicyError::InvalidDnsName { found }),
    }
}

fn non_empty<T>(items: Vec<T>, list: &'static str) -> Result<Vec<T>, PolicyError> {
    if items.is_empty() {
        return Err(PolicyError::EmptyList { list });
    }
    Ok(items)
}

fn listed<T>(
    items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    separator: &str,
    print: impl Fn(T) -> String,
) -> String {
    let mut items = items.into_iter();
    let shown: Vec<_> = items.by_ref().take(SHOWN).map(print).collect();
    let shown = shown.join(separator);
    match items.len() {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}

/// How many items of a list a policy prints: a log line is read by people.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests;
