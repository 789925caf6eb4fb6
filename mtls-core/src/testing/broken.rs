//! Credentials that are wrong in one way each.

use std::fmt;

mod rewrite;
mod samples;
mod set;

pub(super) use rewrite::first_block;
pub(super) use samples::NO_CERTIFICATE;
pub use set::BrokenSet;

use rewrite::{cut, key_pair, relabelled, request_pem, uri_sans};
use samples::{
    CERTIFICATE_MARKER_IN_BASE64, ENCRYPTED_KEY, ENCRYPTED_KEY_LEGACY, JCEKS, JKS, NO_KEY,
    OPENSSH_KEY, PKCS12,
};

use super::ca::{CaOptions, TestCa};
use super::leaf::LeafOptions;
use super::mount::MountedDir;
use crate::reason::Reason;

macro_rules! broken {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $at:ident, $reason:ident;)*) => {
        /// A way in which credentials are wrong, for the tests of what must not work.
        ///
        /// Everything but the one fault is sound, so a refusal for another reason than [`expected_reason`] is a finding.
        ///
        /// ```
        /// # use mtls_core::testing::{Broken, BrokenAt, MountedDir, TestCa};
        /// let ca = TestCa::new("example.org");
        /// let dir = MountedDir::new(&ca.issue("/web"));
        /// for broken in Broken::ALL.iter().filter(|b| b.at() != BrokenAt::Handshake) {
        ///     broken.write(&ca, &dir);
        ///     // Loading `dir.path()` must now fail with `broken.expected_reason()`.
        /// }
        /// ```
        ///
        /// [`expected_reason`]: Self::expected_reason
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Broken {
            $($(#[$doc])* $variant,)*
        }

        impl Broken {
            /// Every way, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, in `snake_case`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Who notices.
            #[must_use]
            pub const fn at(self) -> BrokenAt {
                match self {
                    $(Self::$variant => BrokenAt::$at,)*
                }
            }

            /// The reason that whoever notices gives; [`at`](Self::at) says who that is.
            #[must_use]
            pub const fn expected_reason(self) -> Reason {
                match self {
                    $(Self::$variant => Reason::$reason,)*
                }
            }
        }
    };
}

broken! {
    /// The bundle has no byte, as an ACME issuer leaves it.
    BundleEmpty = "bundle_empty", Load, EmptyBundle;
    /// The one CA in the bundle has expired. It issued the chain.
    BundleExpired = "bundle_expired", Load, EmptyBundle;
    /// The bundle holds the leaf (CA:FALSE) in place of its CA.
    BundleHoldsLeaf = "bundle_holds_leaf", Load, EmptyBundle;
    /// The one CA in the bundle has a KeyUsage without keyCertSign. It issued the chain.
    BundleMayNotSign = "bundle_may_not_sign", Load, EmptyBundle;
    /// The one CA in the bundle is not valid yet. It issued the chain.
    BundleNotYetValid = "bundle_not_yet_valid", Load, EmptyBundle;
    /// The bundle is PKCS#7.
    BundlePkcs7 = "bundle_pkcs7", Load, MalformedFile;
    /// The bundle ends within a PEM block.
    BundleTruncated = "bundle_truncated", Load, MalformedFile;
    /// The CA in the bundle has OpenSSL's label `TRUSTED CERTIFICATE`.
    BundleTrustedCertificate = "bundle_trusted_certificate", Load, MalformedFile;
    /// The bundle is text without a PEM block.
    BundleWithoutCertificate = "bundle_without_certificate", Load, EmptyBundle;
    /// The chain is a well-formed PEM block that holds no certificate.
    CertificateMalformed = "certificate_malformed", Load, MalformedCertificate;
    /// The chain is a certificate in DER that is cut short.
    ChainDerTruncated = "chain_der_truncated", Load, MalformedFile;
    /// The chain has no byte.
    ChainEmpty = "chain_empty", Load, MalformedFile;
    /// The chain is PEM with `\n` in place of its line breaks.
    ChainEscapedNewlines = "chain_escaped_newlines", Load, MalformedFile;
    /// The chain is bytes that are no text.
    ChainGarbage = "chain_garbage", Load, MalformedFile;
    /// The chain is a page of HTML.
    ChainHtml = "chain_html", Load, MalformedFile;
    /// The chain is PEM that was encoded in base64 once more.
    ChainInBase64 = "chain_in_base64", Load, MalformedFile;
    /// The chain is indented, as it is within YAML.
    ChainIndented = "chain_indented", Load, MalformedFile;
    /// The chain is a certificate signing request.
    ChainIsRequest = "chain_is_request", Load, MalformedFile;
    /// The chain is a field of JSON.
    ChainJson = "chain_json", Load, MalformedFile;
    /// The chain has the obsolete label `X509 CERTIFICATE`.
    ChainOldLabel = "chain_old_label", Load, MalformedFile;
    /// The chain ends within a PEM block.
    ChainTruncated = "chain_truncated", Load, MalformedFile;
    /// The chain is text in UTF-16.
    ChainUtf16 = "chain_utf16", Load, MalformedFile;
    /// The intermediate has expired.
    IntermediateExpired = "intermediate_expired", LoadAndHandshake, Expired;
    /// The intermediate has a KeyUsage without keyCertSign.
    IntermediateMayNotSign = "intermediate_may_not_sign", LoadAndHandshake, CaConstraint;
    /// The chain lacks the intermediate that issued its leaf.
    IntermediateMissing = "intermediate_missing", LoadAndHandshake, UnknownIssuer;
    /// The intermediate is none: CA:FALSE.
    IntermediateNotCa = "intermediate_not_ca", LoadAndHandshake, CaConstraint;
    /// The chain is by a CA that is not in the bundle.
    IssuerUnknown = "issuer_unknown", LoadAndHandshake, UnknownIssuer;
    /// The chain is by a CA that has the name of the one in the bundle, and another key.
    IssuerWithOtherKey = "issuer_with_other_key", LoadAndHandshake, UntrustedKey;
    /// The key is encrypted, in PKCS#8.
    KeyEncrypted = "key_encrypted", Load, KeyEncrypted;
    /// The key is encrypted in the old way of OpenSSL, by a PEM header.
    KeyEncryptedLegacy = "key_encrypted_legacy", Load, KeyEncrypted;
    /// The key is in a Java keystore with Sun's JCE encryption.
    KeyJceks = "key_jceks", Load, MalformedFile;
    /// The key is in a Java keystore.
    KeyJks = "key_jks", Load, MalformedFile;
    /// The key is a well-formed PEM block that holds no key.
    KeyMalformed = "key_malformed", Load, KeyUnusable;
    /// The key belongs to another leaf.
    KeyMismatch = "key_mismatch", Load, KeyMismatch;
    /// The key's file holds the chain in its place.
    KeyMissing = "key_missing", Load, KeyUnusable;
    /// The key is in OpenSSH's format.
    KeyOpenSsh = "key_open_ssh", Load, MalformedFile;
    /// The key is in a PKCS#12 keystore.
    KeyPkcs12 = "key_pkcs12", Load, MalformedFile;
    /// The key is the public one.
    KeyPublic = "key_public", Load, MalformedFile;
    /// The key's file holds another key too.
    KeySeveral = "key_several", Load, KeyUnusable;
    /// The key ends within its PEM block.
    KeyTruncated = "key_truncated", Load, MalformedFile;
    /// The leaf may be used as a client only. Loads; refused as a server.
    LeafClientOnly = "leaf_client_only", Handshake, WrongUsage;
    /// The leaf has expired.
    LeafExpired = "leaf_expired", LoadAndHandshake, Expired;
    /// The leaf is a CA: CA:TRUE.
    LeafIsCa = "leaf_is_ca", LoadAndHandshake, NotEndEntity;
    /// The leaf's KeyUsage has keyCertSign.
    LeafMaySign = "leaf_may_sign", LoadAndHandshake, NotEndEntity;
    /// The leaf is not valid yet.
    LeafNotYetValid = "leaf_not_yet_valid", LoadAndHandshake, NotYetValid;
    /// The leaf may be used as a server only. Loads; refused as a client.
    LeafServerOnly = "leaf_server_only", Handshake, WrongUsage;
    /// The intermediate may issue for another DNS domain only.
    NameConstraint = "name_constraint", LoadAndHandshake, NameConstraint;
    /// The intermediate allows no CA below itself, and there is one.
    PathTooLong = "path_too_long", LoadAndHandshake, CaConstraint;
    /// The leaf has no SAN, only a common name. Loads; refused as a client, who has no other name.
    SanMissing = "san_missing", Handshake, NoSan;
    /// The leaf's URI SAN begins as a SPIFFE ID and is none.
    SpiffeIdInvalid = "spiffe_id_invalid", LoadAndHandshake, InvalidIdentity;
    /// The leaf's SPIFFE ID is of another trust domain. Loads, where the leaf itself says what the domain is; refused by a
    /// peer that was told.
    TrustDomainOther = "trust_domain_other", Handshake, WrongTrustDomain;
    /// The leaf has a SPIFFE ID, and before it a URI SAN that is not ASCII, which many a reader skips.
    UriSanUndecodable = "uri_san_undecodable", LoadAndHandshake, AmbiguousIdentity;
    /// The leaf has two SPIFFE IDs.
    UriSansTwo = "uri_sans_two", LoadAndHandshake, AmbiguousIdentity;
}

/// Who notices that credentials are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BrokenAt {
    /// Loading them as one's own fails. No peer ever sees what is wrong.
    Load,
    /// Loading them as one's own fails, since the chain does not verify; and a peer that trusts the CA refuses the chain
    /// for the same reason when a program that checks less presents it.
    LoadAndHandshake,
    /// They load, and a peer that trusts the CA refuses them in a handshake.
    Handshake,
}

