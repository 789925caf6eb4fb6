//! The table: on the terminal, and as Markdown in the target directory.

use std::fmt;
use std::path::PathBuf;

use crate::measure::{Samples, Spread};

/// What should hold.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    /// Nothing that was said.
    None,
    /// Ours by the other is at most this.
    Ratio(f64),
    /// Ours is at most this, in the row's unit.
    Most(f64),
}

/// Instructions of one run, where they were counted.
#[derive(Debug, Clone, Copy)]
pub struct Instructions {
    pub ours: f64,
    pub beside: f64,
}

#[derive(Debug, Clone)]
pub struct Row {
    case: String,
    unit: &'static str,
    ours: Spread,
    beside: Option<f64>,
    ratio: Option<Spread>,
    pub instructions: Option<Instructions>,
    bar: Bar,
}

impl Row {
    pub fn ratio(case: &str, samples: &Samples, bar: Bar) -> Self {
        let micros = |nanos: &Vec<f64>| Spread::of(nanos.iter().map(|nanos| nanos / 1e3));
        Self {
            case: case.to_owned(),
            unit: "µs",
            ours: micros(&samples.ours),
            beside: Some(micros(&samples.beside).median),
            ratio: Some(samples.ratio()),
            instructions: None,
            bar,
        }
    }

    /// A figure beside nothing.
    pub fn figure(case: impl Into<String>, unit: &'static str, ours: Spread, bar: Bar) -> Self {
        Self {
            case: case.into(),
            unit,
            ours,
            beside: None,
            ratio: None,
            instructions: None,
            bar,
        }
    }

    pub fn beside(mut self, beside: Spread, ratio: Spread) -> Self {
        self.ratio = Some(ratio);
        self.beside = Some(beside.median);
        self
    }

    fn holds(&self) -> &'static str {
        let (found, bar) = match (self.bar, self.ratio) {
            (Bar::None, _) | (Bar::Ratio(_), None) => return "",
            (Bar::Most(bar), _) => (self.ours, bar),
            (Bar::Ratio(bar), Some(ratio)) => (ratio, bar),
        };
        match (found.median <= bar, found.low <= bar, found.high <= bar) {
            (true, _, true) => "yes",
            (true, _, false) => "yes, within its spread",
            (false, true, _) => "no, within its spread",
            (false, false, _) => "no",
        }
    }

    fn cells(&self) -> Cells {
        let spread = self.ratio.unwrap_or(self.ours);
        [
            self.case.clone(),
            format!("{} {}", figure(self.ours.median), self.unit),
            self.beside
                .map(|beside| format!("{} {}", figure(beside), self.unit))
                .unwrap_or_default(),
            self.ratio
                .map(|ratio| format!("{:.3}", ratio.median))
                .unwrap_or_default(),
            format!("{} to {}", figure(spread.low), figure(spread.high)),
            self.instructions
                .map(|counted| format!("{:.3}", counted.ours / counted.beside))
                .unwrap_or_default(),
            match self.bar {
                Bar::None => String::new(),
                Bar::Ratio(bar) => format!("{bar}"),
                Bar::Most(bar) => format!("{bar} {}", self.unit),
            },
            self.holds().to_owned(),
        ]
    }
}

fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{value:.3}"),
        middle if middle < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The rows so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Cells>,
}

type Cells = [String; 8];

impl Report {
    pub fn add(&mut self, row: &Row) {
        let cells = row.cells();
        println!("{}", cells.join(SEPARATOR));
        self.rows.push(cells);
    }

    /// Leaves the rows to the bench that runs next and prints the table. It is another program, because an allocator that
    /// counts costs time.
    pub fn hand_on(&self) {
        let lines: String = self
            .rows
            .iter()
            .map(|cells| cells.join(SEPARATOR) + "\n")
            .collect();
        std::fs::write(handed_on(), lines).unwrap();
    }

    /// Takes the rows of the bench that ran before.
    pub fn take_over(&mut self) {
        let lines = std::fs::read_to_string(handed_on()).unwrap_or_default();
        let _ = std::fs::remove_file(handed_on());
        let cells = |line: &str| {
            let cells: Vec<_> = line.split(SEPARATOR).map(str::to_owned).collect();
            cells.try_into().ok()
        };
        self.rows.extend(lines.lines().filter_map(cells));
    }

    /// Prints it, and writes it down.
    pub fn finish(&self) {
        let path = directory().join("side_by_side.md");
        std::fs::write(&path, format!("# Side by side\n\n{EXPLAINED}\n{self}")).unwrap();
        println!("\n{self}\n{}", path.display());
    }
}

fn handed_on() -> PathBuf {
    directory().join("allocations.rows")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = vec![HEAD.map(str::to_owned)];
        table.extend(self.rows.iter().cloned());
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..HEAD.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for (index, row) in table.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                for width in &widths {
                    write!(f, "| {:-<width$} ", "")?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// Where reports and callgrind's files go.
pub fn directory() -> PathBuf {
    // Beside the binaries of all bench targets, in the target directory.
    let binary = std::env::current_exe().unwrap();
    let release = binary.ancestors().nth(2).unwrap();
    let directory = release.join("side-by-side");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

const SEPARATOR: &str = " | ";

const HEAD: [&str; 8] = [
    "case",
    "ours",
    "beside",
    "ratio",
    "spread",
    "instructions",
    "bar",
    "holds?",
];

const EXPLAINED: &str = "Both sides of a row were measured in turns in one run. Time is CPU time of the thread that did \
the work, unless the case says otherwise. The ratio is the median over rounds, its spread what eight of ten rounds lie \
between; for a row without a ratio the spread is that of ours. Instructions are the ratio of instructions under \
callgrind.
";
