//! Panics where files are read and judged, by a subscriber of the log that panics at a certain line.
//!
//! It is the only one of the process, hence a binary of its own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[allow(
    dead_code,
    reason = "shared with the reload tests, which use all of it"
)]
#[path = "reload/fixture.rs"]
mod fixture;

use std::fmt::Debug;
use std::sync::Mutex;

use fixture::*;
use mtls_core::testing::{MountedDir, TestCa, handshake};
use mtls_core::{Health, Reason};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The line that is not survived.
static AT: Mutex<Option<&str>> = Mutex::new(None);

struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mtls_core")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
                self.0 += &format!("{value:?} ");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        let at = *AT.lock().unwrap();
        assert!(
            !at.is_some_and(|at| line.0.contains(at)),
            "as this test wants it"
        );
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn panic_at(line: Option<&'static str>) {
    *AT.lock().unwrap() = line;
}

#[tokio::test]
async fn a_panic_while_reloading_is_told_of_and_reloading_goes_on() {
    tracing::subscriber::set_global_default(Panics).unwrap();
    let ca = TestCa::new("example.org");
    let old = ca.issue("/web");
    let dir = MountedDir::new(&old);
    let source = watch(dir.path()).await;
    let (server, client) = (server(&source), client(&source));
    let reason = || source.status().last_error.map(|failure| failure.reason());
    let serves = |serial: String| {
        assert!(handshake(&server, &client, "localhost").server.is_ok());
        source.current().credentials().serial() == serial
    };

    // In the task itself.
    panic_at(Some("reload failed"));
    let (chain, bundle) = (old.chain_pem(), old.bundle_pem());
    dir.rotate_with(chain, ca.issue("/web").key_pem(), bundle);
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::ReloadPanicked, "{refused}");
    assert_eq!(reason(), Some(Reason::ReloadPanicked));
    assert_eq!(source.status().health, Health::Degraded);
    assert!(serves(old.serial()), "the last good");
    panic_at(None);
    let new = ca.issue("/web");
    dir.rotate(&new);
    until("the task goes on", || serves(new.serial())).await;
    until("all is well", || reason().is_none()).await;

    // In the thread that reads and judges for it. No event follows the panic: a retry is what heals it.
    panic_at(Some("rotated"));
    let newer = ca.issue("/web");
    dir.rotate(&newer);
    until("it is told", || reason() == Some(Reason::ReloadPanicked)).await;
    assert!(serves(new.serial()), "the last good");
    panic_at(None);
    until("it is tried again", || serves(newer.serial())).await;
    until("all is well again", || reason().is_none()).await;
}
