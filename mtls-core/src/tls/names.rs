//! Several identities on one server, told apart by the server name that a client asks for (SNI, RFC 6066 §3).
//!
//! A client is judged by the identity that it asked for, and by no other: whoever is let in under one name has shown nothing
//! under the next. So a request has to be for a host of the identity whose handshake it came by. RFC 9110 §15.5.20: a server
//! answers 421 where the request "was directed at a server that is unable or unwilling to produce an authoritative
//! response".

use std::collections::HashMap;
use std::sync::Arc;

use rustls_pki_types::ServerName;

use super::connection::ServerHandshake;
use super::error::{ConfigError, HandshakeError};
use super::server::ServerTls;
use crate::audit::{Audit, ConnectionFacts};
use crate::policy::{is_host, without_port};

/// The identities of one server, by the name that a client asks for.
///
/// Each is a [`ServerTls`] with its own source, its own authorizer and its own sessions. What becomes of a client that asks
/// for none of the names has to be said. A single `ServerTls` is one too, which answers to whatever name; so whatever takes
/// `impl Into<ServerNames>` takes either.
///
/// A request on a connection has to be for a host of the identity that the connection was made to: see
/// [`PeerInfo::answers_for`](crate::PeerInfo::answers_for). The adapters answer all others with 421 Misdirected Request.
///
/// ```
/// use mtls_core::testing::TestCa;
/// use mtls_core::{Otherwise, Policy, ServerNames, ServerTls};
///
/// let ca = TestCa::new("example.org");
/// let api = ServerTls::builder(&ca.source(&ca.issue("/api")))
///     .authorize(Policy::trust_domain("example.org")?)
///     .build()?;
/// let admin = ServerTls::builder(&ca.source(&ca.issue("/admin")))
///     .authorize(Policy::spiffe_id("spiffe://example.org/operator")?)
///     .build()?;
///
/// let names = ServerNames::named("api.example.org", &api)?
///     .named("*.admin.example.org", &admin)?
///     .otherwise(Otherwise::Refuse);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Without that last word there is nothing to serve by:
///
/// ```compile_fail,E0308
/// # fn doc(api: &mtls_core::ServerTls) -> Result<(), mtls_core::ConfigError> {
/// let names: mtls_core::ServerNames = mtls_core::ServerNames::named("api.example.org", api)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServerNames(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// The names, in the form of [`normal`]; of a wildcard, what is behind `*.`.
    exact: HashMap<String, usize>,
    wildcards: HashMap<String, usize>,
    /// Whoever asks for another name, and whoever asks for none.
    unknown: Option<usize>,
    nameless: Option<usize>,
    /// INVARIANT: never empty, and all of the above point into it; each identity is in it once.
    identities: Vec<ServerTls>,
}

/// What becomes of a client that asks for none of a server's names.
#[derive(Debug, Clone)]
pub enum Otherwise {
    /// It is refused, by the alert `unrecognized_name`.
    Refuse,
    /// It is served by this identity.
    Serve(ServerTls),
}

/// Builds a [`ServerNames`].
#[derive(Debug)]
#[must_use = "`otherwise` makes the names of it"]
pub struct ServerNamesBuilder {
    names: Names,
}

impl ServerNames {
    /// Begins with the first name, which is answered by `tls`. Its observer is told, too, of what befalls a connection
    /// before its name is known.
    ///
    /// A name is a DNS name, `api.example.org`, or a wildcard for one label, `*.example.org`, which is asked after the exact
    /// names. Case and the root's dot make no difference. There are no addresses among them: SNI has none.
    ///
    /// # Errors
    ///
    /// A name that is none.
    pub fn named(name: &str, tls: &ServerTls) -> Result<ServerNamesBuilder, ConfigError> {
        let names = Names {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            unknown: None,
            nameless: None,
            identities: Vec::new(),
        };
        ServerNamesBuilder { names }.named(name, tls)
    }

    /// The identity of a client that asks for this name, or for none.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::UnknownServerName`], where that is what was said.
    pub fn find(&self, server_name: Option<&str>) -> Result<&ServerTls, HandshakeError> {
        let unknown = || HandshakeError::UnknownServerName {
            asked: server_name.map(ToOwned::to_owned),
        };
        self.0
            .index(server_name)
            .and_then(|index| self.0.identities.get(index))
            .ok_or_else(unknown)
    }

    /// Everything for one handshake with a client that asks for this name, or for none, under the snapshot of its identity
    /// that is current now.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::UnknownServerName`], where that is what was said. rustls has no way to send the alert for it: whoever
    /// drives the handshake writes [`HandshakeError::alert_before_handshake`] to the client.
    pub fn handshake_of(
        &self,
        server_name: Option<&str>,
        connection: ConnectionFacts,
    ) -> Result<ServerHandshake, HandshakeError> {
        let handshake = self.find(server_name)?.handshake_of(connection);
        let at = self.0.index(server_name).filter(|_| !self.0.is_sole());
        Ok(handshake.under(at.map(|index| Under {
            names: self.clone(),
            index,
        })))
    }

    /// The identity that was named first.
    ///
    /// Its observer is told of what befalls a connection before its name is known: that it says nothing, or no TLS, or asks
    /// for a name that nobody has.
    #[must_use]
    pub fn first(&self) -> &ServerTls {
        #[expect(clippy::expect_used, reason = "both constructors put one in")]
        self.0.identities.first().expect("never empty")
    }

