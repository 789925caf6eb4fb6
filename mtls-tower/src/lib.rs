//! Mutual TLS for tower and hyper: connections on both sides of [`mtls_core`], and layers that decide by identity.
//!
//! A server: [`serve`] runs any tower service over HTTP/1.1 and HTTP/2; [`MtlsListener`] hands out streams to a loop of
//! your own, whose requests a [`GuardLayer`] guards; [`Acceptor`] does one handshake. A client: [`Connector`] for
//! hyper-util's client and whatever else connects by a `Service<Uri>`; [`pool`] for the pool that is built of services.
//!
//! Every request that [`serve`] hands on has a [`PeerInfo`] among its extensions, and so has every response that came
//! through a [`Connector`]: one value per connection, whose peer was verified and has proven to hold its key.
//! [`AuthorizeLayer`] decides by it.
//!
//! Where the [`ServerTls`](mtls_core::ServerTls) says that client certificates are optional, a request may have an
//! [`AnonymousClient`] instead, and then has no [`PeerInfo`].
//!
//! [`Permissive`] lets a listener take plaintext on its port for the time of a migration, tells who still is in plaintext, and
//! goes strict while the server runs.
//!
//! Headers by which a proxy tells who its client is are taken out of every request. [`Serve::forwarded`] says whose are
//! believed, [`forward`] writes them for whoever is behind us.
//!
//! The guides (Kubernetes, migration, pipelines, a workshop, the security model) are in [`mtls::manual`].
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider aws-lc-rs |
//! | `client` | yes | [`Connector`], [`RetireLayer`], [`pool`] |
//! | `fips` | no | the FIPS 140-3 module of aws-lc-rs |
//! | `metrics` | no | what is measured, for the recorder of the crate `metrics`: [`mtls_core::metrics`] |
//! | `notify` | yes | reload on filesystem events |
//! | `ring` | no | the crypto provider ring |
//! | `server` | yes | [`serve`] |
//! | `tonic` | no | gRPC, both ends: a server by tonic's or by ours, a channel that follows rotation |
//!
//! [`mtls::manual`]: https://docs.rs/mtls/latest/mtls/manual/

#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod admission;
mod audit;
mod authorize;
#[cfg(feature = "client")]
mod confirm;
#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "client")]
mod destination;
#[cfg(feature = "server")]
mod first_bytes;
mod forwarded;
#[cfg(feature = "client")]
mod goaway;
#[cfg(feature = "server")]
mod guard;
#[cfg(feature = "server")]
mod health;
mod lifeline;
mod listen;
mod listener;
mod peer_info;
mod permissive;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod pool;
mod proxy;
mod refusal;
#[cfg(feature = "client")]
mod retire;
#[cfg(feature = "server")]
mod serve;
mod stream;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;

pub use accept::{Acceptor, Limits};
pub use authorize::{Authorize, AuthorizeLayer, Denied};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use connect::{ConnectError, Connected, Connector};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use first_bytes::FirstBytes;
pub use forwarded::{ForwardedLayer, WithForwarded, forward};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use guard::{Guard, GuardLayer, Guarded, GuardedBody};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use health::{HealthServer, Probes, health};
pub use listen::listen;
pub use listener::{LastHandshakes, MtlsListener};
pub use mtls_core::{AnonymousClient, Client, PeerInfo};
pub use peer_info::{PeerInfoLayer, WithPeer};
pub use permissive::{Permissive, PermissiveReport, PlaintextAddress};
pub use proxy::ProxyProtocol;
pub use refusal::ResponseFuture;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use retire::{Retire, RetireLayer, Retiring};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use serve::{Connection, ConnectionLimits, HttpBuilder, Serve, serve, serve_with};
pub use stream::{ClientStream, ServerStream};
