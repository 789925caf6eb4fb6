//! Mutual TLS for axum: every handler knows its peer, and a route can say which peer it wants.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use mtls_axum::{Peer, require};
//! use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
//! use tokio::net::TcpListener;
//!
//! # async fn list() {}
//! # async fn shutdown_signal() {}
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let source = CredentialSource::watch(CredentialFiles::detect("/var/run/secrets/tls")?).await?;
//! let server = ServerTls::builder(&source)
//!     .authorize(Policy::trust_domain("example.org")?)
//!     .build()?;
//! let app = Router::new()
//!     .route("/orders", get(list).route_layer(require("spiffe://example.org/ns/shop/sa/*")?))
//!     .route("/whoami", get(|Peer(peer): Peer| async move { peer.to_string() }));
//! mtls_axum::serve(TcpListener::bind("0.0.0.0:8443").await?, server, app)
//!     .with_graceful_shutdown(shutdown_signal())
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Who may, and where that is said
//!
//! The authorizer of the [`ServerTls`](mtls_core::ServerTls) decides at the handshake, for the whole server. [`require`]
//! narrows it for a route. `Router::route_layer` runs it for requests that match a route, so that an unknown path is 404
//! to everyone; `Router::layer` runs it for all. [`authorize_requests`] decides by rules over peers and requests, which
//! may come from a file.
//!
//! # Clients without a certificate
//!
//! A server whose [`ServerTls`](mtls_core::ServerTls) says that certificates are optional serves them too. `Option<Peer>` is
//! `None` for such a client, [`Anonymous`] tells how it came, and a handler that takes a [`Peer`] refuses it with 401, as
//! [`require`] does.
//!
//! # From plaintext to mutual TLS
//!
//! [`Serve::permissive`] takes plaintext on the same port for the time of a migration. [`Permissive::report`] names who still
//! is in plaintext, and [`Permissive::go_strict`] refuses exactly those, without a restart. [`health()`] is a plaintext port for
//! probes, which serves nothing else.
//!
//! # Behind `axum::serve`
//!
//! Where a program has to be served by axum's own `serve`, [`Listener`] takes the place of its `TcpListener`, and
//! [`make_service`] that of its router. [`serve()`] does more: see [`Listener`] for what is missing there.
//!
//! # Behind an ingress
//!
//! There the peer is the ingress. [`Serve::forwarded`] names the proxies whose word counts, and a handler takes
//! [`ForwardedPeer`] for who they say it is: never a [`Peer`], and never anything that a header says by itself.
//!
//! # Probes and metrics
//!
//! A kubelet has no certificate. [`health()`] answers it on a plaintext port that serves nothing else; [`probes()`] is routes for a
//! port that has metrics too. The feature `metrics` tells what is measured: [`mtls_core::metrics`].
//!
//! # Testing handlers
//!
//! A handler that extracts [`Peer`] is tested without sockets: [`as_peer`] gives a router a peer that was verified in
//! memory. There is no other way to make one.
//!
//! The guides (Kubernetes, migration, pipelines, a workshop, the security model) are in [`mtls::manual`].
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider aws-lc-rs |
//! | `fips` | no | the FIPS 140-3 module of aws-lc-rs |
//! | `metrics` | no | what is measured, for the recorder of the crate `metrics`: [`mtls_core::metrics`] |
//! | `notify` | yes | reload on filesystem events |
//! | `ring` | no | the crypto provider ring |
//!
//! [`mtls::manual`]: https://docs.rs/mtls/latest/mtls/manual/

#![cfg_attr(docsrs, feature(doc_cfg))]

mod extract;
mod listener;
mod probes;
mod require;
mod serve;

pub use extract::{
    Anonymous, ForwardedPeer, NoForwarded, NoPeer, NotAnonymous, Peer, PeerSpiffeId, ServiceAccount,
};
pub use listener::{
    ConnectedPeer, Listener, MakeService, PeerResponse, PeerService, PeerStream, make_service,
};
pub use mtls_core::{Forwarded, ForwardedFormat, ForwardedIdentity};
pub use mtls_tower::{
    ConnectionLimits, Denied, HealthServer, HttpBuilder, Limits, PeerInfo, Permissive,
    PermissiveReport, PlaintextAddress, Probes, ProxyProtocol, health, listen,
};
pub use probes::probes;
pub use require::{as_peer, authorize_requests, require};
pub use serve::{Serve, serve};
