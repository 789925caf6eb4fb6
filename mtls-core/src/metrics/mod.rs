//! What is measured, by names that are public API as the reasons are.
//!
//! With the feature `metrics` everything here is told to whatever recorder the program has installed for the crate of that
//! name; [`METRICS`] lists it. Without the feature the same calls do nothing. Install the recorder before the first source is
//! opened: what was counted before it is lost, and the gauges of a source come with its next check.
//!
//! Labels come from enums, and from the [name](crate::SourceBuilder::name) that the operator gave to a source. Nothing that a
//! peer says of itself is a label: who was refused is in the log and in the audit.
//!
//! A source measures itself. Of connections tells whoever makes them: the adapters do; a loop of your own has a
//! [`HandshakeMeter`] for each handshake.

#[cfg(feature = "metrics")]
mod catalog;
mod connections;
#[cfg(feature = "metrics")]
mod source;
mod tally;

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use catalog::{HANDSHAKE_BUCKETS, METRICS, Metric, MetricKind, describe};
pub use connections::{
    ConnectionEnd, HandshakeMeter, alert_received, connection_cut, connection_drained,
    plaintext_closed, plaintext_opened, request_refused,
};
#[cfg(feature = "metrics")]
pub(crate) use source::{checked, measure, watch_failed};
pub(crate) use tally::Tally;
