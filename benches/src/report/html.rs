//! A page of its own, without scripts: each row with its ratio on a scale, the spread around it and the bar across.

use std::fmt::Write;

use super::row::{Bar, Row, Verdict};
use super::table::HEAD;

pub(super) fn page(explained: &str, counted: &str, rows: &[Row]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Side by side</title>\n<style>{STYLE}</style>\n\
         <h1>Side by side</h1>\n<p>{}</p>\n<p>In the plots, the scale is logarithmic; the dot is the median, the line around \
         it the spread, the tall mark the bar. A row without a ratio is shown by what it takes of its bar.</p>\n<p>{}</p>\n\
         <table>\n<tr>",
        escaped(explained),
        escaped(counted)
    );
    let [case, others @ ..] = HEAD;
    let _ = write!(page, "<th>{case}<th>{}", axis());
    for name in others {
        let _ = write!(page, "<th>{name}");
    }
    page.push('\n');
    for row in rows {
        let [case, others @ ..] = row.cells();
        let _ = write!(page, "<tr><td>{}<td>{}", escaped(&case), plot(row));
        for cell in others {
            let _ = write!(page, "<td>{}", escaped(&cell));
        }
        page.push('\n');
    }
    page.push_str("</table>\n</html>\n");
    page
}

/// The ratio, or where there is none the share of the bar.
fn plot(row: &Row) -> String {
    let (spread, bar) = match (row.ratio, row.bar) {
        (Some(ratio), Bar::Ratio(bar) | Bar::RatioAtLeast(bar)) => (ratio, Some(bar)),
        (_, Bar::Most(bar)) => (row.ours.map(|it| it / bar), Some(1.0)),
        (Some(ratio), Bar::None) => (ratio, None),
        (None, Bar::None | Bar::Ratio(_) | Bar::RatioAtLeast(_)) => return String::new(),
    };
    let colour = match row.verdict() {
        None => "#555",
        Some(Verdict::Yes | Verdict::AtFloor) => "#2a7d3f",
        Some(Verdict::YesWithinSpread | Verdict::NoWithinSpread) => "#b07a00",
        Some(Verdict::No) => "#b3261e",
    };
    let mut svg = opened();
    grid(&mut svg);
    let (low, median, high) = (at(spread.low), at(spread.median), at(spread.high));
    let _ = write!(
        svg,
        "<path d=\"M{low:.1} {MIDDLE}H{high:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
         <circle cx=\"{median:.1}\" cy=\"{MIDDLE}\" r=\"4\" fill=\"{colour}\"/>"
    );
    if let Some(bar) = bar {
        let _ = write!(
            svg,
            "<path d=\"M{:.1} 1V{}\" stroke=\"#111\" stroke-width=\"2\"/>",
            at(bar),
            HEIGHT - 1.0
        );
    }
    svg + "</svg>"
}

fn axis() -> String {
    let mut svg = opened();
    for power in LOWEST..=HIGHEST {
        let value = 2_f64.powi(power);
        let label = match power {
            0.. => format!("{value}"),
            _ => format!("1/{}", 2_f64.powi(-power)),
        };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"16\" text-anchor=\"middle\">{label}</text>",
            at(value)
        );
    }
    svg + "</svg>"
}

fn grid(svg: &mut String) {
    for power in LOWEST..=HIGHEST {
        let colour = if power == 0 { "#888" } else { "#ddd" };
        let _ = write!(
            svg,
            "<path d=\"M{:.1} 0V{HEIGHT}\" stroke=\"{colour}\"/>",
            at(2_f64.powi(power))
        );
    }
}

fn opened() -> String {
    format!("<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">")
}

/// Where on the scale; what is beyond it stands at its end.
fn at(value: f64) -> f64 {
    let (lowest, highest) = (f64::from(LOWEST), f64::from(HIGHEST));
    let power = value.max(f64::MIN_POSITIVE).log2().clamp(lowest, highest);
    MARGIN + (power - lowest) / (highest - lowest) * (WIDTH - 2.0 * MARGIN)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// The powers of two at the ends of the scale.
const LOWEST: i32 = -6;
const HIGHEST: i32 = 2;
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 22.0;
const MIDDLE: f64 = HEIGHT / 2.0;
const MARGIN: f64 = 12.0;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;max-width:110em}\
table{border-collapse:collapse}td,th{padding:2px 10px;text-align:left;white-space:nowrap;border-bottom:1px solid #eee}\
svg text{font:11px system-ui,sans-serif;fill:#555}svg{display:block}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Spread;

    #[test]
    fn a_plot_has_the_spread_and_the_bar_where_they_belong() {
        let row = Row::figure("<b>&", "ms", Spread::one(5.0), Bar::Ratio(0.5))
            .beside(Spread::one(5.0), Spread::one(1.0));
        let page = page("", "", &[row]);
        assert!(page.contains("&lt;b>&amp;"));
        let dot = format!("cx=\"{:.1}\"", at(1.0));
        let bar = format!("M{:.1} 1V", at(0.5));
        assert!(page.contains(&dot) && page.contains(&bar));
        assert!(at(0.5) < at(1.0) && at(1e9) == at(4.0));
    }
}
