//! What may be unusual about an end-entity certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use super::key::KeyKind;
use super::lifetime::Lifetime;
use super::serial::{Serial, unique};

/// What a leaf says, and what is unusual about it.
///
/// ```
/// # use mtls_core::testing::{KeyKind, LeafOptions, TestCa};
/// # let ca = TestCa::new("example.org");
/// let legacy = ca.issue_with(LeafOptions::new().common_name("printer-7").key(KeyKind::Ed25519));
/// let stale = ca.issue_with(LeafOptions::service("/web").expired());
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct LeafOptions {
    names: Vec<Name>,
    raw_san: Option<Vec<u8>>,
    common_name: Option<String>,
    lifetime: Lifetime,
    key: KeyKind,
    key_is_fresh: bool,
    constraints: IsCa,
    key_usages: Vec<KeyUsagePurpose>,
    extended_key_usages: Vec<ExtendedKeyUsagePurpose>,
    authority_key_id: bool,
    critical_extension: Option<Vec<u64>>,
    crl_distribution_point: Option<String>,
}

#[derive(Debug, Clone)]
enum Name {
    /// The path of a SPIFFE ID in the trust domain of whoever issues.
    Spiffe(String),
    Uri(String),
    Dns(String),
    Ip(IpAddr),
    Email(String),
}

impl LeafOptions {
    /// A leaf without a name, for both roles, with a P-256 key, valid from an hour ago and for 24 hours.
    pub fn new() -> Self {
        Self {
            names: Vec::new(),
            raw_san: None,
            common_name: None,
            lifetime: Lifetime::default(),
            key: KeyKind::default(),
            key_is_fresh: false,
            constraints: IsCa::ExplicitNoCa,
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            extended_key_usages: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            authority_key_id: true,
            critical_extension: None,
            crl_distribution_point: None,
        }
    }

    /// What [`TestCa::issue`](super::TestCa::issue) issues: a SPIFFE ID, `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Panics
    ///
    /// If the path does not begin with a slash.
    pub fn service(path: &str) -> Self {
        Self::new()
            .spiffe(path)
            .dns("localhost")
            .ip(Ipv4Addr::LOCALHOST)
            .ip(Ipv6Addr::LOCALHOST)
    }

    /// Adds the SPIFFE ID with this path in the issuer's trust domain. For one of another domain: [`uri`](Self::uri).
    ///
    /// # Panics
    ///
    /// If the path does not begin with a slash.
    pub fn spiffe(self, path: &str) -> Self {
        assert!(
            path.starts_with('/'),
            "the path of a SPIFFE ID begins with a slash, `{path}` does not"
        );
        self.name(Name::Spiffe(path.to_owned()))
    }

    /// Adds a URI SAN, as it stands. Not checked, but for being ASCII; for other bytes: [`raw_san`](Self::raw_san).
    pub fn uri(self, uri: impl Into<String>) -> Self {
        self.name(Name::Uri(uri.into()))
    }

    /// Adds a DNS SAN, as it stands.
    pub fn dns(self, name: impl Into<String>) -> Self {
        self.name(Name::Dns(name.into()))
    }

    /// Adds an IP SAN.
    pub fn ip(self, address: impl Into<IpAddr>) -> Self {
        self.name(Name::Ip(address.into()))
    }

    /// Adds an e-mail SAN, as it stands.
    pub fn email(self, address: impl Into<String>) -> Self {
        self.name(Name::Email(address.into()))
    }

    fn name(mut self, name: Name) -> Self {
        self.names.push(name);
        self
    }

    /// Drops every SAN that was said so far.
    pub fn no_san(mut self) -> Self {
        self.names.clear();
        self.raw_san = None;
        self
    }

    /// Writes these bytes as the value of the SAN extension (DER of `GeneralNames`), in place of all other SANs.
    pub fn raw_san(mut self, general_names: impl Into<Vec<u8>>) -> Self {
        self.raw_san = Some(general_names.into());
        self
    }

    /// The subject's common name. Default: a unique one.
    pub fn common_name(mut self, name: impl Into<String>) -> Self {
        self.common_name = Some(name.into());
        self
    }

    /// Valid from when until when, both included, in whole seconds, rounded down.
    pub fn validity(mut self, not_before: SystemTime, not_after: SystemTime) -> Self {
        self.lifetime = Lifetime::Span {
            not_before,
            not_after,
        };
        self
    }

    /// It expired an hour ago.
    pub fn expired(mut self) -> Self {
        self.lifetime = Lifetime::Expired;
        self
    }

    /// It becomes valid in an hour.
    pub fn not_yet_valid(mut self) -> Self {
        self.lifetime = Lifetime::NotYetValid;
        self
    }

    /// It is valid, and for this long from when it is issued; in whole seconds, rounded down.
    pub fn expires_in(mut self, rest: Duration) -> Self {
        self.lifetime = Lifetime::ExpiresIn(rest);
        self
    }

    /// Its key is of this kind. Default: P-256.
    ///
    /// RSA keys take long to make, so the leaves of a process share one per size; see [`fresh_key`](Self::fresh_key).
    pub fn key(mut self, kind: KeyKind) -> Self {
        self.key = kind;
        self
    }

