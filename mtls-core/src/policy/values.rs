//! The values of facts, parsed one by one.

use super::fault::RuleFault;
use super::pattern::SpiffePattern;
use super::rule::{Asked, Fact, Rule};
use super::rules::parse_workload_id;
use super::segments::TAIL;
use crate::identity::{KubernetesServiceAccount, SCHEME, TrustDomain};

/// The trust domains that a namespace without one is meant in.
pub(super) struct Domains(Vec<String>);

impl Domains {
    /// Those that the rule itself asks for, else the local one. Texts that are no trust domain have an error of their own.
    pub(super) fn of(rule: &Rule, local: Option<&TrustDomain>) -> Self {
        let named = |c: &&Asked| c.fact == Fact::TrustDomain && !c.negated;
        match rule.conditions.iter().find(named) {
            Some(named) => Self(named.values.clone()),
            None => Self(local.map(ToString::to_string).into_iter().collect()),
        }
    }
}

pub(super) fn parse_trust_domain(text: &str) -> Result<TrustDomain, RuleFault> {
    let invalid = |fault| RuleFault::InvalidTrustDomain {
        found: text.to_owned(),
        fault,
    };
    let domain: TrustDomain = text.parse().map_err(invalid)?;
    if domain.as_str() == text {
        return Ok(domain);
    }
    // `spiffe://example.org/web` parses: its domain alone would be more than was written.
    Err(RuleFault::InvalidValue {
        fact: Fact::TrustDomain,
        found: text.to_owned(),
        expected: "a bare name, such as example.org",
    })
}

pub(super) fn invalid(fact: Fact, found: &str, expected: &'static str) -> RuleFault {
    RuleFault::InvalidValue {
        fact,
        found: found.to_owned(),
        expected,
    }
}

pub(super) fn spiffe_pattern(text: &str) -> Result<Box<str>, RuleFault> {
    if text.starts_with(SCHEME) && text.contains('*') {
        let pattern: Result<SpiffePattern, _> = text.parse();
        pattern.map_err(|fault| RuleFault::InvalidSpiffePattern { fault })?;
    } else {
        parse_workload_id(text).map_err(|fault| RuleFault::InvalidSpiffe { fault })?;
    }
    Ok(text.strip_prefix(SCHEME).unwrap_or_default().into())
}

/// `domain/namespace/**`, or `domain/namespace/account`, in each of the domains that are meant.
pub(super) fn service_accounts(
    fact: Fact,
    text: &str,
    domains: &Domains,
) -> Result<Vec<Box<str>>, RuleFault> {
    let expected = if fact == Fact::Namespace {
        "a namespace, or trust-domain/namespace"
    } else {
        "namespace/account, or trust-domain/namespace/account"
    };
    let parts: Vec<_> = text.split('/').collect();
    let (domain, namespace, account) = match (fact, parts.as_slice()) {
        (Fact::Namespace, [namespace]) => (None, namespace, TAIL),
        (Fact::Namespace, [domain, namespace]) => (Some(domain), namespace, TAIL),
        (Fact::ServiceAccount, [namespace, account]) => (None, namespace, *account),
        (Fact::ServiceAccount, [domain, namespace, account]) => (Some(domain), namespace, *account),
        _ => return Err(invalid(fact, text, expected)),
    };
    let any_account = if fact == Fact::Namespace {
        "any"
    } else {
        account
    };
    let id = format!("{SCHEME}td/ns/{namespace}/sa/{any_account}").parse();
    let named = id
        .ok()
        .as_ref()
        .and_then(KubernetesServiceAccount::from_spiffe_id);
    if named.is_none() {
        return Err(invalid(fact, text, expected));
    }
    let domains = match domain {
        Some(domain) => vec![parse_trust_domain(domain)?.to_string()],
        None => domains.0.clone(),
    };
    if domains.is_empty() {
        return Err(RuleFault::MissingTrustDomain {
            fact,
            found: text.to_owned(),
        });
    }
    let pattern = |domain| format!("{domain}/{namespace}/{account}").into();
    Ok(domains.iter().map(pattern).collect())
}

pub(super) fn read_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = if text.contains(':') {
        let pairs = text.split(':').collect::<Vec<_>>();
        pairs.iter().all(|pair| pair.len() == 2).then_some(())?;
        pairs.concat().into_bytes()
    } else {
        text.as_bytes().to_vec()
    };
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Methods are case-sensitive (RFC 9110 §9.1), and every registered one is in capitals: `get` would never match.
pub(super) fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

pub(super) fn is_grpc_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
}
