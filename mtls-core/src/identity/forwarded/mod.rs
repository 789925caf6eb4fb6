//! Who a proxy says is behind it: what its headers say, and how ours are written.
//!
//! Texts in, claims out. Whether the proxy is believed is said in [`Forwarded`](crate::Forwarded).

mod base64;
mod claims;
mod client_cert;
mod error;
mod render;
mod xfcc;

#[cfg(feature = "__fuzz")]
pub(crate) use base64::decode as base64_decode;
pub use claims::ForwardedIdentity;
pub(crate) use claims::{Claims, OUR_HEADERS};
pub use error::ForwardedError;
pub use render::ForwardAs;

/// The form in which a proxy tells of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedFormat {
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440): the certificate itself. Prefer it where the proxy can.
    ClientCert,
    /// Envoy's `x-forwarded-client-cert`. Of several elements the last one counts, which the direct peer has added.
    ///
    /// Envoy does not quote names: whoever gets a certificate with a `,` or a `;` in a name from a CA that the proxy
    /// trusts can add claims of their own. Let the proxy send `Cert` too: then the names are read from there.
    Xfcc,
}

impl ForwardedFormat {
    /// What the values of a request's headers claim; `values` gives those of a header, in order.
    pub(crate) fn read<'v, V>(
        self,
        values: impl Fn(&'static str) -> V,
    ) -> Result<Option<Claims>, ForwardedError>
    where
        V: IntoIterator<Item = &'v [u8]>,
    {
        match self {
            Self::ClientCert => client_cert::read(
                values(claims::CLIENT_CERT),
                values(claims::CLIENT_CERT_CHAIN),
            ),
            Self::Xfcc => xfcc::read(values(claims::XFCC)),
        }
    }
}
