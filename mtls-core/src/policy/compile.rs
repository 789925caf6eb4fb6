//! A rule as it is decided by: every value parsed, every list a set.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::fault::{Place, RuleError, RuleFault};
use super::legacy;
use super::path::{PathFault, PathPattern};
use super::request::{HostFault, RequestFacts, is_host};
use super::rule::{Asked, Effect, Fact, Rule, Who};
use super::rules::parse_dns_name;
use super::segments::{Segment, SegmentMap, TAIL};
use super::values::{
    Domains, invalid, is_grpc_name, is_method, parse_trust_domain, read_fingerprint,
    service_accounts, spiffe_pattern,
};
use crate::identity::{KubernetesServiceAccount, PeerIdentity, SCHEME, TrustDomain};

/// A rule that can be decided by.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) name: Arc<str>,
    pub(super) effect: Effect,
    pub(super) who: Who,
    pub(super) conditions: Vec<Condition>,
    /// The condition that it is found by, as the index decides.
    pub(super) key: Option<usize>,
    /// What was expected instead, when this rule denies. Made once: a peer can be denied at will.
    pub(super) denial: Option<Arc<str>>,
}

/// What a rule asks of one fact.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) fact: Fact,
    pub(super) negated: bool,
    pub(super) values: Values,
}

/// The values of one fact.
#[derive(Debug)]
pub(super) enum Values {
    Fingerprints(HashSet<[u8; 32]>),
    Ips(HashSet<IpAddr>),
    /// Patterns, and the same as texts whose segments are divided by slashes.
    Segments(SegmentMap<()>, Vec<Box<str>>),
    Texts(HashSet<Box<str>>),
}

/// The half of a question that is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Half<'a> {
    /// A peer, or somebody without a certificate.
    Peer(Option<&'a PeerIdentity>),
    /// A request, or a connection.
    Request(Option<&'a RequestFacts<'a>>),
}

/// Whether a rule, or a condition of it, holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// It would have to read what can be read in two ways, or not at all.
    Unreadable(Unreadable),
}

