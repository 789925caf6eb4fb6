//! A gRPC service without generated code: one unary method and one stream, and messages that are text.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use mtls_tower::tonic::{Channel, PeerExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};
use tower::{Service, service_fn};

use crate::load::{Answer, BoxError};

#[derive(Debug, Clone, Copy, Default)]
struct Text;

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
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|_| Status::invalid_argument("no text"))
    }
}

/// Says who called.
#[derive(Debug, Clone, Copy)]
pub struct Who;

impl NamedService for Who {
    const NAME: &'static str = "soak.Who";
}

type Handled = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Service<http::Request<Body>> for Who {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Handled;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Handled {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(match request.uri().path() {
                ONCE => grpc.unary(service_fn(once), request).await,
                TALK => grpc.streaming(service_fn(talk), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

fn caller<T>(request: &Request<T>) -> Result<String, Status> {
    let peer = request.peer_info();
    peer.map(crate::load::told)
        .ok_or_else(|| Status::internal("nobody called"))
}

async fn once(request: Request<String>) -> Result<Response<String>, Status> {
    caller(&request).map(Response::new)
}

/// An answer to each word, for as long as there are words.
async fn talk(
    request: Request<Streaming<String>>,
) -> Result<Response<ReceiverStream<Result<String, Status>>>, Status> {
    let who = caller(&request)?;
    let mut words = request.into_inner();
    let (say, said) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok(Some(_)) = words.message().await {
            if say.send(Ok(who.clone())).await.is_err() {
                break;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(said)))
}

pub async fn unary(channel: Channel) -> Result<Answer, BoxError> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let path = PathAndQuery::from_static(ONCE);
    let answer = client.unary(Request::new(String::new()), path, Text);
    let answer = answer.await?;
    let server = answer.peer_info().map(crate::load::told);
    Ok(Answer::from(server, answer.get_ref()))
}

/// Some words and their answers, one after the other.
pub async fn stream(channel: Channel) -> Result<Vec<Answer>, BoxError> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let (say, said) = mpsc::channel(1);
    let words = Request::new(ReceiverStream::new(said));
    let path = PathAndQuery::from_static(TALK);
    let answer = client.streaming(words, path, Text).await?;
    let server = answer.peer_info().map(crate::load::told);
    let mut heard = answer.into_inner();
    let mut answers = Vec::new();
    for _ in 0..WORDS {
        say.send("who?".to_owned()).await?;
        let who = heard.message().await?.ok_or("the stream has ended")?;
        answers.push(Answer::from(server.clone(), &who));
    }
    drop(say);
    match heard.message().await? {
        None => Ok(answers),
        Some(_) => Err("an answer to nothing".into()),
    }
}

const ONCE: &str = "/soak.Who/Once";
const TALK: &str = "/soak.Who/Talk";
const WORDS: usize = 20;
