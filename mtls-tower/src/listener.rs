//! The accept loop: handshakes run beside it, bounded in number and time.

mod pending;

use std::future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mtls_core::metrics::HandshakeMeter;
use mtls_core::{
    AuditEvent, Chained, ConnectionFacts, HandshakeError, RefusalLog, Role, ServerNames,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, warn};

use self::pending::Pending;
use crate::accept::{Acceptor, Limits};
use crate::listen::keep_alive;
use crate::permissive::Permissive;
use crate::proxy::{self, ProxyError, ProxyProtocol};
use crate::stream::ServerStream;

/// A TCP listener that hands out connections whose client is known.
///
/// Handshakes run in tasks of their own, so that a client that says nothing delays nobody. At the bound of
/// [`Limits::pending_handshakes`] the address that has the most unfinished ones gives way, by its oldest: silent connections
/// never keep a new one out, and a flood from one place takes nobody else's.
/// Dropping the listener ends the handshakes, and the refused clients that linger.
///
/// Accept in a task, not in `main`: what is awaited there runs beside the runtime's workers, and each connection goes from thread
/// to thread, which takes 3 to 17 % more CPU.
///
/// ```no_run
/// # async fn run(mut listener: mtls_tower::MtlsListener) -> Result<(), tokio::task::JoinError> {
/// # async fn answer(_: mtls_tower::ServerStream<tokio::net::TcpStream>) {}
/// let accepting = tokio::spawn(async move {
///     loop {
///         let (stream, _addr) = listener.accept().await;
///         tokio::spawn(answer(stream));
///     }
/// });
/// # accepting.await
/// # }
/// ```
#[derive(Debug)]
pub struct MtlsListener {
    // None once it is closed.
    listener: Option<TcpListener>,
    acceptor: Acceptor,
    limits: Limits,
    tcp_keepalive: Option<Duration>,
    proxy: Option<ProxyProtocol>,
    permissive: Option<Permissive>,
    tasks: JoinSet<Handshake>,
    pending: Pending,
    // Apart from the handshakes: a refusal is known, and logged, before its client has read its alert.
    lingering: JoinSet<()>,
    refusals: RefusalLog,
    pause: Option<Pause>,
    warned: Option<Instant>,
    warned_of_proxy: Option<Instant>,
}

type Handshake = (Result<ServerStream<TcpStream>, Refused>, SocketAddr);

#[derive(Debug)]
enum Refused {
    Handshake(HandshakeError, Option<TcpStream>),
    Proxy(ProxyError),
}

/// Nothing is accepted until then, or until a descriptor is free, if they have run out.
#[derive(Debug)]
struct Pause {
    until: Instant,
    for_a_descriptor: bool,
}

impl MtlsListener {
    /// Accepts from `listener` with the default [`Limits`], for one identity (a [`ServerTls`](mtls_core::ServerTls)) or
    /// several ([`ServerNames`]).
    #[must_use]
    pub fn new(listener: TcpListener, tls: impl Into<ServerNames>) -> Self {
        let limits = Limits::default();
        Self {
            listener: Some(listener),
            acceptor: Acceptor::new(tls).with_limits(limits),
            limits,
            tcp_keepalive: Some(TCP_KEEPALIVE),
            proxy: None,
            permissive: None,
            tasks: JoinSet::new(),
            pending: Pending::default(),
            lingering: JoinSet::new(),
            refusals: RefusalLog::new(Role::Server),
            pause: None,
            warned: None,
            warned_of_proxy: None,
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.acceptor = self.acceptor.with_limits(limits);
        self.limits = limits;
        self
    }

    /// After how long without a word the system asks a client whether it is there: one that vanished without a farewell is
    /// noticed. Default: 60 s; none is never.
    #[must_use]
    pub fn with_tcp_keepalive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.tcp_keepalive = after.into();
        self
    }

