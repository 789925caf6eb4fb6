//! The handshakes that are not finished, and which of them gives way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use mtls_core::ConnectionFacts;
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

/// The unfinished handshakes by age and by where they come from; and those that were given up and have not ended yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_age: BTreeMap<u64, Started>,
    // INVARIANT: the ages of `by_age`, each under its source, and no source without one.
    by_source: HashMap<Source, BTreeSet<u64>>,
    ages: HashMap<Id, u64>,
    shed: HashMap<Id, Started>,
    next: u64,
}

#[derive(Debug)]
pub(super) struct Started {
    task: AbortHandle,
    pub(super) addr: SocketAddr,
    pub(super) connection: ConnectionFacts,
    pub(super) started: Instant,
}

/// What counts as one place of origin: an address of IPv4, a network of IPv6. A host of the latter has a /64 to itself and can
/// call from any address in it (RFC 4291 §2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl Source {
    fn of(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn insert(
        &mut self,
        task: AbortHandle,
        addr: SocketAddr,
        connection: ConnectionFacts,
    ) {
        self.ages.insert(task.id(), self.next);
        let its = self.by_source.entry(Source::of(addr)).or_default();
        its.insert(self.next);
        self.by_age.insert(
            self.next,
            Started {
                task,
                addr,
                connection,
                started: Instant::now(),
            },
        );
        self.next += 1;
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Started> {
        match self.ages.remove(&id) {
            Some(age) => self.take(age),
            None => self.shed.remove(&id),
        }
    }

    /// Gives up the oldest of the source that has the most: who floods from one place displaces nobody else. Of sources that
    /// have as many, the one whose oldest is the oldest.
    pub(super) fn shed_one(&mut self) {
        // As many steps as there are sources, which are no more than there may be handshakes.
        let most = self.by_source.values().filter_map(|ages| {
            let oldest = ages.first()?;
            Some((ages.len(), Reverse(*oldest)))
        });
        let Some((_, Reverse(age))) = most.max() else {
            return;
        };
        if let Some(given_up) = self.take(age) {
            let id = given_up.task.id();
            given_up.task.abort();
            self.ages.remove(&id);
            self.shed.insert(id, given_up);
        }
    }

    fn take(&mut self, age: u64) -> Option<Started> {
        let taken = self.by_age.remove(&age)?;
        let source = Source::of(taken.addr);
        if let Some(its) = self.by_source.get_mut(&source) {
            its.remove(&age);
            if its.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these, by their place in the list, are given up when so many have to go.
    async fn given_up(from: &[&str], how_many: usize) -> Vec<usize> {
        let mut pending = Pending::default();
        let tasks: Vec<_> = from
            .iter()
            .map(|ip| {
                let task = tokio::spawn(std::future::pending::<()>());
                let addr = SocketAddr::new(ip.parse().unwrap(), 4711);
                pending.insert(task.abort_handle(), addr, ConnectionFacts::new(Some(addr)));
                task
            })
            .collect();
        let mut order = Vec::new();
        for _ in 0..how_many {
            let before: Vec<_> = pending.shed.keys().copied().collect();
            pending.shed_one();
            let new = pending.shed.keys().find(|id| !before.contains(id)).unwrap();
            order.push(tasks.iter().position(|task| task.id() == *new).unwrap());
        }
        assert_eq!(pending.len(), from.len() - how_many);
        for task in &tasks {
            pending.remove(task.id()).unwrap();
        }
        assert!(pending.by_source.is_empty() && pending.shed.is_empty());
        order
    }

    #[tokio::test]
    async fn the_oldest_of_the_source_with_the_most_gives_way() {
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
        assert_eq!(given_up(&[a, b, b, b, c], 2).await, [1, 2]);
        // As many each: then it is age alone.
        assert_eq!(given_up(&[a, b, c], 3).await, [0, 1, 2]);
        assert_eq!(given_up(&[a, a, a], 2).await, [0, 1]);
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_source_and_an_address_written_as_ipv6_is_itself() {
        let (one, other) = ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2");
        assert_eq!(given_up(&["2001:db8:0:2::1", one, other], 1).await, [1]);
        assert_eq!(
            given_up(&["192.0.2.9", "::ffff:192.0.2.1", "192.0.2.1"], 1).await,
            [1]
        );
    }
}
