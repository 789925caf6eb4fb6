//! When the certificates of a path are valid, and for how much longer.

use std::time::Duration;

use super::chain::Path;
use super::facts::Seen;
use super::finding::{CheckPlace, Finding, Found};
use super::rule::CheckRule;
use super::run::Scene;
use crate::identity::{Timestamp, Validity};

pub(super) fn check(scene: &Scene<'_>, path: &Path<'_>, found: &mut Found) {
    let now = scene.options.now;
    for seen in path.certificates() {
        let place = || scene.in_chain(seen);
        let span = seen.cert.validity;
        if span.not_after < now {
            found.add(expired(seen, place(), now));
        } else if now < span.not_before {
            let in_time = ago(span.not_before.saturating_since(now));
            let text = format!(
                "`{}` is not valid before {}, in {in_time}",
                seen.name(),
                span.not_before
            );
            found.add(Finding::new(CheckRule::NotYetValid, place(), text));
        } else {
            let margin = match seen.cert.is_ca {
                true => CA_MARGIN,
                false => Duration::MAX,
            };
            soon(seen, place(), now, margin, found);
        }
    }
    long(scene, path.leaf, found);
    // Of an issuer that has expired, that is said.
    let issued = path.pairs();
    let issued = issued.filter(|(_, issuer)| now <= issuer.cert.validity.not_after);
    for (seen, issuer) in issued {
        let over = seen
            .cert
            .validity
            .not_after
            .saturating_since(issuer.cert.validity.not_after);
        if over > OUTLIVES_TOLERANCE {
            let text = format!(
                "`{}` ends at {}, and its issuer `{}` {} before",
                seen.name(),
                seen.cert.validity.not_after,
                issuer.name(),
                ago(over)
            );
            found.add(Finding::new(
                CheckRule::OutlivesIssuer,
                scene.in_chain(seen),
                text,
            ));
        }
    }
}

pub(super) fn check_anchor(now: Timestamp, seen: &Seen, place: CheckPlace, found: &mut Found) {
    if seen.cert.validity.contains(now) {
        soon(seen, place, now, CA_MARGIN, found);
    }
}

fn expired(seen: &Seen, place: CheckPlace, now: Timestamp) -> Finding {
    let not_after = seen.cert.validity.not_after;
    let since = ago(now.saturating_since(not_after));
    let text = format!("`{}` expired {since} ago ({not_after})", seen.name());
    Finding::new(CheckRule::Expired, place, text)
}

fn soon(seen: &Seen, place: CheckPlace, now: Timestamp, margin: Duration, found: &mut Found) {
    let span = seen.cert.validity;
    let left = span.not_after.saturating_since(now);
    if left < (lifetime(span) / 3).min(margin) {
        let text = format!(
            "`{}` ends in {} ({})",
            seen.name(),
            ago(left),
            span.not_after
        );
        found.add(Finding::new(CheckRule::ExpiresSoon, place, text));
    }
}

fn long(scene: &Scene<'_>, leaf: &Seen, found: &mut Found) {
    let span = leaf.cert.validity;
    if lifetime(span) > LONGEST_LEAF {
        let text = format!("`{}` is valid for {}", leaf.name(), ago(lifetime(span)));
        found.add(Finding::new(
            CheckRule::LifetimeLong,
            scene.in_chain(leaf),
            text,
        ));
    }
}

fn lifetime(span: Validity) -> Duration {
    span.not_after.saturating_since(span.not_before)
}

/// A duration as somebody would say it.
fn ago(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// To make a CA known everywhere takes weeks.
const CA_MARGIN: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// As long as browsers took a certificate until 2026, and a day for whoever counts otherwise.
const LONGEST_LEAF: Duration = Duration::from_secs(399 * DAY.as_secs());
/// A leaf that is issued at once by a new CA ends a moment after it.
const OUTLIVES_TOLERANCE: Duration = Duration::from_secs(60 * 60);
