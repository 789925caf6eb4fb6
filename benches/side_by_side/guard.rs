//! What must not grow unseen: instructions of handshakes, of a request's path and of decisions, each beside something that
//! is not ours, so that another compiler or another rustls moves both sides; and the number of dependencies.
//!
//! The bounds are in `guard.tsv`. Whoever has a reason to move one writes the file anew and says the reason.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::{instructions, starting};

pub(crate) fn run(write: bool) -> ExitCode {
    if !instructions::wanted() {
        println!("the guard needs valgrind");
        return ExitCode::FAILURE;
    }
    let counted = counted();
    if write {
        let lines: String = counted.iter().map(Counted::line).collect();
        fs::write(file(), HEAD.to_owned() + &lines).unwrap();
        println!("written: {}", file().display());
        return ExitCode::SUCCESS;
    }
    let bounds = bounds(&fs::read_to_string(file()).unwrap());
    let mut failed = 0;
    for found in &counted {
        let bound = bounds.iter().find(|bound| bound.name == found.name);
        let (verdict, holds) = found.judged(bound.map(|bound| bound.value));
        println!("{:32} {:>9}  {verdict}", found.name, found.shown());
        failed += usize::from(!holds);
    }
    for bound in &bounds {
        if !counted.iter().any(|found| found.name == bound.name) {
            println!("{:32} {:>9}  no longer counted", bound.name, "");
            failed += 1;
        }
    }
    println!("{} guarded, {failed} failed", counted.len());
    if failed > 0 {
        println!("`cargo bench -p benches -- --guard-write` moves the bounds; the commit says why");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn counted() -> Vec<Counted> {
    let ratio = |id: &&str| Counted {
        name: (*id).to_owned(),
        value: instructions::of(id).expect("callgrind counts").ratio(),
        tolerance: TOLERANCE,
    };
    let dependencies = |library: &&str| Counted {
        name: format!("dependencies of {library}"),
        value: starting::dependencies(library) as f64,
        tolerance: 0.0,
    };
    let ratios = CASES.iter().map(ratio);
    ratios
        .chain(starting::LIBRARIES.iter().map(dependencies))
        .collect()
}

struct Counted {
    name: String,
    value: f64,
    tolerance: f64,
}

impl Counted {
    /// What to say of it, and whether it is well.
    fn judged(&self, bound: Option<f64>) -> (String, bool) {
        let Some(bound) = bound else {
            return ("has no bound".to_owned(), false);
        };
        let change = self.value / bound - 1.0;
        let said = format!("{:+.1} % of {bound}", change * 100.0);
        if change > self.tolerance {
            (format!("{said}: REGRESSION"), false)
        } else if change < -self.tolerance {
            (format!("{said}: better, the bound can move"), true)
        } else {
            (said, true)
        }
    }

    fn shown(&self) -> String {
        if self.tolerance > 0.0 {
            format!("{:.4}", self.value)
        } else {
            self.value.to_string()
        }
    }

    fn line(&self) -> String {
        format!("{}\t{}\n", self.name, self.shown())
    }
}

struct Bound {
    name: String,
    value: f64,
}

fn bounds(text: &str) -> Vec<Bound> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('\t').expect("a name and a number");
            Bound {
                name: name.to_owned(),
                value: value.parse().unwrap(),
            }
        })
        .collect()
}

/// How much more it may be. Signatures take another number of instructions each time, so no ratio comes out the same.
const TOLERANCE: f64 = 0.03;

const CASES: [&str; 7] = [
    "full-p256",
    "client-p256",
    "first-p256",
    "resumed",
    "request",
    "policy-10",
    "policy-10k",
];

const HEAD: &str = "\
# What `--guard` bounds, in the profile that CI runs it in (`.ci/run`, step `guard`): instructions of ours by those beside,
# with a tolerance of 3 %, and numbers of dependencies. Written by `--guard-write`.
";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("guard.tsv")
}
