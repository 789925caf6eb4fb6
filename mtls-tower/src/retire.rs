//! Pooled connections of hyper-util's client that get no new requests.
//!
//! A pool asks its connections one question only: whether they were poisoned. A connector cannot say so, because hyper-util
//! shows what it keeps of a connection to nobody but whoever sends a request. So this stands where requests are sent, keeps
//! what it is shown, and asks each connection before the next request goes out.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::lifeline::Lifeline;

/// Moves a pool of hyper-util's client, whose connections are a [`Connector`](crate::Connector)'s, to new connections when
/// those would be better ones: our credentials were rotated, or the server's certificates are about to expire.
///
/// Put it right around the client, below anything that retries. Requests in flight finish where they are. Without it a
/// connection over HTTP/2 is retired by a GOAWAY, which hyper's client answers now and then by failing a request that it
/// sends at that very moment; one over HTTP/1.1 is used for as long as its server is let in.
///
/// ```
/// # fn doc(connector: mtls_tower::Connector) {
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use mtls_tower::RetireLayer;
/// use tower::Layer;
///
/// let client: Client<_, http_body_util::Empty<bytes::Bytes>> =
///     Client::builder(TokioExecutor::new()).build(connector);
/// let client = RetireLayer::new().layer(client);
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct RetireLayer(());

impl RetireLayer {
    /// The layer. It has nothing to set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for RetireLayer {
    type Service = Retire<S>;

    fn layer(&self, inner: S) -> Retire<S> {
        Retire {
            inner,
            known: Arc::default(),
        }
    }
}

/// The service of a [`RetireLayer`]. A clone shares what it knows of the pool, as a clone of the client shares the pool.
#[derive(Debug, Clone)]
pub struct Retire<S> {
    inner: S,
    known: Arc<Mutex<Vec<Weak<Pooled>>>>,
}

/// What a connection and its pool share.
#[derive(Debug)]
pub(crate) struct Pooled {
    lifeline: Lifeline,
    /// Leads to what the pool looks at, once a request has shown it.
    shown: OnceLock<CaptureConnection>,
}

/// Goes with every response of the connection. Weak: what the pool looks at holds it in turn.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Weak<Pooled>);

impl Pooled {
    pub(crate) fn new(lifeline: Lifeline) -> Arc<Self> {
        Arc::new(Self {
            lifeline,
            shown: OnceLock::new(),
        })
    }

    pub(crate) fn handle(self: &Arc<Self>) -> Handle {
        Handle(Arc::downgrade(self))
    }

    /// Whether somebody tells the pool when it is time.
    pub(crate) fn is_known(&self) -> bool {
        self.shown.get().is_some()
    }

    /// Poisoned if it takes no new requests; whether it still does.
    fn ask(&self) -> bool {
        if !self.lifeline.is_ending() {
            return true;
        }
        if let Some(shown) = self.shown.get()
            && let Some(pooled) = &*shown.connection_metadata()
        {
            pooled.poison();
        }
        false
    }
}

impl<S> Retire<S> {
    fn ask_all(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|pooled| pooled.upgrade().is_some_and(|pooled| pooled.ask()));
    }
}

fn learn(known: &Mutex<Vec<Weak<Pooled>>>, handle: &Handle, shown: &CaptureConnection) {
    let Some(pooled) = handle.0.upgrade() else {
        return;
    };
    if pooled.shown.set(shown.clone()).is_ok() {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(handle.0.clone());
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Retire<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = Retiring<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        self.ask_all();
        let shown = capture_connection(&mut request);
        Retiring {
            future: self.inner.call(request),
            known: Arc::clone(&self.known),
            shown,
        }
    }
}

pin_project! {
    /// The future of a [`Retire`] service.
    #[derive(Debug)]
    pub struct Retiring<F> {
        #[pin]
        future: F,
        known: Arc<Mutex<Vec<Weak<Pooled>>>>,
        shown: CaptureConnection,
    }
}

impl<F, B, E> Future for Retiring<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.future.poll(cx));
        if let Ok(response) = &mut answer
            && let Some(handle) = response.extensions_mut().remove::<Handle>()
        {
            learn(this.known, &handle, this.shown);
        }
        Poll::Ready(answer)
    }
}
