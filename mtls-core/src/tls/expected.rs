//! Who a server has to be, by the destination that is dialled.
//!
//! The destination is the server name of the handshake. It is asked for where a chain is verified and wherever a server is
//! judged again, so that what a server is good for at one destination says nothing of another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::error::ConfigError;
use crate::identity::{PeerIdentity, TrustDomain};
use crate::policy::SpiffePattern;
use crate::verify::{self, ChainFault};

/// Who a server has to be, where its destination has no entry of its own.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// The name that was dialled, DNS or IP (RFC 9525).
    Name,
    /// A SPIFFE ID that the pattern matches, whatever name was dialled.
    Pattern(SpiffePattern),
    /// Any workload of a trust domain.
    AnyoneIn(TrustDomain),
    /// Nobody: the destinations that have an entry are all there are.
    Nobody,
}

/// What a client expects of servers: at some destinations, and at all others.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    elsewhere: Expectation,
    /// The patterns of a destination, one of which its server has to match. None of the lists is empty.
    at: Arc<HashMap<Destination, Vec<SpiffePattern>>>,
}

/// A server name as it is compared: a DNS name in lower case and without the dot of the root (RFC 4343 §2, RFC 1034
/// §3.1), an IPv4 address always as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    Dns(String),
    Ip(IpAddr),
}

impl Expected {
    pub(super) fn new(
        elsewhere: Expectation,
        at: HashMap<Destination, Vec<SpiffePattern>>,
    ) -> Self {
        Self {
            elsewhere,
            at: Arc::new(at),
        }
    }

    /// Whether a verified server is the one that is expected where `name` was dialled.
    pub(super) fn met_by(
        &self,
        peer: &PeerIdentity,
        name: &ServerName<'_>,
    ) -> Result<(), ChainFault> {
        let mismatch = |expected| ChainFault::NameMismatch {
            expected,
            found: peer.server_names(),
        };
        let listed = Destination::dialled(name).and_then(|destination| self.at.get(&destination));
        if let Some(patterns) = listed {
            let id = peer.spiffe_id();
            let met = id.is_some_and(|id| patterns.iter().any(|pattern| pattern.matches(id)));
            let expected = || mismatch(format!("{} at {}", one_of(patterns), name.to_str()));
            return if met { Ok(()) } else { Err(expected()) };
        }
        match &self.elsewhere {
            Expectation::Name => verify::chain::verify_server_name(peer, name),
            Expectation::Pattern(pattern) => match peer.spiffe_id() {
                Some(id) if pattern.matches(id) => Ok(()),
                Some(_) | None => Err(mismatch(pattern.to_string())),
            },
            Expectation::AnyoneIn(domain) => match peer.spiffe_id() {
                Some(id) if id.is_member_of(domain) => Ok(()),
                Some(_) | None => Err(mismatch(format!("spiffe://{domain}/**"))),
            },
            Expectation::Nobody => Err(mismatch(format!(
                "nobody at {}, which has no entry",
                name.to_str()
            ))),
        }
    }
}

impl Destination {
    /// A host as it stands in a configuration: without a port, an IPv6 address with or without its brackets.
    pub(super) fn parse(host: &str) -> Result<Self, ConfigError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let invalid = || ConfigError::InvalidDestination {
            host: host.to_owned(),
        };
        let name = ServerName::try_from(bare.unwrap_or(host)).map_err(|_| invalid())?;
        match Self::dialled(&name) {
            // Brackets are an IPv6 address's alone (RFC 3986 §3.2.2).
            Some(Self::Dns(_) | Self::Ip(IpAddr::V4(_))) if bare.is_some() => Err(invalid()),
            Some(destination) => Ok(destination),
            None => Err(invalid()),
        }
    }

    /// `None` for a kind of name that rustls has learned since; no entry can be of it.
    fn dialled(name: &ServerName<'_>) -> Option<Self> {
        match name {
            ServerName::DnsName(name) => {
                let name = name.as_ref();
                let name = name.strip_suffix('.').unwrap_or(name);
                Some(Self::Dns(name.to_ascii_lowercase()))
            }
            ServerName::IpAddress(ip) => Some(Self::Ip(IpAddr::from(*ip).to_canonical())),
            _ => None,
        }
    }
}

/// A pattern that says which service it means. By one without a fixed segment every workload of its trust domain could pose
/// as the service.
pub(super) fn naming_a_service(server: SpiffePattern) -> Result<SpiffePattern, ConfigError> {
    let mut segments = server.as_str().split('/').skip(3);
    if segments.all(|segment| segment.starts_with('*')) {
        return Err(ConfigError::ServerPatternTooWide {
            pattern: server.to_string(),
        });
    }
    Ok(server)
}

fn one_of(patterns: &[SpiffePattern]) -> String {
    let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
    patterns.join(" or ")
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
