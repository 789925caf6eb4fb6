//! The table, which is Markdown's.

use std::fmt;

use super::Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = vec![HEAD.map(str::to_owned)];
        table.extend(self.rows.iter().map(super::Row::cells));
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

pub(super) const HEAD: [&str; 9] = [
    "case",
    "ours",
    "beside",
    "ratio",
    "spread",
    "instructions",
    "bar",
    "floor",
    "holds?",
];
