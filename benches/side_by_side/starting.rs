//! What it costs to have: dependencies of each library, and what mutual TLS adds to the least axum program (`starting/`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use benches::measure::{QUICK, Spread, effort};
use benches::report::{self, Bar, Row};

/// Sizes need two release builds from nothing, which take minutes: `--quick` leaves them out.
pub(crate) fn costs() -> Vec<Row> {
    let mut rows: Vec<_> = LIBRARIES
        .into_iter()
        .map(|library| {
            let name = format!("dependencies of {library}, with its default features");
            let count = dependencies(library) as f64;
            Row::figure(name, "crates", Spread::one(count), Bar::None)
        })
        .collect();
    if effort(true, false) {
        rows.extend(programs());
    } else {
        rows.push(Row::left_out("program: size and build", QUICK));
    }
    if env::args().any(|argument| argument == "--compile-times") {
        rows.extend(LIBRARIES.map(|library| {
            let built = Build::from_nothing(&["-p", library, "--lib"]);
            let name = format!("release build of {library} from nothing, by the clock");
            Row::figure(name, "s", Spread::one(built.seconds), Bar::None)
        }));
    }
    rows
}

/// All crates that a build of it needs, those of build scripts and macros among them, without itself.
pub(crate) fn dependencies(library: &str) -> usize {
    let tree = cargo()
        .args(["tree", "--locked", "--package", library])
        .args(["--edges", "normal,build", "--prefix", "none"])
        .args(["--format", "{p}"])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{tree:?}");
    let text = String::from_utf8(tree.stdout).unwrap();
    // Something that was listed before is marked.
    let crates = text.lines().map(|line| line.trim_end_matches(" (*)"));
    let crates: BTreeSet<_> = crates.filter(|line| !line.is_empty()).collect();
    crates.len() - 1
}

fn programs() -> [Row; 2] {
    let build = |program: &str, features: &[&str]| {
        let mut arguments = vec!["-p", "starting", "--bin", program];
        arguments.extend(features);
        let built = Build::from_nothing(&arguments);
        let size = fs::metadata(built.dir.join("release").join(program))
            .unwrap()
            .len();
        (built.seconds, size as f64 / f64::from(1 << 20))
    };
    let plain = build("starting_plain", &["--no-default-features"]);
    let mutual = build("starting_mutual", &[]);
    let row = |name, unit, ours: f64, beside: f64| {
        let (ours, beside) = (Spread::one(ours), Spread::one(beside));
        let ratio = Spread::one(ours.median / beside.median);
        Row::figure(name, unit, ours, Bar::None).beside(beside, ratio)
    };
    [
        row(
            "program: size of axum by mutual TLS, beside axum alone",
            "MiB",
            mutual.1,
            plain.1,
        ),
        row(
            "program: release build of the same from nothing, by the clock",
            "s",
            mutual.0,
            plain.0,
        ),
    ]
}

struct Build {
    dir: PathBuf,
    seconds: f64,
}

impl Build {
    fn from_nothing(arguments: &[&str]) -> Self {
        let dir = report::directory().join("starting");
        let _ = fs::remove_dir_all(&dir);
        let began = Instant::now();
        let status = cargo()
            .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
            .arg(&dir)
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
        let seconds = began.elapsed().as_secs_f64();
        Self { dir, seconds }
    }
}

fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo
}

pub(crate) const LIBRARIES: [&str; 4] = ["mtls-core", "mtls-tower", "mtls-axum", "mtls-reqwest"];
