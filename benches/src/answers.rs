//! What both servers answer: `hello` to a GET, as many bytes as `/bytes/N` asks for, and to a POST how many it was sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};

pub type Answer = Response<Either<Full<Bytes>, Chunks>>;

pub async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    if request.method() == Method::POST {
        let sent = drain(request.into_body()).await;
        return Ok(Response::new(Either::Left(Full::from(sent.to_string()))));
    }
    let body = match request.uri().path().strip_prefix("/bytes/") {
        Some(wanted) => Either::Right(Chunks::new(wanted.parse().unwrap())),
        None => Either::Left(Full::from(HELLO)),
    };
    Ok(Response::new(body))
}

/// Reads all of it; how much that was. An error ends it: the other side sees that by the number.
pub async fn drain(mut body: Incoming) -> u64 {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    read
}

/// A body of zeros, in chunks that are shared.
#[derive(Debug)]
pub struct Chunks {
    chunk: Bytes,
    left: u64,
}

impl Chunks {
    pub fn new(bytes: u64) -> Self {
        Self {
            chunk: Bytes::from_static(&[0; CHUNK]),
            left: bytes,
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.left.min(CHUNK as u64);
        self.left -= next;
        let chunk = self.chunk.slice(..next as usize);
        Poll::Ready((next > 0).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

pub const HELLO: &str = "hello";
const CHUNK: usize = 64 * 1024;
