//! What a certificate says beyond what an identity needs: read with the same decoder, for nobody but the operator.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

use rustls_pki_types::CertificateDer;

use crate::identity::certificate::{Certificate, ID_CE, printable};

/// A certificate of a chain or a bundle, and where in its file it stands.
#[derive(Debug)]
pub(super) struct Seen {
    /// From 1.
    pub(super) block: usize,
    pub(super) der: CertificateDer<'static>,
    pub(super) cert: Certificate,
    pub(super) facts: Facts,
}

#[derive(Debug)]
pub(super) struct Facts {
    /// Counted from 1.
    pub(super) version: u32,
    /// The signature's algorithm, as an object identifier in dots.
    pub(super) signature: String,
    /// The key's algorithm and its parameter, if that is one, as object identifiers in dots.
    pub(super) key: (String, Option<String>),
    pub(super) rsa_bits: Option<usize>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    /// Critical extensions that path validation does not know.
    pub(super) unknown_critical: Vec<String>,
    pub(super) purposes: Option<Purposes>,
    /// Whether it constrains URI names, permitted or excluded.
    pub(super) constrains_uris: bool,
    pub(super) organizations: Vec<String>,
    /// Where revocation is looked up, in words.
    pub(super) publishes: Vec<&'static str>,
}

/// ExtendedKeyUsage as it stands, `any` apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purposes {
    pub(super) any: bool,
    pub(super) server: bool,
    pub(super) client: bool,
}

impl Seen {
    pub(super) fn read(block: usize, der: &CertificateDer<'static>) -> Result<Self, String> {
        let cert = Certificate::parse(der)?;
        let facts = Facts::read(der)?;
        Ok(Self {
            block,
            der: der.clone(),
            cert,
            facts,
        })
    }

    pub(super) fn is_v1(&self) -> bool {
        self.facts.version < 3
    }

    /// The name of the leaf or the CA, for a sentence.
    pub(super) fn name(&self) -> &str {
        self.cert.subject.text()
    }
}

impl Facts {
    fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let X509Version(version) = cert.version();
        let purposes = cert.extended_key_usage().ok().flatten();
        let purposes = purposes.map(|purposes| Purposes {
            any: purposes.value.any,
            server: purposes.value.server_auth,
            client: purposes.value.client_auth,
        });
        let key = &cert.public_key().algorithm;
        let curve = key.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let rsa_bits = match cert.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) => Some(rsa.key_size()),
            Ok(_) | Err(_) => None,
        };
        let unknown = cert.extensions().iter().filter(|extension| {
            let is_known = extension
                .oid
                .as_bytes()
                .strip_prefix(ID_CE)
                .is_some_and(|last| matches!(last, [last] if KNOWN.contains(last)));
            extension.critical && !is_known
        });
        Ok(Self {
            version: version.saturating_add(1),
            signature: cert.signature_algorithm.algorithm.to_id_string(),
            key: (
                key.algorithm.to_id_string(),
                curve.map(|oid| oid.to_id_string()),
            ),
            rsa_bits,
            authority_key_id: authority_key_id(&cert),
            unknown_critical: unknown.map(|e| e.oid.to_id_string()).collect(),
            purposes,
            constrains_uris: constrains_uris(&cert),
            publishes: publishes(&cert),
            organizations: cert
                .subject()
                .iter_organization()
                .filter_map(|name| name.as_str().ok())
                .map(printable)
                .collect(),
        })
    }
}

fn authority_key_id(cert: &X509Certificate<'_>) -> Option<Vec<u8>> {
    cert.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        id.key_identifier.as_ref().map(|id| id.0.to_vec())
    })
}

fn publishes(cert: &X509Certificate<'_>) -> Vec<&'static str> {
    let mut publishes = Vec::new();
    for extension in cert.extensions() {
        let extension = extension.parsed_extension();
        if let ParsedExtension::CRLDistributionPoints(_) = extension {
            publishes.push("a distribution point of lists");
        }
        if let ParsedExtension::AuthorityInfoAccess(access) = extension {
            let mut all = access.accessdescs.iter();
            if all.any(|one| one.access_method.to_id_string() == OCSP) {
                publishes.push("an OCSP responder");
            }
        }
    }
    publishes
}

fn constrains_uris(cert: &X509Certificate<'_>) -> bool {
    let Ok(Some(constraints)) = cert.name_constraints() else {
        return false;
    };
    let permitted = constraints.value.permitted_subtrees.iter().flatten();
    let excluded = constraints.value.excluded_subtrees.iter().flatten();
    permitted
        .chain(excluded)
        .any(|tree| matches!(tree.base, GeneralName::URI(_)))
}

/// id-ad-ocsp (RFC 5280 §4.2.2.1).
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// The extensions that webpki knows: keyUsage, subjectAltName, basicConstraints, nameConstraints, cRLDistributionPoints,
/// extendedKeyUsage.
const KNOWN: [u8; 6] = [15, 17, 19, 30, 31, 37];
