//! A certificate authority that lives as long as its test.

use std::time::Duration;
use std::{fmt, iter};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::crl;
use super::issued::Issued;
use super::key::KeyKind;
use super::leaf::LeafOptions;
use super::lifetime::Lifetime;
use super::serial::{Serial, unique};

/// A certificate authority for one trust domain: a root, or an intermediate below one.
///
/// Each has a key, a subject and a serial number of its own, so that two of them never verify each other's leaves.
///
/// ```
/// # use mtls_core::testing::TestCa;
/// let root = TestCa::new("example.org");
/// let below = root.intermediate();
/// let web = below.issue("/web");
/// assert_eq!(web.chain_der().len(), 2); // the leaf and the intermediate
/// assert_eq!(web.bundle_pem(), root.root_pem());
/// ```
pub struct TestCa {
    trust_domain: String,
    kind: KeyKind,
    key: KeyPair,
    params: CertificateParams,
    certificate: Certificate,
    /// The authorities above this one, the root last; empty for a root.
    above: Vec<Certificate>,
}

impl TestCa {
    /// A root with a P-256 key, valid from an hour ago and for 24 hours.
    #[must_use]
    pub fn new(trust_domain: &str) -> Self {
        Self::with_options(trust_domain, CaOptions::new())
    }

    /// A root that is unusual in some way.
    #[must_use]
    pub fn with_options(trust_domain: &str, options: CaOptions) -> Self {
        Self::self_signed(trust_domain, options.key, options.params())
    }

    /// A CA below this one. Chains that it issues carry its certificate.
    #[must_use]
    pub fn intermediate(&self) -> Self {
        self.intermediate_with(CaOptions::new())
    }

    /// A CA below this one that is unusual in some way.
    #[must_use]
    pub fn intermediate_with(&self, options: CaOptions) -> Self {
        let mut params = options.params();
        params.use_authority_key_identifier_extension = true;
        let key = options.key.generate();
        let certificate = params.signed_by(&key, &self.issuer()).expect(SIGNED);
        Self {
            trust_domain: self.trust_domain.clone(),
            kind: options.key,
            key,
            params,
            certificate,
            above: iter::once(&self.certificate)
                .chain(&self.above)
                .cloned()
                .collect(),
        }
    }

    /// A root that has this CA's subject and another key, as after a CA was made anew under its old name.
    #[must_use]
    pub fn same_name_other_key(&self) -> Self {
        let mut params = self.params.clone();
        params.serial_number = Some(Serial::random().into());
        params.use_authority_key_identifier_extension = false;
        Self::self_signed(&self.trust_domain, self.kind, params)
    }

    fn self_signed(trust_domain: &str, kind: KeyKind, params: CertificateParams) -> Self {
        let key = kind.generate();
        let certificate = params.self_signed(&key).expect(SIGNED);
        Self {
            trust_domain: trust_domain.to_owned(),
            kind,
            key,
            params,
            certificate,
            above: Vec::new(),
        }
    }

    /// Credentials for the SPIFFE ID with this path, and for `localhost`, `127.0.0.1` and `::1`, in both roles.
    ///
    /// # Panics
    ///
    /// If the path does not begin with a slash.
    #[must_use]
    pub fn issue(&self, path: &str) -> Issued {
        self.issue_with(LeafOptions::service(path))
    }

    /// Credentials for one DNS name and nothing else: no SPIFFE ID.
    #[must_use]
    pub fn issue_dns(&self, name: &str) -> Issued {
        self.issue_with(LeafOptions::new().dns(name))
    }

    /// Credentials that are unusual in some way.
    #[must_use]
    pub fn issue_with(&self, options: LeafOptions) -> Issued {
        let (leaf, key, serial) = self.leaf(&options);
        // The root stays out: who does not have it already has no reason to trust it.
        let intermediates = iter::once(&self.certificate)
            .chain(&self.above)
            .take(self.above.len());
        let chain = iter::once(&leaf).chain(intermediates);
        let chain = chain.map(|certificate| certificate.der().clone()).collect();
        Issued::new(chain, &key, serial, self.bundle_pem())
    }

    /// A leaf that names another as its issuer, and that this CA has signed all the same: what a verifier that compares names
    /// alone takes for the other's. `issuer` is the other's subject in DER. The leaf is alone in its chain.
    ///
    /// # Panics
    ///
    /// If the options cannot be issued.
    #[must_use]
    pub fn issue_in_the_name_of(&self, issuer: &[u8], options: LeafOptions) -> Issued {
        let (leaf, key, serial) = self.leaf(&options);
        let leaf = crl::reissued(self, leaf.der(), issuer);
        Issued::new(vec![leaf], &key, serial, self.bundle_pem())
    }

