//! A server while it runs, and how it ends.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use mtls_core::metrics::{ConnectionEnd, connection_cut};
use mtls_core::{AuditEvent, Client, Forwarded, PeerIdentity, PeerInfo, Reason, Role};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Instrument, debug, error, field, info};

use super::established::Established;
use super::{Connection, HttpBuilder, Options, Serve};
use crate::first_bytes::FirstBytes;
use crate::guard::GuardLayer;
use crate::lifeline::{Cause, Lifeline};
use crate::listener::{LastHandshakes, MtlsListener};
use crate::stream::ServerStream;

/// Runs a server in a task of its own, which ends with this.
///
/// Whoever awaits a server in `main` awaits it on a thread that is none of the runtime's workers. Each connection would wake it
/// twice, and be handed to another thread each time.
pub(super) async fn in_a_task(
    run: impl Future<Output = io::Result<()>> + Send + 'static,
) -> io::Result<()> {
    let mut task = JoinSet::new();
    task.spawn(run.in_current_span());
    match task.join_next().await {
        Some(Ok(ended)) => ended,
        Some(Err(failed)) if failed.is_panic() => resume_unwind(failed.into_panic()),
        // The runtime is going.
        Some(Err(_)) | None => std::future::pending().await,
    }
}

pub(super) async fn run<M, S, B>(serve: Serve<M>) -> io::Result<()>
where
    M: Fn(&Connection) -> S + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut listener = MtlsListener::new(serve.listener, serve.names)
        .with_limits(serve.options.limits)
        .with_tcp_keepalive(serve.options.tcp_keepalive);
    if let Some(proxy) = serve.proxy {
        listener = listener.with_proxy_protocol(proxy);
    }
    if let Some(permissive) = serve.permissive {
        listener = listener.with_permissive(permissive);
    }
    let mut shutdown = serve.shutdown;
    let mut server = Server {
        make_service: serve.make_service,
        forwarded: serve.forwarded,
        #[cfg(feature = "tonic")]
        for_tonic: serve.for_tonic,
        http: Http::new(settled(serve.http, &serve.options)),
        established: Established::new(serve.options.connections),
        options: serve.options,
        draining: watch::Sender::new(false),
        connections: JoinSet::new(),
    };
    loop {
        tokio::select! {
            (stream, addr) = listener.accept() => server.begin(stream, addr),
            Some(ended) = server.connections.join_next_with_id() => server.established.hear(ended),
            () = &mut shutdown => break,
        }
    }
    server.end(listener.close()).await;
    Ok(())
}

struct Server<M> {
    make_service: M,
    forwarded: Forwarded,
    #[cfg(feature = "tonic")]
    for_tonic: bool,
    http: Http,
    established: Established,
    options: Options,
    draining: watch::Sender<bool>,
    // INVARIANT: every connection's task is in here, so that dropping the server ends them all.
    connections: JoinSet<()>,
}

impl<M> Server<M> {
    fn begin<S, B>(&mut self, stream: ServerStream<TcpStream>, remote_addr: SocketAddr)
    where
        M: Fn(&Connection) -> S + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let options = self.options;
        let connection = Connection {
            client: stream.client().clone(),
            remote_addr,
            #[cfg(feature = "tonic")]
            connect_info: self
                .for_tonic
                .then(|| crate::tonic::ConnectInfo::new(&stream)),
        };
        debug!(
            network.peer.address = %remote_addr,
            mtls.peer_id = connection.peer().map(field::display),
            mtls.peer_serial = connection.peer().map(PeerInfo::identity).map(PeerIdentity::serial),
            mtls.anonymous = anonymous(&connection.client),
            mtls.generation = connection.peer().map(PeerInfo::generation),
            mtls.connection = connection.client.connection_id().get(),
            tls.protocol.version = connection.client.tls_version(),
            tls.client.server_name = connection.client.server_name(),
            "connected"
        );
        let Some(admitted) = self.established.admit(&connection.client, remote_addr) else {
            return;
        };
        // The user's code, which may trip over a peer that it did not think of: that is no reason to serve nobody else.
        let Ok(inner) = catch_unwind(AssertUnwindSafe(|| (self.make_service)(&connection))) else {
            error!(mtls.peer_id = %connection.client, "making a service for a connection panicked");
            return;
        };
        let lifeline = stream.lifeline().clone();
        let guard = GuardLayer::ending(&stream, options.lost_peer_deadline, options.max_age)
            .forwarded(self.forwarded.clone());
        let service = TowerToHyperService::new(guard.layer(inner));
        let stream = FirstBytes::within(options.header_read_timeout, stream);
        // Of a short drain most is left for the end of what has begun.
        let first_request = FIRST_REQUEST.min(options.drain_deadline / 4);
        let ends = Ends {
            lifeline,
            deadline: options.lost_peer_deadline,
            draining: self.draining.subscribe(),
            first_request: Instant::now() + first_request,
        };
        let io = TokioIo::new(stream);
        // In a box: what a task is given and pins has its place twice there, and this is the most of it.
        let task = if let Some(http2) = self.http.chosen(connection.client.alpn()) {
            let http = http2.serve_connection(io, service).into_owned();
            let running = run_connection(Box::pin(http), connection, ends);
            self.connections.spawn(running)
        } else {
            let by_first_bytes = &self.http.by_first_bytes;
            let http = by_first_bytes.serve_connection_with_upgrades(io, service);
            let running = run_connection(Box::pin(http.into_owned()), connection, ends);
            self.connections.spawn(running)
        };
        self.established.begun(admitted, task);
    }

    /// Nobody new from here on. What goes on has the drain deadline to end by itself.
    async fn end<S, B>(mut self, mut handshakes: LastHandshakes)
    where
        M: Fn(&Connection) -> S + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (open, unfinished) = (self.still_open(), handshakes.unfinished());
        let deadline = self.options.drain_deadline;
        let mut late = 0;
        self.draining.send_replace(true);
        let drain = async {
            loop {
                tokio::select! {
                    Some((stream, addr)) = handshakes.next() => {
                        late += 1;
                        self.begin(stream, addr);
                    }
                    Some(ended) = self.connections.join_next_with_id() => self.established.hear(ended),
                    else => break,
                }
            }
        };
        let in_time = timeout(deadline, drain).await.is_ok();
        let cut = self.still_open();
        connection_cut(Role::Server, ConnectionEnd::Shutdown, cut);
        info!(
            mtls.open = open,
            mtls.handshakes = unfinished,
            mtls.late = late,
            mtls.cut = cut,
            mtls.handshakes_cut = handshakes.unfinished(),
            "{}",
            if in_time {
                "shut down"
            } else {
                "drain deadline passed"
            }
        );
        self.connections.shutdown().await;
    }

    /// A set counts what has ended until it is asked for it.
    fn still_open(&mut self) -> usize {
        while let Some(ended) = self.connections.try_join_next_with_id() {
            self.established.hear(ended);
        }
        self.connections.len()
    }
}

