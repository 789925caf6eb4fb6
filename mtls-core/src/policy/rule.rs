//! A rule, as it is written.

use std::fmt;

/// What a rule, or the default, comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The peer may.
    Allow,
    /// The peer may not.
    Deny,
}

impl Effect {
    /// `allow` or `deny`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something about a peer or a request that a rule can ask for.
///
/// What a peer lacks matches nothing: a peer without a SPIFFE ID is neither one of `spiffe` nor one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fact {
    /// A SPIFFE ID, or a [`SpiffePattern`](crate::SpiffePattern).
    Spiffe,
    /// The trust domain of the peer's SPIFFE ID.
    TrustDomain,
    /// A Kubernetes namespace: `shop` in the local trust domain or the one that the rule asks for, or `example.org/shop`.
    Namespace,
    /// A Kubernetes service account: `shop/web`, or `example.org/shop/web`; see [`Fact::Namespace`].
    ServiceAccount,
    /// A DNS SAN, compared whole and without regard to ASCII case.
    Dns,
    /// An IP address SAN.
    Ip,
    /// SHA-256 of the leaf certificate, in hexadecimal digits, with or without colons.
    Fingerprint,
    /// The subject's common name, of peers that have no SPIFFE ID. RFC 9525 §2: a common name identifies nobody, and many
    /// authorities let whoever asks choose it. For peers that have nothing else.
    LegacyCommonName,
    /// One of the subject's organizational units; as weak as [`Fact::LegacyCommonName`].
    LegacyOrganizationalUnit,
    /// The request's method, in capitals. `GET` is not `HEAD`, which many routers answer by the same handler.
    Method,
    /// The request's path, as a [`PathPattern`](crate::PathPattern).
    Path,
    /// The host that the request is for, without a port.
    Host,
    /// The full name of a gRPC service, such as `shop.v1.Orders`.
    GrpcService,
    /// The method of a gRPC service, such as `List`.
    GrpcMethod,
}

impl Fact {
    /// Every fact, those about peers first.
    pub const ALL: &'static [Self] = &[
        Self::Spiffe,
        Self::TrustDomain,
        Self::Namespace,
        Self::ServiceAccount,
        Self::Dns,
        Self::Ip,
        Self::Fingerprint,
        Self::LegacyCommonName,
        Self::LegacyOrganizationalUnit,
        Self::Method,
        Self::Path,
        Self::Host,
        Self::GrpcService,
        Self::GrpcMethod,
    ];

    /// Its name in policy files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spiffe => "spiffe",
            Self::TrustDomain => "trust_domain",
            Self::Namespace => "namespace",
            Self::ServiceAccount => "service_account",
            Self::Dns => "dns",
            Self::Ip => "ip",
            Self::Fingerprint => "fingerprint",
            Self::LegacyCommonName => "legacy_common_name",
            Self::LegacyOrganizationalUnit => "legacy_organizational_unit",
            Self::Method => "method",
            Self::Path => "path",
            Self::Host => "host",
            Self::GrpcService => "grpc_service",
            Self::GrpcMethod => "grpc_method",
        }
    }

    /// Whether it is about the request, so that a rule that asks for it decides only where there is one.
    #[must_use]
    pub const fn is_of_request(self) -> bool {
        match self {
            Self::Method | Self::Path | Self::Host | Self::GrpcService | Self::GrpcMethod => true,
            Self::Spiffe
            | Self::TrustDomain
            | Self::Namespace
            | Self::ServiceAccount
            | Self::Dns
            | Self::Ip
            | Self::Fingerprint
            | Self::LegacyCommonName
            | Self::LegacyOrganizationalUnit => false,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a rule is about, before any fact is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Who {
    /// Nobody is known: there is no client certificate.
    Anonymous,
    /// Whoever, known or not.
    Anyone,
    /// Any verified peer.
    Verified,
}

impl Who {
    /// Its name in policy files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Anyone => "anyone",
            Self::Verified => "verified",
        }
    }
}

/// One rule: whom it is about, and what it asks for. Facts are all to hold; of a fact's values one is enough.
///
/// Nothing is checked until a policy is built of it.
///
/// ```
/// # use mtls_core::{Fact, Rule};
/// let rule = Rule::named("the shop reads orders")
///     .is(Fact::Namespace, ["shop"])
///     .is_not(Fact::ServiceAccount, ["shop/batch"])
///     .is(Fact::Method, ["GET"])
///     .is(Fact::Path, ["/orders", "/orders/**"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Rule {
    pub(super) name: String,
    pub(super) who: Option<Who>,
    pub(super) conditions: Vec<Asked>,
}

/// What a rule asks of one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) fact: Fact,
    pub(super) negated: bool,
    pub(super) values: Vec<String>,
}

impl Rule {
    /// A rule by the name that a denial and [`explain`](crate::AccessPolicy::explain) tell; no two in a policy share one.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            who: None,
            conditions: Vec::new(),
        }
    }

    /// It is about every verified peer. That goes without saying once a fact about the peer is asked for.
    pub fn verified(self) -> Self {
        self.who(Who::Verified)
    }

    /// It is about whoever has no identity. A fact about the peer cannot be asked for beside it.
    pub fn anonymous(self) -> Self {
        self.who(Who::Anonymous)
    }

    /// It is about everyone, with an identity or without.
    pub fn anyone(self) -> Self {
        self.who(Who::Anyone)
    }

    /// Asks that the fact be one of these.
    pub fn is(self, fact: Fact, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.asked(fact, false, values)
    }

    /// Asks that the fact be there, and none of these.
    pub fn is_not(self, fact: Fact, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.asked(fact, true, values)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn who(mut self, who: Who) -> Self {
        self.who = Some(who);
        self
    }

    fn asked(
        mut self,
        fact: Fact,
        negated: bool,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.conditions.push(Asked {
            fact,
            negated,
            values: values.into_iter().map(Into::into).collect(),
        });
        self
    }
}