    /// A leaf, its key, and the serial number that it was given.
    fn leaf(&self, options: &LeafOptions) -> (Certificate, KeyPair, Serial) {
        let (key, serial) = (options.key_pair(), Serial::random());
        let leaf = options
            .params(&self.trust_domain, serial)
            .signed_by(&key, &self.issuer())
            .expect(SIGNED);
        (leaf, key, serial)
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The SPIFFE ID with this path in the trust domain.
    #[must_use]
    pub fn spiffe_id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.trust_domain)
    }

    /// This CA's own certificate.
    #[must_use]
    pub fn certificate_der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// This CA's own certificate as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The root's certificate.
    #[must_use]
    pub fn root_der(&self) -> CertificateDer<'static> {
        self.root().der().clone()
    }

    /// The root's certificate as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root().pem()
    }

    /// The trust bundle that verifies what this CA issues: the root, as PEM.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.root_pem()
    }

    /// Of this CA's own certificate, as [`params`](CaOptions::params) set it.
    pub(super) fn serial_bytes(&self) -> Vec<u8> {
        let serial = self.params.serial_number.as_ref();
        serial.map(SerialNumber::to_bytes).unwrap_or_default()
    }

    /// The subject key identifier that rcgen writes into this CA's certificate.
    pub(super) fn key_id(&self) -> Vec<u8> {
        self.params.key_identifier(&self.key)
    }

    /// DER of this CA's subject, as its certificate has it.
    pub(super) fn subject_der(&self) -> Vec<u8> {
        let (_, certificate) =
            X509Certificate::from_der(self.certificate.der()).expect("rcgen writes X.509");
        certificate.subject().as_raw().to_vec()
    }

    pub(super) fn signing_key(&self) -> &KeyPair {
        &self.key
    }

    pub(super) fn signature_algorithm(&self) -> AlgorithmIdentifier {
        self.kind.signature_algorithm()
    }

    fn root(&self) -> &Certificate {
        self.above.last().unwrap_or(&self.certificate)
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa")
            .field("trust_domain", &self.trust_domain)
            .field("subject", &self.params.distinguished_name)
            .field("depth", &self.above.len())
            .finish_non_exhaustive()
    }
}

/// What is unusual about a [`TestCa`].
#[derive(Debug, Clone)]
#[must_use]
pub struct CaOptions {
    key: KeyKind,
    lifetime: Lifetime,
    constraints: IsCa,
    key_usages: Vec<KeyUsagePurpose>,
    permitted_dns: Vec<String>,
    common_name: Option<String>,
    uri: Option<String>,
}

impl CaOptions {
    /// Nothing: what [`TestCa::new`] makes.
    pub fn new() -> Self {
        Self {
            key: KeyKind::default(),
            lifetime: Lifetime::default(),
            constraints: IsCa::Ca(BasicConstraints::Unconstrained),
            key_usages: vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign],
            permitted_dns: Vec::new(),
            common_name: None,
            uri: None,
        }
    }

    /// Its key is of this kind. Default: P-256.
    pub fn key(mut self, kind: KeyKind) -> Self {
        self.key = kind;
        self
    }

    /// It expired an hour ago.
    pub fn expired(mut self) -> Self {
        self.lifetime = Lifetime::Expired;
        self
    }

    /// It expires this long from now; it began an hour ago.
    pub fn expires_in(mut self, rest: Duration) -> Self {
        self.lifetime = Lifetime::ExpiresIn(rest);
        self
    }

    /// The subject's common name. Default: a unique one.
    pub fn common_name(mut self, name: impl Into<String>) -> Self {
        self.common_name = Some(name.into());
        self
    }

    /// It has this URI SAN: the SPIFFE ID of a signing certificate.
    pub fn spiffe_id(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// It becomes valid in an hour.
    pub fn not_yet_valid(mut self) -> Self {
        self.lifetime = Lifetime::NotYetValid;
        self
    }

    /// At most this many CAs may follow below it (`pathLenConstraint`).
    pub fn path_len(mut self, len: u8) -> Self {
        self.constraints = IsCa::Ca(BasicConstraints::Constrained(len));
        self
    }

    /// Its BasicConstraints say CA:FALSE. It issues all the same.
    pub fn ca_false(mut self) -> Self {
        self.constraints = IsCa::ExplicitNoCa;
        self
    }

    /// Its KeyUsage lacks keyCertSign. It issues all the same.
    pub fn without_key_cert_sign(mut self) -> Self {
        self.key_usages = vec![KeyUsagePurpose::CrlSign];
        self
    }

    /// Its KeyUsage lacks cRLSign. It signs lists all the same.
    pub fn without_crl_sign(mut self) -> Self {
        self.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        self
    }

    /// It has no KeyUsage.
    pub fn without_key_usage(mut self) -> Self {
        self.key_usages.clear();
        self
    }

    /// DNS names below it lie within this domain (NameConstraints); of several, within one of them.
    pub fn permit_dns(mut self, domain: &str) -> Self {
        self.permitted_dns.push(domain.to_owned());
        self
    }

    fn params(&self) -> CertificateParams {
        let mut subject = DistinguishedName::new();
        let unique_name = || format!("mtls test CA {:016x}", unique());
        subject.push(
            DnType::CommonName,
            self.common_name.clone().unwrap_or_else(unique_name),
        );
        subject.push(DnType::OrganizationName, "not for production");

        let mut params = CertificateParams::default();
        self.lifetime.apply(&mut params);
        params.serial_number = Some(Serial::random().into());
        params.distinguished_name = subject;
        params.is_ca = self.constraints;
        params.key_usages = self.key_usages.clone();
        params.subject_alt_names = self
            .uri
            .iter()
            .map(|uri| super::leaf::uri_san(uri))
            .collect();
        params.name_constraints = (!self.permitted_dns.is_empty()).then(|| NameConstraints {
            permitted_subtrees: self
                .permitted_dns
                .iter()
                .cloned()
                .map(GeneralSubtree::DnsName)
                .collect(),
            excluded_subtrees: Vec::new(),
        });
        params
    }
}

impl Default for CaOptions {
    fn default() -> Self {
        Self::new()
    }
}

const SIGNED: &str = "a key made here signs the certificate it was made for";
