//! PEM's outer form: where blocks begin and end, and the bytes inside.
//!
//! The decoding is `rustls-pki-types`'. What it passes over is found here first: a block that never ends, a marker that
//! is damaged or indented. In a bundle those would be trust anchors lost without a word.

use rustls_pki_types::pem::{self, SectionKind, SliceIter};
use zeroize::Zeroizing;

use super::format::FileFormat;
use super::read::FileContent;
use crate::error::LoadError;

/// A block, still encoded.
pub(super) struct Block<'a> {
    label: &'a [u8],
    /// The line of its `BEGIN` marker, from 1.
    pub(super) line: usize,
    /// From its `BEGIN` marker to its `END` marker, both included.
    text: &'a [u8],
    body: &'a [u8],
}

impl Block<'_> {
    pub(super) fn is_certificate(&self) -> bool {
        self.label == b"CERTIFICATE"
    }

    pub(super) fn is_revocation_list(&self) -> bool {
        self.label == b"X509 CRL"
    }

    /// Whether it holds a private key, of whatever kind.
    pub(super) fn is_private_key(&self) -> bool {
        self.label.ends_with(b"PRIVATE KEY")
    }

    /// Whether a password is needed: said by the label (PKCS#8), or by a header (RFC 1421 §4.6.1.1).
    pub(super) fn is_encrypted(&self) -> bool {
        self.label.starts_with(b"ENCRYPTED")
            || self.body.split(|byte| *byte == b'\n').any(|line| {
                let proc_type = line.strip_prefix(b"Proc-Type:").map(<[u8]>::trim_ascii);
                proc_type.is_some_and(|value| value.ends_with(b"ENCRYPTED"))
            })
    }

    /// Whether its kind is one that can be decoded.
    pub(super) fn is_known(&self) -> bool {
        SectionKind::try_from(self.label).is_ok()
    }

    /// What it is instead, if its label is one of those that are known and not taken.
    pub(super) fn wrong_format(&self) -> Option<FileFormat> {
        FileFormat::of_label(self.label)
    }

    /// The bytes inside.
    pub(super) fn decode(&self, file: &FileContent) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        // Checked first, for the line number, and because the decoder drops what it has got so far when it fails.
        self.check_base64(file)?;
        let decoded = if self.is_private_key() {
            decode_secret(self.text)
        } else {
            Sections::new(self.text).next()
        };
        match decoded {
            Some(Ok((_, der))) => Ok(Zeroizing::new(der)),
            // The decoder's words may quote the file.
            Some(Err(_)) | None => Err(self.malformed(file, self.line, "it cannot be decoded")),
        }
    }

    fn check_base64(&self, file: &FileContent) -> Result<(), LoadError> {
        let mut symbols = 0_usize;
        let mut padding = 0_usize;
        for (offset, line) in self.body.split(|byte| *byte == b'\n').enumerate() {
            for byte in line.iter().filter(|byte| !byte.is_ascii_whitespace()) {
                match byte {
                    b'=' => padding += 1,
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {
                        symbols += 1;
                    }
                    _ => return Err(self.malformed(file, self.line + 1 + offset, "no base64")),
                }
            }
        }
        match (symbols % 4, padding) {
            (0, 0) | (3, 1) | (2, 2) => Ok(()),
            _ => Err(self.malformed(file, self.line, "its base64 is cut short")),
        }
    }

    fn malformed(&self, file: &FileContent, line: usize, what: &str) -> LoadError {
        let begin = self.line;
        malformed(
            file,
            format!("line {line}, in the block that begins at line {begin}: {what}"),
        )
    }
}

