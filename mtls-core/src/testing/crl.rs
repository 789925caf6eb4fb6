//! Revocation lists: sound ones, and one for each way to be refused.

use std::time::{Duration, SystemTime};

use rcgen::SigningKey;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, CertificateRevocationListDer, alg_id};
use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;

use super::ca::TestCa;
use super::issued::Issued;
use super::key::KeyKind;
use super::lifetime::now;

/// A revocation list that a [`TestCa`] is about to sign.
///
/// Unless told otherwise it is complete, of version 2, has number 1, was issued an hour ago, is due for renewal in a day, and
/// revokes nobody.
///
/// ```
/// # use mtls_core::testing::TestCa;
/// let ca = TestCa::new("example.org");
/// let (web, api) = (ca.issue("/web"), ca.issue("/api"));
/// let list = ca.crl().number(7).revoke(&web).pem();
/// assert!(list.starts_with("-----BEGIN X509 CRL-----"));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TestCrl<'a> {
    ca: &'a TestCa,
    issuer: Vec<u8>,
    version: Option<u8>,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
    entries: Vec<Vec<u8>>,
    key_id: Option<Vec<u8>>,
    number: Option<Vec<u8>>,
    critical_number: bool,
    extensions: Vec<Vec<u8>>,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signature {
    Good,
    /// One bit of it is flipped.
    Broken,
    /// The list names another algorithm than the one beside it.
    OtherAlgorithm,
}

impl TestCa {
    /// A revocation list of this CA.
    pub fn crl(&self) -> TestCrl<'_> {
        let now = now();
        TestCrl {
            ca: self,
            issuer: self.subject_der(),
            version: Some(1),
            this_update: now - HOUR,
            next_update: Some(now + 24 * HOUR),
            entries: Vec::new(),
            key_id: Some(self.key_id()),
            number: Some(vec![1]),
            critical_number: false,
            extensions: Vec::new(),
            signature: Signature::Good,
        }
    }
}

