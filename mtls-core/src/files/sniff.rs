//! What bytes are, by how they begin.
//!
//! Nothing is decoded here. A wrong guess costs a good error message and no more: it is made of bytes that hold nothing
//! usable, or that no text begins with, and what is taken for a certificate or a key has yet to be read as one.

use rustls_pki_types::PrivateKeyDer;

use super::format::FileFormat;

/// What is not text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Binary {
    /// One certificate in DER.
    Certificate,
    /// A private key in DER that needs a password.
    EncryptedKey,
    /// A private key in DER.
    Key,
    Other(FileFormat),
    /// DER that is longer than the file.
    Truncated,
}

/// What the bytes are, if they are no text that could hold PEM.
pub(super) fn binary(bytes: &[u8]) -> Option<Binary> {
    if let Some(format) = by_magic(bytes) {
        return Some(Binary::Other(format));
    }
    let outer = Sequence::open(bytes)?;
    // Asked before the length, which older writers of these two leave open (BER).
    if outer.contents.starts_with(PKCS12_VERSION) {
        return Some(Binary::Other(FileFormat::Pkcs12));
    }
    if outer.contents.starts_with(PKCS7_OID) {
        return Some(Binary::Other(FileFormat::Pkcs7));
    }
    let stated = outer.stated?;
    if outer.contents.len() < stated {
        // A length of one byte may be a letter, and this text that begins with a zero.
        return (stated > 0x7f).then_some(Binary::Truncated);
    }
    if outer.contents.len() > stated {
        return None;
    }
    if PrivateKeyDer::try_from(bytes).is_ok() {
        return Some(Binary::Key);
    }
    let inner = Sequence::open(outer.contents)?.contents;
    if inner.starts_with(CERTIFICATE_VERSION) {
        Some(Binary::Certificate)
    } else if is_revocation_list(inner) {
        Some(Binary::Other(FileFormat::RevocationList))
    } else if inner.starts_with(REQUEST_VERSION) {
        Some(Binary::Other(FileFormat::CertificateRequest))
    } else if PASSWORD_OIDS.iter().any(|oid| oid_is_below(inner, oid)) {
        Some(Binary::EncryptedKey)
    } else if inner.starts_with(&[OID]) {
        Some(Binary::Other(FileFormat::PublicKey))
    } else {
        None
    }
}

/// What text is that holds nothing usable.
pub(super) fn text(bytes: &[u8]) -> Option<FileFormat> {
    let all = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = all.trim_ascii_start();
    match text {
        [b'<', ..] => Some(FileFormat::Html),
        [b'{', ..] => Some(FileFormat::Json),
        [b'[', rest @ ..] if matches!(rest.trim_ascii_start(), [b'{' | b'"', ..]) => {
            Some(FileFormat::Json)
        }
        _ if text.starts_with(BEGIN_IN_BASE64) => Some(FileFormat::Base64Pem),
        _ if ESCAPED.iter().any(|escaped| contains(text, escaped)) => {
            Some(FileFormat::EscapedNewlines)
        }
        _ if all.split(|byte| *byte == b'\n').any(is_indented) => Some(FileFormat::IndentedPem),
        _ => None,
    }
}

fn by_magic(bytes: &[u8]) -> Option<FileFormat> {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => Some(FileFormat::Jks),
        [0xce, 0xce, 0xce, 0xce, ..] => Some(FileFormat::Jceks),
        // The byte order marks, and without one the first two dashes.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'-', 0, b'-', 0, ..] | [0, b'-', 0, b'-', ..] => {
            Some(FileFormat::Utf16)
        }
        _ => None,
    }
}

/// The head of a SEQUENCE (X.690 §8.1), and what follows it.
struct Sequence<'a> {
    /// The length it gives; none if it leaves that open.
    stated: Option<usize>,
    contents: &'a [u8],
}

impl<'a> Sequence<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let [SEQUENCE, length, rest @ ..] = bytes else {
            return None;
        };
        match length {
            0x80 => Some(Self {
                stated: None,
                contents: rest,
            }),
            0x81..=0x84 => {
                let (octets, contents) = rest.split_at_checked(usize::from(length & 0x7f))?;
                let stated = octets.iter().fold(0, |sum, o| (sum << 8) | usize::from(*o));
                Some(Self {
                    stated: Some(stated),
                    contents,
                })
            }
            short if *short < 0x80 => Some(Self {
                stated: Some(usize::from(*short)),
                contents: rest,
            }),
            _ => None,
        }
    }
}

/// RFC 5280 §5.1: `version INTEGER {v2(1)}`, signature, issuer, then a time. In the first version of a certificate, where
/// a serial number may look like that version, a SEQUENCE stands in the place of the time.
fn is_revocation_list(inner: &[u8]) -> bool {
    let after = |bytes| {
        let field = Sequence::open(bytes)?;
        field.contents.get(field.stated?..)
    };
    let time = inner
        .strip_prefix(LIST_VERSION)
        .and_then(after)
        .and_then(after);
    matches!(time, Some([UTC_TIME | GENERALIZED_TIME, ..]))
}

/// Whether an object identifier stands here that begins with these arcs.
fn oid_is_below(bytes: &[u8], arcs: &[u8]) -> bool {
    matches!(bytes, [OID, _, rest @ ..] if rest.starts_with(arcs))
}

fn is_indented(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii_start();
    trimmed.len() < line.len() && trimmed.starts_with(b"-----BEGIN ")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `version INTEGER {v3(3)}` (RFC 7292 §4).
const PKCS12_VERSION: &[u8] = &[0x02, 0x01, 0x03];
/// `contentType` 1.2.840.113549.1.7 (RFC 2315 §14), whichever below it.
const PKCS7_OID: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07";
/// `version [0] EXPLICIT INTEGER {v3(2)}` (RFC 5280 §4.1); other versions are refused in any case.
const CERTIFICATE_VERSION: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];
/// `version INTEGER {v1(0)}`, then the SEQUENCE of the subject (RFC 2986 §4.1).
const REQUEST_VERSION: &[u8] = &[0x02, 0x01, 0x00, 0x30];
/// `version INTEGER {v2(1)}` (RFC 5280 §5.1.2.1).
const LIST_VERSION: &[u8] = &[0x02, 0x01, 0x01];
/// PKCS#5 (RFC 8018 §A), and the password-based encryption of PKCS#12 (RFC 7292 §C).
const PASSWORD_OIDS: [&[u8]; 2] = [
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x05",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",
];

/// `-----BEGIN` in base64.
const BEGIN_IN_BASE64: &[u8] = b"LS0tLS1CRUdJTi";
/// The end of a marker and the line break after it, as they are escaped.
const ESCAPED: [&[u8]; 2] = [br"-----\n", br"-----\r\n"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
