//! What every request on a connection passes first: would its peer still be let in?

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use mtls_core::{Client, Forwarded};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use crate::admission::{Admission, introduce};
use crate::authorize::{Denied, misdirected, refusal};
use crate::lifeline::{Ending, Lifeline};
use crate::stream::ServerStream;
use crate::{audit, forwarded};

/// What [`serve`](crate::serve()) puts around the service of each connection, for whoever serves connections with a loop or
/// a server of their own: one layer for each connection.
///
/// It asks before each request whether the client would still be let in, and whether the identity that it connected to
/// answers for the request's host ([`Client::answers_for`](mtls_core::Client::answers_for); else 421 Misdirected Request).
/// It takes out the headers that tell of a client behind it (see [`Forwarded`]), and gives the request the connection's
/// [`PeerInfo`](mtls_core::PeerInfo), or its [`AnonymousClient`](mtls_core::AnonymousClient). A refused request is answered as
/// [`AuthorizeLayer`](crate::AuthorizeLayer) answers one.
///
/// The connection lives on for [`lost_peer_deadline`](Self::lost_peer_deadline) when its client is lost, so that there is
/// somebody to answer; then reading and writing fail. Over HTTP/1.1 a response says that it is the connection's last, once
/// the connection is to end. Over HTTP/2 only a server that sends GOAWAY can say so: [`serve`](crate::serve()) does.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    admission: Admission,
    lifeline: Lifeline,
    forwarded: Forwarded,
}

impl GuardLayer {
    /// Guards the requests that come by `stream`.
    #[must_use]
    pub fn new<IO>(stream: &ServerStream<IO>) -> Self {
        Self::ending(stream, LOST_PEER_DEADLINE, None)
    }

    pub(crate) fn ending<IO>(
        stream: &ServerStream<IO>,
        deadline: Duration,
        max_age: Option<Duration>,
    ) -> Self {
        let layer = Self {
            admission: stream.admission().clone(),
            lifeline: stream.lifeline().clone(),
            forwarded: Forwarded::strip(),
        };
        layer.ends(deadline, max_age)
    }

    /// How long the connection may last once its client would no longer be let in. Default: 10 s.
    #[must_use]
    pub fn lost_peer_deadline(self, deadline: Duration) -> Self {
        self.ends(deadline, None)
    }

    /// Whose word is taken for who stands behind them. Default: nobody's.
    #[must_use]
    pub fn forwarded(mut self, forwarded: Forwarded) -> Self {
        self.forwarded = forwarded;
        self
    }

    fn ends(self, deadline: Duration, max_age: Option<Duration>) -> Self {
        let deadline = deadline.max(SHORTEST_DEADLINE);
        self.lifeline.ends(Ending::Drained { deadline, max_age });
        self
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            inner,
            by: Arc::new(self.clone()),
        }
    }
}

/// The service of a [`GuardLayer`].
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    // Shared: a server clones its service for each request.
    by: Arc<GuardLayer>,
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
        let GuardLayer {
            admission,
            lifeline,
            forwarded,
        } = &*self.by;
        let client = admission.client();
        let Err(why) = admission.check() else {
            if let Some(denied) = misdirected(&request, client) {
                return Guarded::refused(refusal(&request, denied));
            }
            // Of an anonymous client no header is believed: there is no peer whose word could count.
            if let Err(why) = forwarded::take(forwarded, client.peer(), &mut request) {
                let audit = client.audit();
                audit.record(|| audit::of(&request, client.into()).malformed(&why));
                return Guarded::refused(forwarded::refusal(&request, why));
            }
            introduce(client, request.extensions_mut());
            let closes = request.version() < Version::HTTP_2;
            let kind = Kind::Inner {
                lifeline: closes.then(|| lifeline.clone()),
                future: self.inner.call(request),
            };
            return Guarded { kind };
        };
        debug!(
            mtls.peer_id = client.peer().map(tracing::field::display),
            mtls.reason = why.reason().as_str(),
            error = %why,
            "request refused: its client is let in no more"
        );
        let audit = client.audit();
        audit.record(|| audit::of(&request, client.into()).lost(&why));
        lifeline.lose(&why);
        let closes = request.version() < Version::HTTP_2;
        let denied = match client {
            Client::Peer(peer) => Denied::Lost {
                peer: peer.clone(),
                why,
            },
            Client::Anonymous(client) => Denied::TlsRequired {
                client: client.clone(),
            },
        };
        let mut response = refusal(&request, denied);
        if closes {
            close_after(&mut response);
        }
        Guarded::refused(response)
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
struct NoBody;

pin_project! {
    /// The future of a [`Guard`].
    #[derive(Debug)]
    pub struct Guarded<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<F> {
        Inner {
            // Of an HTTP/1.1 connection.
            lifeline: Option<Lifeline>,
            #[pin]
            future: F,
        },
        Refused { response: Option<Response<NoBody>> },
    }
}

impl<F> Guarded<F> {
    fn refused(response: Response<NoBody>) -> Self {
        let response = Some(response);
        Self {
            kind: Kind::Refused { response },
        }
    }
}

impl<F, B, E> Future for Guarded<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<GuardedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { lifeline, future } => {
                let mut response = ready!(future.poll(cx))?;
                if lifeline.as_ref().is_some_and(Lifeline::is_ending) {
                    close_after(&mut response);
                }
                Poll::Ready(Ok(response.map(GuardedBody::new)))
            }
            #[expect(
                clippy::expect_used,
                reason = "polling a finished future is its caller's bug"
            )]
            KindProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(|NoBody| GuardedBody { body: None })))
            }
        }
    }
}

pin_project! {
    /// The inner service's body, or that of a refusal, which is empty.
    #[derive(Debug)]
    pub struct GuardedBody<B> {
        #[pin]
        body: Option<B>,
    }
}

impl<B> GuardedBody<B> {
    fn new(body: B) -> Self {
        Self { body: Some(body) }
    }

    /// The inner service's body, if it was asked.
    pub fn into_inner(self) -> Option<B> {
        self.body
    }
}

impl<B: Body> Body for GuardedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let of_none = || SizeHint::with_exact(0);
        self.body.as_ref().map_or_else(of_none, Body::size_hint)
    }
}

pub(crate) const LOST_PEER_DEADLINE: Duration = Duration::from_secs(10);

/// With none at all a drain would be a cut.
const SHORTEST_DEADLINE: Duration = Duration::from_millis(10);
