//! What a proxy claims about its client, and who claims it.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::error::ForwardedError;
use crate::identity::certificate::{Certificate, UriName, hex, sha256};
use crate::identity::{PeerIdentity, SpiffeId, Timestamp, Validity, profile};

/// Who a trusted proxy says its client is.
///
/// It is hearsay: the client has proven nothing to us, the proxy [`by`](Self::by) which it came has. So it is another
/// type than a [`PeerIdentity`], and no policy for peers takes it:
///
/// ```compile_fail,E0308
/// # fn doc(policy: &mtls_core::Policy, forwarded: &mtls_core::ForwardedIdentity) {
/// let _ = mtls_core::Authorizer::authorize(policy, forwarded);
/// # }
/// ```
///
/// Decide by its [`spiffe_id`](Self::spiffe_id) and say so where you do:
///
/// ```
/// # use mtls_core::{ForwardedIdentity, SpiffePattern};
/// fn may_order(client: &ForwardedIdentity, who: &SpiffePattern) -> bool {
///     client.spiffe_id().is_some_and(|id| who.matches(id))
/// }
/// ```
///
/// There is no way to make one but by reading it from a request of a listed proxy, with [`Forwarded`](crate::Forwarded).
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardedIdentity(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    by: PeerIdentity,
    claims: Claims,
}

/// What the headers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) spiffe_id: Option<SpiffeId>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) subject: Option<String>,
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) validity: Option<Validity>,
    /// Leaf first; empty where the proxy sent no certificate.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

impl ForwardedIdentity {
    /// INVARIANT: called by `Forwarded` alone, with the verified peer that sent the claims and is listed as a proxy.
    pub(crate) fn new(by: &PeerIdentity, claims: Claims) -> Self {
        Self(Arc::new(Inner {
            by: by.clone(),
            claims,
        }))
    }

    /// The proxy that says so: the direct peer, which was verified.
    #[must_use]
    pub fn by(&self) -> &PeerIdentity {
        &self.0.by
    }

    /// The client's SPIFFE ID. Its trust domain is whatever the proxy trusts: compare the whole ID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.0.claims.spiffe_id.as_ref()
    }

    /// The client's DNS names, in lowercase and otherwise as written.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.0.claims.dns_names
    }

    /// The client's distinguished name, for display: proxies write it in different forms, and it identifies nobody.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.claims.subject.as_deref()
    }

    /// SHA-256 of the client's certificate.
    #[must_use]
    pub fn sha256(&self) -> Option<&[u8; 32]> {
        self.0.claims.sha256.as_ref()
    }

    /// When the client's certificate is valid, where the proxy sent it.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.0.claims.validity
    }

    /// The client's certificate and its intermediates, as DER: empty where the proxy sent none. Nobody here has verified
    /// it.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.claims.chain
    }
}

impl Claims {
    /// What a chain says, leaf first.
    pub(crate) fn of_chain(chain: Vec<CertificateDer<'static>>) -> Result<Self, ForwardedError> {
        let malformed = |detail| ForwardedError::MalformedCertificate { detail };
        if chain.len() > MAX_CHAIN {
            return Err(ForwardedError::TooLarge {
                what: "the forwarded chain",
                found: chain.len(),
                unit: "certificates",
                limit: MAX_CHAIN,
            });
        }
        let der = chain
            .first()
            .ok_or_else(|| malformed("there is none".into()))?;
        let leaf = Certificate::parse(der).map_err(malformed)?;
        Ok(Self {
            spiffe_id: profile::spiffe_id(&leaf).map_err(profile_fault)?,
            dns_names: leaf.names.dns,
            subject: Some(leaf.subject.text().to_owned()),
            sha256: Some(sha256(der)),
            validity: Some(leaf.validity),
            chain,
        })
    }

    /// What names say without a certificate.
    pub(crate) fn of_names(uris: &[String], dns: &[String]) -> Result<Self, ForwardedError> {
        let uris: Vec<_> = uris.iter().cloned().map(UriName::Text).collect();
        Ok(Self {
            spiffe_id: profile::spiffe_id_of(&uris).map_err(profile_fault)?,
            dns_names: dns.iter().map(|name| name.to_ascii_lowercase()).collect(),
            ..Self::default()
        })
    }

    /// A direct peer is lost when its certificate expires; whoever stands behind a proxy is no better off.
    pub(crate) fn valid_at(&self, now: Timestamp) -> Result<(), ForwardedError> {
        match self.validity {
            Some(span) if !span.contains(now) => Err(ForwardedError::OutsideValidity {
                not_before: span.not_before,
                not_after: span.not_after,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

fn profile_fault(fault: crate::verify::ChainFault) -> ForwardedError {
    ForwardedError::Profile {
        source: Box::new(fault),
    }
}

/// Tells the proxy too, so that nobody takes it for a direct peer in a log.
impl fmt::Display for ForwardedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = &self.0.claims;
        match (&claims.spiffe_id, claims.dns_names.first()) {
            (Some(id), _) => fmt::Display::fmt(id, f)?,
            (None, Some(name)) => f.write_str(name)?,
            (None, None) => match (&claims.subject, &claims.sha256) {
                (Some(subject), _) => f.write_str(subject)?,
                (None, Some(sha256)) => write!(f, "SHA-256 {}", hex(sha256))?,
                (None, None) => f.write_str("(nobody)")?,
            },
        }
        write!(f, " (forwarded by {})", self.0.by)
    }
}

impl fmt::Debug for ForwardedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardedIdentity")
            .field("spiffe_id", &self.spiffe_id())
            .field("dns_names", &self.dns_names())
            .field("subject", &self.subject())
            .field("sha256", &self.sha256().map(|sha256| hex(sha256)))
            .field("by", self.by())
            .finish()
    }
}

/// Header names, in lowercase.
pub(super) const XFCC: &str = "x-forwarded-client-cert";
pub(super) const CLIENT_CERT: &str = "client-cert";
pub(super) const CLIENT_CERT_CHAIN: &str = "client-cert-chain";
const LINKERD: &str = "l5d-client-id";

/// The headers by which proxies tell who their client is.
pub(crate) const OUR_HEADERS: [&str; 4] = [CLIENT_CERT, CLIENT_CERT_CHAIN, LINKERD, XFCC];

/// Leaf and intermediates; no CA issues deeper.
const MAX_CHAIN: usize = 16;

/// The lines of a header together: a chain of [`MAX_CHAIN`] large certificates.
const MAX_HEADER: usize = 64 * 1024;

/// The lines of a header as one text (RFC 9110 §5.3), of printable ASCII; none if there is no such header.
pub(super) fn joined<'v>(
    header: &'static str,
    lines: impl IntoIterator<Item = &'v [u8]>,
) -> Result<Option<String>, ForwardedError> {
    let mut text: Option<String> = None;
    for line in lines {
        let text = match &mut text {
            Some(text) => {
                text.push(',');
                text
            }
            None => text.insert(String::new()),
        };
        let found = text.len() + line.len();
        if found > MAX_HEADER {
            return Err(ForwardedError::TooLarge {
                what: header,
                found,
                unit: "bytes",
                limit: MAX_HEADER,
            });
        }
        for byte in line {
            if !matches!(byte, b' '..=b'~' | b'\t') {
                return Err(ForwardedError::MalformedHeader {
                    header,
                    at: text.len(),
                    expected: "printable ASCII",
                });
            }
            // A blank either way, and only one of them is fit for a log.
            text.push(if *byte == b'\t' {
                ' '
            } else {
                char::from(*byte)
            });
        }
    }
    Ok(text)
}
