//! How long a reload keeps the reactor: the thread that everything else waits for.
//!
//! Beside the source's task, on the same thread, runs one that does nothing but yield. What CPU the thread spends between
//! two of its turns, somebody else has had. Preemption by other programs does not count; whatever blocks without CPU does not
//! either, and shows in the row by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use benches::measure::{Spread, effort, thread_cpu};
use benches::report::{Bar, Row};
use tokio::task::yield_now;

use crate::reload::Mount;

pub(crate) fn longest() -> Vec<Row> {
    let many = effort(1000, 100);
    let mut rows = Vec::new();
    rows.extend(kept("10 anchors", Mount::with_anchors(10)));
    rows.extend(kept(&format!("{many} anchors"), Mount::with_anchors(many)));
    rows.extend(kept(
        "10 anchors and a list of 100,000",
        Mount::with_anchors(10).listing(100_000),
    ));
    rows
}

fn kept(name: &str, mount: Mount) -> [Row; 2] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let source = runtime.block_on(mount.watch());
    let swaps = effort(50, 5);
    let done = Arc::new(AtomicBool::new(false));
    let swapping = spawn({
        let done = Arc::clone(&done);
        let mut changes = source.subscribe();
        move || {
            let waiting = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            for _ in 0..swaps {
                mount.swap();
                waiting.block_on(changes.changed()).unwrap();
                // What a reload does once it is published.
                sleep(Duration::from_millis(5));
            }
            done.store(true, Ordering::Relaxed);
        }
    });
    let longest = runtime.block_on(turns(&done));
    swapping.join().unwrap();
    let row = |how: &str, longest, bar| {
        let name = format!("reactor, {swaps} reloads with {name}: longest kept, {how}");
        Row::figure(name, "ms", Spread::one(longest), bar)
    };
    [
        row("CPU", longest.cpu, Bar::Most(1.0)),
        row("by the clock", longest.clock, Bar::None),
    ]
}

/// In milliseconds.
#[derive(Default)]
struct Longest {
    cpu: f64,
    clock: f64,
}

async fn turns(done: &AtomicBool) -> Longest {
    let mut longest = Longest::default();
    let (mut cpu, mut clock) = (thread_cpu(), Instant::now());
    while !done.load(Ordering::Relaxed) {
        yield_now().await;
        let (next_cpu, next_clock) = (thread_cpu(), Instant::now());
        longest.cpu = longest.cpu.max(millis(next_cpu - cpu));
        longest.clock = longest.clock.max(millis(next_clock - clock));
        (cpu, clock) = (next_cpu, next_clock);
    }
    longest
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
