//! Mutual TLS for [`reqwest`]: a client whose credentials and trust rotate, pooled connections included.
//!
//! ```no_run
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! use mtls_core::{ClientTls, CredentialFiles, CredentialSource};
//! use mtls_reqwest::ResponseExt;
//!
//! let source = CredentialSource::watch(CredentialFiles::detect("/var/run/secrets/tls")?).await?;
//! let tls = ClientTls::builder(&source).verify_server_name().build()?;
//! let http = mtls_reqwest::Client::new(tls)?;
//!
//! let response = http.get("https://orders.shop.svc:8443/orders").send().await?;
//! let who = response.peer_identity();
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`Client`]; when a request failed, at [`explain`]:
//!
//! ```no_run
//! # async fn doc(http: mtls_reqwest::Client) {
//! if let Err(error) = http.get("https://orders.shop.svc:8443/orders").send().await {
//!     let explanation = mtls_reqwest::explain(&error);
//!     eprintln!("{explanation}: {}", explanation.remedy());
//! }
//! # }
//! ```
//!
//! # What is different from a `reqwest::Client`
//!
//! - **It rotates.** reqwest's pool keeps a connection for as long as it is used, and nobody else can close it. So there is
//!   one `reqwest::Client` per snapshot: a request after a rotation goes out on a new one, a request in flight finishes on
//!   the old one, whose connections close as soon as no request waits for its response on any of them.
//! - **Only `https` URLs.** Others are an error before anything is sent.
//! - **No proxies,** neither the environment's nor your own: to an `https` proxy reqwest would offer our client certificate.
//! - **Redirects stay within the origin** (scheme, host and port). Another server than the one that was asked would get our
//!   certificate, and the request, on the word of the first; its redirect is returned as the response that it is. Who
//!   follows it makes a request of its own, judged by what is expected at that host
//!   (`mtls_core::ClientTlsBuilder::expect_server_at`).
//! - **A connection has 10 s to be made,** unless [`ClientBuilder::configure`] says otherwise. reqwest itself has no limit
//!   on anything: give one to the whole request, there or by [`RequestBuilder::timeout`].
//!
//! # Below `reqwest-middleware`
//!
//! A `ClientWithMiddleware` owns the `reqwest::Client` that it was built with, and would present its credentials for ever.
//! So the last middleware of the stack sends each request by a [`Client`], which rotates, and calls no other; what the
//! stack owns is a [placeholder](Client::placeholder), by which nothing can be sent:
//!
//! ```
//! use mtls_reqwest::Client;
//! use reqwest::{Request, Response};
//! use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
//!
//! struct SendBy(Client);
//!
//! #[async_trait::async_trait]
//! impl Middleware for SendBy {
//!     async fn handle(
//!         &self,
//!         request: Request,
//!         _: &mut http::Extensions,
//!         _: Next<'_>,
//!     ) -> reqwest_middleware::Result<Response> {
//!         Ok(self.0.execute(request).await?)
//!     }
//! }
//!
//! fn stack(http: Client) -> Result<ClientWithMiddleware, reqwest::Error> {
//!     let stack = ClientBuilder::new(http.placeholder()?);
//!     // Retries, tracing and the like go here, above it.
//!     Ok(stack.with(SendBy(http)).build())
//! }
//! ```
//!
//! # Features
//!
//! The guides (Kubernetes, migration, pipelines, a workshop, the security model) are in [`mtls::manual`].
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider aws-lc-rs |
//! | `fips` | no | the FIPS 140-3 module of aws-lc-rs |
//! | `http2` | yes | HTTP/2, where the server speaks it |
//! | `json` | no | `RequestBuilder::json`, and reqwest's own `Response::json` |
//! | `metrics` | no | what is measured, for the recorder of the crate `metrics`: [`mtls_core::metrics`] |
//! | `notify` | yes | reload on filesystem events |
//! | `ring` | no | the crypto provider ring |
//!
//! Other features of reqwest are yours to turn on, beside this crate; [`RequestBuilder::with`] reaches them. No crypto
//! provider is installed for the process, and none has to be. For the same reason `reqwest::Client::new()` panics where
//! nobody else has installed one.
//!
//! [`mtls::manual`]: https://docs.rs/mtls/latest/mtls/manual/

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod client;
mod dial;
mod error;
mod explain;
mod request;
mod response;
mod rotation;

pub use builder::{ClientBuilder, RedirectRule};
pub use client::{Client, ResponseFuture};
pub use error::Error;
pub use explain::{Explanation, Retry, explain};
pub use request::RequestBuilder;
pub use response::ResponseExt;
