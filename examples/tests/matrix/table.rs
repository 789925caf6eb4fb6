//! What the matrix came to, as the table in `docs/refusals.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::cell::{Caller, Cell, Learns, Protocol, Tls, learns};
use crate::clients::ClientDoor;

/// How often a client has learned why it was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) learned: usize,
    pub(crate) rounds: usize,
    /// What it was left with otherwise.
    pub(crate) losses: BTreeSet<String>,
}

impl Rate {
    fn add(&mut self, other: &Self) {
        self.learned += other.learned;
        self.rounds += other.rounds;
        self.losses.extend(other.losses.iter().cloned());
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.learned, self.rounds)
    }
}

type Row = (ClientDoor, Protocol, Tls);

/// A row for each client, all servers together; and the cells in which an alert was lost.
#[derive(Debug)]
pub(crate) struct Table {
    rows: BTreeMap<Row, BTreeMap<Caller, Rate>>,
    losses: BTreeMap<Cell, Rate>,
}

impl Table {
    pub(crate) fn of(rates: &BTreeMap<Cell, Rate>) -> Self {
        let mut rows: BTreeMap<Row, BTreeMap<Caller, Rate>> = BTreeMap::new();
        for (cell, rate) in rates {
            let row = rows
                .entry((cell.client, cell.protocol, cell.tls))
                .or_default();
            row.entry(cell.caller).or_default().add(rate);
        }
        let losses = rates.iter().filter(|(_, rate)| !rate.losses.is_empty());
        let losses = losses.map(|(cell, rate)| (*cell, rate.clone())).collect();
        Self { rows, losses }
    }

    /// The clients that never learned why they were refused, for one way at least.
    pub(crate) fn deaf(&self) -> Vec<String> {
        let deaf = self
            .rows
            .iter()
            .filter(|(_, row)| row.values().any(|rate| rate.learned == 0));
        deaf.map(|(row, _)| format!("{row:?}")).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = Caller::REFUSED.map(Caller::name).join(" | ");
        writeln!(f, "{HEAD} {heads} |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for ((client, protocol, tls), row) in &self.rows {
            let cells = Caller::REFUSED
                .map(|caller| row.get(&caller).map_or(NONE.to_owned(), Rate::to_string));
            let (client, protocol, tls) = (client.name(), protocol.name(), tls.name());
            writeln!(
                f,
                "| {client} | {protocol} | {tls} | {} |",
                cells.join(" | ")
            )?;
        }
        for (cell, rate) in &self.losses {
            let (client, protocol, server) =
                (cell.client.name(), cell.protocol.name(), cell.server.name());
            let caller = cell.caller.name();
            writeln!(
                f,
                "\n{client}, {protocol}, {caller}, at {server}: {rate}, and else"
            )?;
            for loss in &rate.losses {
                writeln!(f, "- {loss}")?;
            }
        }
        Ok(())
    }
}

/// How the table begins.
const HEAD: &str = "| client | protocol | TLS |";

/// Where there is no such client.
const NONE: &str = "—";

/// What is wrong with the table of the docs: each of its cells has to be one of the matrix, and the other way round.
pub(crate) fn faults(docs: &str) -> Vec<String> {
    let mut there: BTreeMap<(String, String, String), BTreeSet<Caller>> = BTreeMap::new();
    let mut promised = BTreeMap::new();
    for cell in Cell::all() {
        let row = (
            cell.client.name().to_owned(),
            cell.protocol.name().to_owned(),
            cell.tls.name().to_owned(),
        );
        promised.insert(row.clone(), learns(cell.client, cell.protocol, cell.tls));
        there.entry(row).or_default().insert(cell.caller);
    }
    let mut wrong = Vec::new();
    let rows = docs.lines().skip_while(|line| !line.starts_with(HEAD));
    for line in rows.take_while(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", client, protocol, tls, rates @ .., ""] = &cells[..] else {
            wrong.push(format!("no row: {line}"));
            continue;
        };
        let row = (
            (*client).to_owned(),
            (*protocol).to_owned(),
            (*tls).to_owned(),
        );
        let (Some(callers), Some(promise)) = (there.remove(&row), promised.get(&row)) else {
            wrong.push(format!("no such row, or once more: {line}"));
            continue;
        };
        if rates.len() != Caller::REFUSED.len() {
            wrong.push(format!("not a cell for each way to be refused: {line}"));
        }
        for (caller, rate) in Caller::REFUSED.into_iter().zip(rates) {
            if let Err(fault) = check(rate, callers.contains(&caller), *promise) {
                wrong.push(format!("{fault}, {}: {line}", caller.name()));
            }
        }
    }
    wrong.extend(there.keys().map(|row| format!("no row of {row:?}")));
    wrong
}

fn check(rate: &str, is_cell: bool, promise: Learns) -> Result<(), &'static str> {
    if !is_cell {
        return if rate == NONE {
            Ok(())
        } else {
            Err("no such cell")
        };
    }
    let parts = rate.split_once(" of ").ok_or("no rate")?;
    let (Ok(learned), Ok(rounds)) = (parts.0.parse::<usize>(), parts.1.parse::<usize>()) else {
        return Err("no numbers");
    };
    match promise {
        _ if rounds == 0 || learned > rounds => Err("no rate that could be"),
        Learns::Always if learned < rounds => Err("less than what is promised"),
        Learns::Always | Learns::Mostly => Ok(()),
    }
}
