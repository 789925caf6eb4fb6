//! What a rule may know of a request, as plain text.

use super::path::{CanonicalPath, PathFault, canonical};

/// What a request says of itself, borrowed from it: for policies whose rules ask for more than who the peer is.
///
/// Everything in it comes from the peer. A fact that can be read in two ways is kept as such, and a rule that has to read
/// it denies the request.
///
/// ```
/// # use mtls_core::RequestFacts;
/// let facts = RequestFacts::new("GET", "/orders/17").host_header("orders.example.org");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RequestFacts<'a> {
    pub(super) method: &'a str,
    pub(super) path: Result<CanonicalPath<'a>, PathFault>,
    authority: Said<'a>,
    host: Said<'a>,
    pub(super) grpc: bool,
}

/// What one place says of the host.
#[derive(Debug, Clone, Copy)]
enum Said<'a> {
    Nothing,
    Host(&'a str),
    /// Something that is no host, or two things.
    Unclear,
}

/// Why a request's host cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostFault {
    /// `Host` and `:authority`, or two `Host` headers, name different hosts.
    #[error("`Host` and `:authority` disagree")]
    Disagree,
    /// There is neither `Host` nor `:authority`.
    #[error("the request names no host")]
    Missing,
    /// It has a character that no host has, or is no text.
    #[error("the request's host is malformed")]
    Malformed,
}

impl<'a> RequestFacts<'a> {
    /// The method, and the path as it came: still encoded, without its query, and not what a router left of it.
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path: canonical(path),
            authority: Said::Nothing,
            host: Said::Nothing,
            grpc: false,
        }
    }

    /// The `:authority` of HTTP/2, or the authority of an absolute request target.
    pub fn authority(mut self, authority: &'a str) -> Self {
        self.authority = self.authority.and(authority.as_bytes());
        self
    }

    /// The value of a `Host` header; to be called for each that there is.
    pub fn host_header(mut self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.host = self.host.and(value.as_ref());
        self
    }

    /// The value of the `Content-Type` header: what begins with `application/grpc` is a gRPC call.
    pub fn content_type(mut self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.grpc = value.as_ref().starts_with(GRPC);
        self
    }

    /// The host that the request is for, without its port: whatever port a caller writes there, the host is the same.
    pub(super) fn host(&self) -> Result<&'a str, HostFault> {
        self.host_and_port().map(without_port)
    }

    fn host_and_port(&self) -> Result<&'a str, HostFault> {
        match (self.authority, self.host) {
            (Said::Unclear, _) | (_, Said::Unclear) => Err(HostFault::Malformed),
            (Said::Nothing, Said::Nothing) => Err(HostFault::Missing),
            (Said::Host(one), Said::Nothing) | (Said::Nothing, Said::Host(one)) => Ok(one),
            (Said::Host(one), Said::Host(other)) if one.eq_ignore_ascii_case(other) => Ok(one),
            (Said::Host(_), Said::Host(_)) => Err(HostFault::Disagree),
        }
    }

    /// What is wrong with the host, apart from there being none.
    ///
    /// RFC 9113 §8.3.1: a server should treat a request as malformed if its Host header names another entity than its
    /// `:authority`. Who routes by the one and decides by the other is misled.
    pub(super) fn host_conflict(&self) -> Option<HostFault> {
        match self.host() {
            Ok(_) | Err(HostFault::Missing) => None,
            Err(fault @ (HostFault::Disagree | HostFault::Malformed)) => Some(fault),
        }
    }
}

impl<'a> Said<'a> {
    fn and(self, value: &'a [u8]) -> Self {
        match (self, read_host(value)) {
            (Self::Nothing, Some(host)) => Self::Host(host),
            (Self::Host(before), Some(host)) if before.eq_ignore_ascii_case(host) => self,
            (Self::Nothing | Self::Host(_) | Self::Unclear, _) => Self::Unclear,
        }
    }
}

/// The host as written, without the default port (RFC 3986 §6.2.3).
fn read_host(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let host = text
        .strip_suffix(":443")
        .or_else(|| text.strip_suffix(':'))
        .unwrap_or(text);
    is_host(host).then_some(host)
}

pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !is_bare_ipv6(name) => {
            name
        }
        _ => host,
    }
}

/// `::1` ends like a name with a port.
fn is_bare_ipv6(name: &str) -> bool {
    name.contains(':') && !name.ends_with(']')
}

/// The characters of a host name, an address, or either with a port. No user information, and no list; nor the root's dot,
/// with which a name is another text and the same host.
pub(crate) fn is_host(text: &str) -> bool {
    let bytes = text.as_bytes();
    let name = without_port(text);
    !name.is_empty()
        && !name.ends_with('.')
        && bytes.iter().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']')
        })
}

/// The gRPC protocol over HTTP/2 has every content type begin with this.
const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> RequestFacts<'_> {
        RequestFacts::new("GET", path)
    }

    #[test]
    fn host_and_authority_agree_or_there_is_no_host() {
        assert_eq!(get("/").authority("A.test").host(), Ok("A.test"));
        assert_eq!(get("/").host_header("a.test:443").host(), Ok("a.test"));
        let both = get("/").authority("a.test").host_header("A.test:443");
        assert_eq!(both.host(), Ok("a.test"));
        assert_eq!(get("/").host(), Err(HostFault::Missing));
        assert_eq!(get("/").host_conflict(), None);
        for other in ["b.test", "a.test:8443"] {
            let both = get("/").authority("a.test").host_header(other);
            assert_eq!(both.host(), Err(HostFault::Disagree), "{other}");
            assert_eq!(both.host_conflict(), Some(HostFault::Disagree));
        }
    }

    #[test]
    fn a_port_makes_no_other_host() {
        for (written, host) in [
            ("a.test:8443", "a.test"),
            ("a.test:", "a.test"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(get("/").host_header(written).host(), Ok(host));
        }
    }

    #[test]
    fn two_host_headers_that_differ_or_a_strange_one_are_unclear() {
        let twice = |one, other| get("/").host_header(one).host_header(other).host();
        assert_eq!(twice("a.test", "a.test"), Ok("a.test"));
        assert_eq!(twice("a.test", "b.test"), Err(HostFault::Malformed));
        for strange in [
            "",
            ":443",
            "a.test.",
            "a.test.:1",
            "u@a.test",
            "a,b",
            "a/x",
            "a b",
        ] {
            let host = get("/").host_header(strange).host();
            assert_eq!(host, Err(HostFault::Malformed), "{strange:?}");
        }
        let bytes = get("/").host_header(b"a\xFF.test").host_conflict();
        assert_eq!(bytes, Some(HostFault::Malformed));
    }
}
