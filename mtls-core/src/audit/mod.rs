//! Who was let in and who was not, for whoever keeps a record of it.

mod event;
mod json;
mod json_lines;
mod observer;
mod refusals;

pub use event::{
    AuditEvent, AuditOutcome, AuditRequest, AuditStage, AuditSubject, ConnectionFacts,
    ConnectionId, JudgedUnder,
};
pub use json_lines::JsonLines;
pub use observer::{Audit, Observer};
pub use refusals::RefusalLog;
