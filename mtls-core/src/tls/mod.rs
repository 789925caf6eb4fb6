//! rustls configs, and what became of the handshakes made with them.

mod anonymous;
mod client;
mod connection;
mod error;
mod expected;
mod explain;
mod exported;
mod forwarded;
mod info;
mod names;
mod posture;
pub(crate) mod provider;
mod server;
mod sessions;
mod standing;
mod tickets;
mod verifier;

pub use anonymous::{AnonymousBy, AnonymousClient, Client, ClientCertificates, ClientRef};
pub use client::{
    ClientHandshake, ClientTls, ClientTlsBuilder, DangerousClientTlsBuilder, NeedsExpectation,
};
pub use connection::ServerHandshake;
pub use error::{Alert, ConfigError, HandshakeError, TlsFault};
pub use expected::Expectation;
pub use exported::{ClientConfigs, DangerousClientConfigs, DangerousServerConfigs, ServerConfigs};
pub use forwarded::Forwarded;
pub use info::PeerInfo;
pub use names::{NamelessSaid, Otherwise, ServerNames, ServerNamesBuilder};
pub use posture::TlsVersions;
pub(crate) use provider::resolve as resolve_provider;
pub use server::{NeedsAuthorizer, ServerTls, ServerTlsBuilder};
pub use sessions::Resumption;
