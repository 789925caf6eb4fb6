//! The doors of a server.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mtls_axum::{Peer, make_service};
use mtls_core::rustls::pki_types::CertificateDer;
use mtls_core::rustls::{CertificateError, Error as RustlsError, ServerConfig};
use mtls_core::{AuditEvent, ConnectionFacts, PeerInfo, Reason, ServerTls};
use mtls_tower::tonic::{PeerExt, PeerLayer, incoming};
use mtls_tower::{Acceptor, GuardLayer, Limits, MtlsListener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::codegen::BoxStream;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::{Layer, Service, service_fn};

use crate::LIMIT;
use crate::world::{Decision, Teller};

/// A way to serve by mutual TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ServerDoor {
    /// `mtls_axum::serve`.
    Axum,
    /// axum's own `serve`, with `mtls_axum::Listener`.
    AxumsServe,
    /// `mtls_tower::serve`.
    Tower,
    /// A loop around an `MtlsListener`.
    Listener,
    /// A loop around an `Acceptor`.
    Acceptor,
    /// rustls and a `ServerHandshake`.
    ByHand,
    /// `mtls_tower::tonic::serve`.
    Tonic,
    /// tonic's own `Server`, with `mtls_tower::tonic::incoming`.
    TonicsServer,
    /// None of ours: rustls as its documentation has it, and TLS 1.2.
    RustlsAlone,
}

impl ServerDoor {
    pub(crate) const HTTP: [Self; 6] = [
        Self::Axum,
        Self::AxumsServe,
        Self::Tower,
        Self::Listener,
        Self::Acceptor,
        Self::ByHand,
    ];

    pub(crate) const GRPC: [Self; 2] = [Self::Tonic, Self::TonicsServer];

    /// As the table says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Axum => "`mtls_axum::serve`",
            Self::AxumsServe => "`axum::serve`, `mtls_axum::Listener`",
            Self::Tower => "`mtls_tower::serve`",
            Self::Listener => "hyper, `MtlsListener`",
            Self::Acceptor => "hyper, `Acceptor`",
            Self::ByHand => "rustls, `ServerTls`",
            Self::Tonic => "`mtls_tower::tonic::serve`",
            Self::TonicsServer => "tonic's server, `incoming`",
            Self::RustlsAlone => "rustls alone",
        }
    }

    /// Opens it at a port of the system's choice.
    pub(crate) async fn open(self, serving: Serving) -> Open {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let calls = Calls::default();
        let (tls, handler) = (serving.tls.clone(), Handler(calls.clone()));
        let task = match self {
            Self::Axum => {
                let server = mtls_axum::serve(tcp, tls, router(&calls)).limits(patient());
                tokio::spawn(async move { server.await.unwrap() })
            }
            Self::AxumsServe => {
                let listener = mtls_axum::Listener::new(tcp, tls).with_limits(patient());
                let server = axum::serve(listener, make_service(router(&calls)));
                tokio::spawn(async move { server.await.unwrap() })
            }
            Self::Tower => {
                let service =
                    service_fn(move |request: Request<Incoming>| handler.answer(&request));
                let server = mtls_tower::serve(tcp, tls, service).limits(patient());
                tokio::spawn(async move { server.into_future().await.unwrap() })
            }
            Self::Listener => tokio::spawn(from_listener(tcp, tls, handler)),
            Self::Acceptor => tokio::spawn(by_acceptor(tcp, tls, handler)),
            Self::ByHand => tokio::spawn(by_hand(tcp, tls, handler)),
            Self::Tonic => {
                let server = mtls_tower::tonic::serve(tcp, tls, HealthServer::new(handler))
                    .limits(patient());
                tokio::spawn(async move { server.into_future().await.unwrap() })
            }
            Self::TonicsServer => {
                let listener = MtlsListener::new(tcp, tls).with_limits(patient());
                let server = tonic::transport::Server::builder()
                    .layer(PeerLayer::new())
                    .serve_with_incoming(HealthServer::new(handler), incoming(listener));
                tokio::spawn(async move { server.await.unwrap() })
            }
            Self::RustlsAlone => tokio::spawn(alone(tcp, serving, handler)),
        };
        Open { addr, calls, task }
    }
}

/// What a door serves with.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) tls: ServerTls,
    /// For a server that is not ours.
    pub(crate) foreign: Arc<ServerConfig>,
    pub(crate) teller: Teller,
    /// The only client that it may know, by its leaf and by its name.
    pub(crate) known: (CertificateDer<'static>, String),
}

/// An open door. It closes when it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) addr: SocketAddr,
    pub(crate) calls: Calls,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How many requests have reached the handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn so_far(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// As patient with a refused client as the tests are with a cell: no alert is lost because this machine was busy.
fn patient() -> Limits {
    Limits::default().handshake_timeout(LIMIT).linger(LIMIT)
}

fn router(calls: &Calls) -> Router {
    let calls = calls.clone();
    let whoami = move |Peer(peer): Peer| {
        calls.one_more();
        async move { peer.to_string() }
    };
    Router::new().route("/", get(whoami))
}

/// Answers with who it was asked by.
#[derive(Debug, Clone)]
struct Handler(Calls);

/// Where there is no [`PeerInfo`].
#[derive(Debug, Clone)]
struct Known(String);

impl Handler {
    fn answer<B>(
        &self,
        request: &Request<B>,
    ) -> std::future::Ready<Result<Response<Full<Bytes>>, Infallible>> {
        self.0.one_more();
        let extensions = request.extensions();
        let peer = extensions.get().map(PeerInfo::to_string);
        let peer = peer.or_else(|| extensions.get().map(|Known(name)| name.clone()));
        let peer = peer.unwrap_or_else(|| "nobody".to_owned());
        std::future::ready(Ok(Response::new(Full::from(peer))))
    }

    /// Serves one connection, each request of which is given what `mark` puts into its extensions.
    async fn serve<IO>(self, io: IO, mark: impl Clone + Send + Sync + 'static)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(mark.clone());
            self.answer(&request)
        });
        run(io, service).await;
    }
}

