//! gRPC by mutual TLS, with tonic, on both ends.
//!
//! A server has two ways. [`serve`] runs tonic's services on this crate's [`serve`](crate::serve()): a client that is let
//! in no more is answered `UNAUTHENTICATED` or `PERMISSION_DENIED`, its connection is drained by GOAWAY and cut at a
//! deadline. [`incoming`] feeds tonic's own `Server`, with a [`PeerLayer`] on it: nobody can drain a connection there, so
//! such a client's connection is cut at once, and calls in flight on it fail with it.
//!
//! Either way a service finds the client by [`PeerExt::peer_info`], also in an interceptor, and
//! [`AuthorizeLayer`](crate::AuthorizeLayer) decides by it, per call if you like. `remote_addr` and `peer_certs` of
//! `tonic::Request` answer too; the latter exists under a `tls-…` feature of tonic's.
//!
//! A client is any generated one on a [`Channel`]. It moves to new credentials and a new trust when there are some: calls
//! in flight finish where they are, the next one goes by a new connection.
//!
//! ```no_run
//! use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Policy, ServerTls};
//! use tokio::net::TcpListener;
//! use tonic::{service::Routes, transport::Endpoint};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let source = CredentialSource::watch(CredentialFiles::detect("/var/run/secrets/tls")?).await?;
//!
//! let tls = ServerTls::builder(&source)
//!     .authorize(Policy::trust_domain("example.org")?)
//!     .build()?;
//! let routes = Routes::default(); // .add_service(OrdersServer::new(…))
//! let server = mtls_tower::tonic::serve(TcpListener::bind("0.0.0.0:8443").await?, tls, routes);
//!
//! let tls = ClientTls::builder(&source).verify_server_name().build()?;
//! let endpoint = Endpoint::from_static("https://orders.shop.svc:8443");
//! let channel = mtls_tower::tonic::channel(tls, endpoint); // OrdersClient::new(channel)
//! # let _ = channel;
//! # server.await?;
//! # Ok(())
//! # }
//! ```

mod channel;
mod connect;
mod incoming;
mod peer;
mod serve;
mod unsent;
mod watched;

pub use channel::{CallError, Channel, ResponseFuture, channel};
pub use connect::{Http2Connector, NotHttp2};
pub use incoming::{Incoming, incoming};
pub use peer::{CheckedFuture, CheckedPeer, ConnectInfo, PeerExt, PeerLayer};
pub use serve::{WithConnectInfo, serve};
