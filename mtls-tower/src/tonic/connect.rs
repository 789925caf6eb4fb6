//! A connector for tonic's channels: HTTP/2 or nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::tonic::ConnectError as Unavailable;
use http::Uri;
use mtls_core::ClientTls;
use tower_service::Service;

use crate::connect::{Connected, Connector};
use crate::destination::Destination;

/// A [`Connector`] that speaks HTTP/2 alone: it offers no other protocol, and a server that does not agree to it is
/// refused, for tonic's client would speak it anyway.
///
/// Give it to tonic's `Channel::new`, or leave that to a [`Channel`](crate::tonic::Channel), which follows rotation too.
/// Do not use `Endpoint::connect_with_connector`: under any of tonic's `tls-…` features it takes no `https` URI unless
/// tonic itself does the TLS.
///
/// Its errors are in tonic's `ConnectError`, which a call reports as `UNAVAILABLE`. The cause is below it: a
/// [`ConnectError`](crate::ConnectError) or a [`NotHttp2`].
#[derive(Debug, Clone)]
pub struct Http2Connector(Connector);

impl Http2Connector {
    /// A connector with its default timeouts. Whatever protocols `tls` would offer, this offers `h2`.
    #[must_use]
    pub fn new(tls: &ClientTls) -> Self {
        Self(Connector::new(tls.with_alpn(["h2"])))
    }

    /// How long name resolution and TCP may take. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self(self.0.connect_timeout(timeout))
    }

    /// How long the handshake may take. Default: 10 s.
    #[must_use]
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        Self(self.0.handshake_timeout(timeout))
    }

    /// How long a server of TLS 1.3 may take to show that it accepts us. Default: 1 s. Zero: it is not waited for. See
    /// [`Connector::confirm_timeout`].
    #[must_use]
    pub fn confirm_timeout(self, timeout: Duration) -> Self {
        Self(self.0.confirm_timeout(timeout))
    }
}

impl Service<Uri> for Http2Connector {
    type Response = Connected;
    type Error = Unavailable;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, Unavailable>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unavailable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.0.clone();
        Box::pin(async move {
            let unavailable = |error| Unavailable(Box::new(error));
            let to = Destination::of(&uri).map_err(unavailable)?;
            let stream = connector.dial(&to).await.map_err(unavailable)?;
            // RFC 9113 §3.2: a client uses ALPN to agree on `h2`. A server without ALPN lets the handshake succeed.
            match stream.peer().alpn() {
                Some(b"h2") => Ok(Connected::new(stream, to)),
                other => {
                    let found = other.map(|name| String::from_utf8_lossy(name).into_owned());
                    Err(Unavailable(Box::new(NotHttp2 { found })))
                }
            }
        })
    }
}

/// The server did not agree to HTTP/2.
#[derive(Debug, thiserror::Error)]
#[error("the server negotiated {}, expected h2", found.as_deref().unwrap_or("no protocol"))]
#[non_exhaustive]
pub struct NotHttp2 {
    /// What it chose instead, if it knows ALPN.
    pub found: Option<String>,
}

impl NotHttp2 {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        "dial a gRPC server, or let what terminates its TLS offer h2 by ALPN"
    }
}
