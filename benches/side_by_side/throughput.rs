//! Requests and bodies on connections that stay open: CPU of the server's process, and its instructions.

use benches::ends::Setting;
use benches::load::{Dial, Open};
use benches::measure::{Samples, Spread, effort};
use benches::report::{Bar, Instructions, Row};
use benches::servers::{Kind, Process};
use mtls_core::testing::{KeyKind, MountedDir};
use tokio::runtime::Runtime;

use crate::instructions;

/// One client that waits for each answer, so that a server wakes as often in every run.
pub(crate) fn of_servers() -> Vec<Row> {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let mut rows = Vec::new();
    for alpn in ["http/1.1", "h2"] {
        let bench = Bench::new(&setting, alpn);
        for usage in USAGES {
            rows.extend(bench.rows(usage));
        }
    }
    rows
}

/// Something that is done on an open connection, so much of it.
struct Usage {
    name: &'static str,
    id: &'static str,
    each: &'static str,
    run: fn(&Runtime, &mut Open, u64),
    /// By CPU time, in each round; of a body that is 1 GiB.
    often: [u64; 2],
    /// By instructions: few, which is taken off for the start of the process, and many.
    few: u64,
    many: [u64; 2],
    /// Who has to do no more than that.
    floor: Option<Kind>,
}

const USAGES: [Usage; 3] = [
    Usage {
        name: "small requests",
        id: "requests",
        each: "request",
        run: |runtime, open, times| {
            runtime.block_on(async {
                for _ in 0..times {
                    open.ask().await;
                }
            });
        },
        often: [2000, 50],
        few: 500,
        many: [5500, 700],
        floor: Some(Kind::Telling),
    },
    Usage {
        name: "a large body to the client",
        id: "download",
        each: "MiB",
        run: |runtime, open, mib| runtime.block_on(open.download(mib << 20)),
        often: [1024, 8],
        few: 8,
        many: [264, 24],
        floor: None,
    },
    Usage {
        name: "a large body to the server",
        id: "upload",
        each: "MiB",
        run: |runtime, open, mib| runtime.block_on(open.upload(mib << 20)),
        often: [1024, 8],
        few: 8,
        many: [264, 24],
        floor: None,
    },
];

struct Bench {
    runtime: Runtime,
    dir: MountedDir,
    dial: Dial,
    alpn: &'static str,
}

impl Bench {
    fn new(setting: &Setting, alpn: &'static str) -> Self {
        Self {
            runtime: Runtime::new().unwrap(),
            dir: setting.mount(),
            dial: Dial::bare(setting, "/web", alpn),
            alpn,
        }
    }

    fn rows(&self, usage: Usage) -> Vec<Row> {
        let name = |of: &str| format!("{} over {}: {of} a {}", usage.name, self.alpn, usage.each);
        let cpu = self.cpu(&usage);
        let mut rows = vec![Row::pair(name("server's CPU"), "µs", &cpu, Bar::None)];
        if instructions::wanted() {
            let counted = self.counted(&usage);
            let row = Row::pair(
                name("server's thousand instructions"),
                "",
                &counted,
                Bar::Ratio(1.02),
            );
            let median = |samples: &[f64]| Spread::of(samples.iter().copied()).median;
            rows.push(row.instructions(Some(Instructions {
                ours: median(&counted.ours),
                beside: median(&counted.beside),
            })));
        }
        rows
    }

    fn cpu(&self, usage: &Usage) -> Samples {
        let often = effort(usage.often[0], usage.often[1]);
        let start = |kind| {
            let server = Process::start(kind, &self.dir);
            let open = self.connect(&server);
            (server, open)
        };
        let cost = |(server, open): &mut (Process, Open)| {
            let before = server.cpu();
            (usage.run)(&self.runtime, open, often);
            (server.cpu() - before).as_secs_f64() * 1e6 / often as f64
        };
        let (mut ours, mut bare) = (start(Kind::Ours), start(Kind::Bare));
        for side in [&mut ours, &mut bare] {
            cost(side);
        }
        Samples::in_turns(effort(10, 2), || cost(&mut ours), || cost(&mut bare))
    }

    fn counted(&self, usage: &Usage) -> Samples {
        let many = effort(usage.many[0], usage.many[1]);
        let total = |kind, times| {
            let id = format!("{}.{}", usage.id, self.alpn.replace('/', ""));
            let counted = instructions::of_server(&id, kind, self.dir.path(), |server| {
                (usage.run)(&self.runtime, &mut self.connect(server), times);
            });
            counted.expect("callgrind counts")
        };
        let each = |kind| {
            let beyond = total(kind, many) - total(kind, usage.few);
            beyond / (many - usage.few) as f64 / 1e3
        };
        let (ours, bare, rounds) = (|| each(Kind::Ours), || each(Kind::Bare), effort(2, 1));
        match usage.floor {
            None => Samples::in_turns(rounds, ours, bare),
            Some(floor) => Samples::above_floor(rounds, ours, bare, || each(floor)),
        }
    }

    fn connect(&self, server: &Process) -> Open {
        let connect = Open::connect(&self.dial, server.addr, self.alpn);
        self.runtime.block_on(connect)
    }
}
