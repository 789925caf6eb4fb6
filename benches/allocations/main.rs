//! What is allocated: by a request, and for a connection that is idle. The rows stand in the table that `side_by_side` prints.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench: what goes wrong ends it"
)]

mod clients;
mod idle;

use std::alloc::System;
use std::env;

use benches::measure::Spread;
use benches::report::{Bar, Report, Row};
use benches::requests::{checked_request, plain_request};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|a| a == clients::FLAG) {
        return clients::run(&arguments[at + 1..]);
    }
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // As a test it has nothing to say, and the guard is the other bench's.
    if !given("--bench") || given("--guard") || given("--guard-write") {
        return;
    }
    let words: Vec<_> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let wanted = |id: &str| words.is_empty() || words.iter().any(|word| id.contains(*word));
    let mut report = Report::default();
    if wanted("request") {
        report.add(&request());
    }
    if wanted("idle") {
        idle::rows().iter().for_each(|row| report.add(row));
    }
    report.hand_on();
}

/// Each insert is one allocation, and a request has the map they go to in any case.
fn request() -> Row {
    let beyond = allocations(checked_request()) - allocations(plain_request());
    let name = "request: allocations of check, pattern policy and insert";
    Row::figure(name, "", Spread::one(beyond), Bar::Most(1.0))
}

fn allocations<T>(mut make: impl FnMut() -> T) -> f64 {
    drop(make());
    let region = Region::new(ALLOCATOR);
    let made = make();
    let counted = region.change();
    drop(made);
    (counted.allocations + counted.reallocations) as f64
}
