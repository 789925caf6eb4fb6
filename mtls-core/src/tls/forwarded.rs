//! Whom to believe about who stands behind them.

use std::sync::Arc;

use super::info::PeerInfo;
use crate::clock;
use crate::identity::forwarded::OUR_HEADERS;
use crate::identity::{ForwardedError, ForwardedFormat, ForwardedIdentity};
use crate::policy::Authorizer;
use crate::verify::Role;

/// What becomes of the headers by which a proxy tells who its client is. Default: they are taken out of every request,
/// and nobody is believed.
///
/// The headers are `Client-Cert`, `Client-Cert-Chain` (RFC 9440), `l5d-client-id` (Linkerd) and
/// `x-forwarded-client-cert` (Envoy, Istio), and whatever reads the same once `_` is taken for `-`. Other names, such as
/// `ssl-client-cert`, mean nothing here: a handler that reads one of those believes whoever wrote it. Trailers are not
/// looked at.
#[derive(Debug, Clone, Default)]
pub struct Forwarded {
    accept: Option<Accept>,
}

#[derive(Debug, Clone)]
struct Accept {
    proxies: Arc<dyn Authorizer>,
    format: ForwardedFormat,
}

impl Forwarded {
    /// The headers, by their names in lowercase.
    pub const HEADERS: [&'static str; 4] = OUR_HEADERS;

    /// Takes the headers out, and believes nobody. The default.
    #[must_use]
    pub fn strip() -> Self {
        Self::default()
    }

    /// Takes the headers out, and believes those in `format` if the direct peer is one of `proxies`. Name the proxies one
    /// by one: whoever is among them can say that a request comes from anybody.
    ///
    /// ```
    /// # use mtls_core::{Forwarded, ForwardedFormat, Policy};
    /// let ingress = Policy::spiffe_id("spiffe://example.org/ns/ingress/sa/envoy")?;
    /// let forwarded = Forwarded::accept_from(ingress, ForwardedFormat::Xfcc);
    /// # Ok::<(), mtls_core::PolicyError>(())
    /// ```
    #[must_use]
    pub fn accept_from(proxies: impl Authorizer, format: ForwardedFormat) -> Self {
        let proxies = Arc::new(proxies);
        Self {
            accept: Some(Accept { proxies, format }),
        }
    }

    /// Whether a header of this name is to be taken out of a request.
    ///
    /// Where header names become names of variables (CGI, RFC 3875 §4.1.18), `-` and `_` become the same: what we hand a
    /// request on to may read either.
    #[must_use]
    pub fn is_header(name: &str) -> bool {
        let folded = |byte: u8| match byte {
            b'_' => b'-',
            other => other.to_ascii_lowercase(),
        };
        OUR_HEADERS
            .iter()
            .any(|ours| ours.len() == name.len() && name.bytes().map(folded).eq(ours.bytes()))
    }

    /// Who the client is, if the direct peer is a proxy that is believed and tells of one. `values` gives the values of a
    /// header, in order.
    ///
    /// `peer` is the direct peer, as verified by the handshake of this very connection: nobody is believed without one,
    /// nor after it was lost ([`PeerInfo::check`]).
    ///
    /// # Errors
    ///
    /// What the proxy forwarded cannot be read. Refuse the request: taken without it, it would be one of the proxy's own.
    pub fn read<'v, V>(
        &self,
        peer: Option<&PeerInfo>,
        values: impl Fn(&'static str) -> V,
    ) -> Result<Option<ForwardedIdentity>, ForwardedError>
    where
        V: IntoIterator<Item = &'v [u8]>,
    {
        let (Some(accept), Some(peer)) = (&self.accept, peer) else {
            return Ok(None);
        };
        let is_proxy = peer.role() == Role::Client
            && peer.check().is_ok()
            && accept.proxies.authorize(peer.identity()).is_ok();
        if !is_proxy {
            return Ok(None);
        }
        let Some(claims) = accept.format.read(values)? else {
            return Ok(None);
        };
        claims.valid_at(clock::now().into())?;
        Ok(Some(ForwardedIdentity::new(peer.identity(), claims)))
    }
}
