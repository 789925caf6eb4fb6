//! What a certificate says, read once.
//!
//! Nothing here is an identity: a certificate that nobody verified says whatever its maker liked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::certificate::{BasicExtension, X509Certificate, X509CertificateParser};
use x509_parser::error::X509Error;
use x509_parser::extensions::{
    self, BasicConstraints, GeneralName, KeyIdentifier, SubjectAlternativeName, X509Extension,
};
use x509_parser::nom::Parser;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::time::{Timestamp, Validity};
use crate::verify::Presented;

/// A certificate's contents, in our own terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) subject: Name,
    pub(crate) issuer: Name,
    pub(crate) serial: Serial,
    pub(crate) validity: Validity,
    /// DER of the SubjectPublicKeyInfo.
    pub(crate) spki: Vec<u8>,
    /// RFC 5280 §4.2.1.2. A hint: nothing is trusted for it.
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) names: SubjectAltNames,
    pub(crate) is_ca: bool,
    pub(crate) path_len: Option<u32>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Whether the SAN extension is marked critical.
    pub(crate) san_is_critical: bool,
}

/// The names of a certificate, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubjectAltNames {
    pub(crate) uris: Vec<UriName>,
    /// As written, but in lowercase.
    pub(crate) dns: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) emails: Vec<String>,
}

/// A URI name. One that cannot be decoded is still one: it counts where URI names are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UriName {
    /// RFC 5280 §4.2.1.6: an IA5String, so ASCII.
    Text(String),
    Undecodable,
}

/// The bits of KeyUsage that somebody here asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyUsage {
    pub(crate) is_critical: bool,
    pub(crate) digital_signature: bool,
    pub(crate) key_cert_sign: bool,
    pub(crate) crl_sign: bool,
}

/// The purposes of ExtendedKeyUsage that somebody here asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtendedKeyUsage {
    pub(crate) server_auth: bool,
    pub(crate) client_auth: bool,
}

impl Certificate {
    /// Reads a certificate; the error is what the decoder found.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        // Extensions by themselves, below: of a dozen kinds that there may be, five are asked for.
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (rest, cert) = parser
            .parse(der)
            .map_err(|error| format!("not X.509: {error}"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes after its end", rest.len()));
        }
        let found = Extensions::of(&cert)?;
        let constraints: Option<BasicExtension<BasicConstraints>> =
            decoded(found.basic_constraints, "basicConstraints")?;
        let key_usage: Option<BasicExtension<extensions::KeyUsage>> =
            decoded(found.key_usage, "keyUsage")?;
        let purposes: Option<BasicExtension<Vec<Oid<'_>>>> =
            decoded(found.extended_key_usage, "extendedKeyUsage")?;
        let names: Option<BasicExtension<SubjectAlternativeName<'_>>> =
            decoded(found.subject_alt_name, "subjectAltName")?;
        // A hint, whose content may be as broken as it likes.
        let key_id: Result<Option<BasicExtension<KeyIdentifier<'_>>>, _> =
            decoded(found.subject_key_id, "subjectKeyIdentifier");
        Ok(Self {
            subject: Name::of_der(cert.subject().as_raw()),
            issuer: Name::of_der(cert.issuer().as_raw()),
            serial: Serial::of(cert.raw_serial()),
            validity: Validity {
                not_before: Timestamp::from_unix(cert.validity().not_before.timestamp()),
                not_after: Timestamp::from_unix(cert.validity().not_after.timestamp()),
            },
            spki: cert.public_key().raw.to_vec(),
            subject_key_id: key_id.ok().flatten().map(|id| id.value.0.to_vec()),
            san_is_critical: names.as_ref().is_some_and(|san| san.critical),
            names: names.map_or_else(SubjectAltNames::default, |san| {
                SubjectAltNames::read(&san.value.general_names)
            }),
            is_ca: constraints.as_ref().is_some_and(|c| c.value.ca),
            path_len: constraints.and_then(|c| c.value.path_len_constraint),
            extended_key_usage: purposes.map(|purposes| ExtendedKeyUsage::of(&purposes.value)),
            key_usage: key_usage.map(|usage| KeyUsage {
                is_critical: usage.critical,
                digital_signature: usage.value.digital_signature(),
                key_cert_sign: usage.value.key_cert_sign(),
                crl_sign: usage.value.crl_sign(),
            }),
        })
    }

