//! A server that tells each client what it takes it for, and a client of few words.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mtls_core::testing::TestCa;
use mtls_core::{
    AccessPolicy, AnonymousClient, ClientCertificates, Effect, Fact, ForwardedIdentity, PeerInfo,
    Policy, Rule, ServerTls,
};
use mtls_tower::AuthorizeLayer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::common::{Foreign, connect, within};

pub(crate) fn tls(ca: &TestCa, mode: ClientCertificates) -> ServerTls {
    ServerTls::builder(&ca.source(&ca.issue("/api")))
        .authorize(Policy::trust_domain(ca.trust_domain()).unwrap())
        .client_certificates(mode)
        .build()
        .unwrap()
}

/// `/upgrade` becomes an echo, after the name of whom it was asked by. `/orders` is for peers by an identity rule, `/rules/open` for anybody and the rest of `/rules/` for peers by rules over
/// requests. Any other path is for everybody.
pub(crate) fn service()
-> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send {
    let policy = AccessPolicy::builder()
        .allow(Rule::named("open").anyone().is(Fact::Path, ["/rules/open"]))
        .allow(
            Rule::named("peers")
                .is(Fact::TrustDomain, ["example.org"])
                .is(Fact::Path, ["/rules/**"]),
        )
        .otherwise(Effect::Deny)
        .build_for_requests()
        .unwrap();
    let orders = AuthorizeLayer::new(Policy::trust_domain("example.org").unwrap());
    let rules = AuthorizeLayer::for_requests(policy);
    let (orders, rules) = (
        orders.layer(service_fn(told)),
        rules.layer(service_fn(told)),
    );
    service_fn(move |request: Request<Incoming>| {
        let (orders, rules) = (orders.clone(), rules.clone());
        async move {
            match request.uri().path() {
                "/orders" => orders.oneshot(request).await,
                "/upgrade" => echo(request).await,
                path if path.starts_with("/rules/") => rules.oneshot(request).await,
                _ => told(request).await,
            }
        }
    })
}

/// Whom a handler finds, and what the headers and the forwarded identity claim.
async fn told(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let peer = request.extensions().get::<PeerInfo>();
    let anonymous = request.extensions().get::<AnonymousClient>();
    let who = match (peer, anonymous) {
        (Some(peer), None) => format!("peer {peer}"),
        (None, Some(client)) => format!("anonymous {}", client.by().as_str()),
        (None, None) => "nobody".into(),
        (Some(_), Some(_)) => "both".into(),
    };
    let claimed = request.headers().get("x-forwarded-client-cert").is_some()
        || request.extensions().get::<ForwardedIdentity>().is_some();
    let who = if claimed {
        format!("{who}, claimed")
    } else {
        who
    };
    Ok(Response::new(Full::from(who)))
}

async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let anonymous = request.extensions().get::<AnonymousClient>().cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        let mut byte = [0];
        while io.read_exact(&mut byte).await.is_ok() {
            let _ = io.write_all(&byte).await;
        }
    });
    let mut response = Response::new(Full::default());
    if let Some(client) = anonymous {
        let by = client.by().as_str().parse().unwrap();
        response.headers_mut().insert("anonymous", by);
    }
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let (connection, upgrade) = ("upgrade".parse().unwrap(), "echo".parse().unwrap());
    response.headers_mut().insert("connection", connection);
    response.headers_mut().insert("upgrade", upgrade);
    Ok(response)
}

/// HTTP/1.1 on one connection.
#[derive(Debug)]
pub(crate) struct Http<IO>(pub(crate) IO);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lowercase.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Http<IO> {
    /// The answer; none if the connection is closed instead.
    pub(crate) async fn try_ask(&mut self, request: &str) -> Option<Answer> {
        if self.0.write_all(request.as_bytes()).await.is_err() {
            return None;
        }
        let mut read = Vec::new();
        let end = loop {
            let byte = within(self.0.read_u8()).await.ok()?;
            read.push(byte);
            if read.ends_with(b"\r\n\r\n") {
                break read.len();
            }
        };
        let head = String::from_utf8(read[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        let mut body = vec![
            0;
            if request.starts_with("HEAD") {
                0
            } else {
                length
            }
        ];
        within(self.0.read_exact(&mut body)).await.ok()?;
        Some(Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: String::from_utf8(body).unwrap(),
            head,
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    /// With further lines of the head.
    pub(crate) async fn get_with(&mut self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        self.try_ask(&request).await.expect("an answer")
    }

    /// Who the server says we are.
    pub(crate) async fn who(&mut self) -> String {
        let answer = self.get("/who").await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.body
    }
}

pub(crate) async fn by_tls(
    client: Foreign,
    ca: &TestCa,
    addr: SocketAddr,
) -> Http<TlsStream<TcpStream>> {
    let tcp = within(TcpStream::connect(addr)).await.unwrap();
    Http(
        connect(client.alpn(&["http/1.1"]).config(ca), tcp)
            .await
            .unwrap(),
    )
}

/// A TCP connection from `127.0.0.last`.
pub(crate) async fn tcp_from(last: u8, addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    within(socket.connect(addr)).await.unwrap()
}