#[tonic::async_trait]
impl Health for Handler {
    async fn check(
        &self,
        call: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        self.0.one_more();
        let peer = call
            .peer_info()
            .map_or_else(|| "nobody".to_owned(), PeerInfo::to_string);
        let mut answer = tonic::Response::new(HealthCheckResponse::default());
        answer.metadata_mut().insert(CALLER, peer.parse().unwrap());
        Ok(answer)
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody watches"))
    }
}

/// Where a gRPC answer says who called.
pub(crate) const CALLER: &str = "caller";

async fn run<IO, S, B>(io: IO, service: S)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let http = auto::Builder::new(TokioExecutor::new());
    // A client that is gone is what the client tells of.
    let _ = http
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service))
        .await;
}

async fn from_listener(tcp: TcpListener, tls: ServerTls, handler: Handler) {
    let mut listener = MtlsListener::new(tcp, tls).with_limits(patient());
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await;
        let handler = handler.clone();
        let service = service_fn(move |request: Request<Incoming>| handler.answer(&request));
        let guarded = GuardLayer::new(&stream).layer(service);
        connections.spawn(run(stream, guarded));
    }
}

async fn by_acceptor(tcp: TcpListener, tls: ServerTls, handler: Handler) {
    let acceptor = Acceptor::new(tls).with_limits(patient());
    let mut connections = JoinSet::new();
    loop {
        let (tcp, addr) = tcp.accept().await.unwrap();
        let (acceptor, handler) = (acceptor.clone(), handler.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept_from(tcp, addr).await else {
                return;
            };
            let service = service_fn(move |request: Request<Incoming>| handler.answer(&request));
            let guarded = GuardLayer::new(&stream).layer(service);
            run(stream, guarded).await;
        });
    }
}

async fn by_hand(tcp: TcpListener, tls: ServerTls, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, addr) = tcp.accept().await.unwrap();
        let (tls, handler) = (tls.clone(), handler.clone());
        connections.spawn(async move {
            let connection = ConnectionFacts::new(Some(addr));
            let handshake = tls.handshake_of(connection);
            let accepting = TlsAcceptor::from(handshake.config())
                .accept(tcp)
                .into_fallible();
            let (why, tcp) = match accepting.await {
                Ok(stream) => match handshake.established(stream.get_ref().1) {
                    Ok(peer) => {
                        tls.audit().record(|| AuditEvent::handshake_allowed(&peer));
                        return handler.serve(stream, peer).await;
                    }
                    Err(why) => (why, stream.into_inner().0),
                },
                Err((error, tcp)) => (handshake.explain(&error), tcp),
            };
            let judged = Some(handshake.judged_under());
            tls.audit()
                .record(|| AuditEvent::handshake_refused(connection, judged, &why));
            linger(tcp).await;
        });
    }
}

async fn alone(tcp: TcpListener, serving: Serving, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = tcp.accept().await.unwrap();
        let (serving, handler) = (serving.clone(), handler.clone());
        connections.spawn(async move {
            let accepting = TlsAcceptor::from(serving.foreign)
                .accept(tcp)
                .into_fallible();
            match accepting.await {
                Ok(stream) => {
                    let chain = stream.get_ref().1.peer_certificates();
                    let (leaf, name) = serving.known;
                    let is_known = chain.and_then(<[_]>::first) == Some(&leaf);
                    serving.teller.tell(Decision::default());
                    let who = if is_known {
                        name
                    } else {
                        "somebody else".to_owned()
                    };
                    handler.serve(stream, Known(who)).await;
                }
                Err((error, tcp)) => {
                    let rustls = error.get_ref().and_then(|it| it.downcast_ref());
                    serving.teller.tell(Decision {
                        reason: rustls.and_then(reason),
                        ..Decision::default()
                    });
                    linger(tcp).await;
                }
            }
        });
    }
}

/// rustls' word in ours, as far as it is asked for here.
fn reason(error: &RustlsError) -> Option<Reason> {
    let RustlsError::InvalidCertificate(fault) = error else {
        return None;
    };
    match fault {
        CertificateError::UnknownIssuer => Some(Reason::UnknownIssuer),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some(Reason::Expired)
        }
        _ => None,
    }
}

/// What a server of ours does: a socket that is closed with bytes unread sends a reset, which overtakes the alert.
async fn linger(mut tcp: TcpStream) {
    let drain = async {
        tcp.shutdown().await?;
        tokio::io::copy(&mut (&mut tcp).take(u64::MAX), &mut tokio::io::sink()).await
    };
    let _ = timeout(LIMIT, drain).await;
}
