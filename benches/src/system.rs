//! What processes cost, by Linux's word: a program and everything that it started.

use std::fs;
use std::time::Duration;

/// The CPU time of a program and of all below it, threads that live; in nanoseconds where the kernel counts them.
pub fn cpu(pid: u32) -> Duration {
    tree(pid).into_iter().map(cpu_of_one).sum()
}

/// The bytes of memory that a program and all below it hold: what is shared among processes counts by its share.
pub fn memory(pid: u32) -> u64 {
    tree(pid).into_iter().map(memory_of_one).sum()
}

/// A process, and those whose parents lead to it.
fn tree(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = entries("/proc")
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut tree = vec![pid];
    let mut seen = 0;
    while let Some(&next) = tree.get(seen) {
        seen += 1;
        let children = parents.iter().filter(|(_, parent)| *parent == next);
        tree.extend(children.map(|(pid, _)| pid));
    }
    tree
}

/// proc(5): the parent is the second field after the name, which stands in parentheses and may hold some.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn cpu_of_one(pid: u32) -> Duration {
    let threads = format!("/proc/{pid}/task");
    let nanos = entries(&threads).filter_map(|thread| {
        let stat = fs::read_to_string(format!("{threads}/{thread}/schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn memory_of_one(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let share = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = share.and_then(|share| share.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// The entries of a directory that are numbers.
fn entries(dir: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
