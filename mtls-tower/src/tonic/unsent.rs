//! A request that can be sent again because none of it was sent.
//!
//! When a server drains a connection on which a stream is still open, the next call may be handed to it before its GOAWAY
//! has been seen: hyper gives that call back as cancelled, and tonic passes this on. It never left this process.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ::tonic::body::Body;
use http::Request;
use http::request::Parts;
use http_body::{Frame, SizeHint};

/// What is needed to make a request once more.
pub(super) struct Unsent {
    head: Parts,
    body: Slot,
}

/// The body, until it is read.
type Slot = Arc<Mutex<Option<Body>>>;

/// The body of the first attempt.
struct Lent {
    slot: Slot,
    begun: Option<Body>,
}

impl Unsent {
    /// The request as it is to be sent, and what is left of it here.
    pub(super) fn split(request: Request<Body>) -> (Request<Body>, Self) {
        let (head, body) = request.into_parts();
        let slot = Arc::new(Mutex::new(Some(body)));
        let lent = Lent {
            slot: Arc::clone(&slot),
            begun: None,
        };
        let sent = Request::from_parts(head.clone(), Body::new(lent));
        (sent, Self { head, body: slot })
    }

    /// The request again, if `error` says that it was not sent and its body was not touched.
    pub(super) fn after(self, error: &(dyn Error + 'static)) -> Option<Request<Body>> {
        let mut next = Some(error);
        let cancelled = std::iter::from_fn(|| {
            let error = next?;
            next = error.source();
            Some(error)
        })
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_canceled);
        if !cancelled {
            return None;
        }
        let body = take(&self.body)?;
        Some(Request::from_parts(self.head, body))
    }
}

impl http_body::Body for Lent {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.begun.is_none() {
            self.begun = take(&self.slot);
        }
        match &mut self.begun {
            Some(body) => Pin::new(body).poll_frame(cx),
            // It was given to another attempt, so that nobody sends this one.
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.peek(http_body::Body::is_end_stream).unwrap_or(false)
    }

    fn size_hint(&self) -> SizeHint {
        self.peek(http_body::Body::size_hint).unwrap_or_default()
    }
}

impl Lent {
    fn peek<T>(&self, read: impl FnOnce(&Body) -> T) -> Option<T> {
        match &self.begun {
            Some(body) => Some(read(body)),
            None => self
                .slot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(read),
        }
    }
}

fn take(slot: &Slot) -> Option<Body> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
