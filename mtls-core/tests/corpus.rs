//! The fuzz targets' exercises over their corpus and over mutations of it: for seconds, what a fuzzer does for hours.
//!
//! The mutations are the same in every run. A failure says which input it was.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "small files of the repository, and one of procfs"
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use mtls_core::fuzz::{Exercise, TARGETS};

#[test]
fn no_seed_and_no_mutation_of_one_fails_its_exercise() {
    std::thread::scope(|scope| {
        for (target, exercise) in TARGETS {
            scope.spawn(move || {
                let seeds = seeds(target);
                for (name, seed) in &seeds {
                    run(*exercise, seed, &format!("{target}/{name}"));
                }
                let mut random = Random(1);
                for round in 0..mutations(target) / seeds.len() {
                    for (name, seed) in &seeds {
                        let other = &seeds[random.below(seeds.len())].1;
                        let input = mutated(seed, other, &mut random);
                        let name = format!("{target}/{name}, round {round}");
                        run(*exercise, &input, &name);
                    }
                }
            });
        }
    });
}

/// The largest that is read, and one byte more, of what multiplies if anything does: seeds again and again.
#[test]
#[cfg(target_os = "linux")]
fn the_largest_files_are_judged_in_bounded_memory() {
    for (target, exercise) in TARGETS {
        let seeds = seeds(target);
        let some = seeds.iter().filter(|(_, seed)| !seed.is_empty()).step_by(8);
        for (name, seed) in some {
            let size = LARGEST + name.len() % 2;
            let large: Vec<u8> = seed.iter().copied().cycle().take(size).collect();
            run(*exercise, &large, &format!("{target}/{name}, repeated"));
        }
    }
    let many_names = many_names();
    run(mtls_core::fuzz::der, &many_names, "der, many names");

    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    let peak: usize = peak.unwrap().parse().unwrap();
    assert!(peak < PEAK_KIB, "{peak} KiB at the peak");
}

#[test]
fn every_exercise_has_a_fuzz_target_and_a_corpus_and_nothing_else_has() {
    let listed: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), TARGETS.len());
    let stems = |dir: &str| -> BTreeSet<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries(&fuzz_dir().join(dir))
            .into_iter()
            .map(stem)
            .collect()
    };
    assert_eq!(stems("corpus"), listed);
    assert_eq!(stems("fuzz_targets"), listed);
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    for name in &listed {
        let source = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{source}\"")));
        let source = fs::read_to_string(fuzz_dir().join(source)).unwrap();
        assert!(
            source.contains(&format!("mtls_core::fuzz::{name}(")),
            "{name}"
        );
        assert!(seeds(name).len() >= 10, "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), listed.len());
}

fn run(exercise: Exercise, input: &[u8], name: &str) {
    if catch_unwind(|| exercise(input)).is_err() {
        let shown: String = input.escape_ascii().take(4096).map(char::from).collect();
        panic!("{name} fails: {shown}");
    }
}

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let paths = entries(&fuzz_dir().join("corpus").join(target));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

/// One to four changes of those that break parsers.
fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below((bytes.len() - at).min(64) + 1);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            5 => {
                let token = TOKENS[random.below(TOKENS.len())];
                bytes.splice(at..at, token.iter().copied());
            }
            6 => {
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let from = random.below(other.len() + 1);
                let piece = &other[from..other.len().min(from + 64)];
                bytes.splice(at..end, piece.iter().copied());
            }
        }
    }
    bytes
}

/// A certificate with as many names as fit into a file, each empty: the most that can be made of the fewest bytes.
#[cfg(target_os = "linux")]
fn many_names() -> Vec<u8> {
    let (_, one) = seeds("der")
        .into_iter()
        .find(|(name, _)| name == "san-empty-names")
        .unwrap();
    let names = b"\x82\x00".repeat(1000);
    let start = one.windows(names.len()).position(|w| w == names).unwrap();
    // The elements around the names, from the inside: their lengths are of two octets there, and of three here.
    let mut head = one[..start].to_vec();
    let more = 2 * 500_000 - names.len();
    let mut grown = more;
    for at in (0..start.saturating_sub(3)).rev() {
        let length = usize::from(head[at + 2]) << 8 | usize::from(head[at + 3]);
        let is_around = head[at + 1] == 0x82 && at + 4 + length >= start + names.len();
        if is_around {
            let length = (length + grown).to_be_bytes();
            head.splice(at + 1..at + 4, [0x83, length[5], length[6], length[7]]);
            grown += 1;
        }
    }
    let tail = &one[start + names.len()..];
    [&head, &b"\x82\x00".repeat(500_000)[..], tail].concat()
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

/// How many of each target, spread over its seeds: as many as take a second or two in a debug build.
fn mutations(target: &str) -> usize {
    match target {
        // Each makes a directory.
        "layout" => 150,
        _ => 1500,
    }
}

/// The limit of the loader.
#[cfg(target_os = "linux")]
const LARGEST: usize = 1024 * 1024;

/// Some 250 bytes for each byte of a file at its largest, and for the test beside it. It takes less than a third of this.
#[cfg(target_os = "linux")]
const PEAK_KIB: usize = 256 * 1024;

/// What parsers look for.
const TOKENS: &[&[u8]] = &[
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\n",
    b"-----",
    b"=",
    b"\r\n",
    b"\n",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\x30\x80",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x82\x00",
    b"spiffe://",
    b"/",
    b"..",
    b"*",
    b"**",
    b" link ",
    b"tls.key key\n",
];
