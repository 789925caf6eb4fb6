//! The report: one table on the terminal; as Markdown, as a page with plots and as rows for programs in the target directory.

mod against;
mod html;
mod row;
mod table;

use std::fs;
use std::path::PathBuf;

pub use row::{Bar, Instructions, Row};

/// The rows so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn add(&mut self, row: &Row) {
        println!("{}", row.cells().join(" | "));
        self.rows.push(row.clone());
    }

    /// Leaves the rows to the bench that runs next and prints the table. It is another program, because an allocator that
    /// counts costs time.
    pub fn hand_on(&self) {
        fs::write(handed_on(), self.lines()).unwrap();
    }

    /// Takes the rows of the bench that ran before.
    pub fn take_over(&mut self) {
        let lines = fs::read_to_string(handed_on()).unwrap_or_default();
        let _ = fs::remove_file(handed_on());
        self.rows.extend(lines.lines().filter_map(Row::parse));
    }

    /// Prints it and writes it down.
    pub fn finish(&self) {
        let counted = self.bars();
        let explained = EXPLAINED.replace('\n', " ");
        fs::write(latest(), self.lines()).unwrap();
        let markdown = format!("# Side by side\n\n{explained}\n\n{counted}\n\n{self}");
        fs::write(file("report.md"), markdown).unwrap();
        fs::write(
            file("report.html"),
            html::page(&explained, &counted, &self.rows),
        )
        .unwrap();
        println!("\n{self}\n{counted}");
        for name in ["report.md", "report.html", "rows.tsv"] {
            println!("{}", file(name).display());
        }
    }

    /// Says which rows differ from those of another run by more than both their spreads; whether there are none.
    pub fn agrees_with(&self, lines: &str) -> bool {
        let other: Vec<_> = lines.lines().filter_map(Row::parse).collect();
        against::compare(&self.rows, &other)
    }

    fn bars(&self) -> String {
        let verdicts: Vec<_> = self.rows.iter().filter_map(Row::verdict).collect();
        let held = verdicts.iter().filter(|verdict| verdict.held()).count();
        format!("{held} of {} bars hold.", verdicts.len())
    }

    fn lines(&self) -> String {
        self.rows.iter().map(|row| row.line() + "\n").collect()
    }
}

/// Where the rows of the last run are.
pub fn latest() -> PathBuf {
    file("rows.tsv")
}

fn handed_on() -> PathBuf {
    file("allocations.tsv")
}

fn file(name: &str) -> PathBuf {
    directory().join(name)
}

/// Where reports and callgrind's files go.
pub fn directory() -> PathBuf {
    // Beside the binaries of all bench targets, in the target directory.
    let binary = std::env::current_exe().unwrap();
    let release = binary.ancestors().nth(2).unwrap();
    let directory = release.join("side-by-side");
    fs::create_dir_all(&directory).unwrap();
    directory
}

const EXPLAINED: &str = "Both sides of a row were measured in turns in one run. Time is CPU time of the thread or the
processes that did the work, unless the case says otherwise. The ratio is the median over rounds, its spread what eight of
ten rounds lie between; for a row without a ratio the spread is that of ours. Instructions are the ratio of instructions
under callgrind. A bar is at most that much, unless it says ≥. A floor was measured in the same turns: what is left when
everything that could be saved is left out; who misses a bar and stands within 5 % of the floor has nothing left to save.";
