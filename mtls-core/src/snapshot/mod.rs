//! One verified generation of credentials and trust; who writes it, who reads it.
//!
//! ```text
//! material ──▶ judge ──▶ Snapshot ──▶ CredentialSource::current
//!  (found)   (verified, each half apart)     (read by every handshake)
//! ```

mod aliases;
mod bundle;
mod credentials;
mod generation;
mod judge;
mod material;
mod publisher;
mod reading;
mod reload;
mod renewal;
mod source;
mod status;
mod story;
mod trust;
mod trust_change;

pub use aliases::AliasUse;
pub use bundle::{Anchor, TrustBundle};
pub use credentials::{CredentialMaterial, Credentials};
pub(crate) use generation::Settings;
pub use generation::{OwnChain, Snapshot};
pub(crate) use judge::{Verdict, first as judge_first};
pub use material::TrustMaterial;
pub(crate) use publisher::Current;
pub use publisher::Publisher;
pub(crate) use reading::{credentials as read_credentials, first_trust as read_first_trust};
pub use renewal::LateRenewal;
pub use source::{Changes, CredentialSource, SourceBuilder};
pub use status::{Expiry, Failure, Health, Part, Status};
pub use story::{LeafSummary, NotServed};
pub(crate) use trust::TrustParts;
pub use trust::{CaHints, Trust};
pub use trust_change::{AnchorName, AnchorNames, TrustChange};
