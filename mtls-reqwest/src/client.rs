//! A client over the `reqwest::Client` of the current snapshot.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mtls_core::{ClientTls, PeerIdentity};
use reqwest::{IntoUrl, Method, Url};
use tower_service::Service;

use crate::builder::{self, ClientBuilder};
use crate::dial::dial;
use crate::error::Error;
use crate::explain::Explanation;
use crate::request::RequestBuilder;
use crate::rotation::Rotation;

/// An HTTP client that authenticates itself and its servers, under the current snapshot of its source.
///
/// A clone is another handle on the same, and shares its connections. It has no task: a request finds out by itself that
/// the source has moved on, at the cost of an atomic load or two. The first one that does builds the new
/// `reqwest::Client`, in a few microseconds.
///
/// It is a tower service, too, for [`reqwest::Request`].
#[derive(Debug, Clone)]
pub struct Client(Arc<Rotation>);

impl Client {
    /// A client with every setting at its default.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedReqwest`], when the linked reqwest and this crate do not fit together.
    pub fn new(tls: ClientTls) -> Result<Self, Error> {
        Self::builder(tls).build()
    }

    /// Begins a client.
    pub fn builder(tls: ClientTls) -> ClientBuilder {
        ClientBuilder::new(tls)
    }

    /// Begins a GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// Begins a POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Begins a PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// Begins a PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Begins a HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// Begins a request. What is wrong with it is told when it is sent.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let inner = self.current().map(|http| http.request(method, url));
        RequestBuilder::new(self.clone(), inner)
    }

    /// Sends a request under the snapshot that is current when this is first polled.
    ///
    /// # Errors
    ///
    /// reqwest's; [`explain`](crate::explain) says what became of it. Also when no client can be built for the current
    /// snapshot: a request is never sent on the client of an older one.
    pub async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let generation = self.0.current()?;
        let host = request.url().host_str().map(ToOwned::to_owned);
        let sent = generation.http().execute(request).await;
        let mut response = sent.inspect_err(|error| self.0.failed(error, host.as_deref()))?;
        generation.identify(&mut response);
        Ok(response)
    }

    /// Connects to the server of an `https` URL as a request would, waits until it has accepted or refused us, and hangs up.
    /// No request is sent. It takes 11 s at most: 10 s to connect, 1 s for the server's word.
    ///
    /// It is for an operator's question, or a log, after a request failed by [`Explanation::ClosedByPeer`]: if its server
    /// refuses us, this finds the alert that was lost. Nothing calls it by itself. What it says is true of this moment and
    /// this connection: that the request before was not acted upon, it does not say, so its [`Explanation::retry`] is no word
    /// on sending that one again.
    ///
    /// A server of TLS 1.3 that says nothing before it is asked is taken to accept us. Names are resolved by the system,
    /// whatever [`ClientBuilder::configure`] set for requests.
    ///
    /// ```no_run
    /// # async fn doc(http: mtls_reqwest::Client, error: reqwest::Error) {
    /// use mtls_reqwest::{Explanation, explain};
    ///
    /// let mut why = explain(&error);
    /// if let (Explanation::ClosedByPeer, Some(url)) = (&why, error.url()) {
    ///     why = http.dial(url).await.err().unwrap_or(why);
    /// }
    /// eprintln!("{why}: {}", why.remedy());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Why there is no connection, or none that lasts.
    pub async fn dial(&self, url: &Url) -> Result<PeerIdentity, Explanation> {
        dial(self.tls(), url).await
    }

    /// The `reqwest::Client` of the current snapshot, for a library that wants one.
    ///
    /// It stays with its snapshot: whoever keeps it goes on presenting the old credentials, and trusting what was trusted
    /// then, on connections that nothing closes. Ask again for each use. Its responses tell no identity.
    ///
    /// # Errors
    ///
    /// When none can be built for the current snapshot.
    pub fn current(&self) -> Result<reqwest::Client, reqwest::Error> {
        Ok(self.0.current()?.http().clone())
    }

    /// A `reqwest::Client` that presents nothing and trusts nobody, for a library that has to own one and hands its requests
    /// to this client all the same, as in [a stack of `reqwest-middleware`](crate#below-reqwest-middleware).
    ///
    /// A request that is sent by it fails. [`current`](Self::current) in its place would go on with credentials and trust
    /// of before, and would keep their private key alive.
    ///
    /// # Errors
    ///
    /// When reqwest cannot build it.
    pub fn placeholder(&self) -> Result<reqwest::Client, reqwest::Error> {
        builder::placeholder(self.tls())
    }

    /// The TLS that it connects with, and through it the source.
    #[must_use]
    pub fn tls(&self) -> &ClientTls {
        self.0.tls()
    }
}

impl From<Arc<Rotation>> for Client {
    fn from(rotation: Arc<Rotation>) -> Self {
        Self(rotation)
    }
}

/// A response to come.
#[must_use = "a request is sent when its future is polled"]
pub struct ResponseFuture(
    Pin<Box<dyn Future<Output = Result<reqwest::Response, reqwest::Error>> + Send>>,
);

impl Future for ResponseFuture {
    type Output = Result<reqwest::Response, reqwest::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl Service<reqwest::Request> for Client {
    type Response = reqwest::Response;
    type Error = reqwest::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        (&*self).poll_ready(cx)
    }

    fn call(&mut self, request: reqwest::Request) -> ResponseFuture {
        (&*self).call(request)
    }
}

impl Service<reqwest::Request> for &Client {
    type Response = reqwest::Response;
    type Error = reqwest::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: reqwest::Request) -> ResponseFuture {
        let client = Client::clone(self);
        ResponseFuture(Box::pin(async move { client.execute(request).await }))
    }
}
