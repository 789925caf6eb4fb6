//! The time that is asked about.

use mtls_core::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Failure;

/// RFC 3339, or a span from `now` on: a sign, a number, and `s`, `m`, `h`, `d` or `w`.
pub(super) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let moment = match text.strip_prefix('+').map(|rest| (rest, 1)) {
        Some(span) => relative(span, now),
        None => match text.strip_prefix('-').map(|rest| (rest, -1)) {
            Some(span) => relative(span, now),
            None => absolute(text),
        },
    };
    moment.ok_or_else(|| {
        let expected = "expected RFC 3339 (`2027-01-31T00:00:00Z`) or a span (`+30d`, `+12h`)";
        Failure::new(format!("--at `{text}`: {expected}"))
    })
}

fn absolute(text: &str) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp::from_unix(time.unix_timestamp()))
}

fn relative((span, sign): (&str, i64), now: Timestamp) -> Option<Timestamp> {
    let unit = span.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return None,
    };
    let count: u32 = span.strip_suffix(unit)?.parse().ok()?;
    let span = i64::from(count).checked_mul(seconds)?;
    let then = now.as_unix().checked_add(sign * span)?;
    Some(Timestamp::from_unix(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    #[test]
    fn a_span_is_from_now_and_a_date_is_itself() {
        let at = |text: &str| parse(text, NOW).unwrap().as_unix();
        assert_eq!(at("+30d"), 1_000_000 + 30 * 86_400);
        assert_eq!(at("-2h"), 1_000_000 - 7200);
        assert_eq!(at("+0s"), 1_000_000);
        assert_eq!(at("1970-01-02T00:00:00Z"), 86_400);
        assert_eq!(at("1970-01-02T01:00:00+01:00"), 86_400);
    }

    #[test]
    fn what_is_neither_is_refused_and_what_is_expected_is_said() {
        for text in [
            "",
            "+",
            "30d",
            "+30",
            "+d",
            "+1y",
            "tomorrow",
            "1970-01-02",
            "+99999999999w",
            "+1ü",
        ] {
            let refused = parse(text, NOW).unwrap_err().to_string();
            assert!(refused.contains("RFC 3339"), "{text}: {refused}");
        }
    }
}