impl TestCrl<'_> {
    /// Revokes a leaf, an hour ago and without a reason.
    pub fn revoke(self, issued: &Issued) -> Self {
        let serial = issued.serial_bytes();
        self.revoke_serial(&serial)
    }

    /// Revokes an intermediate that this CA issued.
    pub fn revoke_ca(self, ca: &TestCa) -> Self {
        let serial = ca.serial_bytes();
        self.revoke_serial(&serial)
    }

    /// Revokes a serial number.
    pub fn revoke_serial(self, serial: &[u8]) -> Self {
        let since = now() - HOUR;
        self.entry(serial, since, &[])
    }

    /// Revokes a serial number at a time and for a reason: the number that RFC 5280 §5.3.1 gives it.
    pub fn revoke_because(self, serial: &[u8], since: SystemTime, reason: u8) -> Self {
        let reason = extension(id_ce(21), false, &tlv(ENUMERATED, &[&[reason]]));
        self.entry(serial, since, &[reason])
    }

    /// Revokes a serial number in an entry with an extension: the last arc of an OID below 2.5.29, and DER.
    pub fn revoke_with_extension(
        self,
        serial: &[u8],
        id: u8,
        critical: bool,
        value: &[u8],
    ) -> Self {
        let since = now() - HOUR;
        self.entry(serial, since, &[extension(id_ce(id), critical, value)])
    }

    /// Revokes this many serial numbers of eight bytes, from 2^56 on.
    pub fn revoke_many(mut self, count: u64) -> Self {
        let since = now() - HOUR;
        self.entries.reserve(usize::try_from(count).unwrap_or(0));
        for n in 0..count {
            self = self.entry(&((1 << 56) + n).to_be_bytes(), since, &[]);
        }
        self
    }

    fn entry(mut self, serial: &[u8], since: SystemTime, extensions: &[Vec<u8>]) -> Self {
        let serial = integer(serial);
        let since = time(since);
        let extensions = if extensions.is_empty() {
            Vec::new()
        } else {
            tlv(SEQUENCE, &[&extensions.concat()])
        };
        self.entries
            .push(tlv(SEQUENCE, &[&serial, &since, &extensions]));
        self
    }

    /// Its number. Default: 1.
    pub fn number(self, number: u64) -> Self {
        self.number_bytes(&number.to_be_bytes())
    }

    /// Its number, big-endian.
    pub fn number_bytes(mut self, number: &[u8]) -> Self {
        self.number = Some(number.to_vec());
        self
    }

    /// Its number is a critical extension, which RFC 5280 §5.2.3 says it is not.
    pub fn critical_number(mut self) -> Self {
        self.critical_number = true;
        self
    }

    /// It has no number.
    pub fn without_number(mut self) -> Self {
        self.number = None;
        self
    }

    /// It has no authority key identifier.
    pub fn without_key_id(mut self) -> Self {
        self.key_id = None;
        self
    }

    /// When it was issued.
    pub fn this_update(mut self, time: SystemTime) -> Self {
        self.this_update = time;
        self
    }

    /// When the next one is due.
    pub fn next_update(mut self, time: SystemTime) -> Self {
        self.next_update = Some(time);
        self
    }

    /// It does not say when the next one is due.
    pub fn without_next_update(mut self) -> Self {
        self.next_update = None;
        self
    }

    /// It was issued a day ago, and the next one was due an hour ago.
    pub fn stale(self) -> Self {
        let now = now();
        self.this_update(now - 24 * HOUR).next_update(now - HOUR)
    }

    /// Version 1: it says no version and has no extensions.
    pub fn version_1(mut self) -> Self {
        self.version = None;
        self
    }

    /// It lists what has changed since the list with this number.
    pub fn delta(self, base: u8) -> Self {
        self.extension(27, true, &integer(&[base]))
    }

    /// It may list certificates of other issuers.
    pub fn indirect(self) -> Self {
        self.issuing_distribution_point(&tlv(0x84, &[&[0xff]]))
    }

    /// It lists leaves alone.
    pub fn leaves_only(self) -> Self {
        self.issuing_distribution_point(&tlv(0x81, &[&[0xff]]))
    }

    /// It has an issuingDistributionPoint with these fields, in DER.
    pub fn issuing_distribution_point(self, fields: &[u8]) -> Self {
        self.extension(28, true, &tlv(SEQUENCE, &[fields]))
    }

    /// It has an extension more: the last arc of an OID below 2.5.29, and DER.
    pub fn extension(mut self, id: u8, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(extension(id_ce(id), critical, value));
        self
    }

    /// It names another CA as its issuer.
    pub fn in_the_name_of(mut self, other: &TestCa) -> Self {
        self.issuer = other.subject_der();
        self
    }

    /// Its signature does not verify.
    pub fn bad_signature(mut self) -> Self {
        self.signature = Signature::Broken;
        self
    }

    /// It names another signature algorithm than the one beside it.
    pub fn other_algorithm_inside(mut self) -> Self {
        self.signature = Signature::OtherAlgorithm;
        self
    }

    /// The list as DER.
    ///
    /// # Panics
    ///
    /// If the CA's key does not sign.
    #[must_use]
    pub fn der(&self) -> CertificateRevocationListDer<'static> {
        let algorithm = tlv(SEQUENCE, &[self.ca.signature_algorithm().as_ref()]);
        let inside = match self.signature {
            Signature::OtherAlgorithm => tlv(SEQUENCE, &[alg_id::RSA_PKCS1_SHA512.as_ref()]),
            Signature::Good | Signature::Broken => algorithm.clone(),
        };
        let message = self.message(&inside);
        let mut signature = self.ca.signing_key().sign(&message).expect(SIGNED);
        if self.signature == Signature::Broken
            && let Some(last) = signature.last_mut()
        {
            *last ^= 1;
        }
        let signature = tlv(BIT_STRING, &[&[0], &signature]);
        tlv(SEQUENCE, &[&message, &algorithm, &signature]).into()
    }

    /// The list as PEM.
    ///
    /// # Panics
    ///
    /// As [`der`](Self::der).
    #[must_use]
    pub fn pem(&self) -> String {
        pem("X509 CRL", &self.der())
    }

    /// RFC 5280 §5.1: TBSCertList.
    fn message(&self, algorithm: &[u8]) -> Vec<u8> {
        let version = self.version.map(|version| integer(&[version]));
        let next_update = self.next_update.map(time).unwrap_or_default();
        // "When there are no revoked certificates, the revoked certificates list MUST be absent" (§5.1.2.6).
        let entries = if self.entries.is_empty() {
            Vec::new()
        } else {
            tlv(SEQUENCE, &[&self.entries.concat()])
        };
        let extensions = self
            .version
            .map(|_| tlv(EXPLICIT_0, &[&tlv(SEQUENCE, &[&self.extensions()])]));
        tlv(
            SEQUENCE,
            &[
                &version.unwrap_or_default(),
                algorithm,
                &self.issuer,
                &time(self.this_update),
                &next_update,
                &entries,
                &extensions.unwrap_or_default(),
            ],
        )
    }

    fn extensions(&self) -> Vec<u8> {
        let key_id = self.key_id.as_ref().map(|id| {
            let value = tlv(SEQUENCE, &[&tlv(0x80, &[id])]);
            extension(id_ce(35), false, &value)
        });
        let number = self
            .number
            .as_ref()
            .map(|number| extension(id_ce(20), self.critical_number, &integer(number)));
        let ours = key_id.into_iter().chain(number);
        ours.chain(self.extensions.iter().cloned())
            .flatten()
            .collect()
    }
}

