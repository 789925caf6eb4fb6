//! Reads a list and judges it by itself, before anybody knows whose it is.
//!
//! Two readers look at each list. x509-parser shows every field, so that a refusal can say what was found; webpki is the
//! stricter, and its word is what the entries are taken from. Both must find the same number of them.

use std::ops::Range;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateRevocationListDer, SignatureVerificationAlgorithm};
use webpki::BorrowedCertRevocationList;
use x509_parser::asn1_rs::{Any, FromDer, Oid};
use x509_parser::extensions::{IssuingDistributionPoint, ParsedExtension, X509Extension};
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::x509::{ReasonCode, X509Version};

use super::entries::{Collector, Entries, EntryFault};
use super::fault::CrlFault;
use crate::identity::Timestamp;
use crate::identity::certificate::{hex, magnitude, printable};

/// What a list says.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) issuer: String,
    /// DER of the issuer's name, which is how path building compares them.
    pub(super) issuer_der: Vec<u8>,
    /// The signer's key identifier. A hint: it is not compared but to choose among errors.
    pub(super) key_id: Option<Vec<u8>>,
    pub(super) number: Option<Number>,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    pub(super) entries: Entries,
}

/// A CRL number without leading zero bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number(Vec<u8>);

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("00");
        }
        f.write_str(&hex(&self.0))
    }
}

/// A list's bytes, and where in them the signed part, the algorithm and the signature are.
#[derive(Debug)]
pub(super) struct Signed {
    der: CertificateRevocationListDer<'static>,
    message: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
}

impl Signed {
    pub(super) fn message(&self) -> &[u8] {
        self.der.get(self.message.clone()).unwrap_or_default()
    }

    pub(super) fn signature(&self) -> &[u8] {
        self.der.get(self.signature.clone()).unwrap_or_default()
    }

    /// The algorithms that verify signatures of this list's kind.
    pub(super) fn algorithms<'a>(
        &'a self,
        supported: &WebPkiSupportedAlgorithms,
    ) -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> + use<'a> {
        let id = self.der.get(self.algorithm.clone()).unwrap_or_default();
        supported
            .all
            .iter()
            .copied()
            .filter(move |algorithm| algorithm.signature_alg_id().as_ref() == id)
    }

    /// Finds the three parts of a CertificateList (RFC 5280 §5.1).
    fn new(der: CertificateRevocationListDer<'static>) -> Result<(Self, String), CrlFault> {
        // webpki has refused whatever follows one of the parts, or all of them.
        let (_, outer) = Any::from_der(&der).map_err(malformed)?;
        let content = outer.data;
        let (after_message, _) = Any::from_der(content).map_err(malformed)?;
        let (after_algorithm, algorithm) = Any::from_der(after_message).map_err(malformed)?;
        let (_, oid) = Oid::from_der(algorithm.data).map_err(malformed)?;
        let oid = oid.to_id_string();
        let (_, signature) = Any::from_der(after_algorithm).map_err(malformed)?;
        // Parts are counted from the end, since each of them reaches to where the next begins.
        let end = |rest: &[u8]| der.len() - rest.len();
        let algorithm = end(after_algorithm) - algorithm.data.len()..end(after_algorithm);
        let message = der.len() - content.len()..end(after_message);
        // X.690 §8.6.2.2: the first byte of a BIT STRING counts unused bits, of which there are none.
        let signature = der.len() - signature.data.len() + 1..der.len();
        let signed = Self {
            message,
            algorithm,
            signature,
            der,
        };
        Ok((signed, oid))
    }
}

/// Reads a list and judges what it says of itself; its signature is not looked at.
pub(super) fn read(
    der: CertificateRevocationListDer<'static>,
    algorithms: &WebPkiSupportedAlgorithms,
    now: Timestamp,
) -> Result<(Contents, Signed), CrlFault> {
    let contents = contents(&der, now)?;
    let (signed, oid) = Signed::new(der)?;
    if signed.algorithms(algorithms).next().is_none() {
        return Err(CrlFault::UnsupportedAlgorithm { oid });
    }
    Ok((contents, signed))
}

