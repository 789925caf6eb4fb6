//! Two sets against each other: real handshakes in memory, in both roles.

use std::io;
use std::sync::Arc;

use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::{ServerName, UnixTime};

use super::finding::{CheckPlace, Finding, Found, Report};
use super::options::CheckOptions;
use super::pair::in_memory;
use super::rule::CheckRule;
use super::set::{CheckSet, path_of};
use crate::clock;
use crate::error::{Chained, LoadError};
use crate::identity::certificate::Certificate;
use crate::policy::{Authorizer, Policy, SpiffePattern};
use crate::reason::Reason;
use crate::snapshot::{CredentialSource, Publisher, read_credentials, read_first_trust};
use crate::tls::{ClientTls, ConfigError, HandshakeError, ServerTls};

/// Puts two sets through handshakes with each other, once with each as the server, and tells what fails and on which
/// side. It finds what no rule covers.
///
/// The client expects the server's own SPIFFE ID, or else one of its names; the server lets in whom its side's authorizer
/// does, if it has one, and else any verified peer. The time of the handshakes is the options'. A set that cannot be loaded then,
/// and can be now, is taken as whoever loaded it now would still serve it; of one that can be loaded at neither time,
/// [`check`](super::check) has said why, and nothing is said here.
///
/// # Errors
///
/// [`LoadError::NoCryptoProvider`].
pub fn check_against(
    one: &CheckSide<'_>,
    other: &CheckSide<'_>,
    options: &CheckOptions,
) -> Result<Report, LoadError> {
    let mut found = Found::default();
    options.settings()?;
    let sources = (source(one.set, options), source(other.set, options));
    if let (Some(one_source), Some(other_source)) = &sources {
        one_key([(one, one_source), (other, other_source)], &mut found);
        let (one, other) = ((one, one_source), (other, other_source));
        for (client, server) in [(one, other), (other, one)] {
            let pair = Pair {
                client_set: client.0.set,
                client: client.1,
                server_set: server.0.set,
                server: server.1,
                now: options.now.to_unix_time(),
            };
            pair.shake(server.0.authorizer.clone(), &mut found);
        }
    }
    Ok(Report::judged(found.into_vec(), options))
}

/// Two certificates of one key: whoever has it is both.
fn one_key(sides: [(&CheckSide<'_>, &Loaded); 2], found: &mut Found) {
    let leaves = sides.map(|(_, loaded)| {
        let current = loaded.source.current();
        let leaf = current.credentials().chain().first().cloned();
        leaf.and_then(|leaf| Some((Certificate::parse(&leaf).ok()?.spki, leaf)))
    });
    let [Some((one_key, one)), Some((other_key, other))] = leaves else {
        return;
    };
    if one_key != other_key || one == other {
        return;
    }
    let [(one, one_loaded), (_, other_loaded)] = sides;
    let place = CheckPlace::file(path_of(&one.set.files.key));
    let names = (name_of(&one_loaded.source), name_of(&other_loaded.source));
    let text = format!("{} and {} have one key", names.0, names.1);
    found.add(Finding::new(CheckRule::KeyReused, place, text));
}

/// What a set was loaded into, and when that was.
struct Loaded {
    source: CredentialSource,
    at: UnixTime,
    _publisher: Publisher,
}

/// The set as of the options' time, or else as of the present.
fn source(set: &CheckSet, options: &CheckOptions) -> Option<Loaded> {
    let then = options.now.to_unix_time();
    [then, clock::now()]
        .into_iter()
        .find_map(|at| loaded_at(set, options, at))
}

fn loaded_at(set: &CheckSet, options: &CheckOptions, at: UnixTime) -> Option<Loaded> {
    let credentials = read_credentials(&set.files).ok()?;
    let trust = read_first_trust(&set.files).ok()?;
    let settings = options.settings().ok()?;
    let builder = CredentialSource::builder()
        .provider(settings.provider)
        .own_chain(options.own_chain)
        .revocation(options.revocation);
    let builder = match &options.trust_domain {
        Some(trust_domain) => builder.trust_domain(trust_domain.clone()),
        None => builder,
    };
    let (publisher, source) = builder.publish_at(credentials, trust, at).ok()?;
    Some(Loaded {
        source,
        at,
        _publisher: publisher,
    })
}

/// One of two sides: its files, and whom it lets in where it is the server.
#[derive(Debug, Clone)]
pub struct CheckSide<'a> {
    /// Its files.
    pub set: &'a CheckSet,
    /// Whom it lets in. `None`: any verified peer.
    pub authorizer: Option<Arc<dyn Authorizer>>,
}

impl<'a> CheckSide<'a> {
    /// A side that lets in any verified peer.
    #[must_use]
    pub fn new(set: &'a CheckSet) -> Self {
        Self {
            set,
            authorizer: None,
        }
    }
}

struct Pair<'a> {
    client_set: &'a CheckSet,
    client: &'a Loaded,
    server_set: &'a CheckSet,
    server: &'a Loaded,
    now: UnixTime,
}

