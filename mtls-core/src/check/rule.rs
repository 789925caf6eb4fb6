//! The one table of rules.

use std::fmt;
use std::str::FromStr;

use super::who::{Caller, Severity, TlsStack};

macro_rules! rules {
    ($(#[doc = $doc:literal] $variant:ident = $name:literal,
        [$command:ident $startup:ident $reload:ident], [$($stack:ident)*], $expected:literal, $remedy:literal;)*) => {
        /// What can be wrong with the files of a set, by its stable name.
        ///
        /// Names are added, never renamed: lists of what is allowed, and dashboards, are written against them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum CheckRule {
            $(#[doc = $doc] $variant,)*
        }

        impl CheckRule {
            /// Every rule, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name, in `kebab-case`; the anchor in the runbook.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What is wrong, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc.trim_ascii(),)*
                }
            }

            /// How bad it is, by who asks.
            #[must_use]
            pub const fn severity(self, caller: Caller) -> Severity {
                match (self, caller) {
                    $(
                        (Self::$variant, Caller::Command) => Severity::$command,
                        (Self::$variant, Caller::Startup) => Severity::$startup,
                        (Self::$variant, Caller::Reload) => Severity::$reload,
                    )*
                }
            }

            /// Which TLS stacks refuse it, or go wrong by it.
            #[must_use]
            pub const fn minded_by(self) -> &'static [TlsStack] {
                match self {
                    $(Self::$variant => &[$(TlsStack::$stack),*],)*
                }
            }

            /// What should have been found.
            #[must_use]
            pub const fn expected(self) -> &'static str {
                match self {
                    $(Self::$variant => $expected,)*
                }
            }

            /// What an operator can do next, in one sentence.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                }
            }
        }
    };
}

