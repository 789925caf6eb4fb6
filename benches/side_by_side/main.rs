//! mtls beside bare rustls: each figure is a ratio, taken in turns in one run.
//!
//! `cargo bench -p benches` measures everything and takes some minutes; words after it choose cases by name:
//! `cargo bench -p benches -- full crl`. The table goes to the terminal and, as Markdown, into the target directory. Where
//! valgrind is installed, instructions are counted as well; `--no-instructions` leaves that out.

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
mod floods;
mod handshakes;
mod instructions;
mod reload;
mod requests;

use std::env;

use benches::report::{Report, Row};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().position(|argument| argument == flag);
    let cases = handshakes::cases();
    if let Some(at) = given(instructions::METER) {
        let [id, side] = &arguments[at + 1..=at + 2] else {
            return;
        };
        let case = cases.iter().find(|case| case.id() == id).unwrap();
        return instructions::child(case, side);
    }
    // As a test it has nothing to say.
    if given("--bench").is_none() {
        return;
    }
    let words: Vec<_> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let wanted = |id: &str| words.is_empty() || words.iter().any(|word| id.contains(*word));
    let mut report = Report::default();
    report.take_over();
    for case in cases.iter().filter(|case| wanted(case.id())) {
        report.add(&case.measure(given("--no-instructions").is_none()));
    }
    for (id, rows) in FIGURES {
        if wanted(id) {
            rows().into_iter().for_each(|row| report.add(&row));
        }
    }
    report.finish();
}

type Figures = (&'static str, fn() -> Vec<Row>);

/// What has more to it than two sides.
const FIGURES: [Figures; 5] = [
    ("request", requests::request_path),
    ("policy", requests::decisions),
    ("floods", floods::latencies),
    ("reload", reload::swaps),
    ("trust-change", reload::trust_changes),
];
