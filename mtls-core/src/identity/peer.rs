//! A verified peer.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls_pki_types::CertificateDer;

use super::certificate::{Certificate, SubjectAltNames, UriName, hex, sha256};
use super::mesh::KubernetesServiceAccount;
use super::spiffe::SpiffeId;
use super::time::{Timestamp, Validity};
use crate::verify::Presented;

/// Who a peer is: what its leaf certificate says, once a chain to a trust anchor has been verified.
///
/// There is no way to make one but by verification. A clone costs one reference count. It holds no key material, and
/// [`Display`](fmt::Display) is fit for a log: the SPIFFE ID if there is one, else the first DNS name, IP address or
/// e-mail address, else the subject.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerIdentity(Arc<Inner>);

struct Inner {
    verified: Verified,
    /// Both are made when somebody asks.
    kubernetes: OnceLock<Option<Box<KubernetesServiceAccount>>>,
    sha256: OnceLock<[u8; 32]>,
}

/// The rest follows from what was verified.
impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        self.verified == other.verified
    }
}

impl Eq for Inner {}

/// What a verification came to.
#[derive(PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) leaf: Certificate,
    /// What the leaf profile made of the leaf; in the local trust domain, if it came by an alias of that.
    pub(crate) spiffe_id: Option<SpiffeId>,
    /// The SPIFFE ID as it stands in the leaf, if that is another one.
    pub(crate) presented_id: Option<SpiffeId>,
    /// Whether the bundle that verified it may vouch for names that are no SPIFFE IDs.
    pub(crate) names_count: bool,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) window: Validity,
}

impl PeerIdentity {
    /// INVARIANT: called by `Trust` alone, when the path is verified and the SPIFFE ID is what the leaf profile made of
    /// this very leaf.
    pub(crate) fn verified(verified: Verified) -> Self {
        Self(Arc::new(Inner {
            verified,
            kubernetes: OnceLock::new(),
            sha256: OnceLock::new(),
        }))
    }

    /// The SPIFFE ID, for a peer with an X509-SVID.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.0.verified.spiffe_id.as_ref()
    }

    /// The SPIFFE ID as it stands in the certificate, where that names an alias of the local trust domain:
    /// [`spiffe_id`](Self::spiffe_id) is then the same ID in the local trust domain.
    #[must_use]
    pub fn alias_id(&self) -> Option<&SpiffeId> {
        self.0.verified.presented_id.as_ref()
    }

    /// Whether names that are no SPIFFE ID count: its chain was verified by the local trust bundle, or by one that was
    /// said to give names. Of other peers no DNS name, IP address or e-mail address is told.
    #[must_use]
    pub fn names_count(&self) -> bool {
        self.0.verified.names_count
    }

    /// The DNS SANs, in lowercase and otherwise as written: `*.example.org` is a literal, nothing expands it.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.names().dns
    }

    /// The IP address SANs.
    #[must_use]
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.names().ips
    }

    /// The e-mail SANs, as written.
    #[must_use]
    pub fn emails(&self) -> &[String] {
        &self.names().emails
    }

    /// The URI SANs, the SPIFFE ID among them.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.0
            .verified
            .leaf
            .names
            .uris
            .iter()
            .filter_map(|uri| match uri {
                UriName::Text(text) => Some(text.as_str()),
                UriName::Undecodable => None,
            })
    }

    /// The Kubernetes service account that the identity stands for, in Istio's or Linkerd's form.
    #[must_use]
    pub fn kubernetes(&self) -> Option<&KubernetesServiceAccount> {
        let read = || self.read_kubernetes().map(Box::new);
        self.0.kubernetes.get_or_init(read).as_deref()
    }

    fn read_kubernetes(&self) -> Option<KubernetesServiceAccount> {
        if let Some(id) = self.spiffe_id() {
            return KubernetesServiceAccount::from_spiffe_id(id);
        }
        let names = self.dns_names().iter();
        let mut accounts = names.filter_map(|n| KubernetesServiceAccount::from_linkerd_name(n));
        // Several accounts on one certificate: which comes first is the issuer's whim.
        accounts.next().filter(|_| accounts.next().is_none())
    }

    /// The subject's common name, for display: it identifies nobody (RFC 9525 §2). Of a peer whose names do not
    /// [count](Self::names_count) it is not told.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        let name = self.0.verified.leaf.subject.common_name();
        name.filter(|_| self.names_count())
    }

    /// The subject's distinguished name, for display; control characters are escaped.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.0.verified.leaf.subject.text()
    }

    /// The issuer's distinguished name, for display; control characters are escaped.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.verified.leaf.issuer.text()
    }

    /// The serial number as whole bytes in lowercase hex, without leading zero bytes: as openssl prints it, in lowercase.
    #[must_use]
    pub fn serial(&self) -> &str {
        self.0.verified.leaf.serial.text()
    }

    /// When the leaf begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.0.verified.leaf.validity.not_before
    }

    /// The last second at which the leaf is valid.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.0.verified.leaf.validity.not_after
    }

    /// The span in which every certificate of the verified path is valid, the trust anchor's included.
    #[must_use]
    pub fn window(&self) -> Validity {
        self.0.verified.window
    }

    /// SHA-256 of the leaf certificate's DER.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        let of_leaf = || self.chain().first().map(sha256).unwrap_or_default();
        self.0.sha256.get_or_init(of_leaf)
    }

    /// SHA-256 of the leaf certificate's DER, in lowercase hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(self.sha256())
    }

    /// The chain as it was presented, leaf first, as DER.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.verified.chain
    }

    fn names(&self) -> &SubjectAltNames {
        const NONE: &SubjectAltNames = &SubjectAltNames::NONE;
        if self.names_count() {
            &self.0.verified.leaf.names
        } else {
            NONE
        }
    }

    /// The names that could answer to a server name, for an error to list.
    pub(crate) fn server_names(&self) -> Vec<String> {
        let names = self.names();
        let uris = self.uris().map(ToOwned::to_owned);
        let ips = names.ips.iter().map(ToString::to_string);
        uris.chain(names.dns.iter().cloned()).chain(ips).collect()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.0.verified.leaf
    }

    /// As a log names one whose key is yet to be proven.
    pub(crate) fn presented(&self) -> Presented {
        self.certificate().presented(self.sha256())
    }

    /// A peer with these names, for the rules' own tests; the rest of it is empty.
    #[cfg(test)]
    pub(crate) fn for_rule_tests(spiffe: Option<&str>, dns: &[&str]) -> Self {
        let span = Validity {
            not_before: Timestamp::from_unix(0),
            not_after: Timestamp::from_unix(1),
        };
        let mut leaf = Certificate::empty(span);
        leaf.names.dns = dns.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self::verified(Verified {
            leaf,
            spiffe_id: spiffe.map(|id| id.parse().unwrap()),
            presented_id: None,
            names_count: true,
            chain: Vec::new(),
            window: span,
        })
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.spiffe_id() {
            return fmt::Display::fmt(id, f);
        }
        let names = self.names();
        if let Some(name) = names.dns.first() {
            return f.write_str(name);
        }
        if let Some(ip) = names.ips.first() {
            return fmt::Display::fmt(ip, f);
        }
        f.write_str(names.emails.first().map_or(self.subject(), String::as_str))
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("name", &self.to_string())
            .field("serial", &self.serial())
            .field("issuer", &self.issuer())
            .field("not_after", &self.not_after())
            .field("sha256", &self.fingerprint())
            .finish()
    }
}
