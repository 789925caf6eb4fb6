//! What the process holds: descriptors, threads, tasks and memory.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::ALLOCATOR;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    descriptors: usize,
    threads: usize,
    tasks: usize,
    /// What the Rust side has allocated and not freed. The cryptography is C and has an allocator of its own.
    allocated: isize,
    /// Memory as the system sees it, of all allocators.
    resident: isize,
}

impl Held {
    fn now(runtime: &Runtime) -> Self {
        let count = |dir| std::fs::read_dir(dir).unwrap().count();
        let counted = ALLOCATOR.stats();
        Self {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            tasks: runtime.metrics().num_alive_tasks(),
            allocated: counted.bytes_allocated as isize - counted.bytes_deallocated as isize,
            resident: resident(),
        }
    }

    /// Once what can be counted no longer changes: a socket whose task was told to end is there for a moment.
    pub fn steady(runtime: &Runtime) -> Self {
        let counted = |held: Self| (held.descriptors, held.threads, held.tasks);
        let (mut last, mut same) = (Self::now(runtime), 0);
        while same < 25 {
            std::thread::sleep(Duration::from_millis(20));
            let now = Self::now(runtime);
            same = if counted(now) == counted(last) {
                same + 1
            } else {
                0
            };
            last = now;
        }
        last
    }

    /// What is held when it is back at `before`, or else after a patient while.
    pub fn back_at(before: Self, runtime: &Runtime) -> Self {
        let begun = Instant::now();
        loop {
            let now = Self::now(runtime);
            if now.is_back_at(before) || begun.elapsed() > PATIENCE {
                return now;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_back_at(self, before: Self) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.tasks <= before.tasks
            && self.allocated <= before.allocated + ALLOCATED_TOLERANCE
            && self.resident <= before.resident + RESIDENT_TOLERANCE
    }

    pub fn then(self, after: Self) -> String {
        format!(
            "descriptors {} -> {}, threads {} -> {}, tasks {} -> {}, allocated {} -> {} kB, resident {} -> {} MB",
            self.descriptors,
            after.descriptors,
            self.threads,
            after.threads,
            self.tasks,
            after.tasks,
            self.allocated / 1000,
            after.allocated / 1000,
            self.resident / 1_000_000,
            after.resident / 1_000_000,
        )
    }
}

fn resident() -> isize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.unwrap().trim().trim_end_matches("kB").trim();
    kibibytes.parse::<isize>().unwrap() * 1024
}

/// Tables that have grown stay as large as they were at their fullest: tokio's of sockets and timers, and each thread's own. A
/// connection that is forgotten holds some 50 kB: two in all of a soak are found.
const ALLOCATED_TOLERANCE: isize = 64 * 1024;

/// An allocator gives back to the system what it likes. This finds what the other one cannot see, the C library of the
/// cryptography: a kilobyte that each of some ten thousand handshakes forgets.
const RESIDENT_TOLERANCE: isize = 32 * 1024 * 1024;

const PATIENCE: Duration = Duration::from_secs(20);
