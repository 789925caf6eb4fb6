//! Who is told, and how without harm.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::error;

use super::event::AuditEvent;

/// Is told of every allow and every deny, at handshakes and at requests.
///
/// It is called where the decision falls, on the executor's threads and for whatever a stranger sends: it must not wait,
/// for a disk or a lock that is held for long. [`JsonLines`](super::JsonLines) hands lines to a thread of its own. A panic
/// in here is caught and logged, and what was decided stands; but with `panic = "abort"` nothing can be caught.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use mtls_core::{AuditEvent, AuditOutcome, Observer};
///
/// #[derive(Default)]
/// struct Denials(AtomicU64);
///
/// impl Observer for Denials {
///     fn observe(&self, event: &AuditEvent<'_>) {
///         if event.outcome == AuditOutcome::Deny {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Takes note of one decision.
    fn observe(&self, event: &AuditEvent<'_>);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &AuditEvent<'_>) {
        (**self).observe(event);
    }
}

/// The observer of a server, or none. A clone is another handle on the same.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Watched>>);

struct Watched {
    observer: Box<dyn Observer>,
    panics: AtomicU64,
}

impl Audit {
    pub(crate) const OFF: &'static Self = &Self(None);

    pub(crate) fn by(observer: impl Observer) -> Self {
        Self(Some(Arc::new(Watched {
            observer: Box::new(observer),
            panics: AtomicU64::new(0),
        })))
    }

    /// Tells the observer. Without one, the event is not even made.
    pub fn record<'a>(&self, event: impl FnOnce() -> AuditEvent<'a>) {
        let Some(watched) = &self.0 else {
            return;
        };
        let told = catch_unwind(AssertUnwindSafe(|| watched.observer.observe(&event())));
        if told.is_err() {
            // A stranger can have it panic at will: it is told of the 1st, 2nd, 4th, 8th time, and so on.
            let panics = watched.panics.fetch_add(1, Ordering::Relaxed) + 1;
            if panics.is_power_of_two() {
                error!(
                    mtls.panics = panics,
                    "the audit observer panicked; what it should have noted is lost"
                );
            }
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.is_some() { "on" } else { "off" };
        f.debug_tuple("Audit").field(&state).finish()
    }
}