/// Until the server shuts down, and `first_request` has passed: told to end before its first byte, hyper drops a connection.
async fn shut_down(draining: &mut watch::Receiver<bool>, first_request: Instant) {
    // An error says that the server is gone: nobody is left to serve for.
    if draining.wait_for(|draining| *draining).await.is_ok() {
        sleep_until(first_request).await;
    }
}

/// What the options say, over what a hook said.
fn settled(mut builder: HttpBuilder, options: &Options) -> HttpBuilder {
    // Without a timer hyper's timeouts are inert.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout);
    let mut http2 = builder.http2();
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(options.http2_keep_alive)
        .keep_alive_timeout(options.http2_keep_alive_timeout)
        .enable_connect_protocol();
    if let Some(bound) = options.max_concurrent_streams {
        http2.max_concurrent_streams(bound);
    }
    builder
}

/// What speaks HTTP with a client.
struct Http {
    by_first_bytes: HttpBuilder,
    /// Where a client has chosen HTTP/2 by ALPN there is nothing to tell apart. It hears our settings at once, and so that it was
    /// let in: in TLS 1.3 it may wait for a word of ours before it says anything, if it was sent no session.
    http2: Option<HttpBuilder>,
}

impl Http {
    fn new(builder: HttpBuilder) -> Self {
        // A hook may have chosen one of the two.
        let both = builder.is_http1_available() && builder.is_http2_available();
        Self {
            http2: both.then(|| builder.clone().http2_only()),
            by_first_bytes: builder,
        }
    }

    fn chosen(&self, alpn: Option<&[u8]>) -> Option<&HttpBuilder> {
        self.http2.as_ref().filter(|_| alpn == Some(b"h2"))
    }
}

/// What may end a connection before it ends by itself.
struct Ends {
    lifeline: Lifeline,
    /// For the drain of a connection whose peer was lost.
    deadline: Duration,
    draining: watch::Receiver<bool>,
    /// Until when a connection may bring its first request to a server that shuts down.
    first_request: Instant,
}

/// Serves one connection until it ends by itself, or has to.
async fn run_connection<C>(mut http: Pin<Box<C>>, connection: Connection, mut ends: Ends)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let ended = tokio::select! {
        biased;
        ended = http.as_mut() => Some(ended),
        () = leaving(&connection, &ends.lifeline, ends.deadline) => None,
        () = shut_down(&mut ends.draining, ends.first_request) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            http.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = http.as_mut() => ended,
                cause = ends.lifeline.over() => {
                    info!(mtls.peer_id = %connection.client, mtls.cause = %cause, "connection cut");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        // Most often a client that went away.
        debug!(%error, "connection ended");
    }
}

/// Until it is time for GOAWAY, or for an idle HTTP/1.1 connection to close.
async fn leaving(connection: &Connection, lifeline: &Lifeline, deadline: Duration) {
    let cause = lifeline.draining().await;
    told(connection, &cause);
    match cause {
        // Over HTTP/1.1 the next response says it. Only who asks nothing for so long is closed while idle.
        // In a box: else every connection has room for this timer as long as it lives.
        Cause::Age if connection.client.alpn() != Some(b"h2") => {
            Box::pin(sleep(deadline / 2)).await;
        }
        Cause::Age | Cause::Lost(_) => {}
        #[cfg(feature = "client")]
        Cause::Superseded => {}
    }
}

fn told(connection: &Connection, cause: &Cause) {
    if let Cause::Lost(why) = cause {
        let audit = connection.client.audit();
        audit.record(|| AuditEvent::connection_lost(&connection.client, why));
    }
    info!(
        network.peer.address = %connection.remote_addr,
        mtls.peer_id = connection.peer().map(field::display),
        mtls.peer_serial = connection.peer().map(PeerInfo::identity).map(PeerIdentity::serial),
        mtls.anonymous = anonymous(&connection.client),
        mtls.cause = %cause,
        mtls.reason = cause.reason().map(Reason::as_str),
        "connection drained"
    );
}

/// How a client without a certificate came, for the log.
fn anonymous(client: &Client) -> Option<&'static str> {
    client.anonymous().map(|client| client.by().as_str())
}

/// What a client has from its handshake on to bring its first request to a server that shuts down.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