    /// RFC 5280 §4.2.1.3 and §4.2.1.9: a CA flag, and keyCertSign where KeyUsage is present.
    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.is_ca && self.key_usage.is_none_or(|usage| usage.key_cert_sign)
    }

    /// RFC 5280 §4.2.1.3: cRLSign, where KeyUsage is present.
    pub(crate) fn may_sign_crls(&self) -> bool {
        self.key_usage.is_none_or(|usage| usage.crl_sign)
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// What a log may say of it before anybody has verified it. The digest is its own.
    pub(crate) fn presented(&self, sha256: &[u8; 32]) -> Presented {
        Presented {
            name: self.display_name(),
            serial: self.serial.text().to_owned(),
            issuer: self.issuer.text().to_owned(),
            sha256: hex(sha256),
        }
    }

    #[cfg(test)]
    pub(crate) fn empty(validity: Validity) -> Self {
        Self {
            subject: Name::default(),
            issuer: Name::default(),
            serial: Serial::default(),
            validity,
            spki: Vec::new(),
            subject_key_id: None,
            names: SubjectAltNames::default(),
            is_ca: false,
            path_len: None,
            key_usage: None,
            extended_key_usage: None,
            san_is_critical: false,
        }
    }

    /// What it is called in a log.
    pub(crate) fn display_name(&self) -> String {
        let names = &self.names;
        let uris: Vec<_> = names.uris.iter().map(ToString::to_string).collect();
        if !uris.is_empty() {
            return uris.join(", ");
        }
        let first = names.dns.first().cloned();
        first
            .or_else(|| names.ips.first().map(ToString::to_string))
            .or_else(|| names.emails.first().cloned())
            .unwrap_or_else(|| self.subject.text().to_owned())
    }
}

impl ExtendedKeyUsage {
    /// Of its key purposes (RFC 5280 §4.2.1.12).
    fn of(purposes: &[Oid<'_>]) -> Self {
        let has = |wanted: &[u8]| purposes.iter().any(|oid| oid.as_bytes() == wanted);
        let any = has(&oid!(raw 2.5.29.37.0));
        Self {
            server_auth: any || has(&oid!(raw 1.3.6.1.5.5.7.3.1)),
            client_auth: any || has(&oid!(raw 1.3.6.1.5.5.7.3.2)),
        }
    }
}

impl SubjectAltNames {
    pub(crate) const NONE: Self = Self {
        uris: Vec::new(),
        dns: Vec::new(),
        ips: Vec::new(),
        emails: Vec::new(),
    };

    fn read(general_names: &[GeneralName<'_>]) -> Self {
        let mut names = Self::default();
        for name in general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push(UriName::from_ia5(uri)),
                GeneralName::Invalid(tag, _) if tag.0 == URI_TAG => {
                    names.uris.push(UriName::Undecodable);
                }
                GeneralName::DNSName(name) if is_graphic(name) => {
                    names.dns.push(name.to_ascii_lowercase());
                }
                GeneralName::RFC822Name(name) if is_graphic(name) => {
                    names.emails.push((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => names.ips.extend(ip_address(bytes)),
                // A name of another kind, or one that does not decode, identifies nobody here.
                GeneralName::DNSName(_)
                | GeneralName::RFC822Name(_)
                | GeneralName::Invalid(..)
                | GeneralName::OtherName(..)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
        names
    }
}

impl UriName {
    fn from_ia5(text: &str) -> Self {
        if is_graphic(text) {
            Self::Text(text.to_owned())
        } else {
            Self::Undecodable
        }
    }
}

impl fmt::Display for UriName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(uri) => f.write_str(uri),
            Self::Undecodable => f.write_str("(undecodable URI)"),
        }
    }
}

/// A distinguished name: as path building compares it, and as text. The text is made when somebody asks: for most peers
/// nobody ever does.
#[derive(Clone, Default)]
pub(crate) struct Name {
    der: Box<[u8]>,
    shown: OnceLock<Box<ShownName>>,
}

/// A name for display: control characters are escaped.
#[derive(Clone, Default)]
struct ShownName {
    text: String,
    /// The first one in it.
    common_name: Option<String>,
}

impl Name {
    pub(crate) fn of_der(der: &[u8]) -> Self {
        Self {
            der: der.into(),
            shown: OnceLock::new(),
        }
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// For display.
    pub(crate) fn text(&self) -> &str {
        &self.shown().text
    }

    /// The first one in it, for display.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.shown().common_name.as_deref()
    }

