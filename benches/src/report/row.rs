//! One row: a figure or two, what should hold of them, and whether it does.

use crate::measure::{Samples, Spread};

/// What should hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// Nothing that was said.
    None,
    /// Ours by the other is at most this.
    Ratio(f64),
    /// Ours by the other is at least this.
    RatioAtLeast(f64),
    /// Ours is at most this, in the row's unit.
    Most(f64),
}

/// Instructions of one run, where they were counted.
#[derive(Debug, Clone, Copy)]
pub struct Instructions {
    pub ours: f64,
    pub beside: f64,
}

impl Instructions {
    pub fn ratio(self) -> f64 {
        self.ours / self.beside
    }
}

#[derive(Debug, Clone)]
pub struct Row {
    pub(super) case: String,
    pub(super) unit: String,
    pub(super) ours: Spread,
    pub(super) beside: Option<f64>,
    pub(super) ratio: Option<Spread>,
    pub(super) bar: Bar,
    instructions: Option<f64>,
    /// What the bar is on, of a side that nobody could be below.
    floor: Option<f64>,
}

/// Whether a bar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    YesWithinSpread,
    AtFloor,
    NoWithinSpread,
    No,
}

impl Verdict {
    pub(super) fn held(self) -> bool {
        matches!(self, Self::Yes | Self::YesWithinSpread | Self::AtFloor)
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::YesWithinSpread => "yes, within its spread",
            Self::AtFloor => "no, but within 5 % of the floor",
            Self::NoWithinSpread => "no, within its spread",
            Self::No => "no",
        }
    }
}

impl Row {
    pub fn ratio(case: &str, samples: &Samples, bar: Bar) -> Self {
        let micros = |nanos: &Vec<f64>| Spread::of(nanos.iter().map(|nanos| nanos / 1e3));
        let ours = micros(&samples.ours);
        Self::figure(case, "µs", ours, bar)
            .beside(micros(&samples.beside), samples.ratio())
            .floor(samples.floor())
    }

    /// Two figures of another kind, taken in turns.
    pub fn pair(case: impl Into<String>, unit: &str, samples: &Samples, bar: Bar) -> Self {
        let of = |samples: &[f64]| Spread::of(samples.iter().copied());
        Self::figure(case, unit, of(&samples.ours), bar)
            .beside(of(&samples.beside), samples.ratio())
            .floor(samples.floor())
    }

    /// A figure beside nothing.
    pub fn figure(case: impl Into<String>, unit: &str, ours: Spread, bar: Bar) -> Self {
        Self {
            case: case.into(),
            unit: unit.to_owned(),
            ours,
            beside: None,
            ratio: None,
            instructions: None,
            floor: None,
            bar,
        }
    }

    /// Something that could not be measured, and why.
    pub fn left_out(case: impl Into<String>, why: &str) -> Self {
        Self::figure(case, why, Spread::one(f64::NAN), Bar::None)
    }

    pub fn beside(mut self, beside: Spread, ratio: Spread) -> Self {
        self.ratio = Some(ratio);
        self.beside = Some(beside.median);
        self
    }

    pub fn instructions(mut self, counted: Option<Instructions>) -> Self {
        self.instructions = counted.map(Instructions::ratio);
        self
    }

    /// Of the kind that the bar is on: a ratio, or a figure in the row's unit.
    pub fn floor(mut self, floor: Option<Spread>) -> Self {
        self.floor = floor.map(|floor| floor.median);
        self
    }

    /// What the row is about: the ratio, or ours where there is none.
    pub(super) fn spread(&self) -> Spread {
        self.ratio.unwrap_or(self.ours)
    }

    /// Whether it is a time, and beside nothing.
    pub(super) fn is_time_alone(&self) -> bool {
        self.ratio.is_none() && self.is_time()
    }

    /// What the other took.
    pub(super) fn time_beside(&self) -> Option<f64> {
        self.beside.filter(|_| self.is_time())
    }

    fn is_time(&self) -> bool {
        ["ns", "µs", "ms"].contains(&self.unit.as_str())
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        let (found, bar, floor) = match (self.bar, self.ratio) {
            (Bar::None, _) | (Bar::Ratio(_) | Bar::RatioAtLeast(_), None) => return None,
            (Bar::Most(bar), _) => (self.ours, bar, self.floor),
            (Bar::Ratio(bar), Some(ratio)) => (ratio, bar, self.floor),
            // So that the greater is the worse there too.
            (Bar::RatioAtLeast(bar), Some(ratio)) => (ratio.negated(), -bar, None),
        };
        let at_floor = floor.is_some_and(|floor| found.median <= floor * AT_FLOOR);
        Some(
            match (found.median <= bar, found.low <= bar, found.high <= bar) {
                (true, _, true) => Verdict::Yes,
                (true, _, false) => Verdict::YesWithinSpread,
                (false, ..) if at_floor => Verdict::AtFloor,
                (false, true, _) => Verdict::NoWithinSpread,
                (false, false, _) => Verdict::No,
            },
        )
    }

    /// The row as the table shows it.
    pub(super) fn cells(&self) -> Cells {
        let spread = self.spread();
        let with_unit = |value| format!("{} {}", figure(value), self.unit).trim().to_owned();
        [
            self.case.clone(),
            with_unit(self.ours.median),
            self.beside.map(with_unit).unwrap_or_default(),
            self.ratio
                .map(|ratio| format!("{:.3}", ratio.median))
                .unwrap_or_default(),
            match spread.low < spread.high {
                true => format!("{} to {}", figure(spread.low), figure(spread.high)),
                false => String::new(),
            },
            self.instructions
                .map(|ratio| format!("{ratio:.3}"))
                .unwrap_or_default(),
            match self.bar {
                Bar::None => String::new(),
                Bar::Ratio(bar) => format!("{bar}"),
                Bar::RatioAtLeast(bar) => format!("≥ {bar}"),
                Bar::Most(bar) => format!("{bar} {}", self.unit),
            },
            self.floor.map(figure).unwrap_or_default(),
            self.verdict()
                .map(|verdict| verdict.words().to_owned())
                .unwrap_or_default(),
        ]
    }

