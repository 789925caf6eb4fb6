//! mtls beside bare rustls: each figure is a ratio, taken in turns in one run.
//!
//! `cargo bench -p benches` measures everything; words after it choose by name: `cargo bench -p benches -- full crl`.
//! The table goes to the terminal, and into the target directory as Markdown and as a page with plots.
//!
//! | flag | what it does |
//! |---|---|
//! | `--quick` | as little of each as shows that it works |
//! | `--no-instructions` | counts none, as where there is no valgrind |
//! | `--against`, `--against=FILE` | says which rows disagree with the run before, or with the `rows.tsv` of another |
//! | `--compile-times` | builds each library from nothing, too |
//! | `--guard` | measures nothing: counts what `guard.tsv` bounds, and fails where a bound is passed |
//! | `--guard-write` | writes what is counted there |

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench: what goes wrong ends it"
)]

mod case;
mod connections;
mod floods;
mod guard;
mod handshakes;
mod instructions;
mod reactor;
mod reload;
mod requests;
mod rotation;
mod sidecar;
mod starting;
mod terminators;
mod throughput;

use std::process::ExitCode;
use std::{env, fs};

use benches::report::{self, Report, Row};
use benches::servers;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().position(|argument| argument == flag);
    if let Some(at) = given(servers::FLAG) {
        servers::run(&arguments[at + 1..]);
        return ExitCode::SUCCESS;
    }
    if let Some(at) = given(instructions::METER) {
        instructions::child(&counted_cases(), &arguments[at + 1..]);
        return ExitCode::SUCCESS;
    }
    // As a test it has nothing to say.
    if given("--bench").is_none() {
        return ExitCode::SUCCESS;
    }
    if given("--guard").is_some() || given("--guard-write").is_some() {
        return guard::run(given("--guard-write").is_some());
    }
    measure(&arguments)
}

fn measure(arguments: &[String]) -> ExitCode {
    let words: Vec<_> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let wanted = |id: &str| words.is_empty() || words.iter().any(|word| id.contains(*word));
    let other = other_run(arguments);
    let mut report = Report::default();
    report.take_over();
    for case in handshakes::cases().iter().filter(|case| wanted(case.id())) {
        report.add(&case.measure());
    }
    for (id, rows) in FIGURES {
        if wanted(id) {
            rows().into_iter().for_each(|row| report.add(&row));
        }
    }
    report.finish();
    match other {
        Some(lines) if !report.agrees_with(&lines) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// What is to be compared with. It is read before this run's rows take its place.
fn other_run(arguments: &[String]) -> Option<String> {
    let flag = arguments
        .iter()
        .find_map(|it| it.strip_prefix("--against"))?;
    let file = match flag.strip_prefix('=') {
        Some(path) => path.into(),
        None => report::latest(),
    };
    Some(fs::read_to_string(file).expect("the rows of another run"))
}

/// Whose instructions can be counted one side at a time.
fn counted_cases() -> Vec<case::Case> {
    let mut cases = handshakes::cases();
    cases.extend(requests::cases());
    cases
}

type Figures = (&'static str, fn() -> Vec<Row>);

/// What has more to it than two sides.
const FIGURES: &[Figures] = &[
    ("request", requests::request_path),
    ("policy", requests::decisions),
    ("floods", floods::latencies),
    ("connections", connections::new_connections),
    ("throughput", throughput::of_servers),
    ("reload", reload::swaps),
    ("reload-growth", reload::growth),
    ("reactor", reactor::longest),
    ("rotation", rotation::latencies),
    ("trust-change", reload::trust_changes),
    ("sidecar", sidecar::in_process_against),
    ("starting", starting::costs),
];
