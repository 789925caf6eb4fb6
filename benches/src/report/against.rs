//! Whether two runs agree: for each row, whether one's median lies within the other's spread.

use super::row::Row;
use crate::measure::Spread;

pub(super) fn compare(rows: &[Row], other: &[Row]) -> bool {
    let mut disagreeing = 0;
    let mut compared = 0;
    for row in rows {
        let Some(before) = other.iter().find(|before| before.case == row.case) else {
            println!("not in the other run: {}", row.case);
            continue;
        };
        let (now, then) = (row.spread(), before.spread());
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
