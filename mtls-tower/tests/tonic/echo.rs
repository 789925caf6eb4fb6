//! A gRPC service without generated code: one unary method, one stream both ways, and messages that are text.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use http_body_util::BodyExt;
use mtls_tower::tonic::PeerExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};
use tower::{Service, service_fn};

#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(String::from_utf8(bytes.to_vec()).unwrap()))
    }
}

/// Says what it knows of its caller, and echoes.
#[derive(Debug, Clone, Default)]
pub struct Echo {
    pub calls: Arc<AtomicUsize>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

pub const WHO: &str = "/test.Echo/Who";
pub const TALK: &str = "/test.Echo/Talk";

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Answer = Result<http::Response<Body>, Infallible>;

impl<B> Service<http::Request<B>> for Echo
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let request = request.map(|body| Body::new(body.map_err(|e| Status::from_error(e.into()))));
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(match request.uri().path() {
                WHO => grpc.unary(service_fn(who), request).await,
                TALK => grpc.streaming(service_fn(talk), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

async fn who(request: Request<String>) -> Result<Response<String>, Status> {
    let peer = request.peer_info().map(|peer| {
        let serial = peer.identity().serial();
        format!("{peer} {serial}")
    });
    let addr = request.remote_addr().map(|addr| addr.ip().to_string());
    let port = request.remote_addr().map(|addr| addr.port().to_string());
    let leaf = request
        .peer_certs()
        .map(|chain| format!("{:?}", chain.first().unwrap().as_ref()));
    let told = [peer, addr, port, leaf].map(|fact| fact.unwrap_or_else(|| "unknown".into()));
    Ok(Response::new(told.join("|")))
}

async fn talk(request: Request<Streaming<String>>) -> Result<Response<Streaming<String>>, Status> {
    Ok(Response::new(request.into_inner()))
}

/// Who called, as the service saw it.
#[derive(Debug)]
pub struct Seen {
    pub peer: String,
    pub serial: String,
    pub addr: String,
    pub port: String,
    pub leaf: String,
}

pub async fn ask<C>(channel: C) -> Result<Response<Seen>, Status>
where
    C: GrpcService<Body, ResponseBody: Send + 'static, Error: Into<BoxError>>,
    <C::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let mut client = tonic::client::Grpc::new(channel);
    ready(&mut client).await?;
    let request = Request::new(String::new());
    let answer = client
        .unary(request, PathAndQuery::from_static(WHO), Text)
        .await?;
    Ok(answer.map(|told| {
        let mut facts = told.split('|').map(ToOwned::to_owned);
        let mut next = || facts.next().unwrap();
        let peer = next();
        let (peer, serial) = peer.split_once(' ').unwrap_or((&peer, ""));
        Seen {
            peer: peer.to_owned(),
            serial: serial.to_owned(),
            addr: next(),
            port: next(),
            leaf: next(),
        }
    }))
}

/// A stream that is open both ways.
#[derive(Debug)]
pub struct Talk {
    say: mpsc::Sender<String>,
    heard: Streaming<String>,
}

pub async fn open<C>(channel: C) -> Result<Talk, Status>
where
    C: GrpcService<Body, ResponseBody: Send + 'static, Error: Into<BoxError>>,
    <C::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let mut client = tonic::client::Grpc::new(channel);
    ready(&mut client).await?;
    let (say, said) = mpsc::channel(4);
    let request = Request::new(ReceiverStream::new(said));
    let path = PathAndQuery::from_static(TALK);
    let heard = client.streaming(request, path, Text).await?.into_inner();
    Ok(Talk { say, heard })
}

async fn ready<C>(client: &mut tonic::client::Grpc<C>) -> Result<(), Status>
where
    C: GrpcService<Body, Error: Into<BoxError>>,
{
    let ready = client.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))
}

impl Talk {
    pub async fn echo(&mut self, word: &str) {
        self.say.send(word.to_owned()).await.unwrap();
        assert_eq!(self.heard.message().await.unwrap().unwrap(), word);
    }

    /// How it ends, whoever ends it.
    pub async fn end(mut self) -> Result<(), Status> {
        let end = self.heard.message().await;
        end.map(|message| assert_eq!(message, None))
    }
}
