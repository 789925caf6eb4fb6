//! Where a connection of ours goes to, and by which name its server is judged.

use http::Uri;
use http::uri::{Authority, Scheme};
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

use crate::connect::ConnectError;

/// The host and port of an `https` URI. Two of the same name and port are equal, however they are written.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    name: ServerName<'static>,
    /// Host and port, the latter where it is not the scheme's own (RFC 9110 §7.2).
    authority: Authority,
    port: u16,
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.name == other.name
    }
}

impl Destination {
    /// The destination of a URI that says one.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ConnectError> {
        if uri.scheme() != Some(&Scheme::HTTPS) {
            let found = uri.scheme_str().unwrap_or("none").to_owned();
            return Err(ConnectError::NotHttps { found });
        }
        let host = uri.host().unwrap_or_default();
        let bare = without_brackets(host);
        let invalid = |source| ConnectError::InvalidHost {
            host: bare.to_owned(),
            source,
        };
        let name = ServerName::try_from(bare.to_owned()).map_err(invalid)?;
        let port = uri.port_u16().unwrap_or(HTTPS);
        let authority = match port {
            HTTPS => host.parse(),
            port => format!("{host}:{port}").parse(),
        };
        // What is a name or an address is an authority.
        let authority = authority.map_err(|_| invalid(InvalidDnsNameError))?;
        Ok(Self {
            name,
            authority,
            port,
        })
    }

    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What is resolved and connected to.
    pub(crate) fn address(&self) -> (&str, u16) {
        (without_brackets(self.authority.host()), self.port)
    }

    /// As URIs and the header `Host` have it.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// RFC 9110 §4.2.2.
const HTTPS: u16 = 443;
