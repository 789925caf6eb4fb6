//! Clients: how they connect, and what they then ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::rustls::pki_types::ServerName;
use mtls_core::{ClientTls, CredentialSource, Resumption};
use mtls_tower::Connector;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::answers::Chunks;
use crate::ends::{Client, Setting, Tickets};

/// A client that connects anew each time, without sessions.
#[derive(Clone)]
pub enum Dial {
    Bare(TlsConnector),
    Ours(Box<Connector>),
}

impl Dial {
    pub fn bare(setting: &Setting, path: &str, alpn: &str) -> Self {
        let Client::Bare(config) = setting.bare_client(&setting.issue(path), Tickets::None) else {
            panic!("bare is bare")
        };
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Self::Bare(TlsConnector::from(Arc::new(config)))
    }

    pub fn ours(setting: &Setting, path: &str, alpn: &str) -> Self {
        let (_, source) = setting.publish_for(&setting.issue(path));
        Self::of_source(&source, alpn)
    }

    pub fn of_source(source: &CredentialSource, alpn: &str) -> Self {
        let tls = ClientTls::builder(source)
            .verify_server_name()
            .resumption(Resumption::Off)
            .alpn([alpn])
            .build()
            .unwrap();
        Self::Ours(Box::new(Connector::new(tls)))
    }

    async fn connect(&self, addr: SocketAddr) -> Box<dyn Stream> {
        let name = ServerName::try_from("localhost").unwrap();
        let tcp = TcpStream::connect(addr).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        match self {
            Self::Bare(connector) => Box::new(connector.connect(name, tcp).await.unwrap()),
            Self::Ours(connector) => Box::new(connector.handshake(name, tcp).await.unwrap()),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a new connection is used for, before it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// A byte for a byte.
    Byte,
    /// A request over HTTP/1.1.
    Request,
}

/// So many new connections, a number of them at a time.
pub async fn connect_anew(
    dial: &Dial,
    addr: SocketAddr,
    exchange: Exchange,
    at_a_time: usize,
    connections: usize,
) {
    let clients = (0..at_a_time).map(|client| {
        let dial = dial.clone();
        // The first ones take what does not divide.
        let its = connections / at_a_time + usize::from(client < connections % at_a_time);
        tokio::spawn(async move {
            for _ in 0..its {
                once(&dial, addr, exchange).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

async fn once(dial: &Dial, addr: SocketAddr, exchange: Exchange) {
    let mut stream = dial.connect(addr).await;
    match exchange {
        Exchange::Byte => {
            stream.write_u8(7).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 7);
        }
        Exchange::Request => {
            let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut response = Vec::new();
            // Proxies close without the farewell of TLS.
            let _ = stream.read_to_end(&mut response).await;
            assert!(response.starts_with(b"HTTP/1.1 200"), "{response:?}");
        }
    }
}

/// A connection that stays open, with one request at a time.
pub enum Open {
    Http1(http1::SendRequest<Sent>),
    Http2(http2::SendRequest<Sent>),
}

type Sent = Either<Empty<Bytes>, Chunks>;

impl Open {
    pub async fn connect(dial: &Dial, addr: SocketAddr, alpn: &str) -> Self {
        let io = TokioIo::new(dial.connect(addr).await);
        if alpn == "h2" {
            let (send, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(send)
        } else {
            let (send, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(send)
        }
    }

    /// A small request, and its answer, read to the end. How long that took, in milliseconds.
    pub async fn ask(&mut self) -> f64 {
        let began = Instant::now();
        let response = self.send(get("/")).await;
        response.into_body().collect().await.unwrap();
        began.elapsed().as_secs_f64() * 1e3
    }

    pub async fn download(&mut self, bytes: u64) {
        let response = self.send(get(&format!("/bytes/{bytes}"))).await;
        assert_eq!(crate::answers::drain(response.into_body()).await, bytes);
    }

    pub async fn upload(&mut self, bytes: u64) {
        let request = Request::post("https://localhost/")
            .header("host", "localhost")
            .body(Either::Right(Chunks::new(bytes)))
            .unwrap();
        let body = self.send(request).await.into_body();
        let answer = body.collect().await.unwrap().to_bytes();
        assert_eq!(answer, bytes.to_string().as_bytes());
    }

    async fn send(&mut self, mut request: Request<Sent>) -> Response<Incoming> {
        let response = match self {
            Self::Http1(send) => {
                send.ready().await.unwrap();
                // RFC 9112 §3.2.1: to an origin server goes the path alone.
                let path = request.uri().path().parse().unwrap();
                *request.uri_mut() = path;
                send.send_request(request).await
            }
            Self::Http2(send) => {
                send.ready().await.unwrap();
                send.send_request(request).await
            }
        };
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        response
    }
}

fn get(path: &str) -> Request<Sent> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Either::Left(Empty::new()))
        .unwrap()
}

/// Connections that stay open.
pub struct Fleet(Vec<Open>);

impl Fleet {
    pub async fn connect(dial: &Dial, addr: SocketAddr, alpn: &str, size: usize) -> Self {
        let mut open = Vec::new();
        for _ in 0..size {
            open.push(Open::connect(dial, addr, alpn).await);
        }
        Self(open)
    }

    /// So many requests, each connection as fast as it gets answers. How long each took, in milliseconds.
    pub async fn ask(&mut self, requests: usize) -> Vec<f64> {
        let each = requests / self.0.len();
        let busy: Vec<_> = std::mem::take(&mut self.0)
            .into_iter()
            .map(|mut open| {
                tokio::spawn(async move {
                    let mut took = Vec::with_capacity(each);
                    for _ in 0..each {
                        took.push(open.ask().await);
                    }
                    (open, took)
                })
            })
            .collect();
        let mut all = Vec::new();
        for client in busy {
            let (open, took) = client.await.unwrap();
            self.0.push(open);
            all.extend(took);
        }
        all
    }
}
