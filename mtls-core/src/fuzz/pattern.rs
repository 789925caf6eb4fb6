//! Patterns over SPIFFE IDs, and what they match.

use super::check;
use crate::identity::SpiffeId;
use crate::policy::SpiffePattern;

/// The first line is a pattern, every other a SPIFFE ID that it is held against.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let written = lines.next().unwrap_or_default();
    let pattern = match written.parse::<SpiffePattern>() {
        Ok(pattern) => pattern,
        Err(error) => return check::explained(&error, error.remedy(), written.len()),
    };
    assert_eq!(pattern.as_str(), written);
    assert_eq!(pattern.to_string().parse().as_ref(), Ok(&pattern));

    // What a pattern says is among what it matches, if that is an ID at all: an ID may be too long.
    for (tail, one) in [("a", "a"), ("a/b/c", "Z-9")] {
        let said = written.replace("**", tail).replace('*', one);
        if let Ok(id) = said.parse::<SpiffeId>() {
            assert!(pattern.matches(&id), "{pattern} and {id}");
        }
    }
    for id in lines.filter_map(|line| line.parse::<SpiffeId>().ok()) {
        let (rule, found) = (segments(written), segments(id.as_str()));
        assert_eq!(
            pattern.matches(&id),
            covers(&rule, &found),
            "{pattern} and {id}"
        );
        if !written.contains('*') {
            assert_eq!(pattern.matches(&id), written == id.as_str());
        }
    }
}

/// What a pattern means, said once more: segment by segment, the trust domain among them.
fn covers(pattern: &[&str], id: &[&str]) -> bool {
    match (pattern, id) {
        ([], []) | (["**"], [_, ..]) => true,
        ([rule, pattern @ ..], [found, id @ ..]) => {
            (*rule == "*" || rule == found) && covers(pattern, id)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

fn segments(text: &str) -> Vec<&str> {
    text.split('/').collect()
}
