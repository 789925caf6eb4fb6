//! One server handshake on one connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mtls_core::metrics::HandshakeMeter;
use mtls_core::rustls::ServerHandshake;
use mtls_core::rustls::server::Acceptor as ClientHelloReader;
use mtls_core::{
    Audit, AuditEvent, ConnectionFacts, HandshakeError, JudgedUnder, Role, ServerNames,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use crate::stream::ServerStream;

/// Bounds on what peers may cost before they are known.
///
/// In memory, together, that is at most [`pending_handshakes`](Self::pending_handshakes) × 96 KiB, and 256 × 16 KiB for those that
/// [`linger`](Self::linger): 100 MiB by default. A client that says nothing holds 10 kB of it, one that has been answered 18 kB;
/// the rest is for whoever sends a message of 64 KiB, the largest that is taken, and not its end.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Limits {
    pub(crate) handshake_timeout: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) pending_handshakes: usize,
    pub(crate) linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            first_byte: Duration::from_secs(2),
            pending_handshakes: 1024,
            linger: Duration::from_millis(500),
        }
    }
}

impl Limits {
    /// How long a handshake may take, from the TCP connection on. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long a client may take to send its first byte where a [`Permissive`](crate::Permissive) listener has to tell TLS from
    /// plaintext by it; part of the time for the handshake. Default: 2 s.
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.first_byte = timeout;
        self
    }

    /// How many handshakes may be unfinished at a time. At one more, the oldest is given up of the address that has the most
    /// (of IPv6, the /64). Default: 1024, at least 1.
    pub fn pending_handshakes(mut self, bound: usize) -> Self {
        self.pending_handshakes = bound.max(1);
        self
    }

    /// How long a refused client may take to read its alert before the connection is closed. Default: 500 ms; zero
    /// closes at once, and the client then sees a reset more often than the reason. A bounded number of refused clients
    /// linger at a time, and no unfinished handshake gives way to them.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

/// Does the server's side of a handshake, on any stream of bytes.
#[derive(Debug, Clone)]
pub struct Acceptor {
    pub(crate) names: ServerNames,
    pub(crate) limits: Limits,
    lingering: Arc<Semaphore>,
}

impl Acceptor {
    /// An acceptor with the default [`Limits`], for one identity (a [`ServerTls`](mtls_core::ServerTls)) or several.
    #[must_use]
    pub fn new(tls: impl Into<ServerNames>) -> Self {
        let lingering = Arc::new(Semaphore::new(MAX_LINGERING));
        Self {
            names: tls.into(),
            limits: Limits::default(),
            lingering,
        }
    }