    /// No other leaf has its key, RSA or not.
    pub fn fresh_key(mut self) -> Self {
        self.key_is_fresh = true;
        self
    }

    /// ExtendedKeyUsage is serverAuth alone.
    pub fn server_only(mut self) -> Self {
        self.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// ExtendedKeyUsage is clientAuth alone.
    pub fn client_only(mut self) -> Self {
        self.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// ExtendedKeyUsage is emailProtection alone, which is no role of TLS.
    pub fn email_protection_only(mut self) -> Self {
        self.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
        self
    }

    /// ExtendedKeyUsage is anyExtendedKeyUsage alone.
    pub fn any_purpose(mut self) -> Self {
        self.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        self
    }

    /// It does not say which key of its issuer signed it.
    pub fn no_authority_key_id(mut self) -> Self {
        self.authority_key_id = false;
        self
    }

    /// It has a critical extension of this object identifier, which holds a NULL.
    pub fn critical_extension(mut self, oid: &[u64]) -> Self {
        self.critical_extension = Some(oid.to_vec());
        self
    }

    /// It names this address as where its issuer's revocation list is published.
    pub fn crl_distribution_point(mut self, url: impl Into<String>) -> Self {
        self.crl_distribution_point = Some(url.into());
        self
    }

    /// It has no ExtendedKeyUsage, and so may be used in any role.
    pub fn no_extended_key_usage(mut self) -> Self {
        self.extended_key_usages.clear();
        self
    }

    /// It has no KeyUsage.
    pub fn no_key_usage(mut self) -> Self {
        self.key_usages.clear();
        self
    }

    /// KeyUsage is keyEncipherment alone, without the digitalSignature that an issuer owes an X509-SVID.
    pub fn key_usage_key_encipherment_only(mut self) -> Self {
        self.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        self
    }

    /// KeyUsage has keyCertSign beside digitalSignature, which no X509-SVID leaf may have.
    pub fn key_usage_cert_sign(mut self) -> Self {
        self.key_usages.push(KeyUsagePurpose::KeyCertSign);
        self
    }

    /// KeyUsage has cRLSign beside digitalSignature, which no X509-SVID leaf may have.
    pub fn key_usage_crl_sign(mut self) -> Self {
        self.key_usages.push(KeyUsagePurpose::CrlSign);
        self
    }

    /// It has no BasicConstraints, which means that it is no CA (RFC 5280 §4.2.1.9).
    pub fn no_basic_constraints(mut self) -> Self {
        self.constraints = IsCa::NoCa;
        self
    }

    /// Its BasicConstraints say CA:TRUE.
    pub fn ca_true(mut self) -> Self {
        self.constraints = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    pub(super) fn key_pair(&self) -> KeyPair {
        if self.key_is_fresh {
            self.key.generate()
        } else {
            self.key.shared()
        }
    }

    pub(super) fn params(&self, trust_domain: &str, serial: Serial) -> CertificateParams {
        let unique_name = || format!("mtls test leaf {:016x}", unique());
        let mut subject = DistinguishedName::new();
        subject.push(
            DnType::CommonName,
            self.common_name.clone().unwrap_or_else(unique_name),
        );
        subject.push(DnType::OrganizationName, "not for production");

        let mut params = CertificateParams::default();
        self.lifetime.apply(&mut params);
        params.serial_number = Some(serial.into());
        params.distinguished_name = subject;
        params.is_ca = self.constraints;
        params.key_usages = self.key_usages.clone();
        params.extended_key_usages = self.extended_key_usages.clone();
        params.use_authority_key_identifier_extension = self.authority_key_id;
        match &self.raw_san {
            Some(value) => {
                params.custom_extensions =
                    vec![CustomExtension::from_oid_content(SAN, value.clone())];
            }
            None => {
                params.subject_alt_names = self
                    .names
                    .iter()
                    .map(|name| name.san(trust_domain))
                    .collect();
            }
        }
        let published = self.crl_distribution_point.iter();
        let published = published.map(|url| CrlDistributionPoint {
            uris: vec![url.clone()],
        });
        params.crl_distribution_points = published.collect();
        if let Some(oid) = &self.critical_extension {
            let mut extension = CustomExtension::from_oid_content(oid, vec![0x05, 0x00]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        params
    }
}

impl Default for LeafOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Name {
    fn san(&self, trust_domain: &str) -> SanType {
        match self {
            Self::Spiffe(path) => SanType::URI(ascii(&format!("spiffe://{trust_domain}{path}"))),
            Self::Uri(uri) => SanType::URI(ascii(uri)),
            Self::Dns(name) => SanType::DnsName(ascii(name)),
            Self::Ip(address) => SanType::IpAddress(*address),
            Self::Email(address) => SanType::Rfc822Name(ascii(address)),
        }
    }
}

pub(super) fn uri_san(uri: &str) -> SanType {
    SanType::URI(ascii(uri))
}

fn ascii(name: &str) -> Ia5String {
    Ia5String::try_from(name)
        .unwrap_or_else(|_| panic!("a SAN is ASCII, `{name}` is not: say it with `raw_san`"))
}

/// id-ce-subjectAltName (RFC 5280 §4.2.1.6).
const SAN: &[u64] = &[2, 5, 29, 17];
