//! Our axum service beside the same service in plaintext behind a program that terminates mutual TLS.
//!
//! CPU and memory are of all processes of a side: ours is one, a terminator's are its own and the service behind it. The
//! clients are the same for all, in this process, and do not count.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use benches::ends::Setting;
use benches::load::{Dial, Exchange, Fleet, connect_anew};
use benches::measure::{Samples, effort, quantile};
use benches::report::{Bar, Row};
use benches::servers::{Kind, Process};
use benches::system;
use mtls_core::testing::{KeyKind, MountedDir};
use tokio::runtime::Runtime;

use crate::terminators::{Running, Terminator};

pub(crate) fn in_process_against() -> Vec<Row> {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let dir = setting.mount();
    let bench = Bench {
        runtime: Runtime::new().unwrap(),
        dial: Dial::bare(&setting, "/web", "http/1.1"),
    };
    let (there, missing): (Vec<_>, Vec<_>) = Terminator::ALL
        .into_iter()
        .partition(|program| program.is_installed());
    let mut sides = vec![Side::in_process(&dir)];
    sides.extend(there.into_iter().map(|it| Side::behind(it, &dir)));
    // Each round begins with another side.
    for round in 0..=effort(10, 2) {
        for at in 0..sides.len() {
            let at = (round + at) % sides.len();
            bench.measure(&mut sides[at]);
        }
    }
    for _ in 0..effort(5, 1) {
        sides.iter_mut().for_each(|side| bench.hold(side));
    }
    let (ours, others) = sides.split_first().unwrap();

    let mut rows: Vec<_> = others
        .iter()
        .flat_map(|other| compared(ours, other))
        .collect();
    rows.extend(beside_the_best(ours, others));
    rows.extend(missing.into_iter().map(|program| {
        Row::left_out(
            format!("in process beside {}", program.name()),
            "not installed",
        )
    }));
    rows
}

/// A way to serve the same, and what was measured of it, round by round.
struct Side {
    name: &'static str,
    addr: SocketAddr,
    service: Process,
    terminator: Option<Running>,
    measured: Vec<[f64; COLUMNS.len()]>,
    memory: Vec<f64>,
}

/// What is measured of a side in each round, its unit, and what of ours should be beside the other.
const COLUMNS: [(&str, &str, Bar); 6] = [
    ("a new connection: CPU", "µs", AHEAD),
    ("new connections in a second", "/s", Bar::RatioAtLeast(1.0)),
    ("a request: CPU", "µs", AHEAD),
    ("requests in a second", "/s", Bar::RatioAtLeast(1.0)),
    ("a request, by the clock: median", "ms", AHEAD),
    ("a request, by the clock: 99th percentile", "ms", AHEAD),
];
const REQUEST_CPU: usize = 2;
const AHEAD: Bar = Bar::Ratio(1.0);

impl Side {
    fn in_process(dir: &MountedDir) -> Self {
        let service = Process::start(Kind::Axum, dir);
        Self::new("in process", service.addr, service, None)
    }

    fn behind(terminator: Terminator, dir: &MountedDir) -> Self {
        let service = Process::start(Kind::Plaintext, dir);
        let running = terminator.start(dir.path(), service.addr);
        Self::new(terminator.name(), running.addr, service, Some(running))
    }

    fn new(
        name: &'static str,
        addr: SocketAddr,
        service: Process,
        terminator: Option<Running>,
    ) -> Self {
        Self {
            name,
            addr,
            service,
            terminator,
            measured: Vec::new(),
            memory: Vec::new(),
        }
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        let terminator = self.terminator.as_ref().map(Running::pid);
        std::iter::once(self.service.pid()).chain(terminator)
    }

    fn cpu(&self) -> Duration {
        self.processes().map(system::cpu).sum()
    }

    /// Round by round, without the first, which was for warmth.
    fn column(&self, column: usize) -> Vec<f64> {
        let rounds = self.measured.iter().skip(1);
        rounds.map(|round| round[column]).collect()
    }
}

struct Bench {
    runtime: Runtime,
    dial: Dial,
}

impl Bench {
    fn measure(&self, side: &mut Side) {
        let (connections, requests) = (effort(500, 20), effort(6400, 128));
        let anew = connect_anew(
            &self.dial,
            side.addr,
            Exchange::Request,
            CLIENTS.min(connections),
            connections,
        );
        let (connected, cpu_of_connecting) = self.took(side, anew);
        let mut fleet = self.fleet(side, CLIENTS);
        let mut latencies = Vec::new();
        let (asked, cpu_of_asking) = self.took(side, async {
            latencies = fleet.ask(requests).await;
        });
        latencies.sort_by(f64::total_cmp);
        side.measured.push([
            cpu_of_connecting / connections as f64,
            connections as f64 / connected,
            cpu_of_asking / requests as f64,
            requests as f64 / asked,
            quantile(&latencies, 0.5),
            quantile(&latencies, 0.99),
        ]);
    }

    /// In seconds of the clock, and in microseconds of the side's CPU.
    fn took(&self, side: &Side, work: impl Future<Output = ()>) -> (f64, f64) {
        let (cpu, began) = (side.cpu(), Instant::now());
        self.runtime.block_on(work);
        let took = began.elapsed().as_secs_f64();
        // Whoever served has a last thing to do.
        sleep(Duration::from_millis(20));
        (took, (side.cpu() - cpu).as_secs_f64() * 1e6)
    }

    /// What the side's memory is with many connections open, each of which has asked once; in MiB.
    fn hold(&self, side: &mut Side) {
        let idle = effort(1000, 64);
        let mut fleet = self.fleet(side, idle);
        self.runtime.block_on(fleet.ask(idle));
        let bytes: u64 = side.processes().map(system::memory).sum();
        side.memory.push(bytes as f64 / f64::from(1 << 20));
    }

    fn fleet(&self, side: &Side, size: usize) -> Fleet {
        let fleet = Fleet::connect(&self.dial, side.addr, "http/1.1", size);
        self.runtime.block_on(fleet)
    }
}

fn compared(ours: &Side, other: &Side) -> Vec<Row> {
    let name = |column: &str| format!("in process beside {}, {column}", other.name);
    let columns = COLUMNS.iter().enumerate();
    let mut rows: Vec<_> = columns
        .map(|(at, (column, unit, bar))| {
            let samples = Samples::beside_each_other(ours.column(at), other.column(at));
            Row::pair(name(column), unit, &samples, *bar)
        })
        .collect();
    let memory = Samples::beside_each_other(ours.memory.clone(), other.memory.clone());
    let with = format!("memory with {} idle connections", effort(1000, 64));
    rows.push(Row::pair(name(&with), "MiB", &memory, AHEAD));
    rows
}

/// Round by round, the one that spent least.
fn beside_the_best(ours: &Side, others: &[Side]) -> Option<Row> {
    let columns: Vec<_> = others.iter().map(|it| it.column(REQUEST_CPU)).collect();
    let best = columns.into_iter().reduce(|one, other| {
        let rounds = one.iter().zip(other);
        rounds.map(|(one, other)| one.min(other)).collect()
    })?;
    let samples = Samples::beside_each_other(ours.column(REQUEST_CPU), best);
    let name = "in process beside the best of these, a request: CPU";
    Some(Row::pair(name, "µs", &samples, Bar::Ratio(0.6)))
}

const CLIENTS: usize = 64;