    /// Takes clients' addresses from the PROXY protocol of a load balancer. Default: none is spoken.
    ///
    /// The header counts towards the handshake's time and number. What [`accept`](Self::accept) returns, the
    /// [`PeerInfo`](crate::PeerInfo) and the audit have the client's address; of the balancer's own connections its own.
    #[must_use]
    pub fn with_proxy_protocol(mut self, proxy: ProxyProtocol) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Takes plaintext on the same port, for a migration. Default: none is taken.
    #[must_use]
    pub fn with_permissive(mut self, permissive: Permissive) -> Self {
        self.permissive = Some(permissive);
        self
    }

    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let listener = self.listener.as_ref();
        listener.map_or_else(
            || Err(io::ErrorKind::NotConnected.into()),
            TcpListener::local_addr,
        )
    }

    /// The next client whose handshake is done.
    ///
    /// Refused clients are logged and never returned; errors of the operating system are logged and waited out. Cancel
    /// safe: handshakes go on in between, but new connections are taken only while this is polled.
    pub async fn accept(&mut self) -> (ServerStream<TcpStream>, SocketAddr) {
        loop {
            let paused = self.pause.as_ref().map(|pause| pause.until);
            let warning = self.permissive.as_ref().and_then(Permissive::warn_if_due);
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id() => {
                    if let Some(accepted) = self.finish(done) {
                        return accepted;
                    }
                }
                Some(_) = self.lingering.join_next() => self.descriptor_freed(),
                accepted = next_of(self.listener.as_ref()), if paused.is_none() => match accepted {
                    Ok((tcp, addr)) => self.begin(tcp, addr),
                    Err(error) => self.back_off(&error),
                },
                () = sleep_until(paused.unwrap_or_else(Instant::now)), if paused.is_some() => {
                    self.pause = None;
                }
                () = sleep_until(warning.unwrap_or_else(Instant::now)), if warning.is_some() => {}
            }
        }
    }

    /// Accepts nobody any more. Handshakes in flight go on, and so do those of clients that the system has let in already:
    /// closed with the listener, they would be reset.
    #[must_use]
    pub fn close(mut self) -> LastHandshakes {
        let waiting = self.listener.take().and_then(|it| it.into_std().ok());
        while let Some(listener) = &waiting
            && self.pending.len() < self.limits.pending_handshakes
            && let Ok((tcp, addr)) = listener.accept()
        {
            let tcp = tcp.set_nonblocking(true).map(|()| tcp);
            if let Ok(tcp) = tcp.and_then(TcpStream::from_std) {
                self.begin(tcp, addr);
            }
        }
        LastHandshakes(self)
    }

    fn begin(&mut self, tcp: TcpStream, addr: SocketAddr) {
        if self.pending.len() >= self.limits.pending_handshakes {
            self.pending.shed_one();
        }
        // Small records are latency here, not throughput. A socket that refuses the option still works.
        if let Err(error) = tcp.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY not set");
        }
        if let Some(after) = self.tcp_keepalive
            && let Err(error) = keep_alive(&tcp, after)
        {
            debug!(%error, "TCP keep-alive not set");
        }
        let (acceptor, limits) = (self.acceptor.clone(), self.limits);
        let connection = ConnectionFacts::new(Some(addr));
        let permissive = self.permissive.clone();
        let is_proxy = self.proxy.as_ref().is_some_and(|it| it.is_from(addr));
        let task = if is_proxy {
            self.tasks
                .spawn(behind_proxy(acceptor, limits, permissive, tcp, addr))
        } else {
            self.tasks.spawn(async move {
                let done = acceptor
                    .handshake_or_plaintext(permissive.as_ref(), tcp, connection)
                    .await;
                (
                    done.map_err(|(why, tcp)| Refused::Handshake(why, tcp)),
                    addr,
                )
            })
        };
        self.pending.insert(task, addr, connection);
    }

    fn finish(
        &mut self,
        done: Result<(Id, Handshake), JoinError>,
    ) -> Option<(ServerStream<TcpStream>, SocketAddr)> {
        match done {
            Ok((id, (result, addr))) => {
                self.pending.remove(id);
                match result {
                    Ok(stream) => Some((stream, addr)),
                    Err(Refused::Proxy(error)) => {
                        self.refuse_proxy(&error, addr);
                        None
                    }
                    Err(Refused::Handshake(error, tcp)) => {
                        self.refusals.client(&error, addr);
                        match tcp {
                            Some(tcp) => self.linger(tcp),
                            None => self.descriptor_freed(),
                        }
                        None
                    }
                }
            }
            Err(failed) => {
                self.descriptor_freed();
                let handshake = self.pending.remove(failed.id())?;
                // What its task would have counted.
                let meter = HandshakeMeter::begin(Role::Server);
                if failed.is_panic() {
                    // Not the peer's doing alone: an authorizer of the user's runs in there.
                    error!(network.peer.address = %handshake.addr, "a handshake panicked");
                    meter.panicked();
                    let audit = self.acceptor.audit();
                    audit.record(|| AuditEvent::handshake_panicked(handshake.connection));
                } else {
                    let after = handshake.started.elapsed();
                    let shed = HandshakeError::Shed { after };
                    meter.failed(&shed);
                    let connection = handshake.connection;
                    let audit = self.acceptor.audit();
                    audit.record(|| AuditEvent::handshake_refused(connection, None, &shed));
                    self.refusals.client(&shed, handshake.addr);
                }
                None
            }
        }
    }

    /// A balancer that is set up wrongly sends all of its clients so: one warning a minute.
    fn refuse_proxy(&mut self, error: &ProxyError, addr: SocketAddr) {
        self.descriptor_freed();
        let now = Instant::now();
        if self.warned_of_proxy.is_none_or(|at| now - at >= WARN_EVERY) {
            self.warned_of_proxy = Some(now);
            warn!(
                network.peer.address = %addr,
                error = %Chained(error),
                "connections without a PROXY header that can be read are refused; at most one of these a minute"
            );
        }
        debug!(network.peer.address = %addr, error = %Chained(error), "PROXY header refused");
    }

    fn linger(&mut self, tcp: TcpStream) {
        let acceptor = self.acceptor.clone();
        self.lingering
            .spawn(async move { acceptor.let_the_peer_read(tcp).await });
    }

    fn descriptor_freed(&mut self) {
        if self
            .pause
            .as_ref()
            .is_some_and(|pause| pause.for_a_descriptor)
        {
            self.pause = None;
        }
    }

    /// A connection that its peer or the network gave up is nobody's loss. Anything else is a resource that ran out, most
    /// often file descriptors: then an unfinished handshake has to go, and a pause keeps the loop from spinning. It ends
    /// with the handshake that went: at fifty milliseconds each, a backlog of silent peers would keep others out for long.
    fn back_off(&mut self, error: &io::Error) {
        // accept(2): "Linux accept() passes already-pending network errors on the new socket as an error code".
        let of_one_connection = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::Interrupted,
            io::ErrorKind::NetworkDown,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::TimedOut,
        ];
        if of_one_connection.contains(&error.kind()) {
            return;
        }
        let now = Instant::now();
        // Whoever opens enough connections causes this, so it is not warned of each time.
        if self.warned.is_none_or(|at| now - at >= WARN_EVERY) {
            self.warned = Some(now);
            warn!(%error, "cannot accept; retrying, and silent for a minute");
        } else {
            debug!(%error, "cannot accept; retrying");
        }
        self.pending.shed_one();
        self.pause = Some(Pause {
            until: now + BACK_OFF,
            for_a_descriptor: error.raw_os_error() == Some(EMFILE),
        });
    }
}