/// Every block of a file, of whatever kind, in order. Text around the blocks is passed over.
pub(super) fn blocks(file: &FileContent) -> Result<Vec<Block<'_>>, LoadError> {
    let all = file.bytes();
    let text = all.strip_prefix(BYTE_ORDER_MARK).unwrap_or(all);
    let mut blocks = Vec::new();
    let mut open: Option<Open<'_>> = None;
    let mut at = 0;
    for (number, line) in (1_usize..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let (start, end) = (at, at + line.len());
        at = end;
        let last = end == text.len() && !line.ends_with(b"\n");
        match marker(line, last) {
            Marker::None => {}
            Marker::CutOff => return Err(truncated(file)),
            Marker::Damaged(what) => return Err(malformed(file, format!("line {number}: {what}"))),
            Marker::Begin(label) => {
                if let Some(open) = &open {
                    let begin = open.line;
                    let detail =
                        format!("line {number}: the block that begins at line {begin} has no end");
                    return Err(malformed(file, detail));
                }
                open = Some(Open {
                    label,
                    line: number,
                    start,
                    body: end,
                });
            }
            Marker::End(label) => match open.take() {
                Some(open) if open.label == label => blocks.push(Block {
                    label,
                    line: open.line,
                    text: text.get(open.start..end).unwrap_or_default(),
                    body: text.get(open.body..start).unwrap_or_default(),
                }),
                _ => {
                    let detail = format!("line {number}: an end without its beginning");
                    return Err(malformed(file, detail));
                }
            },
        }
    }
    match open {
        Some(_) => Err(truncated(file)),
        None => Ok(blocks),
    }
}

/// A block whose end has not been seen yet; offsets into the text.
struct Open<'a> {
    label: &'a [u8],
    line: usize,
    start: usize,
    body: usize,
}

enum Marker<'a> {
    None,
    Begin(&'a [u8]),
    End(&'a [u8]),
    /// The file ends inside the marker.
    CutOff,
    Damaged(&'static str),
}

fn marker(line: &[u8], last: bool) -> Marker<'_> {
    let trimmed = line.trim_ascii();
    let (rest, make): (_, fn(_) -> _) = if let Some(rest) = trimmed.strip_prefix(BEGIN) {
        (rest, Marker::Begin)
    } else if let Some(rest) = trimmed.strip_prefix(END) {
        (rest, Marker::End)
    } else if last && trimmed.len() >= DASHES.len() && BEGIN.starts_with(trimmed) {
        return Marker::CutOff;
    } else {
        return Marker::None;
    };
    match rest.strip_suffix(DASHES) {
        Some(_) if !line.starts_with(DASHES) => Marker::Damaged("the marker is indented"),
        Some(label) if !label.ends_with(b"-") => make(label),
        None if last => Marker::CutOff,
        Some(_) | None => Marker::Damaged("the marker does not end in five dashes"),
    }
}

/// Decodes a key without leaving a copy behind.
///
/// The decoder gathers base64 in a buffer of its own that grows as needed and is freed as it is. A block of filler before
/// the key makes it large enough never to move; one after the key overwrites it.
fn decode_secret(text: &[u8]) -> Option<Result<(SectionKind, Vec<u8>), pem::Error>> {
    let filler = [
        b"-----BEGIN FILLER-----\n",
        "A".repeat(text.len()).as_bytes(),
        b"\n-----END FILLER-----\n",
    ]
    .concat();
    let mut padded = Zeroizing::new(Vec::with_capacity(2 * filler.len() + text.len() + 1));
    padded.extend_from_slice(&filler);
    padded.extend_from_slice(text);
    padded.push(b'\n');
    padded.extend_from_slice(&filler);
    let mut sections = Sections::new(&padded);
    let key = sections.next();
    // Blocks of an unknown kind are read and not returned: this reads the filler, and finds the end.
    let _none = sections.next();
    key
}

fn truncated(file: &FileContent) -> LoadError {
    LoadError::PemTruncated {
        path: file.path().to_path_buf(),
    }
}

fn malformed(file: &FileContent, detail: String) -> LoadError {
    LoadError::PemMalformed {
        path: file.path().to_path_buf(),
        detail,
    }
}

type Sections<'a> = SliceIter<'a, (SectionKind, Vec<u8>)>;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
