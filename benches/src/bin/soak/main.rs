//! A rotation soak: each door in turn, while its certificates and its CA rotate beneath a mixed load.
//!
//! `cargo run --release -p benches --bin soak -- --seconds 60` takes each door for a minute; `--door NAME` chooses doors by a
//! part of their name. `--careless` replaces a CA in one step instead, which has to fail. Every party has a directory as a kubelet writes it. A leaf is replaced every 200 ms, and a CA every
//! two seconds, in the steps of `docs/decisions.md`: all trust both, all present the new one, nobody trusts the old one.
//!
//! A line per door says what was done and what came of it. The exit code is 1 if a request failed, if anybody was taken for
//! somebody else, if a handshake was refused, or if what the process holds is not back at what it held after a first, short
//! round on the same door: see `held` for the tolerances.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "a program that measures: what goes wrong ends it"
)]

mod door;
mod grpc;
mod held;
mod load;
mod party;

use std::alloc::System;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::door::{Door, Serving};
use crate::held::Held;
use crate::load::{Load, Tally};
use crate::party::{Pace, Parties, Rotated, Steps};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let Some(Options {
        seconds,
        steps,
        doors,
    }) = Options::read()
    else {
        println!("{USAGE}");
        return ExitCode::FAILURE;
    };
    // Of the blocking pool no thread is to outlive its round for long.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_millis(100))
        .enable_all()
        .build()
        .unwrap();
    let mut all_well = true;
    for door in doors {
        // What is made once for the life of a process is there after a first round.
        runtime.block_on(round(door, Pace::Fast, steps));
        let before = Held::steady(&runtime);
        let begun = Instant::now();
        let seen = runtime.block_on(round(door, Pace::For(Duration::from_secs(seconds)), steps));
        let outcome = Outcome {
            door,
            took: begun.elapsed(),
            seen,
            before,
            after: Held::back_at(before, &runtime),
        };
        println!("{outcome}");
        all_well &= outcome.is_well();
    }
    match all_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// A server, its clients, and rotations beneath them; everything is dropped at the end.
async fn round(door: Door, pace: Pace, steps: Steps) -> Seen {
    let mut parties = Parties::new().await;
    let tally = Arc::new(Tally::default());
    let serving = Serving::start(door, parties.server_tls(Arc::clone(&tally)));
    let load = Load::start(door, &parties, serving.addr, &tally);
    let rotated = parties.rotate_under(&load, pace, steps).await;
    load.stop().await;
    serving.stop().await;
    let requests = tally.requests();
    Seen {
        rotated,
        requests,
        tally,
    }
}

struct Seen {
    rotated: Rotated,
    requests: u64,
    tally: Arc<Tally>,
}

struct Outcome {
    door: Door,
    took: Duration,
    seen: Seen,
    before: Held,
    after: Held,
}

impl Outcome {
    fn is_well(&self) -> bool {
        let Seen {
            rotated,
            requests,
            tally,
        } = &self.seen;
        let worked = *requests > 0 && rotated.leaves > 0 && rotated.cas > 0;
        worked && tally.is_well() && self.after.is_back_at(self.before)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen {
            rotated,
            requests,
            tally,
        } = &self.seen;
        write!(
            f,
            "{}: {}; in {:.1} s {requests} requests, {} new connections, {} leaves and {} CAs rotated; {}; {}",
            self.door.name(),
            if self.is_well() { "well" } else { "NOT WELL" },
            self.took.as_secs_f64(),
            tally.connections(),
            rotated.leaves,
            rotated.cas,
            tally.amiss(),
            self.before.then(self.after),
        )
    }
}

struct Options {
    seconds: u64,
    steps: Steps,
    doors: Vec<Door>,
}

impl Options {
    fn read() -> Option<Self> {
        let (mut seconds, mut steps, mut wanted) = (60, Steps::Three, Vec::new());
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seconds" => seconds = arguments.next()?.parse().ok()?,
                "--careless" => steps = Steps::One,
                "--door" => wanted.push(arguments.next()?),
                _ => return None,
            }
        }
        let is_wanted = |door: &Door| {
            wanted.is_empty()
                || wanted
                    .iter()
                    .any(|name| door.name().contains(name.as_str()))
        };
        let doors: Vec<_> = Door::ALL.into_iter().filter(is_wanted).collect();
        (!doors.is_empty()).then_some(Self {
            seconds,
            steps,
            doors,
        })
    }
}

const USAGE: &str = "usage: soak [--seconds N] [--careless] [--door NAME]...";
