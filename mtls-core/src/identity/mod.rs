//! Who a verified peer is.

pub(crate) mod certificate;
pub(crate) mod forwarded;
mod mesh;
mod peer;
pub(crate) mod profile;
mod spiffe;
mod time;

pub use forwarded::{ForwardAs, ForwardedError, ForwardedFormat, ForwardedIdentity};
pub use mesh::{KubernetesServiceAccount, MeshForm};
pub use peer::PeerIdentity;
pub(crate) use peer::Verified;
pub use profile::IssuanceFinding;
pub(crate) use spiffe::SCHEME;
pub use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
pub use time::{Timestamp, Validity};