/// A fact of the request that a rule has to read, and cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The host cannot be told.
    #[error(transparent)]
    Host(#[from] HostFault),
    /// There is no request.
    #[error("there is no request to read")]
    NoRequest,
    /// The path has no canonical form.
    #[error(transparent)]
    Path(#[from] PathFault),
}

impl Compiled {
    pub(super) fn new(
        rule: &Rule,
        effect: Effect,
        position: usize,
        local: Option<&TrustDomain>,
    ) -> Result<Self, RuleError> {
        let error = |place, fault| RuleError {
            place,
            rule: Some(rule.name.clone()),
            fault: Box::new(fault),
        };
        let here = Place::Rule(effect, position);
        if rule.name.is_empty() {
            return Err(RuleError {
                rule: None,
                ..error(here, RuleFault::Unnamed)
            });
        }
        let about_peer = rule.conditions.iter().position(|c| !c.fact.is_of_request());
        let who = match (rule.who, about_peer) {
            (None, None) => return Err(error(here, RuleFault::MissingPeer)),
            (Some(who @ (Who::Anonymous | Who::Anyone)), Some(at)) => {
                let fact = rule.conditions.get(at).map_or(Fact::Spiffe, |c| c.fact);
                // "Anyone" beside a fact that only a verified peer has would be read as more than it is.
                let place = Place::Condition(effect, position, at);
                return Err(error(place, RuleFault::FactOfNobody { fact, who }));
            }
            (Some(who), _) => who,
            (None, Some(_)) => Who::Verified,
        };
        let domains = Domains::of(rule, local);
        let mut conditions = Vec::with_capacity(rule.conditions.len());
        for (at, asked) in rule.conditions.iter().enumerate() {
            let place = Place::Condition(effect, position, at);
            let before = rule.conditions.iter().take(at);
            if before
                .clone()
                .any(|c| (c.fact, c.negated) == (asked.fact, asked.negated))
            {
                let fact = asked.fact;
                return Err(error(place, RuleFault::RepeatedFact { fact }));
            }
            if asked.values.is_empty() {
                let fact = asked.fact;
                return Err(error(place, RuleFault::EmptyList { fact }));
            }
            conditions.push(Condition::new(asked, &domains).map_err(|(value, fault)| {
                error(Place::Value(effect, position, at, value), fault)
            })?);
        }
        let denial = (effect == Effect::Deny)
            .then(|| format!("somebody whom the deny rule `{}` does not match", rule.name).into());
        Ok(Self {
            name: rule.name.as_str().into(),
            effect,
            who,
            conditions,
            key: None,
            denial,
        })
    }

    /// `known` is the position of a condition that is known to hold.
    pub(super) fn holds(
        &self,
        known: Option<usize>,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> Holds {
        if !self.is_about(peer) {
            return Holds::No;
        }
        self.all_hold(|at, _| known != Some(at), peer, request)
    }

    /// As `holds`, by the conditions on the half that is known alone. The other half is not asked about: what is said is that
    /// nothing is in the way so far.
    pub(super) fn may_hold(&self, half: Half<'_>) -> Holds {
        match half {
            Half::Peer(peer) if !self.is_about(peer) => Holds::No,
            Half::Peer(peer) => self.all_hold(|_, fact| !fact.is_of_request(), peer, None),
            Half::Request(request) => self.all_hold(|_, fact| fact.is_of_request(), None, request),
        }
    }

    fn is_about(&self, peer: Option<&PeerIdentity>) -> bool {
        match self.who {
            Who::Anonymous => peer.is_none(),
            Who::Anyone => true,
            Who::Verified => peer.is_some(),
        }
    }

    /// Whether the conditions that are asked hold.
    fn all_hold(
        &self,
        is_asked: impl Fn(usize, Fact) -> bool,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> Holds {
        let mut all = Holds::Yes;
        for (at, condition) in self.conditions.iter().enumerate() {
            if !is_asked(at, condition.fact) {
                continue;
            }
            match condition.holds(self.effect, peer, request) {
                Holds::Yes => {}
                Holds::No => return Holds::No,
                // Only if nothing else in the rule says no: the path of somebody else is not this rule's concern.
                unreadable @ Holds::Unreadable(_) => all = unreadable,
            }
        }
        all
    }

    pub(super) fn request_fact(&self) -> Option<(usize, Fact)> {
        let facts = self.conditions.iter().map(|c| c.fact).enumerate();
        facts.into_iter().find(|(_, fact)| fact.is_of_request())
    }
}

impl Condition {
    fn new(asked: &Asked, domains: &Domains) -> Result<Self, (usize, RuleFault)> {
        let fact = asked.fact;
        let values = match fact {
            Fact::Fingerprint => Values::Fingerprints(each(asked, |text| {
                read_fingerprint(text).ok_or_else(|| {
                    let expected = "the SHA-256 of a certificate, as 64 hexadecimal digits";
                    invalid(fact, text, expected)
                })
            })?),
            Fact::Ip => Values::Ips(each(asked, |text| {
                text.parse()
                    .map_err(|_| invalid(fact, text, "an IPv4 or IPv6 address"))
            })?),
            Fact::Spiffe => Values::patterns(each(asked, spiffe_pattern)?),
            Fact::TrustDomain => Values::patterns(each(asked, |text| {
                parse_trust_domain(text).map(|domain| format!("{domain}/{TAIL}").into())
            })?),
            Fact::Namespace | Fact::ServiceAccount => {
                let accounts: Vec<Vec<Box<str>>> =
                    each(asked, |text| service_accounts(fact, text, domains))?;
                Values::patterns(accounts.into_iter().flatten().collect())
            }
            Fact::Path => Values::patterns(each(asked, |text| {
                let pattern: Result<PathPattern, _> = text.parse();
                let pattern = pattern.map_err(|fault| RuleFault::InvalidPath { fault })?;
                Ok(pattern.as_str().get(1..).unwrap_or_default().into())
            })?),
            Fact::Dns => Values::Texts(each(asked, |text| {
                let name = parse_dns_name(text);
                name.map(Into::into)
                    .map_err(|fault| RuleFault::InvalidDns { fault })
            })?),
            Fact::LegacyCommonName | Fact::LegacyOrganizationalUnit => {
                Values::texts(asked, |text| !text.is_empty(), "a text")?
            }
            Fact::Method => Values::texts(asked, is_method, "a method in capitals, such as GET")?,
            Fact::Host => Values::Texts(each(asked, |text| {
                let host = is_host(text) && super::request::without_port(text) == text;
                let expected = "a host without a port, a wildcard or a final dot";
                match host {
                    true => Ok(text.to_ascii_lowercase().into()),
                    false => Err(invalid(fact, text, expected)),
                }
            })?),
            Fact::GrpcService | Fact::GrpcMethod => {
                Values::texts(asked, is_grpc_name, "a full name, such as shop.v1.Orders")?
            }
        };
        Ok(Self {
            fact,
            negated: asked.negated,
            values,
        })
    }

    fn holds(
        &self,
        effect: Effect,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
    ) -> Holds {
        let found = if self.fact.is_of_request() {
            match request {
                Some(request) => self.found_in_request(effect, request),
                None => Err(Unreadable::NoRequest),
            }
        } else {
            Ok(peer.and_then(|peer| self.found_in_peer(peer)))
        };
        match found {
            // What is not there is neither one of the values nor another.
            Ok(None) => Holds::No,
            Ok(Some(found)) if found != self.negated => Holds::Yes,
            Ok(Some(_)) => Holds::No,
            Err(unreadable) => Holds::Unreadable(unreadable),
        }
    }

    /// Whether the peer's fact is one of the values; `None` if it has no such fact.
    fn found_in_peer(&self, peer: &PeerIdentity) -> Option<bool> {
        match self.fact {
            Fact::Spiffe | Fact::TrustDomain => {
                let id = peer.spiffe_id()?;
                Some(self.values.cover(spiffe_segments(id.as_str())))
            }
            Fact::Namespace | Fact::ServiceAccount => {
                let account = peer.kubernetes()?;
                Some(self.values.cover(account_segments(account)))
            }
            Fact::Dns => self.values.any_text(peer.dns_names()),
            Fact::Ip => {
                let found = peer.ip_addresses();
                let Values::Ips(values) = &self.values else {
                    return None;
                };
                (!found.is_empty()).then(|| found.iter().any(|ip| values.contains(ip)))
            }
            Fact::Fingerprint => match &self.values {
                Values::Fingerprints(values) => Some(values.contains(peer.sha256())),
                Values::Ips(_) | Values::Segments(..) | Values::Texts(_) => None,
            },
            Fact::LegacyCommonName => self.values.any_text(&legacy::common_names(peer)),
            Fact::LegacyOrganizationalUnit => {
                self.values.any_text(&legacy::organizational_units(peer))
            }
            Fact::Method | Fact::Path | Fact::Host | Fact::GrpcService | Fact::GrpcMethod => None,
        }
    }

    fn found_in_request(
        &self,
        effect: Effect,
        request: &RequestFacts<'_>,
    ) -> Result<Option<bool>, Unreadable> {
        let path = || {
            request
                .path
                .as_ref()
                .map_err(|fault| Unreadable::Path(*fault))
        };
        Ok(match self.fact {
            Fact::Method => Some(self.values.has_text(request.method)),
            Fact::Path => Some(self.values.cover(path()?.segments())),
            Fact::Host => Some(self.values.has_text(&lowercase(request.host()?))),
            Fact::GrpcService | Fact::GrpcMethod => {
                let called = path()?.grpc();
                // To be allowed, a call has to be one. To be denied it need not say so: a server may not ask either.
                let called = called.filter(|_| request.grpc || effect == Effect::Deny);
                called.map(|(service, method)| {
                    let of_method = self.fact == Fact::GrpcMethod;
                    self.values
                        .has_text(if of_method { method } else { service })
                })
            }
            Fact::Spiffe
            | Fact::TrustDomain
            | Fact::Namespace
            | Fact::ServiceAccount
            | Fact::Dns
            | Fact::Ip
            | Fact::Fingerprint
            | Fact::LegacyCommonName
            | Fact::LegacyOrganizationalUnit => None,
        })
    }
}

impl Values {
    fn patterns(texts: Vec<Box<str>>) -> Self {
        let mut map = SegmentMap::default();
        for text in &texts {
            map.insert(written(text), ());
        }
        Self::Segments(map, texts)
    }

    fn texts(
        asked: &Asked,
        is_valid: impl Fn(&str) -> bool,
        expected: &'static str,
    ) -> Result<Self, (usize, RuleFault)> {
        let texts = each(asked, |text| {
            if is_valid(text) {
                Ok(text.into())
            } else {
                Err(invalid(asked.fact, text, expected))
            }
        });
        texts.map(Self::Texts)
    }

    fn cover<'a>(&self, segments: impl Iterator<Item = Segment<'a>> + Clone) -> bool {
        match self {
            Self::Segments(map, _) => map.covers(segments),
            Self::Fingerprints(_) | Self::Ips(_) | Self::Texts(_) => false,
        }
    }

    fn has_text(&self, text: &str) -> bool {
        match self {
            Self::Texts(texts) => texts.contains(text),
            Self::Fingerprints(_) | Self::Ips(_) | Self::Segments(..) => false,
        }
    }

    fn any_text(&self, found: &[String]) -> Option<bool> {
        (!found.is_empty()).then(|| found.iter().any(|text| self.has_text(text)))
    }

    /// Whether each of these is one of those, as far as one value of those shows it.
    pub(super) fn within(&self, wider: &Self) -> bool {
        match (self, wider) {
            (Self::Fingerprints(these), Self::Fingerprints(those)) => these.is_subset(those),
            (Self::Ips(these), Self::Ips(those)) => these.is_subset(those),
            (Self::Texts(these), Self::Texts(those)) => these.is_subset(those),
            (Self::Segments(_, these), Self::Segments(those, _)) => {
                these.iter().all(|text| those.covers(written(text)))
            }
            (Self::Fingerprints(_) | Self::Ips(_) | Self::Segments(..) | Self::Texts(_), _) => {
                false
            }
        }
    }
}

/// The segments of a pattern whose text has no leading slash; none if it is empty.
pub(super) fn written(text: &str) -> impl Iterator<Item = Segment<'_>> + Clone {
    let text = Some(text).filter(|text| !text.is_empty());
    text.into_iter()
        .flat_map(|text| text.split('/').map(Segment::written))
}

/// The trust domain, then the path's segments.
pub(super) fn spiffe_segments(id: &str) -> impl Iterator<Item = Segment<'_>> + Clone {
    let rest = id.strip_prefix(SCHEME).unwrap_or_default();
    rest.split('/').map(Segment::Literal)
}

pub(super) fn account_segments(
    account: &KubernetesServiceAccount,
) -> impl Iterator<Item = Segment<'_>> + Clone {
    [account.domain(), account.namespace(), account.name()]
        .into_iter()
        .map(Segment::Literal)
}

/// Parses each value; an error tells which.
fn each<T, C: FromIterator<T>>(
    asked: &Asked,
    mut parse: impl FnMut(&str) -> Result<T, RuleFault>,
) -> Result<C, (usize, RuleFault)> {
    let values = asked.values.iter().enumerate();
    values
        .map(|(at, text)| parse(text).map_err(|fault| (at, fault)))
        .collect()
}

fn lowercase(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}