    /// Whom its decisions are told to that concern none of the identities: the observer of the [`first`](Self::first).
    #[must_use]
    pub fn audit(&self) -> &Audit {
        self.first().audit()
    }
}

impl From<ServerTls> for ServerNames {
    fn from(tls: ServerTls) -> Self {
        Self(Arc::new(Names {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            unknown: Some(0),
            nameless: Some(0),
            identities: vec![tls],
        }))
    }
}

impl ServerNamesBuilder {
    /// A further name, and who answers to it: the identity of another name, or one of its own.
    ///
    /// # Errors
    ///
    /// A name that is none, or that is there already.
    pub fn named(mut self, name: &str, tls: &ServerTls) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::InvalidServerName { name: name.into() };
        let (suffix, is_wildcard) = match name.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (name, false),
        };
        let Ok(ServerName::DnsName(suffix)) = ServerName::try_from(suffix) else {
            return Err(invalid());
        };
        let suffix = normal(suffix.as_ref());
        let index = self.names.enter(tls);
        let among = if is_wildcard {
            &mut self.names.wildcards
        } else {
            &mut self.names.exact
        };
        match among.insert(suffix, index) {
            None => Ok(self),
            Some(_) => Err(ConfigError::DuplicateServerName { name: name.into() }),
        }
    }

    /// What becomes of a client that asks for no name: one that dials an address, or is very old. Default: what
    /// [`otherwise`](Self::otherwise) says.
    pub fn nameless(self, choice: Otherwise) -> NamelessSaid {
        NamelessSaid {
            builder: self,
            choice,
        }
    }

    /// Says what becomes of a client that asks for a name that is not among these, or for none. Required.
    #[must_use]
    pub fn otherwise(self, choice: Otherwise) -> ServerNames {
        let nameless = choice.clone();
        self.finish(choice, nameless)
    }

    fn finish(mut self, unknown: Otherwise, nameless: Otherwise) -> ServerNames {
        let mut enter = |choice| match choice {
            Otherwise::Refuse => None,
            Otherwise::Serve(tls) => Some(self.names.enter(&tls)),
        };
        let (unknown, nameless) = (enter(unknown), enter(nameless));
        self.names.unknown = unknown;
        self.names.nameless = nameless;
        ServerNames(Arc::new(self.names))
    }
}

/// Builder state: what becomes of a client that asks for no name has been said.
#[derive(Debug)]
#[must_use = "`otherwise` makes the names of it"]
pub struct NamelessSaid {
    builder: ServerNamesBuilder,
    choice: Otherwise,
}

impl NamelessSaid {
    /// Says what becomes of a client that asks for a name that is not among these. Required.
    #[must_use]
    pub fn otherwise(self, choice: Otherwise) -> ServerNames {
        self.builder.finish(choice, self.choice)
    }
}

impl Names {
    fn enter(&mut self, tls: &ServerTls) -> usize {
        let known = self.identities.iter().position(|known| known.is(tls));
        known.unwrap_or_else(|| {
            self.identities.push(tls.clone());
            self.identities.len() - 1
        })
    }

    /// Whether one identity answers to whatever name: then there is nothing to tell apart.
    fn is_sole(&self) -> bool {
        self.identities.len() == 1 && self.unknown.is_some() && self.nameless.is_some()
    }

    fn index(&self, server_name: Option<&str>) -> Option<usize> {
        let Some(name) = server_name else {
            return self.nameless;
        };
        let name = normal(name);
        let wildcard = || {
            let (label, suffix) = name.split_once('.')?;
            self.wildcards.get(suffix).filter(|_| !label.is_empty())
        };
        let named = self.exact.get(&name).or_else(wildcard);
        named.copied().or(self.unknown)
    }

    /// Who answers for what a request says of its host. What is no host is nobody's.
    fn index_of_host(&self, host: &[u8]) -> Option<usize> {
        let host = std::str::from_utf8(host).ok()?;
        let host = without_port(host);
        // `api.example.org.` is the same host, and may be a router's too.
        let host = host.strip_suffix('.').unwrap_or(host);
        if !is_host(host) {
            return None;
        }
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match ServerName::try_from(bare.unwrap_or(host)) {
            // Whoever dials an address asks for no name (RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted").
            Ok(ServerName::IpAddress(_)) => self.index(None),
            Ok(ServerName::DnsName(name)) if bare.is_none() => self.index(Some(name.as_ref())),
            // Whoever answers otherwise is not asked: another reader may find one of the names in it, as in `a.example:1:2`.
            Ok(_) | Err(_) => None,
        }
    }
}

/// The identity, among others, that a connection was made to.
#[derive(Debug, Clone)]
pub(super) struct Under {
    names: ServerNames,
    index: usize,
}

impl Under {
    /// Whether this identity answers for what a request says of its host.
    ///
    /// It is asked what would become of a client that dialled that host: only where it would have come to this identity does
    /// the request belong here. So nobody gets by a request what a handshake would refuse.
    pub(super) fn answers_for(&self, host: &[u8]) -> bool {
        self.names.0.index_of_host(host) == Some(self.index)
    }

    /// The same for all hosts that a request names; where there is but one identity, it answers for any.
    pub(super) fn answers_for_all<'a>(
        under: Option<&Self>,
        hosts: impl IntoIterator<Item = &'a [u8]>,
    ) -> bool {
        under.is_none_or(|under| hosts.into_iter().all(|host| under.answers_for(host)))
    }
}

/// DNS names are compared without regard to case, and the dot of the root says nothing (RFC 4343 §2, RFC 1034 §3.1).
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
