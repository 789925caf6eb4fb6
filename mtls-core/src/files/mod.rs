//! What is on disk: which files, read whole and consistently, taken out of their PEM, and watched.
//!
//! From the outside in: [`CredentialFiles`] says which files make up a set, `trust_files` which say more of trust,
//! `file_set` reads them as of one moment, `pem` turns their bytes into certificates and a key, `federated` into the
//! bundles of other trust domains, `revocation` into lists, `format` names what they are instead, `watch` says when to
//! read again, `mounts` which files will never be replaced, `access` whose a file is that may not be read. Whether what was
//! read is any good is not known here.

mod access;
mod armor;
mod federated;
mod file_set;
mod format;
mod layout;
mod links;
#[cfg(target_os = "linux")]
mod mountinfo;
mod mounts;
mod pem;
mod read;
mod revocation;
mod sniff;
#[cfg(feature = "spiffe-json")]
mod spiffe_bundle;
mod trust_files;
mod trust_set;
mod watch;
#[cfg(feature = "notify")]
mod watch_set;
#[cfg(feature = "notify")]
mod watcher;

#[cfg(test)]
mod fixture;

pub use access::{FileAccess, ProcessIds};
pub(crate) use federated::{FederatedBundle, Presence, federated, passed_over, presence};
pub(crate) use file_set::{FileSet, Fingerprint, is_atomic, read_set, split_volumes};
pub use format::FileFormat;
pub use layout::{CredentialFiles, Layout};
pub use mounts::StuckMount;
pub(crate) use mounts::stuck_mounts;
pub(crate) use pem::{bundle, chain, key, private_key_line};
pub(crate) use read::FileContent;
#[cfg(feature = "__fuzz")]
pub(crate) use read::MAX_FILE_SIZE;
#[cfg(feature = "policy-file")]
pub(crate) use read::read as read_file;
#[cfg(feature = "__fuzz")]
pub(crate) use revocation::revocation_lists;
pub(crate) use revocation::{RevocationList, revocation};
#[cfg(feature = "__fuzz")]
pub(crate) use spiffe_bundle::{JsonFault, SpiffeBundle, parse_bundle, parse_map};
pub(crate) use watch::Subscription;
pub use watch::{PollCause, WatchMode};
