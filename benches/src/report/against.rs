//! Whether two runs agree: for each row, whether one's median lies within the other's spread.
//!
//! A time that stands beside nothing follows the pace of its machine, which on a shared one is another within the hour. What
//! both runs measured beside ours tells it: those times are compared as this run would have taken them at the other's pace.

use super::row::Row;
use crate::measure::Spread;

pub(super) fn compare(rows: &[Row], other: &[Row]) -> bool {
    let pace = pace(rows, other);
    if let Some(pace) = pace {
        println!("Here the same took {pace:.2} times as long as in the other run.");
    }
    let (mut disagreeing, mut compared) = (0, 0);
    for row in rows {
        let Some(before) = other.iter().find(|before| before.case == row.case) else {
            println!("not in the other run: {}", row.case);
            continue;
        };
        let pace = pace.filter(|_| row.is_time_alone());
        let now = row.spread().map(|it| it / pace.unwrap_or(1.0));
        let then = before.spread();
        if now.median.is_nan() || then.median.is_nan() {
            continue;
        }
        compared += 1;
        if !agree(now, then) {
            disagreeing += 1;
            println!("disagrees: {}: {}, and {}", row.case, said(now), said(then));
        }
    }
    println!("{disagreeing} of {compared} rows disagree with the other run.");
    disagreeing == 0
}

/// How many times as long as before the same took, of what ours stands beside: the median over those rows.
fn pace(rows: &[Row], other: &[Row]) -> Option<f64> {
    let paces = rows.iter().filter_map(|row| {
        let before = other.iter().find(|before| before.case == row.case)?;
        Some(row.time_beside()? / before.time_beside()?)
    });
    let mut paces = paces.peekable();
    paces.peek()?;
    Some(Spread::of(paces).median)
}

fn agree(one: Spread, other: Spread) -> bool {
    holds(one, other.median) || holds(other, one.median)
}

/// A figure that was taken once has no spread: it is given a hundredth.
fn holds(spread: Spread, median: f64) -> bool {
    let slack = if spread.low < spread.high {
        0.0
    } else {
        spread.median.abs() / 100.0
    };
    (spread.low - slack..=spread.high + slack).contains(&median)
}

fn said(it: Spread) -> String {
    format!("{:.4} ({:.4} to {:.4})", it.median, it.low, it.high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Bar;

    fn row(case: &str, low: f64, median: f64, high: f64) -> Row {
        let spread = Spread { low, median, high };
        Row::figure(case, "", spread, Bar::None)
    }

    #[test]
    fn a_time_alone_is_compared_at_the_pace_of_the_other_run() {
        let beside = |time: f64| {
            let spread = Spread::one(1.0);
            Row::figure("beside", "µs", spread, Bar::None).beside(Spread::one(time), spread)
        };
        let alone = |unit, value: f64| Row::figure("alone", unit, Spread::one(value), Bar::None);
        let before = [beside(100.0), alone("ms", 5.0)];
        assert!(compare(&[beside(150.0), alone("ms", 7.5)], &before));
        assert!(!compare(&[beside(100.0), alone("ms", 7.5)], &before));
        assert!(!compare(&[beside(150.0), alone("ms", 5.0)], &before));
        // Bytes are the same at any pace.
        let before = [beside(100.0), alone("bytes", 5.0)];
        assert!(!compare(&[beside(150.0), alone("bytes", 7.5)], &before));
        assert!(compare(&[beside(150.0), alone("bytes", 5.0)], &before));
    }

    #[test]
    fn runs_agree_while_one_median_lies_within_the_other_spread() {
        let before = [row("a", 0.6, 0.7, 0.8), row("b", 5.0, 5.0, 5.0)];
        for (now, agrees) in [
            (row("a", 0.79, 0.8, 0.81), true),
            (row("a", 0.6, 0.9, 1.0), true),
            (row("a", 0.81, 0.9, 1.0), false),
            (row("b", 5.04, 5.04, 5.04), true),
            (row("b", 5.1, 5.1, 5.1), false),
            (row("new", 1.0, 1.0, 1.0), true),
        ] {
            assert_eq!(
                compare(std::slice::from_ref(&now), &before),
                agrees,
                "{now:?}"
            );
        }
    }
}
