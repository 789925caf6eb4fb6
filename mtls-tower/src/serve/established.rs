//! How many connections there may be, in all and of one peer.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mtls_core::metrics::{ConnectionEnd, connection_cut};
use mtls_core::{Client, Role};
use tokio::task::{AbortHandle, Id, JoinError};
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// Bounds on the connections of clients that are known. None by default.
///
/// At the bound of one peer its newest connection is closed, before its first request. At the bound of all, the peer that
/// has the most gives way, by its newest connection, which is cut; if nobody has two more than the newcomer's peer, the
/// newcomer is closed. So no peer keeps another out by opening many.
///
/// A peer is whom its certificate names, by whichever certificate; clients without one are one for each IP address, and for
/// each /64 of IPv6, since that is what one machine is given. A connection that was
/// upgraded to another protocol counts no more.
///
/// In memory, together, connections hold at most their number × (1.1 MiB + 448 KiB × the requests that one may have in flight
/// over HTTP/2, by default 200), and what the service keeps of them. An idle one holds 46 kB. Both of the rest are buffers of
/// hyper's for clients that send and do not end, or do not read: set them by
/// [`max_concurrent_streams`](crate::Serve::max_concurrent_streams) and, in [`configure_http`](crate::Serve::configure_http),
/// by `http2().max_send_buf_size(..)`, 400 KiB a request, and `http1().max_buf_size(..)`.
///
/// Who lets a response fill its buffers and does not read is ended by its age, over HTTP/2 too, where no ping can be sent to it
/// any more: by [`max_age`](crate::Serve::max_age) or with its certificate.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct ConnectionLimits {
    total: Option<usize>,
    per_peer: Option<usize>,
}

impl ConnectionLimits {
    /// No bounds.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections there may be at a time; at least 1.
    pub fn total(mut self, bound: usize) -> Self {
        self.total = Some(bound.max(1));
        self
    }

    /// How many connections of one peer there may be at a time; at least 1.
    pub fn per_peer(mut self, bound: usize) -> Self {
        self.per_peer = Some(bound.max(1));
        self
    }
}

/// The connections there are, each with what ends it.
#[derive(Debug)]
pub(super) struct Established {
    limits: ConnectionLimits,
    by_peer: HashMap<Whose, BTreeMap<u64, AbortHandle>>,
    // By its task, whose end is heard of.
    known: HashMap<Id, (Whose, u64)>,
    next: u64,
    warned: Option<Instant>,
    since: u64,
}

/// Whom a connection counts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    Anonymous(IpAddr),
    Peer(String),
}

/// A place among them.
#[derive(Debug)]
pub(super) struct Admitted(Option<Whose>);

impl Established {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            by_peer: HashMap::new(),
            known: HashMap::new(),
            next: 0,
            warned: None,
            since: 0,
        }
    }

    /// Whether there is a place for one more of this client's, or one can be made.
    pub(super) fn admit(&mut self, client: &Client, from: SocketAddr) -> Option<Admitted> {
        let ConnectionLimits { total, per_peer } = self.limits;
        if total.is_none() && per_peer.is_none() {
            return Some(Admitted(None));
        }
        let name = Whose::of(client, from);
        let has = self.by_peer.get(&name).map_or(0, BTreeMap::len);
        if per_peer.is_some_and(|bound| has >= bound) {
            self.tell(
                &"its peer has as many as it may",
                &name,
                "connection refused",
            );
            return None;
        }
        if total.is_none_or(|bound| self.known.len() < bound) {
            return Some(Admitted(Some(name)));
        }
        let most = self.by_peer.iter().max_by_key(|(_, its)| its.len());
        let gives_way = most
            .filter(|(_, its)| its.len() > has + 1)
            .and_then(|(_, its)| its.last_key_value());
        let Some(task) = gives_way.map(|(_, task)| task.clone()) else {
            self.tell(
                &"there are as many as there may be",
                &name,
                "connection refused",
            );
            return None;
        };
        task.abort();
        self.ended(task.id());
        self.tell(&"the peer with the most gave way", &name, "connection cut");
        Some(Admitted(Some(name)))
    }

    pub(super) fn begun(&mut self, Admitted(name): Admitted, task: AbortHandle) {
        let Some(name) = name else {
            return;
        };
        self.known.insert(task.id(), (name.clone(), self.next));
        self.by_peer
            .entry(name)
            .or_default()
            .insert(self.next, task);
        self.next += 1;
    }

    /// A connection's task is over.
    pub(super) fn hear(&mut self, ended: Result<(Id, ()), JoinError>) {
        match ended {
            Ok((task, ())) => self.ended(task),
            Err(failed) => {
                self.ended(failed.id());
                if failed.is_panic() {
                    error!("a connection panicked");
                }
            }
        }
    }

    fn ended(&mut self, task: Id) {
        let Some((name, number)) = self.known.remove(&task) else {
            return;
        };
        if let Some(its) = self.by_peer.get_mut(&name) {
            its.remove(&number);
            if its.is_empty() {
                self.by_peer.remove(&name);
            }
        }
    }

    /// A peer can repeat it at will: one warning a minute, which counts the others.
    fn tell(&mut self, why: &dyn fmt::Display, newcomer: &Whose, what: &'static str) {
        debug!(mtls.peer_id = %newcomer, mtls.open = self.known.len(), %why, "{what}");
        connection_cut(Role::Server, ConnectionEnd::Limit, 1);
        let now = Instant::now();
        if self.warned.is_some_and(|at| now - at < WARN_EVERY) {
            self.since += 1;
            return;
        }
        self.warned = Some(now);
        warn!(
            mtls.peer_id = %newcomer,
            mtls.open = self.known.len(),
            mtls.others = std::mem::take(&mut self.since),
            %why,
            "a limit on connections is reached; at most one of these a minute"
        );
    }
}

impl Whose {
    fn of(client: &Client, from: SocketAddr) -> Self {
        match client {
            Client::Peer(peer) => Self::Peer(peer.to_string()),
            Client::Anonymous(_) => Self::Anonymous(match from.ip().to_canonical() {
                IpAddr::V6(ip) => {
                    let [a, b, c, d, ..] = ip.segments();
                    IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
                }
                ip @ IpAddr::V4(_) => ip,
            }),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(ip) => write!(f, "anonymous client at {ip}"),
            Self::Peer(name) => f.write_str(name),
        }
    }
}

const WARN_EVERY: Duration = Duration::from_secs(60);