rules! {
    /// An issuer in the path is no CA.
    BcMissing = "bc-missing", [Error Error Error], [Ours Rustls OpenSsl Go],
        "basicConstraints CA:TRUE on every issuer (RFC 5280 §4.2.1.9)",
        "reissue the issuer as a CA, with critical basicConstraints CA:TRUE";
    /// One certificate stands twice in the bundle.
    BundleDuplicate = "bundle-duplicate", [Info Info Info], [],
        "each CA once",
        "remove the copy: it says nothing, and hides what has changed";
    /// None of a bundle's certificates can be a trust anchor.
    BundleEmpty = "bundle-empty", [Error Error Error], [Ours Rustls],
        "at least one CA certificate that is valid now and may sign certificates",
        "put the certificates of the CAs that issue your peers into the bundle";
    /// A trust anchor has expired.
    BundleExpired = "bundle-expired", [Warn Warn Warn], [Ours OpenSsl Go],
        "CA certificates that are valid now",
        "remove the expired CA from the bundle, and add its successor";
    /// The bundle of another trust domain cannot be used, or which it is cannot be told.
    BundleFederated = "bundle-federated", [Error Error Error], [Ours],
        "one sound bundle for each trust domain that is federated with",
        "write the bundle again from its source, one for each trust domain";
    /// The bundle of another trust domain is empty: nobody of that domain is trusted.
    BundleFederatedEmpty = "bundle-federated-empty", [Warn Info Info], [Ours],
        "the CA certificates of the trust domain that is federated with",
        "ask the domain for its bundle; if nobody there is to be trusted any more, remove the entry";
    /// A trust anchor is an intermediate, and no root.
    BundleIntermediate = "bundle-intermediate", [Warn Info Info], [OpenSsl],
        "root certificates, which are their own issuers",
        "put the root into the bundle and the intermediate into the chain, unless the intermediate is pinned on purpose";
    /// A certificate in the bundle is no CA: to other stacks it becomes one.
    BundleLeaf = "bundle-leaf", [Error Warn Warn], [Ours OpenSsl Go],
        "CA certificates alone (basicConstraints CA:TRUE)",
        "remove it, and put the CA that issued it in its place: to other rustls programs it could sign identities";
    /// A trust anchor's keyUsage does not let it sign certificates.
    BundleMayNotSign = "bundle-may-not-sign", [Error Warn Warn], [Ours OpenSsl Go],
        "keyUsage keyCertSign (RFC 5280 §4.2.1.3)",
        "reissue the CA with keyUsage keyCertSign";
    /// The bundle does not hold the root that is in the chain's own file.
    BundleMissingOwn = "bundle-missing-own", [Error Error Error], [Ours],
        "a bundle that verifies our own chain",
        "add our own CA to the bundle; where peers have another PKI, say `OwnChain::FromAnotherPki`";
    /// A trust anchor is not valid yet.
    BundleNotYetValid = "bundle-not-yet-valid", [Warn Warn Warn], [Ours OpenSsl Go],
        "CA certificates that are valid now",
        "check the clock; the CA becomes usable by itself once its notBefore has come";
    /// Something in a SPIFFE bundle or a bundle map is passed over, since no reader knows it.
    BundlePassedOver = "bundle-passed-over", [Warn Info Info], [],
        "the keys of SPIFFE Trust Domain and Bundle §4, and entries whose `use` is `x509-svid` or `jwt-svid`",
        "correct what is named: where it was meant to bring a CA, that CA is missing";
    /// The bundle holds a public root.
    BundlePublic = "bundle-public", [Error Info Info], [],
        "the private CAs that issue your peers",
        "remove public roots: whoever gets a certificate from one of them would be authenticated";
    /// Two trust anchors have one name and different keys.
    BundleSameName = "bundle-same-name", [Warn Info Info], [],
        "one key for each CA name",
        "give a CA that is made anew a new name, so that errors and logs tell the two apart";
    /// A certificate of a bundle cannot be decoded.
    BundleUnparsable = "bundle-unparsable", [Error Warn Warn], [Ours OpenSsl Go],
        "certificates in DER within PEM",
        "write the bundle again from its source; the certificate is damaged";
    /// A certificate of the chain cannot be decoded.
    CertMalformed = "cert-malformed", [Error Error Error], [Ours Rustls OpenSsl Go],
        "X.509 v3 certificates in DER",
        "write the file again from the issuer; the named block is damaged";
    /// A certificate of the chain is X.509 of version 1.
    CertV1 = "cert-v1", [Error Error Error], [Ours Rustls],
        "X.509 version 3",
        "reissue it with an extension, such as subjectAltName: `openssl x509 -req -extfile`";
    /// Certificates of the chain's file are not in its path.
    ChainExtra = "chain-extra", [Warn Info Info], [Java],
        "the leaf and its intermediates alone",
        "remove what is not in the path from the leaf to the root";
    /// The path does not reach a trust anchor: an intermediate is missing, or the bundle is another CA's.
    ChainIncomplete = "chain-incomplete", [Error Error Error], [Ours Rustls OpenSsl Go],
        "a chain that leads to a CA in the bundle",
        "append the missing intermediate to the chain, or add the CA to the bundle";
    /// The chain is not in order, leaf first.
    ChainOrder = "chain-order", [Warn Info Info], [Rustls OpenSsl Go Java],
        "the leaf first, then each certificate's issuer",
        "write the leaf first, then its issuer, and so on; we put them in order, other stacks do not";
    /// The root is among the certificates that are presented.
    ChainRootIncluded = "chain-root-included", [Info Info Info], [],
        "a chain without its root",
        "leave the root out: whoever does not have it has no reason to trust it";
    /// The chain has more intermediates, or bytes, than are read.
    ChainTooDeep = "chain-too-deep", [Error Error Error], [Ours Rustls],
        "at most six intermediates",
        "issue from a CA that is nearer to the root";
    /// The chain is larger than proxies and handshakes like.
    ChainTooLarge = "chain-too-large", [Warn Info Info], [OpenSsl],
        "at most 16 KiB of certificates",
        "leave out what is not needed; EC keys and fewer names make certificates small";
    /// Every certificate begins in the future: the clock is behind, rather than all issuers ahead.
    ClockSuspect = "clock-suspect", [Warn Info Info], [],
        "certificates that are valid now",
        "look at the clock and its NTP before the certificates";
    /// A certificate has a critical extension that nobody here knows.
    CriticalUnknown = "critical-unknown", [Error Error Error], [Ours Rustls OpenSsl Go],
        "no critical extensions but those of RFC 5280",
        "reissue it with that extension not critical, or without it";
    /// The leaf says where its revocation can be looked up, and no list is configured.
    CrlDpUnused = "crl-dp-unused", [Info Info Info], [],
        "a revocation list on disk, where the CA publishes one",
        "mount the CA's list and name it; nothing is fetched and no responder is asked, so nobody is known to be revoked";
    /// No list speaks of an issuer in the path.
    CrlIssuer = "crl-issuer", [Error Info Info], [Ours],
        "a revocation list of each issuer in the path",
        "mount the list of this CA too; `UnknownRevocation::Allow` is for a CA that publishes none";
    /// A path is configured for revocation lists, and there is none.
    CrlNone = "crl-none", [Error Error Error], [Ours],
        "at least one revocation list; a CA that revoked nobody publishes an empty one",
        "let the CA publish its list here: `openssl ca -gencrl`";
    /// A list revokes our own chain.
    CrlRevokesSelf = "crl-revokes-self", [Error Warn Warn], [Ours Rustls OpenSsl],
        "credentials that are not revoked",
        "issue a new certificate with a new key now; a revocation is not undone";
    /// A list was not signed by the CA that it names.
    CrlSignature = "crl-signature", [Error Error Error], [Ours Rustls OpenSsl],
        "a list that is signed by the CA it names",
        "fetch the list again from its issuer; if the CA was made anew, give both its bundle and its list";
    /// The successor of a list should be here by now.
    CrlSoon = "crl-soon", [Warn Warn Warn], [],
        "a list with a third of its life left",
        "find out why the CA's newer list does not arrive here";
    /// A list is past its nextUpdate.
    CrlStale = "crl-stale", [Error Warn Warn], [Ours OpenSsl],
        "a list before its nextUpdate",
        "find out why the CA's newer list does not arrive here; `StaleCrl` says how late it may be";
    /// A list is of a kind that is not taken: delta, indirect, partial, malformed, or no list at all.
    CrlUnsupported = "crl-unsupported", [Error Error Error], [Ours],
        "complete lists of version 2, each of its issuer's own certificates",
        "have the CA issue a plain, complete list";
    /// The CA was made for development.
    DevCa = "dev-ca", [Error Info Info], [],
        "a CA that is meant for production",
        "issue from the real CA; for a development machine say that development CAs are fine";
    /// An ExtendedKeyUsage has `any` in place of clientAuth and serverAuth.
    EkuAny = "eku-any", [Error Error Error], [Ours Rustls OpenSsl],
        "extended key usages clientAuth and serverAuth by name, or none",
        "reissue with extended key usages clientAuth and serverAuth";
    /// An ExtendedKeyUsage in the path lacks a role that is asked for.
    EkuMissingRole = "eku-missing-role", [Error Warn Error], [Ours Rustls OpenSsl Go],
        "extended key usages for each role, or none",
        "reissue with extended key usages clientAuth and serverAuth; public CAs no longer issue clientAuth: use a private one";
    /// An ExtendedKeyUsage in the path has neither role of TLS.
    EkuNoRole = "eku-no-role", [Error Error Error], [Ours Rustls OpenSsl Go],
        "extended key usage clientAuth, serverAuth or both, or none",
        "reissue with extended key usages clientAuth and serverAuth";
    /// A certificate of the chain has expired.
    Expired = "expired", [Error Error Error], [Ours Rustls OpenSsl Go],
        "certificates that are valid now",
        "renew the certificate; find out why its renewer has not";
    /// Less than a third of a certificate's life is left, or less than 60 days of a CA's.
    ExpiresSoon = "expires-soon", [Warn Info Info], [],
        "a third of the lifetime left; of a CA's, 60 days",
        "see whether the renewer works: it usually renews when a third is left";
    /// A file has no bytes.
    FileEmpty = "file-empty", [Error Error Error], [Ours Rustls OpenSsl Go],
        "PEM",
        "wait for the issuer to write it; an issuer without a CA to give (ACME) leaves ca.crt empty: use trust-manager";
    /// A file is absent, or a link leads nowhere.
    FileMissing = "file-missing", [Error Error Error], [Ours Rustls OpenSsl Go],
        "a file",
        "check that the volume is mounted and that the Secret has a key of this name";
    /// A file is there and cannot be read, or is no regular file.
    FileUnreadable = "file-unreadable", [Error Error Error], [Ours Rustls OpenSsl Go],
        "a regular file that our user may read",
        "give the process's user or group read permission (fsGroup, defaultMode, chmod), and name the file itself";
    /// Two sets did not agree in a handshake.
    HandshakeRefused = "handshake-refused", [Error Info Info], [],
        "a handshake that both sides finish",
        "see what the side that refused has found";
    /// The CA names that a server sends along with its request are more than peers read.
    HintsLarge = "hints-large", [Warn Info Info], [OpenSsl Go],
        "at most 8 KiB of CA names",
        "put fewer CAs into the bundle; hints are left out, and clients choose their certificate blindly";
    /// The other side's policy does not let this identity in.
    IdentityUnmatched = "identity-unmatched", [Error Info Info], [],
        "an identity that the other side's policy allows",
        "allow this identity in the other side's policy, or issue for one that it allows";
    /// An issuer has the name of a CA that we know, and another key.
    IssuerOtherKey = "issuer-other-key", [Error Error Error], [Ours Rustls OpenSsl Go],
        "a chain by the CA whose certificate is in the bundle",
        "the CA was made anew under its old name: give both sides the same bundle";
    /// The private key needs a password.
    KeyEncrypted = "key-encrypted", [Error Error Error], [Ours Rustls],
        "an unencrypted private key",
        "store it unencrypted: `openssl pkcs8 -topk8 -nocrypt -in KEY -out KEY.new`";
    /// A trust bundle holds a private key.
    KeyInBundle = "key-in-bundle", [Error Error Error], [],
        "CA certificates alone",
        "replace that key, which has been handed around, and keep CA certificates alone in the bundle";
    /// The chain's file holds a private key, and another file is the key's; or a ConfigMap holds one.
    KeyInPublicFile = "key-in-public-file", [Error Info Info], [],
        "certificates alone",
        "replace that key, and keep certificates alone in the file";
    /// The key's kind is one that some of the named peers' stacks do not support.
    KeyInterop = "key-interop", [Warn Info Info], [Java],
        "a P-256 or an RSA key",
        "issue an ECDSA P-256 key, which every stack supports";
    /// The file holds several private keys.
    KeyMany = "key-many", [Error Error Error], [Ours],
        "one private key",
        "leave the one key that belongs to the leaf";
    /// The private key belongs to none of the certificates.
    KeyMismatch = "key-mismatch", [Error Error Error], [Ours Rustls OpenSsl Go],
        "the private key of the leaf",
        "issue key and certificate together, or wait for the writer to finish both files";
    /// The file holds no private key.
    KeyMissing = "key-missing", [Error Error Error], [Ours Rustls OpenSsl Go],
        "a private key",
        "write one PEM block labelled `PRIVATE KEY` (PKCS#8), `EC PRIVATE KEY` or `RSA PRIVATE KEY`";
    /// Every user of the machine may read the private key.
    KeyPermissions = "key-permissions", [Warn Warn Warn], [],
        "a private key that its owner and perhaps a group may read",
        "set the volume's `defaultMode: 0400`, or 0440 with an fsGroup";
    /// Two sets have one private key.
    KeyReused = "key-reused", [Info Info Info], [],
        "a key for each service, and a new one with each certificate",
        "let each service make its own key (cert-manager: `rotationPolicy: Always`): who has the one is both";
    /// The crypto provider cannot use the private key.
    KeyUnsupported = "key-unsupported", [Error Error Error], [Ours Rustls],
        "a key that the crypto provider can use",
        "issue an ECDSA P-256 key, which every stack supports";
    /// An issuer's keyUsage does not let it sign certificates.
    KuCertSign = "ku-cert-sign", [Error Error Error], [Ours OpenSsl Go],
        "keyUsage keyCertSign on every issuer (RFC 5280 §4.2.1.3)",
        "reissue the CA with keyUsage keyCertSign";
    /// A CA signs revocation lists, and its keyUsage does not let it.
    KuCrlSign = "ku-crl-sign", [Error Error Error], [Ours Rustls OpenSsl],
        "keyUsage cRLSign on whoever signs lists",
        "reissue the CA with keyUsage cRLSign beside keyCertSign";
    /// The leaf's keyUsage does not let it sign a handshake.
    KuDigitalSignature = "ku-digital-signature", [Error Warn Warn], [OpenSsl],
        "keyUsage digitalSignature",
        "reissue with a critical keyUsage that has digitalSignature";
    /// A directory holds no layout that is known, several of them, or one without a bundle.
    LayoutUnknown = "layout-unknown", [Error Error Error], [Ours],
        "one known set of file names",
        "name the files one by one, or mount a TLS Secret here";
    /// The leaf is a certificate authority.
    LeafIsCa = "leaf-is-ca", [Error Error Error], [Ours Rustls],
        "an end-entity certificate: CA:FALSE, no keyCertSign, no cRLSign",
        "issue a leaf from the CA and present that";
    /// The leaf's keyUsage lets it sign certificates, and it is no CA and no X509-SVID.
    LeafMaySign = "leaf-may-sign", [Warn Info Info], [],
        "a leaf without keyCertSign",
        "reissue the leaf without keyUsage keyCertSign";
    /// The leaf is its own issuer.
    LeafSelfSigned = "leaf-self-signed", [Warn Info Info], [Ours],
        "a leaf that a CA has issued",
        "make a CA and issue the leaf from it";
    /// The leaf is valid for longer than anybody waits for a renewal.
    LifetimeLong = "lifetime-long", [Warn Info Info], [],
        "a leaf of at most 398 days",
        "issue for days or weeks and let it be renewed: rotation is what a stolen key is limited by";
    /// Credentials are in an environment variable, which keeps them for the life of the process.
    MountEnv = "mount-env", [Warn Info Info], [],
        "files in a mounted directory",
        "mount the Secret as a volume: a variable cannot rotate, and child processes and dumps have it too";
    /// The chain and the key are mounted by two volumes, each of which is replaced at another moment.
    MountSplit = "mount-split", [Warn Info Info], [],
        "one volume, which swaps chain and key together",
        "mount one Secret, or project all sources into one volume";
    /// A file is mounted by itself, and will never be replaced.
    MountSubpath = "mount-subpath", [Error Warn Warn], [Ours Rustls OpenSsl Go],
        "a directory that is mounted",
        "mount the directory, not the file: a subPath mount is never updated";
    /// A name lies outside what a CA in the path may issue.
    NameConstraint = "name-constraint", [Error Error Error], [Ours Rustls OpenSsl Go],
        "names within the name constraints of each CA",
        "issue from a CA whose name constraints permit this name; URI constraints refuse every URI";
    /// A certificate of the chain is not valid yet.
    NotYetValid = "not-yet-valid", [Error Error Error], [Ours Rustls OpenSsl Go],
        "certificates that are valid now",
        "check both clocks; issue with notBefore some minutes back";
    /// A certificate ends later than its issuer.
    OutlivesIssuer = "outlives-issuer", [Warn Info Info], [],
        "a certificate that ends before its issuer",
        "renew the issuer: what it issued ends with it";
    /// The path is longer than a CA in it allows.
    Pathlen = "pathlen", [Error Error Error], [Ours Rustls OpenSsl Go],
        "at most as many intermediates below each CA as its path length allows",
        "reissue the CA with a larger path length, or issue from the CA above";
    /// A PEM block's contents are no base64, or its markers do not pair.
    PemBase64 = "pem-base64", [Error Error Error], [Ours Rustls OpenSsl Go],
        "base64 between a BEGIN and an END marker",
        "write the file whole and rename it into place; if it stays so, write it again from the issuer";
    /// The file begins with a byte order mark.
    PemBom = "pem-bom", [Warn Info Info], [Rustls Go],
        "text without a byte order mark",
        "save it as UTF-8 without a byte order mark; we read past it, and other stacks lose the first block";
    /// The file's line breaks are a backslash and an `n`.
    PemEscapedNewlines = "pem-escaped-newlines", [Error Error Error], [Ours Rustls OpenSsl Go],
        "line breaks",
        "write real line breaks: `printf '%b' \"$(cat FILE)\" > FILE.pem`";
    /// Markers are indented.
    PemIndented = "pem-indented", [Error Error Error], [Ours Rustls OpenSsl Go],
        "markers at the beginning of their lines",
        "remove the indentation; in YAML, use a block scalar (`|`)";
    /// A block has a label that certificates have elsewhere.
    PemLabel = "pem-label", [Error Error Error], [Ours Rustls],
        "the label `CERTIFICATE`",
        "write each certificate again under the label CERTIFICATE: `openssl x509 -in FILE -out FILE.pem`";
    /// There is nothing in the file of the kind that it should hold.
    PemNone = "pem-none", [Error Error Error], [Ours Rustls OpenSsl Go],
        "certificates in PEM or DER",
        "convert the file to PEM, or put the right one here";
    /// The file ends within a block.
    PemTruncated = "pem-truncated", [Error Error Error], [Ours Rustls OpenSsl Go],
        "an END marker for each BEGIN",
        "write the file whole and rename it into place; if it stays so, write it again from the issuer";
    /// A rule of a policy never allows anything, since a deny rule comes first.
    PolicyNeverAllows = "policy-never-allows", [Warn Info Info], [],
        "rules that can decide something",
        "narrow the deny rule with a condition that excludes these peers, or remove the allow rule";
    /// Nobody meets all conditions of a rule of a policy.
    PolicyNeverMatches = "policy-never-matches", [Warn Info Info], [],
        "conditions that somebody can meet",
        "leave out one of the two conditions, or write a rule for each";
    /// A rule of a policy decides nothing, since another comes first.
    PolicyShadowed = "policy-shadowed", [Warn Info Info], [],
        "rules that can decide something",
        "remove it, or narrow the rule before it";
    /// A policy file does not hold.
    PolicyUnreadable = "policy-unreadable", [Error Error Error], [Ours],
        "a policy file",
        "correct what is named";
    /// The leaf has one name of a Kubernetes service, and not the others by which it can be dialled.
    SanK8s = "san-k8s", [Info Info Info], [],
        "the names `x`, `x.ns`, `x.ns.svc` and `x.ns.svc.cluster.local`, as far as somebody dials them",
        "add the names that are dialled; ask by `--server-name` for the one that matters";
    /// The leaf has no name by which a peer could know it: no SAN, or a common name alone.
    SanMissing = "san-missing", [Error Info Info], [Ours Rustls Go],
        "a DNS or IP SAN or a SPIFFE ID",
        "reissue with a SAN; a common name identifies nobody (RFC 9525)";
    /// The leaf does not have the server name that clients dial.
    SanServerName = "san-server-name", [Error Info Info], [Ours Rustls OpenSsl Go],
        "the name that clients dial among the SANs",
        "reissue with the name that is dialled, dial a name that it has, or expect its SPIFFE ID";
    /// The crypto provider cannot verify a signature in the path.
    SigProvider = "sig-provider", [Error Error Error], [Ours Rustls],
        "signatures that the crypto provider can verify",
        "reissue with ECDSA P-256 and SHA-256, or RSA of 2048 bits or more";
    /// A signature in the path rests on SHA-1, MD5 or a short RSA key.
    SigWeak = "sig-weak", [Error Error Error], [Ours Rustls Go],
        "SHA-256 or better, and RSA keys of 2048 bits or more",
        "reissue with ECDSA P-256 and SHA-256, or RSA of 2048 bits or more";
    /// A CA has no subject key identifier, or what it issued does not name it.
    SkiAki = "ski-aki", [Warn Info Info], [Python],
        "a subject key identifier on each CA, and the same as authority key identifier on what it issued",
        "reissue with both identifiers: Python from 3.13 on and strict OpenSSL refuse without them";
    /// A CA's SPIFFE ID has a path.
    SpiffeCaPath = "spiffe-ca-path", [Error Info Info], [],
        "a trust domain and no path in a CA's SPIFFE ID (X509-SVID §3.2)",
        "reissue the CA with the trust domain alone as its SPIFFE ID";
    /// The leaf has several URI SANs.
    SpiffeCount = "spiffe-count", [Error Error Error], [Ours],
        "one URI SAN (X509-SVID §2)",
        "reissue the certificate with one spiffe:// URI SAN";
    /// The leaf's SPIFFE ID names a trust domain and nobody in it.
    SpiffeMixed = "spiffe-mixed", [Error Error Error], [Ours],
        "a SPIFFE ID with a path (X509-SVID §5.2)",
        "reissue the certificate with a SPIFFE ID of the form spiffe://trust-domain/path";
    /// The leaf's SPIFFE ID is of another trust domain than the bundle.
    SpiffeTrustDomain = "spiffe-trust-domain", [Error Error Error], [Ours],
        "a SPIFFE ID of the bundle's trust domain",
        "say the trust domain of the bundle, or issue for the one that was said";
    /// The leaf's URI SAN begins as a SPIFFE ID and is none.
    SpiffeUri = "spiffe-uri", [Error Error Error], [Ours],
        "a SPIFFE ID (SPIFFE-ID §2)",
        "reissue the certificate with a SPIFFE ID of the form spiffe://trust-domain/path";
    /// The leaf lacks what X509-SVID asks of issuers.
    SvidProfile = "svid-profile", [Warn Warn Warn], [],
        "a critical keyUsage, and a critical subjectAltName where the subject is empty (X509-SVID §4.3)",
        "reissue with what is named";
}

impl CheckRule {
    /// Where the documentation tells of it, from the root of the repository.
    #[must_use]
    pub fn doc_anchor(self) -> String {
        format!("docs/runbook.md#{self}")
    }
}

/// A text that names no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule of this name")]
pub struct UnknownRule(());

impl FromStr for CheckRule {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        let mut all = Self::ALL.iter().copied();
        all.find(|rule| rule.as_str() == name)
            .ok_or(UnknownRule(()))
    }
}

impl fmt::Display for CheckRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
