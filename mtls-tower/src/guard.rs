//! What every request on a connection passes first: would its peer still be let in?

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use mtls_core::{Forwarded, PeerInfo};
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::debug;

use crate::authorize::{Denied, refusal};
use crate::lifeline::Lifeline;
use crate::{audit, forwarded};

/// Asks before each request, takes out what it says of a client behind its peer, and gives it the connection's
/// [`PeerInfo`].
///
/// Over HTTP/1.1 a response says that it is the connection's last, once the connection is to end: closed while it is idle,
/// it could cross the client's next request, which would be lost.
///
/// A refused request is answered as [`AuthorizeLayer`](crate::AuthorizeLayer) answers one, and its connection is drained.
#[derive(Clone)]
pub(crate) struct Guard<S> {
    inner: S,
    peer: PeerInfo,
    lifeline: Lifeline,
    forwarded: Forwarded,
}

impl<S> Guard<S> {
    pub(crate) fn new(inner: S, peer: PeerInfo, lifeline: Lifeline, forwarded: Forwarded) -> Self {
        Self {
            inner,
            peer,
            lifeline,
            forwarded,
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Guard<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<GuardedBody<ResBody>>;
    type Error = S::Error;
    type Future = Guarded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Guarded<S::Future> {
        let Err(why) = self.peer.check() else {
            if let Err(why) = forwarded::take(&self.forwarded, Some(&self.peer), &mut request) {
                let audit = self.peer.audit();
                audit.record(|| audit::of(&request, &self.peer).malformed(&why));
                return Guarded::Refused {
                    response: Some(forwarded::refusal(&request, why)),
                };
            }
            request.extensions_mut().insert(self.peer.clone());
            let closes = request.version() < Version::HTTP_2;
            return Guarded::Inner {
                lifeline: closes.then(|| self.lifeline.clone()),
                future: self.inner.call(request),
            };
        };
        debug!(
            mtls.peer_id = %self.peer,
            mtls.reason = why.reason().as_str(),
            error = %why,
            "request refused: its peer is let in no more"
        );
        let audit = self.peer.audit();
        audit.record(|| audit::of(&request, &self.peer).lost(&why));
        self.lifeline.lose(&why);
        let closes = request.version() < Version::HTTP_2;
        let denied = Denied::Lost {
            peer: self.peer.clone(),
            why,
        };
        let mut response: Response<NoBody> = refusal(&request, denied);
        if closes {
            close_after(&mut response);
        }
        Guarded::Refused {
            response: Some(response),
        }
    }
}

/// RFC 9112 §9.6: the server closes the connection after a response that says so.
fn close_after<B>(response: &mut Response<B>) {
    // The connection is another protocol's from here on.
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

/// The body of a refusal.
#[derive(Debug, Default)]
pub(crate) struct NoBody;

pin_project! {
    /// The future of a [`Guard`].
    #[project = GuardedProj]
    pub(crate) enum Guarded<F> {
        Inner {
            // Of an HTTP/1.1 connection.
            lifeline: Option<Lifeline>,
            #[pin]
            future: F,
        },
        Refused { response: Option<Response<NoBody>> },
    }
}

impl<F, B, E> Future for Guarded<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GuardedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            GuardedProj::Inner { lifeline, future } => {
                let mut response = ready!(future.poll(cx))?;
                if lifeline.as_ref().is_some_and(Lifeline::is_ending) {
                    close_after(&mut response);
                }
                Poll::Ready(Ok(response.map(|body| GuardedBody::Inner { body })))
            }
            #[expect(
                clippy::expect_used,
                reason = "polling a finished future is its caller's bug"
            )]
            GuardedProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(|NoBody| GuardedBody::Refused)))
            }
        }
    }
}

pin_project! {
    /// The inner service's body, or that of a refusal, which is empty.
    #[project = GuardedBodyProj]
    pub(crate) enum GuardedBody<B> {
        Inner { #[pin] body: B },
        Refused,
    }
}

impl<B: Body> Body for GuardedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            GuardedBodyProj::Inner { body } => body.poll_frame(cx),
            GuardedBodyProj::Refused => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Inner { body } => body.is_end_stream(),
            Self::Refused => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Inner { body } => body.size_hint(),
            Self::Refused => SizeHint::with_exact(0),
        }
    }
}
