//! The doors: what serves.

use std::future::IntoFuture;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use mtls_axum::Peer;
use mtls_core::ServerTls;
use mtls_tower::tonic::PeerLayer;
use mtls_tower::{Acceptor, MtlsListener, ServerStream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::grpc::Who;
use crate::load::{Kind, told};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    AxumServe,
    AxumListener,
    TowerServe,
    TonicServe,
    TonicIncoming,
    Raw,
    Reqwest,
}

impl Door {
    pub const ALL: [Self; 7] = [
        Self::AxumServe,
        Self::AxumListener,
        Self::TowerServe,
        Self::TonicServe,
        Self::TonicIncoming,
        Self::Raw,
        Self::Reqwest,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AxumServe => "mtls_axum::serve",
            Self::AxumListener => "mtls_axum::Listener",
            Self::TowerServe => "mtls_tower::serve",
            Self::TonicServe => "mtls_tower::tonic::serve",
            Self::TonicIncoming => "mtls_tower::tonic::incoming",
            Self::Raw => "mtls_tower::Acceptor",
            Self::Reqwest => "mtls_reqwest",
        }
    }

    /// What each client does, side by side.
    pub fn mix(self) -> &'static [Kind] {
        match self {
            Self::AxumServe
            | Self::AxumListener
            | Self::TowerServe
            | Self::TonicServe
            | Self::TonicIncoming => &[
                Kind::Http1Kept,
                Kind::Http2Multiplexed,
                Kind::Http1Anew,
                Kind::GrpcUnary,
                Kind::GrpcStream,
            ],
            Self::Raw => &[Kind::RawKept, Kind::RawAnew],
            Self::Reqwest => &[
                Kind::ReqwestKept,
                Kind::ReqwestMultiplexed,
                Kind::ReqwestAnew,
            ],
        }
    }
}

/// A server at work.
pub struct Serving {
    pub addr: SocketAddr,
    tasks: JoinSet<()>,
}

impl Serving {
    pub fn start(door: Door, tls: ServerTls) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let tcp = socket.listen(4096).unwrap();
        let addr = tcp.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        match door {
            Door::AxumServe | Door::Reqwest => {
                let server = mtls_axum::serve(tcp, tls, app()).into_future();
                tasks.spawn(async { server.await.unwrap() });
            }
            Door::AxumListener => {
                let listener = mtls_axum::Listener::new(tcp, tls);
                let server = axum::serve(listener, mtls_axum::make_service(app())).into_future();
                tasks.spawn(async { server.await.unwrap() });
            }
            Door::TowerServe => {
                let server = mtls_tower::serve(tcp, tls, app()).into_future();
                tasks.spawn(async { server.await.unwrap() });
            }
            Door::TonicServe => {
                let server = mtls_tower::tonic::serve(tcp, tls, app()).into_future();
                tasks.spawn(async { server.await.unwrap() });
            }
            Door::TonicIncoming => {
                let incoming = mtls_tower::tonic::incoming(MtlsListener::new(tcp, tls));
                let server = Server::builder()
                    .accept_http1(true)
                    .layer(PeerLayer::new())
                    .serve_with_incoming(app(), incoming);
                tasks.spawn(async { server.await.unwrap() });
            }
            Door::Raw => {
                tasks.spawn(raw(tcp, Acceptor::new(tls)));
            }
        }
        Self { addr, tasks }
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// One application for all doors that speak HTTP: axum's routes, and gRPC among them.
fn app() -> Router {
    let who = get(|Peer(peer): Peer| async move { told(&peer) });
    Routes::new(Who).into_axum_router().route("/who", who)
}

/// A loop of one's own, and a protocol of one's own: a line for a line.
async fn raw(tcp: TcpListener, acceptor: Acceptor) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, addr)) = tcp.accept() => {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // Who is refused is told to the observer.
                    if let Ok(stream) = acceptor.accept_from(stream, addr).await {
                        let _ = answer_lines(stream).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer_lines(stream: ServerStream<TcpStream>) -> std::io::Result<()> {
    let who = stream.peer().map(told).unwrap_or_default() + "\n";
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(who.as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
    stream.shutdown().await
}