/// The certificate with another issuer, signed by this CA (RFC 5280 §4.1).
pub(super) fn reissued(ca: &TestCa, leaf: &[u8], issuer: &[u8]) -> CertificateDer<'static> {
    let (_, parsed) = X509Certificate::from_der(leaf).expect("rcgen writes X.509");
    let old = parsed.issuer().as_raw();
    let (_, tbs) = Any::from_der(parsed.tbs_certificate.as_ref()).expect("rcgen writes DER");
    let body: &[u8] = tbs.data;
    // Before it there are a version, a serial number and an algorithm, which no name is a part of.
    let at = body
        .windows(old.len())
        .position(|bytes| bytes == old)
        .expect("a certificate has an issuer");
    let (before, rest) = body.split_at(at);
    let after = rest.get(old.len()..).unwrap_or_default();
    let message = tlv(SEQUENCE, &[before, issuer, after]);
    let signature = ca.signing_key().sign(&message).expect(SIGNED);
    let algorithm = tlv(SEQUENCE, &[ca.signature_algorithm().as_ref()]);
    let signature = tlv(BIT_STRING, &[&[0], &signature]);
    tlv(SEQUENCE, &[&message, &algorithm, &signature]).into()
}

impl KeyKind {
    /// What a key of this kind signs with here.
    pub(super) fn signature_algorithm(self) -> AlgorithmIdentifier {
        match self {
            Self::EcdsaP256 => alg_id::ECDSA_SHA256,
            Self::EcdsaP384 => alg_id::ECDSA_SHA384,
            Self::EcdsaP521 => alg_id::ECDSA_SHA512,
            Self::Ed25519 => alg_id::ED25519,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => alg_id::RSA_PKCS1_SHA256,
        }
    }
}

fn extension(oid: Vec<u8>, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical {
        tlv(BOOLEAN, &[&[0xff]])
    } else {
        Vec::new()
    };
    let value = tlv(OCTET_STRING, &[value]);
    tlv(SEQUENCE, &[&oid, &critical, &value])
}

/// The OID 2.5.29.`last` (RFC 5280 §4.2).
fn id_ce(last: u8) -> Vec<u8> {
    tlv(OBJECT_IDENTIFIER, &[&[0x55, 0x1d, last]])
}

/// A number that is not negative, in the shortest form.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(zeros..).unwrap_or_default();
    let sign: &[u8] = match bytes.first() {
        Some(first) if *first < 0x80 => &[],
        Some(_) | None => &[0],
    };
    tlv(INTEGER, &[sign, bytes])
}

/// RFC 5280 §5.1.2.4: UTCTime through the year 2049, GeneralizedTime from 2050 on.
fn time(time: SystemTime) -> Vec<u8> {
    let time = OffsetDateTime::from(time);
    let year = time.year();
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    if year < 2050 {
        tlv(UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        tlv(GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()])
    }
}

/// One DER element. rcgen writes sound lists only, and has no writer of its own to lend for the others.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes = len.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let bytes = bytes.get(zeros..).unwrap_or_default();
            der.push(0x80 | u8::try_from(bytes.len()).expect("a length has eight bytes at most"));
            der.extend_from_slice(bytes);
        }
    }
    der.extend(parts.iter().copied().flatten());
    der
}

/// One to three bytes as four characters (RFC 4648 §4).
/// DER in PEM's armour.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            pem.extend(base64(group));
        }
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

fn base64(group: &[u8]) -> [char; 4] {
    let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    [18, 12, 6, 0].map(|shift| {
        let index = usize::try_from(bits >> shift & 0x3f).unwrap_or(0);
        // Of n bytes, n + 1 characters say something; the rest is padding.
        if shift >= 18 - 6 * u32::try_from(group.len()).unwrap_or(3) {
            ALPHABET.get(index).copied().map_or('=', char::from)
        } else {
            '='
        }
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const HOUR: Duration = Duration::from_secs(60 * 60);
const SIGNED: &str = "the CA's key signs";

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_0: u8 = 0xa0;
