//! A request in the making.

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Version};

use crate::client::Client;

/// A request in the making; see [`reqwest::RequestBuilder`] for what its methods do.
///
/// It is sent under the snapshot that is current when it is sent, however long ago it was begun.
#[derive(Debug)]
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    client: Client,
    inner: Result<reqwest::RequestBuilder, reqwest::Error>,
}

impl RequestBuilder {
    pub(crate) fn new(
        client: Client,
        inner: Result<reqwest::RequestBuilder, reqwest::Error>,
    ) -> Self {
        Self { client, inner }
    }

    /// Adds a header.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.with(|request| request.header(name, value))
    }

    /// Sets headers, in place of those of the same names.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.with(|request| request.headers(headers))
    }

    /// Adds a user name and a password (RFC 7617).
    pub fn basic_auth(self, user: impl fmt::Display, password: Option<impl fmt::Display>) -> Self {
        self.with(|request| request.basic_auth(user, password))
    }

    /// Adds a bearer token (RFC 6750).
    pub fn bearer_auth(self, token: impl fmt::Display) -> Self {
        self.with(|request| request.bearer_auth(token))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.with(|request| request.body(body))
    }

    /// Sets a JSON body, and says so in `Content-Type`.
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Self {
        self.with(|request| request.json(value))
    }

    /// How long the whole may take, from connecting to the end of the response's body. Default: without limit.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|request| request.timeout(timeout))
    }

    /// Sets the version of HTTP.
    pub fn version(self, version: Version) -> Self {
        self.with(|request| request.version(version))
    }

    /// Whatever else reqwest's own builder offers, such as `query`, `form` or `multipart` under its features.
    pub fn with(
        mut self,
        change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Self {
        self.inner = self.inner.map(change);
        self
    }

    /// The request, for [`Client::execute`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn build(self) -> Result<reqwest::Request, reqwest::Error> {
        self.inner?.build()
    }

    /// Sends it and waits for the head of the response. The server's identity is in
    /// [`ResponseExt::peer_identity`](crate::ResponseExt::peer_identity).
    ///
    /// # Errors
    ///
    /// As [`Client::execute`]; also what is wrong with the request.
    pub async fn send(self) -> Result<reqwest::Response, reqwest::Error> {
        let request = self.inner?.build()?;
        self.client.execute(request).await
    }

    /// Another one like it; `None` if its body is a stream, or something is wrong with it.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        let inner = self.inner.as_ref().ok()?.try_clone()?;
        Some(Self::new(self.client.clone(), Ok(inner)))
    }
}
