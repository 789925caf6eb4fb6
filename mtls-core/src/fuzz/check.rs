//! What holds for every parser.

use std::error::Error;
use std::fmt;

use crate::error::{Chained, LoadError};
use crate::files::{FileContent, MAX_FILE_SIZE};
use crate::identity::certificate::printable;

/// The bytes as the loader would hand them on; none if it would not have read so many.
pub(super) fn file(bytes: &[u8]) -> Option<FileContent> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    (size <= MAX_FILE_SIZE).then(|| FileContent::of("file", bytes))
}

/// Takes note of why a file was refused, as the log and the operator do. `secret` may be, or hold, a private key.
pub(super) fn refused(error: &LoadError, secret: &[u8]) {
    let text = shown(error);
    bounded(text.len(), secret.len());
    quotes_nothing(&text, secret);
}

/// All that an error tells of what was found. Its remedy is the same for everybody, and may be in the file by chance.
pub(super) fn shown(error: &LoadError) -> String {
    assert!(!error.remedy().is_empty());
    format!("{error:?} {}", Chained(error))
}

/// Takes note of any other error of ours, of `input` bytes of which nothing is secret.
pub(super) fn explained(error: &(impl Error + 'static), remedy: impl fmt::Display, input: usize) {
    let text = format!("{} {remedy}", Chained(error));
    assert_eq!(printable(&text), text, "an error could forge a log line");
    bounded(text.len() + format!("{error:?}").len(), input);
}

/// Nothing grows by more than this factor: the worst is a character that is escaped, and the escape once more.
pub(super) fn bounded(made: usize, input: usize) {
    let limit = FACTOR * input + FIXED;
    assert!(made <= limit, "{made} bytes were made of {input}");
}

/// A text shows no part of `secret`, neither as it stands nor in hex nor as a list of numbers.
pub(super) fn quotes_nothing(text: &str, secret: &[u8]) {
    let holds = |part: &[u8]| secret.windows(part.len()).any(|window| window == part);
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    for run in text.split(|c| !is_base64(c)) {
        for part in run.as_bytes().chunks_exact(QUOTED_CHARS) {
            assert!(!holds(part), "an error quotes the file: {text}");
        }
        let hex = run.as_bytes().chunks_exact(2).map_while(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        for part in hex.collect::<Vec<_>>().chunks_exact(QUOTED_BYTES) {
            assert!(!holds(part), "an error quotes the file in hex: {text}");
        }
    }
    for list in text.split(['[', ']']) {
        let numbers = list.split(", ").map_while(|number| number.parse().ok());
        for part in numbers.collect::<Vec<u8>>().chunks_exact(QUOTED_BYTES) {
            assert!(!holds(part), "an error quotes the file in numbers: {text}");
        }
    }
}

const FACTOR: usize = 16;
/// The words of our messages themselves, twice: as they are shown and as they are debugged.
const FIXED: usize = 16 * 1024;

/// No word of our messages is as long and in a file.
const QUOTED_CHARS: usize = 20;
const QUOTED_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::quotes_nothing;

    const SECRET: &[u8] = b"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEH";

    #[test]
    fn a_text_about_something_else_quotes_nothing() {
        quotes_nothing("line 3, in the block at line 1: no base64 [1, 2]", SECRET);
    }

    #[test]
    #[should_panic(expected = "quotes the file: ")]
    fn a_quoted_line_is_found() {
        quotes_nothing("no base64: `MBMGByqGSM49AgEGCCqGSM49AwEH`", SECRET);
    }

    #[test]
    #[should_panic(expected = "in hex")]
    fn quoted_hex_is_found() {
        let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
        quotes_nothing(&hex, SECRET);
    }

    #[test]
    #[should_panic(expected = "in numbers")]
    fn a_debugged_vector_is_found() {
        quotes_nothing(&format!("Key({:?})", &SECRET[4..20]), SECRET);
    }
}
