//! Who is still in plaintext, and whether anybody would miss it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use mtls_core::Timestamp;

/// Who is in plaintext at a listener that permits it, at one moment. It prints as one line for all, and one for each
/// address.
///
/// It counts by IP address, which behind a load balancer is the balancer's: see
/// [`ProxyProtocol`](crate::ProxyProtocol). Whoever sends a capital letter first is taken for a client in plaintext, a port scanner
/// too; one who only connects is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermissiveReport {
    /// When it was made.
    pub at: Timestamp,
    /// Since when it has been watched.
    pub since: Timestamp,
    /// When plaintext will be refused, if that is said.
    pub end: Option<Timestamp>,
    /// Whether plaintext is refused already.
    pub strict: bool,
    /// The addresses that have been in plaintext, the latest first. At most 4,096 are known.
    pub plaintext: Vec<PlaintextAddress>,
    /// How many connections have been in plaintext, of all addresses.
    pub connections: u64,
    /// How many are open.
    pub open: u64,
    /// How many came from an address that had come in by TLS before: a client that fell back, somebody in between who makes it
    /// fall back, or several clients behind one address.
    pub downgrades: u64,
    /// How many addresses were forgotten, because there were newer ones: of those in plaintext, and of those by TLS, whose next
    /// downgrade is not known for one. No sum is less for it.
    pub forgotten: u64,
    /// When somebody was in plaintext last, which is now while a connection is open.
    pub last_plaintext: Option<Timestamp>,
}

/// An address that has been in plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaintextAddress {
    /// The address.
    pub ip: IpAddr,
    /// When it was in plaintext first.
    pub first_seen: Timestamp,
    /// When it was last, which is now while a connection is open.
    pub last_seen: Timestamp,
    /// How many connections it has made in plaintext.
    pub connections: u64,
    /// How many of them are open.
    pub open: u64,
    /// How many of them after it had come in by TLS.
    pub downgrades: u64,
}

impl PermissiveReport {
    /// Whether going strict would refuse nobody who has been in plaintext for this long: nobody is, nobody has been, and it was
    /// watched for at least as long. Take more than the longest time between two runs of whatever connects seldom.
    #[must_use]
    pub fn is_safe_to_go_strict(&self, quiet: Duration) -> bool {
        let quiet_since = |then| self.at.saturating_since(then) >= quiet;
        self.open == 0 && quiet_since(self.since) && self.last_plaintext.is_none_or(quiet_since)
    }
}

impl PlaintextAddress {
    pub(super) fn new(ip: IpAddr, now: Timestamp) -> Self {
        Self {
            ip,
            first_seen: now,
            last_seen: now,
            connections: 0,
            open: 0,
            downgrades: 0,
        }
    }
}

impl fmt::Display for PermissiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.strict { "strict" } else { "permissive" };
        write!(f, "{mode}, watched since {}", self.since)?;
        if let Some(end) = self.end {
            write!(f, ", plaintext until {end}")?;
        }
        let (addresses, connections) = (self.plaintext.len(), self.connections);
        write!(
            f,
            ": {addresses} addresses in plaintext, {connections} connections, {} open, {} after TLS",
            self.open, self.downgrades
        )?;
        match self.last_plaintext {
            Some(last) => write!(f, ", the last at {last}")?,
            None => f.write_str(", none ever")?,
        }
        if self.forgotten > 0 {
            write!(f, "; {} addresses forgotten", self.forgotten)?;
        }
        for address in &self.plaintext {
            write!(f, "\n{address}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PlaintextAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} connections, {} open, {} after TLS, first at {}, last at {}",
            self.ip, self.connections, self.open, self.downgrades, self.first_seen, self.last_seen
        )
    }
}
