//! Sessions that a client may resume, under one snapshot.
//!
//! rustls keeps to one verifier and one resolver, so that what is in here was verified under this snapshot and for this
//! client's expectation. What it does not look at is the clock: a session whose server's certificates are past their time
//! is not offered, and the handshake is a full one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

use crate::clock;
use crate::identity::Timestamp;

/// The sessions of one client under one snapshot.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<Servers>);

#[derive(Debug, Default)]
struct Servers {
    by_name: HashMap<ServerName<'static>, Server>,
    /// The oldest first to go.
    order: VecDeque<ServerName<'static>>,
}

/// What is known of the servers behind one name.
#[derive(Debug)]
struct Server {
    /// The earliest end of the verified paths of those that answered to the name.
    until: Timestamp,
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    /// A server of this name was verified, and stands until then.
    pub(super) fn verified(&self, name: &ServerName<'_>, until: Timestamp) {
        let now = clock::now().into();
        self.with(name, |server| {
            if server.until < now {
                // The sessions of before are of a server that has been renewed since.
                server.forget();
                server.until = until;
            }
            // Several servers can be behind one name, and a session does not tell whose it is.
            server.until = server.until.min(until);
        });
    }

    /// Offers none of the sessions that it has now.
    pub(super) fn forget(&self) {
        self.lock().by_name.values_mut().for_each(Server::forget);
    }

    fn with<T>(&self, name: &ServerName<'_>, f: impl FnOnce(&mut Server) -> T) -> Option<T> {
        let name = name.to_owned();
        let mut servers = self.lock();
        if !servers.by_name.contains_key(&name) {
            let name = name.clone();
            servers.order.push_back(name.clone());
            servers.by_name.insert(name, Server::new());
            if servers.order.len() > MAX_SERVERS
                && let Some(oldest) = servers.order.pop_front()
            {
                servers.by_name.remove(&oldest);
            }
        }
        servers.by_name.get_mut(&name).map(f)
    }

    /// The server of this name, if what was verified of it still stands.
    fn in_time<T>(
        &self,
        name: &ServerName<'_>,
        f: impl FnOnce(&mut Server) -> Option<T>,
    ) -> Option<T> {
        let mut servers = self.lock();
        let server = servers.by_name.get_mut(&name.to_owned())?;
        if server.until < clock::now().into() {
            server.forget();
            return None;
        }
        f(server)
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Nothing was verified of it yet, or what was is forgotten: no session of it is kept.
    fn new() -> Self {
        Self {
            until: Timestamp::MIN,
            group: None,
            tls12: None,
            tls13: VecDeque::new(),
        }
    }

    fn forget(&mut self) {
        self.tls12 = None;
        self.tls13.clear();
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.with(&name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().by_name.get(&name.to_owned())?.group
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.in_time(&name, |server| server.tls12.replace(value));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.in_time(name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(server) = self.lock().by_name.get_mut(name) {
            server.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        // A ticket comes whenever its server likes: also when the server's time is over, or its name forgotten since.
        self.in_time(&name, |server| {
            if server.tls13.len() >= MAX_TICKETS {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
            Some(())
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.in_time(name, |server| server.tls13.pop_back())
    }
}

/// How many servers a client remembers sessions of: as many as it remembers verified chains of.
const MAX_SERVERS: usize = 1024;

/// A ticket is good for one connection; a pool opens a handful at a time.
const MAX_TICKETS: usize = 8;
