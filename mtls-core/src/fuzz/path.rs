//! Path patterns, and the paths of requests.

use super::check;
use crate::policy::PathPattern;

/// The first line is read as a path pattern, the second as the path of a request.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "/"));
    let pattern: PathPattern = match pattern.parse() {
        Ok(pattern) => pattern,
        Err(error) => {
            // It quotes what was given, as `Debug` does.
            let _ = format!("{error} {}", error.remedy());
            return;
        }
    };
    let again: PathPattern = pattern
        .as_str()
        .parse()
        .expect("what it prints is a pattern");
    assert_eq!(again, pattern);
    check::bounded(pattern.as_str().len(), bytes.len());
    if !pattern.matches(path) {
        return;
    }
    // What matches has one canonical form: none of what a server behind might read in another way.
    assert!(path.starts_with('/') && (path.len() == 1 || !path.ends_with('/')));
    assert!(!path.contains("//") && !path.contains(['\\', '?', '#', ';']));
    let lowered = path.to_ascii_lowercase();
    // Nor what one that decodes twice would.
    let twice = lowered.replace("%25", "%");
    for odd in ["%2f", "%5c", "%00"] {
        assert!(
            !lowered.contains(odd) && !twice.contains(odd),
            "{path:?} has two readings"
        );
    }
    let dots = |segment: &str| matches!(segment.replace("%2e", ".").as_str(), "." | "..");
    assert!(!lowered.split('/').any(dots), "{path:?} goes elsewhere");
}