    /// The row as programs read it.
    pub(super) fn line(&self) -> String {
        let spread = |it: Spread| format!("{}\t{}\t{}", it.low, it.median, it.high);
        let or_none = |it: Option<f64>| it.map_or_else(|| NONE.to_owned(), |it| it.to_string());
        let ratio = self.ratio.map_or_else(|| [NONE; 3].join("\t"), spread);
        let (kind, bar) = match self.bar {
            Bar::None => (NONE, 0.0),
            Bar::Ratio(bar) => ("ratio", bar),
            Bar::RatioAtLeast(bar) => ("ratio-at-least", bar),
            Bar::Most(bar) => ("most", bar),
        };
        [
            self.case.clone(),
            self.unit.clone(),
            spread(self.ours),
            or_none(self.beside),
            ratio,
            or_none(self.instructions),
            or_none(self.floor),
            kind.to_owned(),
            bar.to_string(),
        ]
        .join("\t")
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        let [case, unit, numbers @ .., kind, bar] = fields.as_slice() else {
            return None;
        };
        let number = |at: usize| numbers.get(at)?.parse::<f64>().ok();
        let spread = |at: usize| {
            Some(Spread {
                low: number(at)?,
                median: number(at + 1)?,
                high: number(at + 2)?,
            })
        };
        let bar = bar.parse().ok()?;
        Some(Self {
            case: (*case).to_owned(),
            unit: (*unit).to_owned(),
            ours: spread(0)?,
            beside: number(3),
            ratio: spread(4),
            instructions: number(7),
            floor: number(8),
            bar: match *kind {
                "ratio" => Bar::Ratio(bar),
                "ratio-at-least" => Bar::RatioAtLeast(bar),
                "most" => Bar::Most(bar),
                _ => Bar::None,
            },
        })
    }
}

pub(super) type Cells = [String; 9];

fn figure(value: f64) -> String {
    match value.abs() {
        nothing if nothing.is_nan() => String::new(),
        0.0 => "0".to_owned(),
        small if small < 10.0 => format!("{value:.3}"),
        middle if middle < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

const NONE: &str = "-";

/// How far above its floor a figure may stand.
const AT_FLOOR: f64 = 1.05;

#[cfg(test)]
mod tests {
    use super::*;

    const RATIO: Spread = Spread {
        low: 0.6,
        median: 0.7,
        high: 0.8,
    };

    fn row(bar: Bar) -> Row {
        Row::figure("a case", "µs", RATIO.map(|it| it * 100.0), bar)
            .beside(Spread::one(100.0), RATIO)
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let figure = Row::figure("another", "", Spread::one(3.0), Bar::Most(5.0));
        let left_out = Row::left_out("a third", "not installed");
        let counted = row(Bar::Ratio(0.7)).instructions(Some(Instructions {
            ours: 1.0,
            beside: 2.0,
        }));
        let above_floor = row(Bar::Ratio(0.5)).floor(Some(Spread::one(0.6)));
        for row in [
            figure,
            left_out,
            counted,
            above_floor,
            row(Bar::None),
            row(Bar::RatioAtLeast(2.0)),
        ] {
            let read = Row::parse(&row.line()).unwrap();
            assert_eq!(read.cells(), row.cells());
        }
        assert!(Row::parse("a case\tµs\t1").is_none());
    }

    #[test]
    fn a_bar_holds_by_the_median_and_the_spread_says_how_surely() {
        for (bar, verdict) in [
            (Bar::Ratio(0.8), Verdict::Yes),
            (Bar::Ratio(0.7), Verdict::YesWithinSpread),
            (Bar::Ratio(0.65), Verdict::NoWithinSpread),
            (Bar::Ratio(0.5), Verdict::No),
            (Bar::RatioAtLeast(0.6), Verdict::Yes),
            (Bar::RatioAtLeast(0.7), Verdict::YesWithinSpread),
            (Bar::RatioAtLeast(0.75), Verdict::NoWithinSpread),
            (Bar::RatioAtLeast(0.9), Verdict::No),
            (Bar::Most(80.0), Verdict::Yes),
            (Bar::Most(50.0), Verdict::No),
        ] {
            assert_eq!(row(bar).verdict(), Some(verdict), "{bar:?}");
        }
        assert_eq!(row(Bar::None).verdict(), None);
    }

    #[test]
    fn what_is_at_its_floor_has_done_what_can_be_done() {
        let verdict = |bar, floor| row(bar).floor(Some(Spread::one(floor))).verdict();
        assert_eq!(verdict(Bar::Ratio(0.5), 0.67), Some(Verdict::AtFloor));
        assert_eq!(verdict(Bar::Ratio(0.5), 0.66), Some(Verdict::No));
        assert_eq!(verdict(Bar::Ratio(0.8), 0.5), Some(Verdict::Yes));
        assert_eq!(verdict(Bar::Most(50.0), 67.0), Some(Verdict::AtFloor));
        assert_eq!(verdict(Bar::Most(50.0), 66.0), Some(Verdict::No));
    }
}