fn contents(der: &[u8], now: Timestamp) -> Result<Contents, CrlFault> {
    let (_, list) = CertificateRevocationList::from_der(der).map_err(malformed)?;
    let version = list
        .version()
        .map_or(1, |X509Version(v)| v.saturating_add(1));
    if version != 2 {
        return Err(CrlFault::UnsupportedVersion { found: version });
    }
    if list.extensions().is_empty() {
        return Err(CrlFault::NoExtensions);
    }
    let seen = Extensions::judge(&list)?;
    let this_update = Timestamp::from_unix(list.last_update().timestamp());
    let next_update = list.next_update().ok_or(CrlFault::NoNextUpdate)?;
    if this_update.saturating_since(now) > FUTURE_TOLERANCE {
        return Err(CrlFault::NotYetIssued { this_update, now });
    }
    let found = list.tbs_cert_list.revoked_certificates.len();
    for entry in list.iter_revoked_certificates() {
        judge_entry(entry)?;
    }
    let entries = strictly(der)?;
    if entries.len() != found {
        return Err(CrlFault::Malformed {
            detail: format!(
                "{found} entries to one reader, {} to another",
                entries.len()
            ),
        });
    }
    Ok(Contents {
        issuer: printable(&list.issuer().to_string()),
        issuer_der: list.issuer().as_raw().to_vec(),
        key_id: seen.key_id,
        number: seen.number,
        this_update,
        next_update: Timestamp::from_unix(next_update.timestamp()),
        entries,
    })
}

/// The entries, as webpki reads them. It checks once more what the other reader let us name.
fn strictly(der: &[u8]) -> Result<Entries, CrlFault> {
    let list = BorrowedCertRevocationList::from_der(der).map_err(|error| {
        // RFC 5280 §5.1.2.2: "MUST contain the same algorithm identifier as the signatureAlgorithm field".
        let detail = if error == webpki::Error::SignatureAlgorithmMismatch {
            "the signature algorithm within the list is not the one beside it".into()
        } else {
            error.to_string()
        };
        CrlFault::Malformed { detail }
    })?;
    let mut entries = Collector::default();
    for entry in &list {
        let entry = entry.map_err(|error| CrlFault::Malformed {
            detail: format!("entry {}: {error}", entries.len() + 1),
        })?;
        let serial = || hex(magnitude(entry.serial_number));
        entries.push(&entry).map_err(|fault| match fault {
            EntryFault::RemovesEntry => CrlFault::RemovesEntry { serial: serial() },
            EntryFault::TooLong => CrlFault::Malformed {
                detail: "a serial number is too long".into(),
            },
        })?;
    }
    Ok(entries.finish())
}

/// What the extensions of a list say.
#[derive(Default)]
struct Extensions {
    key_id: Option<Vec<u8>>,
    number: Option<Number>,
}

