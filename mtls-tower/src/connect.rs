//! A connector for hyper-util's client: every connection is mutual TLS, under the snapshot of its moment.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected as PoolInfo, Connection};
use hyper_util::rt::TokioIo;
use mtls_core::{ClientTls, HandshakeError, PeerInfo, Reason};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tower_service::Service;

use crate::goaway::SaysGoaway;
use crate::lifeline::Ending;
use crate::stream::ClientStream;

/// Connects by mutual TLS, for hyper-util's client and everything else that takes a `Service<Uri>`.
///
/// The current snapshot is read after TCP has connected, right before the handshake. It speaks to `https` URIs alone and
/// never falls back to plaintext. The server's [`PeerInfo`] is among the extensions of every response.
///
/// A connection in a pool is cut when its server would no longer be let in. When our credentials were rotated, or ahead of
/// the end of its server's certificates, the pool moves to a new connection, without losing a request, if it is told to by a
/// [`RetireLayer`](crate::RetireLayer).
#[derive(Debug, Clone)]
pub struct Connector {
    tls: ClientTls,
    connect_timeout: Duration,
    handshake_timeout: Duration,
}

impl Connector {
    /// A connector with its default timeouts.
    #[must_use]
    pub fn new(tls: ClientTls) -> Self {
        let limit = Duration::from_secs(10);
        Self {
            tls,
            connect_timeout: limit,
            handshake_timeout: limit,
        }
    }

    /// How long name resolution and TCP may take. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the handshake may take. Default: 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Connects to the host of `uri`, at its port or 443.
    ///
    /// # Errors
    ///
    /// Where it failed: the URI, TCP, or the handshake.
    pub async fn connect(&self, uri: &Uri) -> Result<ClientStream<TcpStream>, ConnectError> {
        if uri.scheme_str() != Some("https") {
            let found = uri.scheme_str().unwrap_or("none").to_owned();
            return Err(ConnectError::NotHttps { found });
        }
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|source| ConnectError::InvalidHost {
                host: host.to_owned(),
                source,
            })?;
        let target = (host, uri.port_u16().unwrap_or(443));
        let tcp = timeout(self.connect_timeout, TcpStream::connect(target))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| ConnectError::Tcp {
                source: Arc::new(source),
            })?;
        // Small records are latency here, not throughput. A socket that refuses the option still works.
        let _ = tcp.set_nodelay(true);
        self.handshake(name, tcp).await
    }

    /// Does the client's side of a handshake, on any stream of bytes.
    ///
    /// In TLS 1.3 a server that refuses us says so after this has succeeded: the first read then fails.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Handshake`].
    pub async fn handshake<IO>(
        &self,
        name: ServerName<'static>,
        io: IO,
    ) -> Result<ClientStream<IO>, ConnectError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let handshake = self.tls.handshake();
        let limit = self.handshake_timeout;
        let connect = TlsConnector::from(handshake.config()).connect(name.clone(), io);
        let tls = match timeout(limit, connect).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(handshake.explain(&error).into()),
            Err(_) => return Err(HandshakeError::Timeout { after: limit }.into()),
        };
        let peer = handshake.established(tls.get_ref().1, &name)?;
        Ok(ClientStream::new(tls, peer))
    }
}

impl Service<Uri> for Connector {
    type Response = Connected;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Connected, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect(&uri).await.map(Connected::new) })
    }
}

/// Why a [`Connector`] did not connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Handshake {
        /// Why.
        #[from]
        source: HandshakeError,
    },
    /// The host is neither a DNS name nor an IP address.
    #[error("`{host}` is neither a DNS name nor an IP address")]
    InvalidHost {
        /// The host.
        host: String,
        /// What is wrong with it.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The URI asks for something other than TLS.
    #[error("the URI's scheme is {found}, expected https")]
    NotHttps {
        /// The scheme.
        found: String,
    },
    /// TCP did not connect.
    #[error("TCP did not connect")]
    Tcp {
        /// The operating system's word.
        #[source]
        source: Arc<io::Error>,
    },
}

impl ConnectError {
    /// The stable name of what went wrong, where it was the handshake.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Handshake { source } => Some(source.reason()),
            Self::InvalidHost { .. } | Self::NotHttps { .. } | Self::Tcp { .. } => None,
        }
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Handshake { source } => source.remedy(),
            Self::InvalidHost { .. } => "dial a DNS name or an IP address",
            Self::NotHttps { .. } => "write https:// in the URI; this connector has no plaintext",
            Self::Tcp { .. } => "check the address, the port, and that the server is up",
        }
    }
}

/// A connection in the pool of hyper-util's client.
#[derive(Debug)]
pub struct Connected(TokioIo<SaysGoaway<TcpStream>>);

impl Connected {
    fn new(stream: ClientStream<TcpStream>) -> Self {
        stream.lifeline().ends(Ending::Retired);
        Self(TokioIo::new(SaysGoaway::new(stream)))
    }

    /// The server.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        self.0.inner().peer()
    }
}

impl Connection for Connected {
    fn connected(&self) -> PoolInfo {
        let info = PoolInfo::new()
            .extra(self.peer().clone())
            .extra(self.0.inner().pooled().handle());
        if self.peer().alpn() == Some(b"h2") {
            info.negotiated_h2()
        } else {
            info
        }
    }
}

impl Read for Connected {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl Write for Connected {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }
}
