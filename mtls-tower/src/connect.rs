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
use mtls_core::metrics::HandshakeMeter;
use mtls_core::{ClientTls, HandshakeError, PeerInfo, Reason, RefusalLog, Role};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tower_service::Service;

use crate::confirm::{Name, Silent, confirm};
use crate::destination::Destination;
use crate::goaway::SaysGoaway;
use crate::lifeline::{Ending, Lifeline};
use crate::stream::ClientStream;

/// Connects by mutual TLS, for hyper-util's client and everything else that takes a `Service<Uri>`.
///
/// The current snapshot is read after TCP has connected, right before the handshake. It speaks to `https` URIs alone and
/// never falls back to plaintext. The server's [`PeerInfo`] is among the extensions of every response.
///
/// A server that refuses us is an error of connecting, with its alert, in TLS 1.3 too, where it says so after our own
/// handshake is done: a new connection is handed out when its server has shown that it accepts us. See
/// [`confirm_timeout`](Self::confirm_timeout) for what that costs, and when it cannot be known.
///
/// Of the protocols that [`ClientTls`] offers, a server picks one by ALPN. One that knows no ALPN is taken to speak
/// HTTP/1.1, if that was offered, or nothing was; else it is refused.
///
/// A connection in a pool is cut when its server would no longer be let in. When our credentials were rotated, or ahead of
/// the end of its server's certificates, the pool moves to a new connection, without losing a request, if it is told to by a
/// [`RetireLayer`](crate::RetireLayer). For hyper-util's other pool, whose parts are services, see
/// [`pool`](crate::pool).
#[derive(Debug, Clone)]
pub struct Connector {
    tls: ClientTls,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    confirm_timeout: Duration,
    silent: Silent,
    refusals: Arc<RefusalLog>,
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
            confirm_timeout: Duration::from_secs(1),
            silent: Silent::default(),
            refusals: Arc::new(RefusalLog::new(Role::Client)),
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

    /// How long a server of TLS 1.3 may take to show that it accepts us, which it does by a session ticket or by the first
    /// bytes of its protocol. Default: 1 s. Zero: it is not waited for, and a refusal is met by the first read.
    ///
    /// It costs one round trip per new connection. A server that says nothing is waited for until the time is up and then
    /// taken to accept us; of the next ten minutes' connections to it none waits, for up to 1,024 such servers. Our own say
    /// nothing with `Resumption::Off` before the first request; most others' send tickets unless told not to.
    #[must_use]
    pub fn confirm_timeout(mut self, timeout: Duration) -> Self {
        self.confirm_timeout = timeout;
        self
    }

    /// Connects to the host of `uri`, at its port or 443.
    ///
    /// # Errors
    ///
    /// Where it failed: the URI, TCP, or the handshake, and that is also where the server has refused us, or has closed the
    /// connection before it said anything.
    pub async fn connect(&self, uri: &Uri) -> Result<ClientStream<TcpStream>, ConnectError> {
        let stream = self.dial(&Destination::of(uri)?).await?;
        self.agreed(&stream)?;
        Ok(stream)
    }

    /// Connects, whatever the server says of protocols.
    pub(crate) async fn dial(
        &self,
        to: &Destination,
    ) -> Result<ClientStream<TcpStream>, ConnectError> {
        let tcp = timeout(self.connect_timeout, TcpStream::connect(to.address()))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| ConnectError::Tcp {
                source: Arc::new(source),
            })?;
        // Small records are latency here, not throughput. A socket that refuses the option still works.
        let _ = tcp.set_nodelay(true);
        self.establish((to.name().clone(), Some(to.port())), tcp)
            .await
    }

    /// RFC 7301 §3.1: a server without ALPN ignores what we offer. Whoever offers HTTP/2 alone does not mean to speak
    /// HTTP/1.1 with it, nor whatever else may listen there under the same certificate.
    fn agreed<IO>(&self, stream: &ClientStream<IO>) -> Result<(), HandshakeError> {
        if stream.peer().alpn().is_some() {
            return Ok(());
        }
        let offered = &self.tls.handshake().config().alpn_protocols;
        if offered.is_empty() || offered.iter().any(|name| name == b"http/1.1") {
            return Ok(());
        }
        let ours = offered.iter().map(|name| String::from_utf8_lossy(name));
        Err(HandshakeError::NoCommonProtocol {
            ours: ours.map(Into::into).collect(),
        })
    }

    /// Does the client's side of a handshake, on any stream of bytes, and waits for the server to accept us.
    ///
    /// What the server has sent by then is there to be read. What it says of ALPN is the caller's to judge.
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
        self.establish((name, None), io).await
    }

    async fn establish<IO>(&self, server: Name, io: IO) -> Result<ClientStream<IO>, ConnectError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let meter = HandshakeMeter::begin(Role::Client);
        match self.establish_unmeasured(&server, io).await {
            Ok(stream) => {
                meter.established();
                Ok(stream)
            }
            Err(error) => {
                meter.failed(&error);
                self.refusals.server(&error, &server.0.to_str());
                Err(error.into())
            }
        }
    }

    async fn establish_unmeasured<IO>(
        &self,
        server: &Name,
        io: IO,
    ) -> Result<ClientStream<IO>, HandshakeError>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let handshake = self.tls.handshake();
        let limit = self.handshake_timeout;
        let connect = TlsConnector::from(handshake.config()).connect(server.0.clone(), io);
        let mut tls = match timeout(limit, connect).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return Err(handshake.explain(&error)),
            Err(_) => return Err(HandshakeError::Timeout { after: limit }),
        };
        let peer = handshake.established(tls.get_ref().1, &server.0)?;
        if !self.confirm_timeout.is_zero() && self.silent.is_asked(server) {
            let word = confirm(&mut tls, self.confirm_timeout).await;
            let word = word.map_err(|error| handshake.explain(&error))?;
            self.silent.note(server.clone(), word);
        }
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
        Box::pin(async move {
            let to = Destination::of(&uri)?;
            let stream = this.dial(&to).await?;
            this.agreed(&stream)?;
            Ok(Connected::new(stream, to))
        })
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
pub struct Connected {
    io: TokioIo<SaysGoaway<TcpStream>>,
    to: Destination,
}

impl Connected {
    pub(crate) fn new(stream: ClientStream<TcpStream>, to: Destination) -> Self {
        stream.lifeline().ends(Ending::Retired);
        Self {
            io: TokioIo::new(SaysGoaway::new(stream)),
            to,
        }
    }

    /// The server.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        self.io.inner().peer()
    }

    /// Whether HTTP/2 was negotiated.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.peer().alpn() == Some(b"h2")
    }

    pub(crate) fn lifeline(&self) -> &Lifeline {
        self.io.inner().lifeline()
    }

    pub(crate) fn to(&self) -> &Destination {
        &self.to
    }
}

impl Connection for Connected {
    fn connected(&self) -> PoolInfo {
        let info = PoolInfo::new()
            .extra(self.peer().clone())
            .extra(self.io.inner().pooled().handle());
        if self.is_http2() {
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
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl Write for Connected {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }
}
