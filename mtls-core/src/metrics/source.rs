//! What a source tells of itself, at each look at it.

use std::sync::Arc;

use metrics::{counter, gauge};

use super::catalog::{
    ANCHORS, BUILD, BUNDLE_NOT_AFTER, CLOCK, CRL_NEXT_UPDATE, CRL_THIS_UPDATE, GENERATION,
    LAST_ATTEMPT, LAST_SUCCESS, NOT_AFTER, NOT_BEFORE, RELOADS, RENEWAL_LATE, REVOKED, SOURCE_UP,
    STUCK_MOUNTS, WATCH_ERRORS, WATCH_MODE,
};
use crate::error::LoadError;
use crate::files::{PollCause, WatchMode};
use crate::identity::{Timestamp, Validity};
use crate::reason::Reason;
use crate::snapshot::{Part, Status};

/// A look at the source is done: whether something new is served, and what was wrong.
pub(crate) fn checked(name: &Arc<str>, is_new: bool, error: Option<&LoadError>, now: Timestamp) {
    let reason = error.map(LoadError::reason);
    let outcome = match reason {
        None if is_new => "ok",
        None => "unchanged",
        Some(Reason::FileMissing | Reason::FileUnreadable | Reason::UnstableFiles) => "io_error",
        Some(_) => "rejected",
    };
    let reason = reason.map_or("none", Reason::as_str);
    counter!(RELOADS, "name" => Arc::clone(name), "outcome" => outcome, "reason" => reason)
        .increment(1);
    set(LAST_ATTEMPT, name, seconds(now));
    if error.is_none() {
        set(LAST_SUCCESS, name, seconds(now));
    }
}

/// Events of the filesystem are heard no more, though they were wanted.
pub(crate) fn watch_failed(name: &Arc<str>, mode: WatchMode) {
    let WatchMode::PollOnly { cause } = mode else {
        return;
    };
    let reason = match cause {
        PollCause::Directory => "directory",
        PollCause::Failed => "failed",
        PollCause::Limit => "limit",
        PollCause::Disabled | PollCause::NotArmed => return,
    };
    counter!(WATCH_ERRORS, "name" => Arc::clone(name), "reason" => reason).increment(1);
}

/// How the source is doing now.
pub(crate) fn measure(status: &Status, is_fips: bool, now: Timestamp) {
    let name = &status.name;
    let yes = |condition| f64::from(u8::from(condition));
    let is_up = status.last_error.is_none() && status.not_served.is_none();
    set(SOURCE_UP, name, yes(is_up));
    set(GENERATION, name, count(status.generation));
    set(RENEWAL_LATE, name, yes(status.late_renewal.is_some()));
    set(REVOKED, name, yes(status.own_revoked.is_some()));
    if let Some(own) = first_end(status, |part| part != Part::Anchor) {
        set(NOT_AFTER, name, seconds(own.not_after));
        set(NOT_BEFORE, name, seconds(own.not_before));
    }
    if let Some(anchor) = first_end(status, |part| part == Part::Anchor) {
        set(BUNDLE_NOT_AFTER, name, seconds(anchor.not_after));
    }
    let anchors = status.expiries.iter().filter(|e| e.part == Part::Anchor);
    set(ANCHORS, name, count(anchors.count()));
    let lists = status.revocation_lists.iter();
    let first = lists
        .filter(|list| !list.is_superseded)
        .min_by_key(|list| list.next_update);
    let (from, until) = first.map_or((f64::INFINITY, f64::INFINITY), |list| {
        (seconds(list.this_update), seconds(list.next_update))
    });
    set(CRL_THIS_UPDATE, name, from);
    set(CRL_NEXT_UPDATE, name, until);
    if let Some(mode) = status.watch {
        let by_events = mode == WatchMode::Events;
        for (mode, is) in [("events", by_events), ("poll", !by_events)] {
            gauge!(WATCH_MODE, "name" => Arc::clone(name), "mode" => mode).set(yes(is));
        }
        set(STUCK_MOUNTS, name, count(status.stuck_mounts.len()));
        // Where nobody looks at files the clock would be as old as the last publication.
        set(CLOCK, name, seconds(now));
    }
    let fips = if is_fips { "true" } else { "false" };
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "fips" => fips).set(1.0);
}

fn first_end(status: &Status, wanted: impl Fn(Part) -> bool) -> Option<Validity> {
    let expiries = status.expiries.iter().filter(|e| wanted(e.part));
    expiries.map(|e| e.validity).min_by_key(|v| v.not_after)
}

fn set(metric: &'static str, name: &Arc<str>, value: f64) {
    gauge!(metric, "name" => Arc::clone(name)).set(value);
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 seconds")]
fn seconds(time: Timestamp) -> f64 {
    time.as_unix() as f64
}

fn count(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn events_that_fail_are_counted_by_why_and_those_that_nobody_wanted_are_not() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let name = Arc::from("web");
        metrics::with_local_recorder(&recorder, || {
            watch_failed(&name, WatchMode::Events);
            for cause in [
                PollCause::Directory,
                PollCause::Disabled,
                PollCause::Failed,
                PollCause::Limit,
                PollCause::NotArmed,
            ] {
                watch_failed(&name, WatchMode::PollOnly { cause });
            }
        });
        let text = recorder.handle().render();
        for reason in ["directory", "failed", "limit"] {
            let series = format!("{WATCH_ERRORS}{{name=\"web\",reason=\"{reason}\"}} 1\n");
            assert!(text.contains(&series), "{text}");
        }
        assert_eq!(text.matches("name=\"web\"").count(), 3, "{text}");
    }
}
