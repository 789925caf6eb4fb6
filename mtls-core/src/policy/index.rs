//! Which rules can hold for a peer and a request, found without asking each.

use std::collections::HashMap;
use std::net::IpAddr;

use super::compile::{Compiled, Condition, Values, account_segments, spiffe_segments, written};
use super::request::RequestFacts;
use super::rule::Fact;
use super::segments::{Segment, SegmentMap};
use crate::identity::{PeerIdentity, SCHEME};

/// Positions of rules, in order, by one condition of each: that which it shares with the fewest others.
///
/// A rule that has no condition to be found by is in `rest`, and asked each time.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// SPIFFE IDs without a wildcard, whole and without their scheme.
    ids: HashMap<Box<str>, Vec<u32>>,
    /// SPIFFE patterns and trust domains.
    patterns: SegmentMap<u32>,
    accounts: SegmentMap<u32>,
    dns: HashMap<Box<str>, Vec<u32>>,
    ips: HashMap<IpAddr, Vec<u32>>,
    fingerprints: HashMap<[u8; 32], Vec<u32>>,
    paths: SegmentMap<u32>,
    services: HashMap<Box<str>, Vec<u32>>,
    /// All that are found by the path or by what is in it: whatever cannot be read concerns each of them.
    by_path: Vec<u32>,
    rest: Vec<u32>,
}

impl Index {
    /// Notes in each rule by which of its conditions it is found.
    pub(super) fn of(rules: &mut [Compiled]) -> Self {
        let mut shared = HashMap::new();
        for condition in rules.iter().flat_map(|rule| &rule.conditions) {
            for_each_key(condition, |key| *shared.entry(key).or_insert(0_u32) += 1);
        }
        let crowd = |condition: &Condition| {
            let mut most = 0;
            for_each_key(condition, |key| {
                most = most.max(shared.get(&key).copied().unwrap_or_default());
            });
            most
        };
        let mut index = Self::default();
        let mut keys = Vec::with_capacity(rules.len());
        for (position, rule) in (0_u32..).zip(rules.iter()) {
            let conditions = rule.conditions.iter().enumerate();
            let key = conditions
                .filter(|(_, condition)| is_key(condition))
                .min_by_key(|(_, condition)| crowd(condition));
            match key {
                Some((_, condition)) => index.insert(condition, position),
                None => index.rest.push(position),
            }
            keys.push(key.map(|(at, _)| at));
        }
        for (rule, key) in rules.iter_mut().zip(keys) {
            rule.key = key;
        }
        index
    }

    fn insert(&mut self, key: &Condition, position: u32) {
        if matches!(key.fact, Fact::Path | Fact::GrpcService) {
            self.by_path.push(position);
        }
        match &key.values {
            Values::Fingerprints(values) => {
                for value in values {
                    self.fingerprints.entry(*value).or_default().push(position);
                }
            }
            Values::Ips(values) => {
                for value in values {
                    self.ips.entry(*value).or_default().push(position);
                }
            }
            Values::Segments(_, texts) => {
                for text in texts {
                    match kind(key.fact) {
                        Some(Kind::Path) => self.paths.insert(written(text), position),
                        Some(Kind::Account) => self.accounts.insert(written(text), position),
                        Some(Kind::Other) | None if text.contains('*') => {
                            self.patterns.insert(written(text), position);
                        }
                        Some(Kind::Other) | None => {
                            self.ids.entry(text.clone()).or_default().push(position);
                        }
                    }
                }
            }
            Values::Texts(values) => {
                let map = if key.fact == Fact::Dns {
                    &mut self.dns
                } else {
                    &mut self.services
                };
                for value in values {
                    map.entry(value.clone()).or_default().push(position);
                }
            }
        }
    }

    /// Calls `found` with positions, among which is every rule that holds, or that cannot be read; and with whether the
    /// condition that they were found by is known to hold.
    pub(super) fn candidates(
        &self,
        peer: Option<&PeerIdentity>,
        request: Option<&RequestFacts<'_>>,
        mut found: impl FnMut(&[u32], Key),
    ) {
        found(&self.rest, Key::ToBeAsked);
        let mut holds = |positions: &[u32]| found(positions, Key::Holds);
        if let Some(peer) = peer {
            self.for_peer(peer, &mut holds);
        }
        if self.by_path.is_empty() {
            return;
        }
        let Some(Ok(path)) = request.map(|request| &request.path) else {
            return found(&self.by_path, Key::ToBeAsked);
        };
        walk(&self.paths, path.segments(), &mut holds);
        if let Some((service, _)) = path.grpc() {
            // To allow it, the call has to say that it is one as well.
            let mut asked = |positions: &[u32]| found(positions, Key::ToBeAsked);
            look_up(&self.services, service, &mut asked);
        }
    }