    /// What was read once is read again.
    fn shown(&self) -> &ShownName {
        let read = || ShownName::read(&self.der).unwrap_or_default().into();
        self.shown.get_or_init(read)
    }
}

impl ShownName {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, name) = X509Name::from_der(der).ok()?;
        let first = name.iter_common_name().next();
        Some(Self {
            text: printable(&name.to_string()),
            common_name: first.and_then(|name| name.as_str().ok().map(printable)),
        })
    }
}

/// RFC 5280 §7.1 has more to say of when two are the same; path building compares bytes.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}

/// A serial number. The text is made when somebody asks.
#[derive(Clone, Default)]
pub(crate) struct Serial {
    magnitude: Box<[u8]>,
    text: OnceLock<Box<str>>,
}

impl Serial {
    fn of(raw: &[u8]) -> Self {
        Self {
            magnitude: magnitude(raw).into(),
            text: OnceLock::new(),
        }
    }

    /// Without leading zero bytes; empty for zero.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.magnitude
    }

    /// Whole bytes in lowercase hex, without leading zero bytes: as openssl prints it, but for the case, so that an operator
    /// finds the one in the other's output. The zero byte that DER puts before a number whose top bit is set is no part of it.
    pub(crate) fn text(&self) -> &str {
        self.text.get_or_init(|| match self.bytes() {
            [] => "00".into(),
            bytes => hex(bytes).into(),
        })
    }
}

impl PartialEq for Serial {
    fn eq(&self, other: &Self) -> bool {
        self.magnitude == other.magnitude
    }
}

impl Eq for Serial {}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

pub(crate) fn sha256(der: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(der.as_ref()).into()
}

/// Escapes what could forge a log line or a terminal sequence.
pub(crate) fn printable(text: &str) -> String {
    // Nearly every name there is; looking at it char by char costs more than the rest of reading it.
    if is_graphic(text) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control() || BIDI_CONTROLS.contains(&c);
            let plain = (!escape).then_some(c);
            let escaped = escape.then(|| c.escape_unicode());
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let mut text = String::with_capacity(bytes.len() * 2);
    // `write!` for each byte took longer than the digest.
    text.extend(nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)));
    text
}

/// The extensions that somebody here asks for, as they stand.
#[derive(Default)]
struct Extensions<'c, 'a> {
    subject_key_id: Option<&'c X509Extension<'a>>,
    key_usage: Option<&'c X509Extension<'a>>,
    subject_alt_name: Option<&'c X509Extension<'a>>,
    basic_constraints: Option<&'c X509Extension<'a>>,
    extended_key_usage: Option<&'c X509Extension<'a>>,
}

impl<'c, 'a> Extensions<'c, 'a> {
    /// It is an error if one of them is there twice (RFC 5280 §4.2): whoever reads the first of two would see another
    /// certificate than whoever reads the second.
    fn of(cert: &'c X509Certificate<'a>) -> Result<Self, String> {
        let mut found = Self::default();
        for extension in cert.extensions() {
            let place = match extension.oid.as_bytes().strip_prefix(ID_CE) {
                Some([14]) => &mut found.subject_key_id,
                Some([15]) => &mut found.key_usage,
                Some([17]) => &mut found.subject_alt_name,
                Some([19]) => &mut found.basic_constraints,
                Some([37]) => &mut found.extended_key_usage,
                Some(_) | None => continue,
            };
            if place.replace(extension).is_some() {
                return Err(format!("extension {} is there twice", extension.oid));
            }
        }
        Ok(found)
    }
}

/// What an extension says. It is an error if it does not decode to its last byte: whoever reads only the beginning would see
/// another certificate than somebody else.
fn decoded<'a, T: FromDer<'a, E>, E>(
    extension: Option<&X509Extension<'a>>,
    name: &'static str,
) -> Result<Option<BasicExtension<T>>, String> {
    let Some(extension) = extension else {
        return Ok(None);
    };
    match T::from_der(extension.value) {
        Ok(([], value)) => Ok(Some(BasicExtension::new(extension.critical, value))),
        Ok(_) | Err(_) => Err(format!(
            "extension {name}: {}",
            X509Error::InvalidExtensions
        )),
    }
}

/// A number without leading zero bytes: an encoder that writes one too many means the same number.
pub(crate) fn magnitude(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn is_graphic(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| IpAddr::V6(Ipv6Addr::from(v6)))
}

/// `id-ce` (RFC 5280 §4.2.1), below which the extensions of that section are numbered.
pub(crate) const ID_CE: &[u8] = &[0x55, 0x1d];

