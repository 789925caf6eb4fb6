//! The same by instructions, under callgrind.
//!
//! Instructions do not depend on what else the machine does. They are not time: a signature check has few of them that
//! wait, hashing has instructions of its own on real CPUs that callgrind's does not have, and neither caches nor branches
//! count. The files stay in the target directory; `callgrind_annotate` reads them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::case::Case;
use benches::measure::{Meter, warm_up};
use benches::report::{self, Instructions};
use benches::servers::{Kind, Process};

/// Of one run of a case's sides. `None` where there is no valgrind, or counting was not wanted.
pub(crate) fn of(id: &str) -> Option<Instructions> {
    Some(Instructions {
        ours: count(id, OURS)?,
        beside: count(id, BESIDE)?,
    })
}

fn count(id: &str, side: &str) -> Option<f64> {
    if !wanted() {
        return None;
    }
    let out = out_file(id, side);
    let status = callgrind(&out)
        .arg("--toggle-collect=*under_the_meter*")
        .arg(env::current_exe().ok()?)
        .args([METER, id, side])
        .stdout(Stdio::null())
        .status()
        .ok()?;
    if !status.success() {
        return None;
    }
    Some(total(&out)? / RUNS as f64)
}

/// Of a server's whole process, on one thread, from its start to its end, while it is used.
pub(crate) fn of_server(
    id: &str,
    kind: Kind,
    dir: &Path,
    usage: impl FnOnce(&Process),
) -> Option<f64> {
    let out = out_file(id, &format!("{kind:?}").to_lowercase());
    let server = Process::run(
        callgrind(&out)
            .arg(env::current_exe().ok()?)
            .args(Process::arguments(kind, dir, 1)),
    );
    usage(&server);
    server.end();
    total(&out)
}

/// Whether instructions are to be counted, and can be.
pub(crate) fn wanted() -> bool {
    let unwanted = env::args().any(|argument| argument == "--no-instructions");
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    !unwanted && found.is_ok_and(|status| status.success())
}

fn callgrind(out: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .stderr(Stdio::null());
    command
}

fn total(out: &Path) -> Option<f64> {
    let text = fs::read_to_string(out).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

fn out_file(id: &str, side: &str) -> PathBuf {
    report::directory().join(format!("callgrind.{id}.{side}.out"))
}

/// What runs under callgrind: one side of one case, a few times.
pub(crate) fn child(cases: &[Case], arguments: &[String]) {
    let [id, side] = arguments else {
        return;
    };
    let case = cases.iter().find(|case| case.id() == id).unwrap();
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