    fn for_peer(&self, peer: &PeerIdentity, found: &mut impl FnMut(&[u32])) {
        if let Some(id) = peer.spiffe_id() {
            let id = id.as_str();
            look_up(
                &self.ids,
                id.strip_prefix(SCHEME).unwrap_or_default(),
                found,
            );
            walk(&self.patterns, spiffe_segments(id), found);
        }
        if !self.accounts.is_empty()
            && let Some(account) = peer.kubernetes()
        {
            walk(&self.accounts, account_segments(account), found);
        }
        if !self.dns.is_empty() {
            for name in peer.dns_names() {
                look_up(&self.dns, name, found);
            }
        }
        if !self.ips.is_empty() {
            for positions in peer.ip_addresses().iter().filter_map(|ip| self.ips.get(ip)) {
                found(positions);
            }
        }
        if !self.fingerprints.is_empty()
            && let Some(positions) = self.fingerprints.get(peer.sha256())
        {
            found(positions);
        }
    }

    /// Calls `found` with positions, among which are the rules that may hold wherever a rule with these conditions does.
    pub(super) fn wider(&self, conditions: &[Condition], mut found: impl FnMut(&[u32])) {
        found(&self.rest);
        for condition in conditions.iter().filter(|condition| is_key(condition)) {
            match &condition.values {
                Values::Fingerprints(values) => {
                    let first = values.iter().next();
                    if let Some(positions) = first.and_then(|v| self.fingerprints.get(v)) {
                        found(positions);
                    }
                }
                Values::Ips(values) => {
                    if let Some(positions) = values.iter().next().and_then(|v| self.ips.get(v)) {
                        found(positions);
                    }
                }
                Values::Segments(_, texts) => {
                    let Some(text) = texts.first() else { continue };
                    match kind(condition.fact) {
                        Some(Kind::Path) => walk(&self.paths, written(text), &mut found),
                        Some(Kind::Account) => walk(&self.accounts, written(text), &mut found),
                        Some(Kind::Other) | None => {
                            look_up(&self.ids, text, &mut found);
                            walk(&self.patterns, written(text), &mut found);
                        }
                    }
                }
                Values::Texts(values) => {
                    let map = if condition.fact == Fact::Dns {
                        &self.dns
                    } else {
                        &self.services
                    };
                    if let Some(value) = values.iter().next() {
                        look_up(map, value, &mut found);
                    }
                }
            }
        }
    }
}

/// What is known of the condition that rules were found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Holds,
    ToBeAsked,
}

/// One value that a rule can be found by.
#[derive(PartialEq, Eq, Hash)]
enum KeyValue<'a> {
    Fingerprint(&'a [u8; 32]),
    Ip(&'a IpAddr),
    Text(Fact, &'a str),
}

fn for_each_key<'a>(condition: &'a Condition, mut each: impl FnMut(KeyValue<'a>)) {
    if !is_key(condition) {
        return;
    }
    match &condition.values {
        Values::Fingerprints(values) => values.iter().map(KeyValue::Fingerprint).for_each(each),
        Values::Ips(values) => values.iter().map(KeyValue::Ip).for_each(each),
        Values::Segments(_, texts) => {
            for text in texts {
                each(KeyValue::Text(condition.fact, text));
            }
        }
        Values::Texts(texts) => {
            for text in texts {
                each(KeyValue::Text(condition.fact, text));
            }
        }
    }
}

fn is_key(condition: &Condition) -> bool {
    !condition.negated && kind(condition.fact).is_some()
}

/// How rules with a condition on a fact are found.
enum Kind {
    Account,
    Other,
    Path,
}

/// `None` if they are not.
fn kind(fact: Fact) -> Option<Kind> {
    match fact {
        Fact::Namespace | Fact::ServiceAccount => Some(Kind::Account),
        Fact::Path => Some(Kind::Path),
        Fact::Spiffe
        | Fact::TrustDomain
        | Fact::Dns
        | Fact::Ip
        | Fact::Fingerprint
        | Fact::GrpcService => Some(Kind::Other),
        Fact::LegacyCommonName
        | Fact::LegacyOrganizationalUnit
        | Fact::Method
        | Fact::Host
        | Fact::GrpcMethod => None,
    }
}

fn look_up(map: &HashMap<Box<str>, Vec<u32>>, key: &str, found: &mut impl FnMut(&[u32])) {
    if !map.is_empty()
        && let Some(positions) = map.get(key)
    {
        found(positions);
    }
}

fn walk<'a>(
    map: &SegmentMap<u32>,
    asked: impl Iterator<Item = Segment<'a>> + Clone,
    found: &mut impl FnMut(&[u32]),
) {
    if !map.is_empty() {
        map.covering(asked, &mut |positions| {
            found(positions);
            false
        });
    }
}