/// `uniformResourceIdentifier [6] IA5String` (RFC 5280 §4.2.1.6).
const URI_TAG: u32 = 6;

/// Characters that reorder what a terminal shows.
const BIDI_CONTROLS: [char; 9] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_a_log_line_is_escaped() {
        assert_eq!(printable("CN=a\nrefused"), "CN=a\\u{a}refused");
        assert_eq!(printable("\u{1b}[31m\u{202e}x"), "\\u{1b}[31m\\u{202e}x");
        assert_eq!(printable("CN=Grün, O=Bär"), "CN=Grün, O=Bär");
    }

    #[test]
    fn serials_are_printed_as_whole_bytes_without_the_sign() {
        let text = |raw: &[u8]| Serial::of(raw).text().to_owned();
        assert_eq!(text(&[0x00, 0xff, 0x01]), "ff01");
        assert_eq!(text(&[0x04, 0x5a]), "045a");
        assert_eq!(text(&[0]), "00");
    }

    #[test]
    fn leading_zero_bytes_are_no_part_of_a_number() {
        assert_eq!(magnitude(&[0, 0, 7, 0]), [7, 0]);
        assert!(magnitude(&[0]).is_empty());
    }

    /// Reads a certificate with these extensions, each by the last arc of its identifier.
    #[cfg(feature = "testing")]
    fn with_extensions(extensions: &[(u64, &[u8])]) -> Result<Certificate, String> {
        use rcgen::{CertificateParams, CustomExtension, KeyPair};

        let extension = |&(kind, content): &(u64, &[u8])| {
            CustomExtension::from_oid_content(&[2, 5, 29, kind], content.to_vec())
        };
        let mut params = CertificateParams::default();
        params.custom_extensions = extensions.iter().map(extension).collect();
        let key = KeyPair::generate().unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der())
    }

    #[test]
    #[cfg(feature = "testing")]
    fn an_extension_that_is_there_twice_refuses_the_certificate() {
        let (one, other) = (b"\x30\x03\x82\x01a", b"\x30\x03\x82\x01b");
        let read = with_extensions(&[(17, one)]).unwrap();
        assert_eq!(read.names.dns, ["a"]);
        for twice in [[(17, one), (17, one)], [(17, one), (17, other)]] {
            let twice = twice.map(|(kind, content)| (kind, &content[..]));
            let refused = with_extensions(&twice).unwrap_err();
            assert_eq!(refused, "extension 2.5.29.17 is there twice");
        }
    }

    #[test]
    #[cfg(feature = "testing")]
    fn an_extension_is_read_to_its_last_byte_or_the_certificate_is_refused() {
        let with = |kind: u64, content: &[u8]| with_extensions(&[(kind, content)]);
        let kinds: [(&str, u64, &[u8]); 4] = [
            ("keyUsage", 15, b"\x03\x02\x05\xa0"),
            ("subjectAltName", 17, b"\x30\x03\x82\x01a"),
            ("basicConstraints", 19, b"\x30\x03\x01\x01\xff"),
            (
                "extendedKeyUsage",
                37,
                b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01",
            ),
        ];
        for (name, kind, content) in kinds {
            assert!(with(kind, content).is_ok(), "{name}");
            for broken in [&[content, b"\0"].concat(), &b"\x05\x00"[..], b""] {
                let refused = with(kind, broken).unwrap_err();
                assert!(refused.contains(name), "{refused}");
            }
        }
        // A hint alone: the certificate stands, and has none.
        assert_eq!(
            with(14, b"\x04\x02id").unwrap().subject_key_id.unwrap(),
            b"id"
        );
        for broken in [&b"\x04\x02id\0"[..], b"\x05\x00"] {
            assert_eq!(with(14, broken).unwrap().subject_key_id, None);
        }
    }

    #[test]
    fn a_uri_that_is_no_ia5_string_is_undecodable_and_counts() {
        let names = [
            GeneralName::URI("spiffe://example.org/w"),
            GeneralName::URI("spiffe://example.org/ü"),
            GeneralName::Invalid(x509_parser::asn1_rs::Tag(6), b"\xff"),
            GeneralName::Invalid(x509_parser::asn1_rs::Tag(2), b"\xff"),
        ];
        let read = SubjectAltNames::read(&names);
        assert_eq!(read.uris.len(), 3);
        assert!(read.dns.is_empty());
    }
}