impl Pair<'_> {
    fn shake(&self, authorizer: Option<Arc<dyn Authorizer>>, found: &mut Found) {
        let current = self.server.source.current();
        let credentials = current.credentials();
        // Dialled is what the server has; a leaf without a DNS name or an address is dialled by any, and known by its ID.
        let dialled = credentials.dns_names().first().cloned();
        let dialled = dialled.unwrap_or_else(|| "server.invalid".into());
        let Ok(name) = ServerName::try_from(dialled) else {
            return;
        };
        let server = ServerTls::builder(&self.server.source);
        let server = match authorizer {
            Some(authorizer) => server.authorize(authorizer),
            None => server.authorize(Policy::any_verified_peer()),
        };
        let server = server.build_at(self.server.at);
        let client = ClientTls::builder(&self.client.source);
        let client = match credentials.spiffe_id() {
            Some(id) => match id.as_str().parse::<SpiffePattern>() {
                Ok(expected) => client
                    .expect_server(expected)
                    .and_then(|client| client.build_at(self.client.at)),
                Err(_) => return,
            },
            None => client.verify_server_name().build_at(self.client.at),
        };
        let (server, client) = match (server, client) {
            (Ok(server), Ok(client)) => (server, client),
            (Err(error), _) => return self.unfit("server", self.server_set, &error, found),
            (_, Err(error)) => return self.unfit("client", self.client_set, &error, found),
        };
        let (accept, connect) = (server.handshake(), client.handshake());
        let mut server_config = ServerConfig::clone(&accept.config());
        server_config.time_provider = Arc::new(At(self.now));
        let mut client_config = ClientConfig::clone(&connect.config());
        client_config.time_provider = Arc::new(At(self.now));
        let connections = (
            ServerConnection::new(Arc::new(server_config)),
            ClientConnection::new(Arc::new(client_config), name.clone()),
        );
        let (Ok(mut server_io), Ok(mut client_io)) = connections else {
            return;
        };
        let (server_error, client_error) = in_memory(&mut server_io, &mut client_io);
        let on_server = match server_error {
            Some(error) => Err(accept.explain(&wrap(error))),
            None => accept.established(&server_io).map(drop),
        };
        let on_client = match client_error {
            Some(error) => Err(connect.explain(&wrap(error))),
            None => connect.established(&client_io, &name).map(drop),
        };
        self.tell(on_server, on_client, found);
    }

    /// Credentials that one side would not even begin with.
    fn unfit(&self, side: &str, set: &CheckSet, error: &ConfigError, found: &mut Found) {
        let (client, server) = (name_of(&self.client.source), name_of(&self.server.source));
        let place = CheckPlace::file(path_of(&set.files.chain));
        let text = format!(
            "client {client} and server {server}: the {side} cannot be built: {}",
            Chained(error)
        );
        let told = Finding::new(CheckRule::HandshakeRefused, place, text);
        found.add(told.remedy(error.remedy()));
    }

    /// Whoever refused says why; the other side only heard that it did.
    fn tell(
        &self,
        on_server: Result<(), HandshakeError>,
        on_client: Result<(), HandshakeError>,
        found: &mut Found,
    ) {
        let heard = |error: &HandshakeError| error.reason() == Reason::RefusedByPeer;
        let (side, presenter, error) = match (on_server, on_client) {
            (Err(error), _) if !heard(&error) => ("server", self.client_set, error),
            (_, Err(error)) => ("client", self.server_set, error),
            (Err(error), Ok(())) => ("server", self.client_set, error),
            (Ok(()), Ok(())) => return,
        };
        let rule = if error.reason() == Reason::NotAuthorized {
            CheckRule::IdentityUnmatched
        } else {
            CheckRule::HandshakeRefused
        };
        let place = CheckPlace::file(path_of(&presenter.files.chain));
        let (client, server) = (name_of(&self.client.source), name_of(&self.server.source));
        let text = format!(
            "client {client} and server {server}: the {side} refuses ({}): {}",
            error.reason(),
            Chained(&error)
        );
        found.add(Finding::new(rule, place, text).remedy(error.remedy()));
    }
}

fn name_of(source: &CredentialSource) -> String {
    let current = source.current();
    let credentials = current.credentials();
    let id = credentials.spiffe_id().map(ToString::to_string);
    let name = id.or_else(|| credentials.dns_names().first().cloned());
    format!(
        "`{}`",
        name.unwrap_or_else(|| credentials.subject().to_owned())
    )
}

/// The clock of a handshake that is tried as of another time.
#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

fn wrap(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