async fn behind_proxy(
    acceptor: Acceptor,
    limits: Limits,
    permissive: Option<Permissive>,
    mut tcp: TcpStream,
    addr: SocketAddr,
) -> Handshake {
    let begun = Instant::now();
    let header = match timeout(limits.handshake_timeout, proxy::read(&mut tcp)).await {
        Ok(header) => header,
        Err(_) => Err(ProxyError::Read(io::ErrorKind::TimedOut.into())),
    };
    let addr = match header {
        Ok(client) => client.unwrap_or(addr),
        Err(error) => return (Err(Refused::Proxy(error)), addr),
    };
    let left = limits.handshake_timeout.saturating_sub(begun.elapsed());
    let acceptor = acceptor.with_limits(limits.handshake_timeout(left));
    let connection = ConnectionFacts::new(Some(addr));
    let done = acceptor
        .handshake_or_plaintext(permissive.as_ref(), tcp, connection)
        .await;
    (
        done.map_err(|(why, tcp)| Refused::Handshake(why, tcp)),
        addr,
    )
}

async fn next_of(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => future::pending().await,
    }
}

/// The handshakes that were in flight when a [`MtlsListener`] was closed. Dropping it ends them.
#[derive(Debug)]
pub struct LastHandshakes(MtlsListener);

impl LastHandshakes {
    /// The next client whose handshake is done; none once all have ended, and the refused clients have read why. That is after
    /// [`Limits::handshake_timeout`] and [`Limits::linger`] at the latest. Cancel safe.
    pub async fn next(&mut self) -> Option<(ServerStream<TcpStream>, SocketAddr)> {
        let Self(listener) = self;
        loop {
            tokio::select! {
                Some(done) = listener.tasks.join_next_with_id() => {
                    if let Some(accepted) = listener.finish(done) {
                        return Some(accepted);
                    }
                }
                Some(_) = listener.lingering.join_next() => {}
                else => return None,
            }
        }
    }

    /// How many have not ended.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.0.pending.len()
    }
}

/// Long enough for a resource to come back, short enough that nobody notices.
const BACK_OFF: Duration = Duration::from_millis(50);

pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

const WARN_EVERY: Duration = Duration::from_secs(60);

/// This process has no descriptor left: the number on Linux, macOS and the BSDs. Elsewhere a pause lasts its time.
const EMFILE: i32 = 24;
