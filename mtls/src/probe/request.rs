//! Whether our certificate is one that the server asks for, by what it says of itself.

use mtls_core::rustls::SignatureScheme;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::look::Request;

/// How our chain fits what the server has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// One of the names is an issuer in our chain; `None` where the server sent none.
    pub(super) by_name: Option<bool>,
    /// One of the schemes is for our key; `None` for a key of a kind that is not known here.
    pub(super) by_scheme: Option<bool>,
}

impl Fit {
    /// Of our chain, the leaf first.
    pub(super) fn of(request: &Request, chain: &[Vec<u8>], version: Option<&str>) -> Option<Self> {
        let leaf = chain.first()?;
        let by_name = match request.names.is_empty() {
            true => None,
            false => Some(issuers(chain).iter().any(|it| request.names.contains(it))),
        };
        let known = schemes_for(leaf, version);
        let by_scheme = known.map(|known| known.iter().any(|it| request.schemes.contains(it)));
        Some(Self { by_name, by_scheme })
    }

    /// Whether Go's client would send it, as others do that choose by the server's names: it sends nothing otherwise, and the server
    /// says that there was no certificate. `None` where that cannot be said.
    pub(super) fn go_sends(self) -> Option<bool> {
        match (self.by_name, self.by_scheme) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (_, None) => None,
            (Some(true) | None, Some(true)) => Some(true),
        }
    }
}

/// The issuers of a chain, as they are compared with the names that a server sends.
pub(super) fn issuers(chain: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let parsed = chain.iter().filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(certificate.issuer().as_raw().to_vec())
    });
    parsed.collect()
}

/// What a key of this kind signs a handshake with. In TLS 1.3 each curve has a hash of its own, and RSA is PSS alone.
fn schemes_for(leaf: &[u8], version: Option<&str>) -> Option<Vec<SignatureScheme>> {
    use SignatureScheme as S;
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let algorithm = &leaf.public_key().algorithm;
    let curve = algorithm.parameters.as_ref();
    let curve = curve.and_then(|any| any.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string());
    let is_1_2 = version == Some("1.2");
    let ecdsa = [
        S::ECDSA_NISTP256_SHA256,
        S::ECDSA_NISTP384_SHA384,
        S::ECDSA_NISTP521_SHA512,
    ];
    let one = match (
        algorithm.algorithm.to_id_string().as_str(),
        curve.as_deref(),
    ) {
        ("1.2.840.10045.2.1", Some(_)) if is_1_2 => return Some(ecdsa.to_vec()),
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => S::ECDSA_NISTP256_SHA256,
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => S::ECDSA_NISTP384_SHA384,
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => S::ECDSA_NISTP521_SHA512,
        ("1.3.101.112", _) => S::ED25519,
        ("1.2.840.113549.1.1.1", _) => {
            let mut rsa = vec![S::RSA_PSS_SHA256, S::RSA_PSS_SHA384, S::RSA_PSS_SHA512];
            if is_1_2 {
                rsa.extend([
                    S::RSA_PKCS1_SHA256,
                    S::RSA_PKCS1_SHA384,
                    S::RSA_PKCS1_SHA512,
                ]);
            }
            return Some(rsa);
        }
        _ => return None,
    };
    Some(vec![one])
}

#[cfg(test)]
mod tests {
    use mtls_core::testing::{KeyKind, LeafOptions, TestCa};

    use super::*;

    fn asks(names: Vec<Vec<u8>>, schemes: &[SignatureScheme]) -> Request {
        let schemes = schemes.to_vec();
        Request { names, schemes }
    }

    #[test]
    fn go_sends_what_fits_by_name_and_by_scheme_and_nothing_else() {
        let (ca, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
        let chain = |ca: &TestCa, kind| {
            let issued = ca.issue_with(LeafOptions::service("/web").key(kind));
            let chain = issued.chain_der();
            chain.iter().map(|der| der.to_vec()).collect::<Vec<_>>()
        };
        let ours = chain(&ca, KeyKind::EcdsaP256);
        let names = || issuers(&ours);
        let p256 = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let p384 = [SignatureScheme::ECDSA_NISTP384_SHA384];
        let go = |request: &Request, chain: &[Vec<u8>], version| {
            Fit::of(request, chain, Some(version)).unwrap().go_sends()
        };
        assert_eq!(go(&asks(names(), &p256), &ours, "1.3"), Some(true));
        assert_eq!(go(&asks(Vec::new(), &p256), &ours, "1.3"), Some(true));
        let foreign = chain(&other, KeyKind::EcdsaP256);
        assert_eq!(go(&asks(names(), &p256), &foreign, "1.3"), Some(false));
        // The curve is bound to its hash in TLS 1.3, and not in TLS 1.2.
        assert_eq!(go(&asks(names(), &p384), &ours, "1.3"), Some(false));
        assert_eq!(go(&asks(names(), &p384), &ours, "1.2"), Some(true));
        let rsa = chain(&ca, KeyKind::Rsa2048);
        let pkcs1 = [SignatureScheme::RSA_PKCS1_SHA256];
        assert_eq!(go(&asks(names(), &pkcs1), &rsa, "1.3"), Some(false));
        assert_eq!(go(&asks(names(), &pkcs1), &rsa, "1.2"), Some(true));
        // Of nobody there is nothing to say.
        assert_eq!(Fit::of(&asks(names(), &p256), &[], Some("1.3")), None);
    }
}
