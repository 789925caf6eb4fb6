//! HTTP on one connection each, so that none is made anew behind a test's back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mtls_core::rustls::ClientConfig;
use mtls_core::testing::{Issued, TestCa};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::common::{Foreign, connect, within};

/// A connection of a client that knows nothing of us: rustls, and hyper's own connections.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) serial: String,
    pub(crate) kind: Kind,
    http: Http,
    stream: Option<EchoStream>,
    /// Ends with the connection.
    pub(crate) task: JoinHandle<hyper::Result<()>>,
}

#[derive(Debug)]
enum Http {
    One(http1::SendRequest<Out>),
    Two(http2::SendRequest<Out>),
}

/// Nothing, or what a test sends bit by bit.
type Out = Either<Empty<Bytes>, Sent>;

#[derive(Debug)]
pub(crate) struct Sent(mpsc::UnboundedReceiver<Bytes>);

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|sent| sent.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A call that goes on: what is sent comes back.
#[derive(Debug)]
struct EchoStream {
    send: mpsc::UnboundedSender<Bytes>,
    receive: Incoming,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Http1,
    Http2,
    /// HTTP/2 with a call of gRPC's form that goes on.
    Grpc,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By a server that knew us by this serial.
    Served(String),
    Refused(StatusCode),
    /// gRPC's status, within a response of 200.
    RefusedCall(String),
    /// The connection was closed before.
    Closed,
}

/// The config of a client with a certificate, which trusts the servers of `ca`.
pub(crate) fn config(issued: &Issued, ca: &TestCa, kind: Kind) -> std::sync::Arc<ClientConfig> {
    let alpn: &[&str] = match kind {
        Kind::Http1 => &["http/1.1"],
        Kind::Http2 | Kind::Grpc => &["h2"],
    };
    Foreign::presenting(issued).alpn(alpn).config(ca)
}

impl Conn {
    pub(crate) async fn open(addr: SocketAddr, issued: &Issued, ca: &TestCa, kind: Kind) -> Self {
        Self::with(addr, config(issued, ca, kind), issued.serial(), kind).await
    }

    pub(crate) async fn with(
        addr: SocketAddr,
        config: std::sync::Arc<ClientConfig>,
        serial: String,
        kind: Kind,
    ) -> Self {
        let tcp = within(TcpStream::connect(addr)).await.unwrap();
        let io = TokioIo::new(connect(config, tcp).await.unwrap());
        let (http, task) = match kind {
            Kind::Http1 => {
                let (http, connection) = http1::handshake(io).await.unwrap();
                (Http::One(http), tokio::spawn(connection.with_upgrades()))
            }
            Kind::Http2 | Kind::Grpc => {
                let executor = TokioExecutor::new();
                let (http, connection) = http2::handshake(executor, io).await.unwrap();
                (Http::Two(http), tokio::spawn(connection))
            }
        };
        let mut this = Self {
            serial,
            kind,
            http,
            stream: None,
            task,
        };
        if kind == Kind::Grpc {
            this.stream = Some(this.begin_call().await);
        }
        this
    }

    async fn begin_call(&mut self) -> EchoStream {
        let (send, sent) = mpsc::unbounded_channel();
        let request = request("/echo", true).body(Either::Right(Sent(sent)));
        let response = within(self.send(request.unwrap())).await.unwrap();
        assert_eq!(response.status(), 200);
        EchoStream {
            send,
            receive: response.into_body(),
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Out>,
    ) -> hyper::Result<http::Response<Incoming>> {
        match &mut self.http {
            Http::One(http) => {
                http.ready().await?;
                http.send_request(request).await
            }
            Http::Two(http) => {
                http.ready().await?;
                http.send_request(request).await
            }
        }
    }

    /// A request of its own, beside the call that goes on.
    pub(crate) async fn ask(&mut self, path: &str) -> Outcome {
        let grpc = self.stream.is_some();
        let request = request(path, grpc).body(Either::Left(Empty::new()));
        let Ok(response) = within(self.send(request.unwrap())).await else {
            return Outcome::Closed;
        };
        if let Some(status) = response.headers().get("grpc-status") {
            return Outcome::RefusedCall(status.to_str().unwrap().to_owned());
        }
        if response.status() != 200 {
            if matches!(self.http, Http::One(_)) {
                assert_eq!(response.headers()["connection"], "close");
            }
            return Outcome::Refused(response.status());
        }
        match within(response.into_body().collect()).await {
            Ok(body) => Outcome::Served(String::from_utf8(body.to_bytes().to_vec()).unwrap()),
            Err(_) => Outcome::Closed,
        }
    }

    /// Whether the call that goes on still does.
    pub(crate) async fn call_goes_on(&mut self) -> bool {
        let Some(stream) = &mut self.stream else {
            return true;
        };
        if stream.send.send("ping".into()).is_err() {
            return false;
        }
        match within(stream.receive.frame()).await {
            Some(Ok(frame)) => frame.into_data().is_ok_and(|data| data == "ping"),
            Some(Err(_)) | None => false,
        }
    }

    /// Ends the call from our side, as a client does that heard of GOAWAY.
    pub(crate) async fn end_call(&mut self) {
        if let Some(stream) = self.stream.take() {
            drop(stream.send);
            within(stream.receive.collect()).await.unwrap();
        }
    }

    /// As good as ever: it answers, it was not made anew, and its call goes on.
    pub(crate) async fn is_untouched(&mut self) -> bool {
        !self.task.is_finished()
            && self.call_goes_on().await
            && self.ask("/").await == Outcome::Served(self.serial.clone())
    }
}

pub(crate) fn request(path: &str, grpc: bool) -> http::request::Builder {
    let builder = Request::builder()
        .uri(format!("https://localhost{path}"))
        .header(HOST, "localhost");
    if grpc {
        return builder
            .method("POST")
            .header(CONTENT_TYPE, "application/grpc");
    }
    builder
}