impl Broken {
    /// Credentials for `/web` in the CA's trust domain that are broken in this way.
    ///
    /// The bundle is the CA's own, unless it is what is broken.
    #[must_use]
    pub fn make(self, ca: &TestCa) -> BrokenSet {
        let web = || LeafOptions::service("/web");
        let good = || BrokenSet::of(&ca.issue("/web"));
        let leaf = |options: LeafOptions| BrokenSet::of(&ca.issue_with(options));
        let below =
            |options: CaOptions| BrokenSet::of(&ca.intermediate_with(options).issue("/web"));
        let own_root = |options: CaOptions| {
            BrokenSet::of(&TestCa::with_options(ca.trust_domain(), options).issue("/web"))
        };
        let rewritten = |rewrite: fn(&str) -> String| {
            let issued = ca.issue("/web");
            BrokenSet::of(&issued).chain(rewrite(&issued.chain_pem()))
        };
        match self {
            Self::BundleEmpty => good().bundle(b""),
            Self::BundleExpired => own_root(CaOptions::new().expired()),
            Self::BundleHoldsLeaf => {
                let issued = ca.issue("/web");
                let leaf = first_block(&issued.chain_pem());
                BrokenSet::of(&issued).bundle(leaf)
            }
            Self::BundleMayNotSign => own_root(CaOptions::new().without_key_cert_sign()),
            Self::BundleNotYetValid => own_root(CaOptions::new().not_yet_valid()),
            Self::BundlePkcs7 => good().bundle(relabelled(&ca.bundle_pem(), "PKCS7")),
            Self::BundleTrustedCertificate => {
                good().bundle(relabelled(&ca.bundle_pem(), "TRUSTED CERTIFICATE"))
            }
            Self::BundleTruncated => good().bundle(cut(ca.bundle_pem())),
            Self::BundleWithoutCertificate => good().bundle(b"# no CA yet\n"),
            Self::CertificateMalformed => good().chain(NO_CERTIFICATE),
            Self::ChainDerTruncated => good().chain(cut(ca.certificate_der().to_vec())),
            Self::ChainEmpty => good().chain(b""),
            Self::ChainEscapedNewlines => rewritten(|chain| chain.replace('\n', "\\n")),
            Self::ChainGarbage => good().chain([0xff, 0x00, 0xfe, 0x80].repeat(64)),
            Self::ChainHtml => good().chain("<!DOCTYPE html>\n<title>Sign in</title>\n"),
            Self::ChainInBase64 => good().chain(CERTIFICATE_MARKER_IN_BASE64),
            Self::ChainIndented => {
                rewritten(|chain| format!("chain: |\n  {}", chain.replace('\n', "\n  ")))
            }
            Self::ChainIsRequest => {
                let issued = ca.issue("/web");
                let request = request_pem(issued.key_pem());
                BrokenSet::of(&issued).chain(request)
            }
            Self::ChainJson => rewritten(|chain| format!("{{\"certificate\":{chain:?}}}\n")),
            Self::ChainOldLabel => rewritten(|chain| relabelled(chain, "X509 CERTIFICATE")),
            Self::ChainTruncated => good().chain(cut(ca.issue("/web").chain_pem())),
            Self::ChainUtf16 => {
                let issued = ca.issue("/web");
                let marked = format!("\u{feff}{}", issued.chain_pem());
                let utf16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
                BrokenSet::of(&issued).chain(utf16)
            }
            Self::IntermediateExpired => below(CaOptions::new().expired()),
            Self::IntermediateMayNotSign => below(CaOptions::new().without_key_cert_sign()),
            Self::IntermediateMissing => {
                let issued = ca.intermediate().issue("/web");
                let leaf = first_block(&issued.chain_pem());
                BrokenSet::of(&issued).chain(leaf)
            }
            Self::IntermediateNotCa => below(CaOptions::new().ca_false()),
            Self::IssuerUnknown => own_root(CaOptions::new()).bundle(ca.bundle_pem()),
            Self::IssuerWithOtherKey => {
                let impostor = ca.same_name_other_key().issue("/web");
                // What leads from the real one to the root, if it is an intermediate, so that nothing is missing.
                let chain = ca.issue("/web").chain_pem();
                let above = chain.replacen(&first_block(&chain), "", 1);
                BrokenSet::of(&impostor)
                    .chain(impostor.chain_pem() + &above)
                    .bundle(ca.bundle_pem())
            }
            Self::KeyEncrypted => good().key(ENCRYPTED_KEY),
            Self::KeyEncryptedLegacy => good().key(ENCRYPTED_KEY_LEGACY),
            Self::KeyJceks => good().key(JCEKS),
            Self::KeyJks => good().key(JKS),
            Self::KeyMalformed => good().key(NO_KEY),
            Self::KeyMismatch => good().key(ca.issue("/web").key_pem()),
            Self::KeyMissing => {
                let issued = ca.issue("/web");
                BrokenSet::of(&issued).key(issued.chain_pem())
            }
            Self::KeyOpenSsh => good().key(OPENSSH_KEY),
            Self::KeyPkcs12 => good().key(PKCS12),
            Self::KeyPublic => {
                let issued = ca.issue("/web");
                let public = key_pair(issued.key_pem()).public_key_pem();
                BrokenSet::of(&issued).key(public)
            }
            Self::KeySeveral => {
                let issued = ca.issue("/web");
                let both = format!("{}{}", issued.key_pem(), ca.issue("/web").key_pem());
                BrokenSet::of(&issued).key(both)
            }
            Self::KeyTruncated => {
                let issued = ca.issue("/web");
                BrokenSet::of(&issued).key(cut(issued.key_pem()))
            }
            Self::LeafClientOnly => leaf(web().client_only()),
            Self::LeafExpired => leaf(web().expired()),
            Self::LeafIsCa => leaf(web().ca_true()),
            Self::LeafMaySign => leaf(web().key_usage_cert_sign()),
            Self::LeafNotYetValid => leaf(web().not_yet_valid()),
            Self::LeafServerOnly => leaf(web().server_only()),
            Self::NameConstraint => below(CaOptions::new().permit_dns("elsewhere.test")),
            Self::PathTooLong => {
                let last = ca.intermediate_with(CaOptions::new().path_len(0));
                BrokenSet::of(&last.intermediate().issue("/web"))
            }
            Self::SanMissing => leaf(LeafOptions::new().common_name("web")),
            Self::SpiffeIdInvalid => leaf(LeafOptions::new().uri(ca.spiffe_id("/../web"))),
            Self::TrustDomainOther => leaf(LeafOptions::new().uri("spiffe://elsewhere.test/web")),
            Self::UriSanUndecodable => {
                let second = ca.spiffe_id("/web");
                leaf(web().raw_san(uri_sans(&[b"spiffe://\xff\xfe/web", second.as_bytes()])))
            }
            Self::UriSansTwo => leaf(web().spiffe("/second")),
        }
    }

    /// Makes such credentials and rotates the directory to them.
    pub fn write(self, ca: &TestCa, dir: &MountedDir) {
        let set = self.make(ca);
        dir.rotate_with(set.chain_pem, set.key_pem, set.bundle_pem);
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
