//! Who has been in plaintext, and who by TLS: bounded, since whoever can connect adds to it.

use std::collections::HashMap;
use std::net::IpAddr;

use mtls_core::Timestamp;

use super::report::{PermissiveReport, PlaintextAddress};

/// The sums are exact; of the addresses the latest are kept.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    plaintext: HashMap<IpAddr, PlaintextAddress>,
    tls: HashMap<IpAddr, Timestamp>,
    connections: u64,
    open: u64,
    downgrades: u64,
    forgotten: u64,
    last: Option<Timestamp>,
}

impl Addresses {
    pub(super) fn begin_plaintext(&mut self, ip: Option<IpAddr>, now: Timestamp) {
        self.connections += 1;
        self.open += 1;
        self.last = Some(now);
        let Some(ip) = ip else {
            return;
        };
        let is_downgrade = self.tls.contains_key(&ip);
        self.downgrades += u64::from(is_downgrade);
        if !self.plaintext.contains_key(&ip) && self.plaintext.len() >= BOUND {
            self.forget_one_in_plaintext();
        }
        let known = self.plaintext.entry(ip);
        let known = known.or_insert_with(|| PlaintextAddress::new(ip, now));
        known.last_seen = now;
        known.connections += 1;
        known.open += 1;
        known.downgrades += u64::from(is_downgrade);
    }

    pub(super) fn end_plaintext(&mut self, ip: Option<IpAddr>, now: Timestamp) {
        self.open = self.open.saturating_sub(1);
        self.last = Some(now);
        if let Some(known) = ip.and_then(|ip| self.plaintext.get_mut(&ip)) {
            known.open = known.open.saturating_sub(1);
            known.last_seen = now;
        }
    }

    pub(super) fn note_tls(&mut self, ip: IpAddr, now: Timestamp) {
        if !self.tls.contains_key(&ip) && self.tls.len() >= BOUND {
            let oldest = self.tls.iter().min_by_key(|(_, seen)| **seen);
            if let Some(oldest) = oldest.map(|(ip, _)| *ip) {
                self.tls.remove(&oldest);
                self.forgotten += 1;
            }
        }
        self.tls.insert(ip, now);
    }

    /// How many addresses, and how many connections are open.
    pub(super) fn in_plaintext(&self) -> (usize, u64) {
        (self.plaintext.len(), self.open)
    }

    pub(super) fn report(
        &self,
        at: Timestamp,
        since: Timestamp,
        end: Option<Timestamp>,
        strict: bool,
    ) -> PermissiveReport {
        let mut plaintext: Vec<_> = self.plaintext.values().cloned().collect();
        for address in &mut plaintext {
            if address.open > 0 {
                address.last_seen = at;
            }
        }
        plaintext.sort_by_key(|address| (std::cmp::Reverse(address.last_seen), address.ip));
        PermissiveReport {
            at,
            since,
            end,
            strict,
            plaintext,
            connections: self.connections,
            open: self.open,
            downgrades: self.downgrades,
            forgotten: self.forgotten,
            last_plaintext: if self.open > 0 { Some(at) } else { self.last },
        }
    }

    /// Who is there is kept before who was. A look at all of them, which costs some microseconds and only a flood of
    /// addresses brings about.
    fn forget_one_in_plaintext(&mut self) {
        let known = self.plaintext.values();
        let oldest = known.min_by_key(|known| (known.open > 0, known.last_seen));
        if let Some(oldest) = oldest.map(|known| known.ip) {
            self.plaintext.remove(&oldest);
            self.forgotten += 1;
        }
    }
}

/// Of each kind. An entry takes some hundred bytes at most: together they stay below a megabyte.
pub(super) const BOUND: usize = 4096;
