//! The same cases by instructions, under callgrind.
//!
//! Instructions do not depend on what else the machine does. They are not time: a signature check has few of them that
//! wait, hashing has instructions of its own on real CPUs that callgrind's does not have, and neither caches nor branches
//! count. The files stay in the target directory; `callgrind_annotate` reads them.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::case::Case;
use benches::measure::{Meter, warm_up};
use benches::report::{self, Instructions};

/// `None` where there is no valgrind.
pub(crate) fn of(id: &str) -> Option<Instructions> {
    Some(Instructions {
        ours: count(id, OURS)?,
        beside: count(id, BESIDE)?,
    })
}

fn count(id: &str, side: &str) -> Option<f64> {
    let out = out_file(id, side);
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--toggle-collect=*under_the_meter*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().ok()?)
        .args([METER, id, side])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    if !status.success() {
        return None;
    }
    let text = std::fs::read_to_string(out).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    Some(total.trim().parse::<f64>().ok()? / RUNS as f64)
}

fn out_file(id: &str, side: &str) -> PathBuf {
    report::directory().join(format!("callgrind.{id}.{side}.out"))
}

/// What runs under callgrind: one side of one case, a few times.
pub(crate) fn child(case: &Case, side: &str) {
    let mut sides = case.sides(RUNS);
    let side = if side == OURS {
        &mut sides.ours
    } else {
        &mut sides.beside
    };
    warm_up(side);
    let mut meter = Meter::Instructions;
    for _ in 0..RUNS {
        side(&mut meter);
    }
}

/// The argument that makes this program the child.
pub(crate) const METER: &str = "--meter";

const OURS: &str = "ours";
const BESIDE: &str = "beside";
const RUNS: usize = 10;
