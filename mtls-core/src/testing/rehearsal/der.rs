//! Certificates that no CA of ours would write, made of sound ones. Their signatures do not hold, which nobody who minds
//! what is wrong with them comes to look at.

/// Every `from` replaced by `to`, which is as long.
pub(super) fn replaced(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = der.to_vec();
    let mut at = 0;
    while let Some(found) = position(&bytes, at, from) {
        let end = found + from.len();
        bytes.splice(found..end, to.iter().copied());
        at = end;
    }
    bytes
}

fn position(bytes: &[u8], from: usize, part: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let found = rest.windows(part.len()).position(|window| window == part)?;
    Some(from + found)
}

/// The certificate without its version and its extensions: one of version 1.
pub(super) fn version_1(der: &[u8]) -> Vec<u8> {
    let [outer] = parts(der)[..] else {
        panic!("a certificate is one SEQUENCE");
    };
    let parts_of_certificate = parts(outer.contents);
    let (signed, rest) = parts_of_certificate
        .split_first()
        .expect("a certificate has a signed part");
    let kept: Vec<u8> = parts(signed.contents)
        .iter()
        .filter(|part| !matches!(part.tag, VERSION | EXTENSIONS))
        .flat_map(|part| part.whole.to_vec())
        .collect();
    let rest = rest.iter().flat_map(|part| part.whole.to_vec());
    let contents: Vec<u8> = sequence(&kept).into_iter().chain(rest).collect();
    sequence(&contents)
}

#[derive(Clone, Copy)]
struct Part<'a> {
    tag: u8,
    whole: &'a [u8],
    contents: &'a [u8],
}

/// The values that stand one after the other; all of it was written by rcgen.
fn parts(mut bytes: &[u8]) -> Vec<Part<'_>> {
    let mut all = Vec::new();
    while let [tag, length, rest @ ..] = bytes {
        let octets = match length {
            0x80.. => usize::from(length & 0x7f),
            _ => 0,
        };
        let long = rest.iter().take(octets);
        let length = match octets {
            0 => usize::from(*length),
            _ => long.fold(0, |sum, octet| (sum << 8) | usize::from(*octet)),
        };
        let head = 2 + octets;
        let (whole, after) = bytes.split_at(head + length);
        all.push(Part {
            tag: *tag,
            whole,
            contents: whole.split_at(head).1,
        });
        bytes = after;
    }
    all
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("certificates in tests are short");
    let [high, low] = length.to_be_bytes();
    let head = [0x30, 0x82, high, low];
    [&head, contents].concat()
}

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
