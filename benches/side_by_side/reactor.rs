//! How long a reload keeps the reactor: the thread that everything else waits for.
//!
//! Beside the source's task, on the same thread, runs one that does nothing but yield. What CPU the thread spends between
//! two of its turns, somebody else has had. Preemption by other programs does not count; whatever blocks without CPU does not
//! either, and shows in the row by the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    let part = Arc::new(AtomicUsize::new(0));
    let swapping = spawn({
        let part = Arc::clone(&part);
        let mut changes = source.subscribe();
        move || {
            let waiting = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            for swap in 0..swaps {
                part.store(swap * PARTS / swaps, Ordering::Relaxed);
                mount.swap();
                waiting.block_on(changes.changed()).unwrap();
                // What a reload does once it is published.
                sleep(Duration::from_millis(5));
            }
            part.store(PARTS, Ordering::Relaxed);
        }
    });
    let longest = runtime.block_on(turns(&part));
    swapping.join().unwrap();
    let row = |how: &str, of: fn(&Longest) -> f64, bar| {
        let name = format!("reactor, {swaps} reloads with {name}: longest kept, {how}");
        Row::figure(name, "ms", of_all(longest.iter().map(of)), bar)
    };
    [
        row("CPU", |longest| longest.cpu, Bar::Most(1.0)),
        row("by the clock", |longest| longest.clock, Bar::None),
    ]
}

/// The longest of all is what counts; between the parts' is how far two runs may lie from each other.
fn of_all(parts: impl Iterator<Item = f64> + Clone) -> Spread {
    let longest = parts.clone().fold(0.0, f64::max);
    Spread {
        low: parts.fold(longest, f64::min),
        median: longest,
        high: longest,
    }
}

/// In milliseconds.
#[derive(Default)]
struct Longest {
    cpu: f64,
    clock: f64,
}

/// Of each part of the reloads by itself.
async fn turns(part: &AtomicUsize) -> [Longest; PARTS] {
    let mut of_parts = <[Longest; PARTS]>::default();
    let (mut cpu, mut clock) = (thread_cpu(), Instant::now());
    while let Some(longest) = of_parts.get_mut(part.load(Ordering::Relaxed)) {
        yield_now().await;
        let (next_cpu, next_clock) = (thread_cpu(), Instant::now());
        longest.cpu = longest.cpu.max(millis(next_cpu - cpu));
        longest.clock = longest.clock.max(millis(next_clock - clock));
        (cpu, clock) = (next_cpu, next_clock);
    }
    of_parts
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

const PARTS: usize = 5;