    /// Sets the limits; of these, [`Limits::pending_handshakes`] is its caller's to keep.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Accepts one client. After a refusal it returns once the client could read its alert, or the linger is over.
    ///
    /// Not cancel safe: dropping it drops the connection.
    ///
    /// # Errors
    ///
    /// Why the client was refused, or why the handshake was not done in time.
    pub async fn accept<IO>(&self, io: IO) -> Result<ServerStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_of(io, ConnectionFacts::new(None)).await
    }

    /// Accepts as [`accept`](Self::accept) does a client whose address is known: its [`PeerInfo`](crate::PeerInfo) and the
    /// audit will have it.
    ///
    /// # Errors
    ///
    /// Why the client was refused, or why the handshake was not done in time.
    pub async fn accept_from<IO>(
        &self,
        io: IO,
        addr: SocketAddr,
    ) -> Result<ServerStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.accept_of(io, ConnectionFacts::new(Some(addr))).await
    }

    async fn accept_of<IO>(
        &self,
        io: IO,
        connection: ConnectionFacts,
    ) -> Result<ServerStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (error, io) = match self.handshake(io, connection).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => failed,
        };
        if let Some(io) = io {
            self.let_the_peer_read(io).await;
        }
        Err(error)
    }

    /// The failed connection comes back if its peer may want to read something from it.
    pub(crate) async fn handshake<IO>(
        &self,
        io: IO,
        connection: ConnectionFacts,
    ) -> Result<ServerStream<IO>, (HandshakeError, Option<IO>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.limits.handshake_timeout;
        let meter = HandshakeMeter::begin(Role::Server);
        let mut begun = Begun {
            audit: self.audit().clone(),
            judged: None,
        };
        let done = timeout(
            limit,
            self.handshake_without_deadline(io, connection, &mut begun),
        );
        let done = done
            .await
            .unwrap_or_else(|_| Err((HandshakeError::Timeout { after: limit }, None)));
        // INVARIANT: from here to the return nothing waits, so that no handshake is told of and then given up.
        let Begun { audit, judged } = begun;
        match &done {
            Ok(_) => meter.established(),
            Err((why, _)) => meter.failed(why),
        }
        audit.record(|| match &done {
            Ok(stream) => AuditEvent::handshake_allowed(stream.client()),
            Err((why, _)) => AuditEvent::handshake_refused(connection, judged, why),
        });
        done
    }

    pub(crate) fn audit(&self) -> &Audit {
        self.names.audit()
    }

    async fn handshake_without_deadline<IO>(
        &self,
        io: IO,
        connection: ConnectionFacts,
        begun: &mut Begun,
    ) -> Result<ServerStream<IO>, (HandshakeError, Option<IO>)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let reader = LazyConfigAcceptor::new(ClientHelloReader::default(), io);
        tokio::pin!(reader);
        let hello = reader.as_mut().await;
        // Not before the client's first bytes are there: a connection may be held open for long without any, and is to
        // be judged by what is trusted when it speaks.
        let hello = match hello {
            Ok(hello) => hello,
            Err(error) => {
                let handshake = self.names.first().handshake_of(connection);
                begun.judged = Some(handshake.judged_under());
                return Err((handshake.explain(&error), reader.as_mut().take_io()));
            }
        };
        let name = hello.client_hello().server_name().map(ToOwned::to_owned);
        let handshake = match self.names.handshake_of(name.as_deref(), connection) {
            Ok(handshake) => handshake,
            Err(unknown) => return Err(refused_by_name(unknown, hello.io).await),
        };
        begun.audit = handshake.audit().clone();
        begun.judged = Some(handshake.judged_under());
        let accept = hello.into_stream(handshake.config()).into_fallible();
        let accepted = accept.await;
        let tls = accepted.map_err(|(error, io)| (handshake.explain(&error), Some(io)))?;
        established(&handshake, tls)
    }

    /// Closes our side and reads until the peer has closed its own. A socket that is closed with bytes unread sends a
    /// reset, which overtakes the alert: the client would see that something failed, and not what.
    pub(crate) async fn let_the_peer_read<IO>(&self, mut io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(_permit) = self.lingering.try_acquire() else {
            return;
        };
        let drain = async {
            io.shutdown().await?;
            let mut unread = (&mut io).take(MAX_LINGER_BYTES);
            let mut buffer = [0; 4096];
            while unread.read(&mut buffer).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        // Whatever the peer does now changes nothing.
        let _ = timeout(self.limits.linger, drain).await;
    }
}

/// What a handshake has come to, for the audit: whom to tell, and what it was judged by.
struct Begun {
    audit: Audit,
    judged: Option<JudgedUnder>,
}

async fn refused_by_name<IO>(why: HandshakeError, mut io: IO) -> (HandshakeError, Option<IO>)
where
    IO: AsyncWrite + Unpin,
{
    if let Some(alert) = why.alert_before_handshake() {
        let told = async {
            io.write_all(&alert).await?;
            io.flush().await
        };
        // A client that is gone is refused all the same.
        let _ = told.await;
    }
    (why, Some(io))
}

fn established<IO>(
    handshake: &ServerHandshake,
    tls: tokio_rustls::server::TlsStream<IO>,
) -> Result<ServerStream<IO>, (HandshakeError, Option<IO>)> {
    let client = handshake
        .established_client(tls.get_ref().1)
        .map_err(|error| (error, None))?;
    Ok(ServerStream::new(tls, client))
}

/// Refusals that linger at a time; beyond, a refused client is simply cut off.
const MAX_LINGERING: usize = 256;

/// What a refused client may still send, most of it a request that it began before it heard of the refusal.
const MAX_LINGER_BYTES: u64 = 256 * 1024;