impl Extensions {
    fn judge(list: &CertificateRevocationList<'_>) -> Result<Self, CrlFault> {
        // RFC 5280 §4.2, which §5.2 follows: not twice. Who reads the first would see another list than who reads the last.
        list.tbs_cert_list.extensions_map().map_err(malformed)?;
        let mut seen = Self::default();
        for extension in list.extensions() {
            match id_ce(&extension.oid) {
                Some(AUTHORITY_KEY_ID) => seen.key_id = key_id(extension),
                Some(CRL_NUMBER) => seen.number = Some(number(extension)?),
                Some(DELTA_CRL_INDICATOR) => return Err(CrlFault::Delta),
                Some(ISSUING_DISTRIBUTION_POINT) => return Err(restricted(extension)),
                _ if extension.critical => {
                    return Err(CrlFault::CriticalExtension {
                        oid: extension.oid.to_id_string(),
                        place: "list",
                    });
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}

fn judge_entry(entry: &RevokedCertificate<'_>) -> Result<(), CrlFault> {
    for extension in entry.extensions() {
        match id_ce(&extension.oid) {
            Some(CERTIFICATE_ISSUER) => return Err(CrlFault::Indirect),
            Some(REASON_CODE)
                if extension.parsed_extension()
                    == &ParsedExtension::ReasonCode(ReasonCode::RemoveFromCRL) =>
            {
                return Err(CrlFault::RemovesEntry {
                    serial: hex(magnitude(entry.raw_serial())),
                });
            }
            Some(REASON_CODE | INVALIDITY_DATE) => {}
            _ if extension.critical => {
                return Err(CrlFault::CriticalExtension {
                    oid: extension.oid.to_id_string(),
                    place: "entry",
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// RFC 5280 §5.2.3 asks issuers for a number, and relying parties to "be able to handle CRLNumber values up to 20
/// octets". A list without one is taken: its dates still tell which of two is newer.
fn number(extension: &X509Extension<'_>) -> Result<Number, CrlFault> {
    let ParsedExtension::CRLNumber(number) = extension.parsed_extension() else {
        return Err(CrlFault::Malformed {
            detail: "extension cRLNumber does not decode".into(),
        });
    };
    let bytes = magnitude(&number.to_bytes_be()).to_vec();
    if bytes.len() > MAX_NUMBER_OCTETS {
        return Err(CrlFault::NumberTooLong {
            octets: bytes.len(),
        });
    }
    Ok(Number(bytes))
}

fn key_id(extension: &X509Extension<'_>) -> Option<Vec<u8>> {
    let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
        return None;
    };
    id.key_identifier.as_ref().map(|id| id.0.to_vec())
}

/// RFC 5280 §5.2.5: what an issuingDistributionPoint restricts a list to. Each of its fields restricts it, and it "MUST
/// NOT" be empty.
fn restricted(extension: &X509Extension<'_>) -> CrlFault {
    let ParsedExtension::IssuingDistributionPoint(point) = extension.parsed_extension() else {
        return CrlFault::Malformed {
            detail: "extension issuingDistributionPoint does not decode".into(),
        };
    };
    let by = match point {
        IssuingDistributionPoint {
            indirect_crl: true, ..
        } => return CrlFault::Indirect,
        IssuingDistributionPoint {
            only_contains_user_certs: true,
            ..
        } => "onlyContainsUserCerts",
        IssuingDistributionPoint {
            only_contains_ca_certs: true,
            ..
        } => "onlyContainsCACerts",
        IssuingDistributionPoint {
            only_contains_attribute_certs: true,
            ..
        } => "onlyContainsAttributeCerts",
        IssuingDistributionPoint {
            only_some_reasons: Some(_),
            ..
        } => "onlySomeReasons",
        IssuingDistributionPoint { .. } => "distributionPoint",
    };
    CrlFault::Partitioned { by }
}

/// The last arc of an OID below id-ce, 2.5.29 (RFC 5280 §4.2).
fn id_ce(oid: &Oid<'_>) -> Option<u8> {
    match oid.as_bytes() {
        [0x55, 0x1d, last] => Some(*last),
        _ => None,
    }
}

fn malformed(error: impl std::fmt::Display) -> CrlFault {
    CrlFault::Malformed {
        detail: error.to_string(),
    }
}

const CRL_NUMBER: u8 = 20;
const REASON_CODE: u8 = 21;
const INVALIDITY_DATE: u8 = 24;
const DELTA_CRL_INDICATOR: u8 = 27;
const ISSUING_DISTRIBUTION_POINT: u8 = 28;
const CERTIFICATE_ISSUER: u8 = 29;
const AUTHORITY_KEY_ID: u8 = 35;

/// RFC 5280 §5.2.3.
const MAX_NUMBER_OCTETS: usize = 20;

/// A list is made now and read at once, by a machine whose clock is behind: as far as NTP lets a clock be off and then some.
const FUTURE_TOLERANCE: std::time::Duration = std::time::Duration::from_secs(5 * 60);
