//! The one list of ways to fail.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A way to fail, by its stable name: the metric label, the log field and the anchor in the documentation.
        ///
        /// Names are added, never renamed: dashboards and alerts are written against them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name, in `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// A certificate has several URI SANs, so that its identity depends on who reads it.
    AmbiguousIdentity = "ambiguous_identity",
    /// A certificate in the path may not act as a certificate authority, or not this deep.
    CaConstraint = "ca_constraint",
    /// A revocation list is older than the one it would replace.
    CrlRollback = "crl_rollback",
    /// A revocation list is past its `nextUpdate`.
    CrlStale = "crl_stale",
    /// A revocation list is of a kind that is not supported, not by its issuer, or malformed; or none is where one should be.
    CrlUnusable = "crl_unusable",
    /// Every certificate of a bundle was refused as a trust anchor, or it has none.
    EmptyBundle = "empty_bundle",
    /// A certificate is past its `notAfter`.
    Expired = "expired",
    /// A file is absent.
    FileMissing = "file_missing",
    /// A file is there and cannot be read: permission, kind, size, or an I/O error.
    FileUnreadable = "file_unreadable",
    /// A handshake panicked: an authorizer of the program's own, most likely.
    HandshakePanicked = "handshake_panicked",
    /// An identity was found and is no valid SPIFFE ID.
    InvalidIdentity = "invalid_identity",
    /// A private key is encrypted, and nobody here has its password.
    KeyEncrypted = "key_encrypted",
    /// A private key and a leaf certificate do not belong together.
    KeyMismatch = "key_mismatch",
    /// A private key is absent, of an unsupported kind, or one of several.
    KeyUnusable = "key_unusable",
    /// A certificate is no well-formed X.509 v3 certificate.
    MalformedCertificate = "malformed_certificate",
    /// A file is no well-formed PEM of the kind it should be.
    MalformedFile = "malformed_file",
    /// What a trusted proxy says of its client cannot be read.
    MalformedForwarded = "malformed_forwarded",
    /// A request is for a host that another identity of the server answers for, or nobody.
    Misdirected = "misdirected",
    /// A name lies outside what a certificate authority in the path may issue.
    NameConstraint = "name_constraint",
    /// A server is somebody else than the one that was asked for.
    NameMismatch = "name_mismatch",
    /// Client and server share no application protocol (ALPN).
    NoCommonProtocol = "no_common_protocol",
    /// Client and server share no protocol version, cipher suite, group or signature scheme.
    NoCommonParameters = "no_common_parameters",
    /// A peer presented no certificate where one is required.
    NoPeerCertificate = "no_peer_certificate",
    /// A peer presented a chain and did not prove to hold its key.
    NoProofOfPossession = "no_proof_of_possession",
    /// A certificate has no name that could identify its holder.
    NoSan = "no_san",
    /// The identity is known, and policy says no.
    NotAuthorized = "not_authorized",
    /// A certificate authority was presented as a leaf.
    NotEndEntity = "not_end_entity",
    /// A certificate is before its `notBefore`.
    NotYetValid = "not_yet_valid",
    /// The peer closed the connection before the handshake was done.
    PeerClosed = "peer_closed",
    /// The peer does not speak TLS.
    PlaintextPeer = "plaintext_peer",
    /// The peer refused us, and said so by an alert.
    RefusedByPeer = "refused_by_peer",
    /// Reading or judging the files of a source panicked.
    ReloadPanicked = "reload_panicked",
    /// No revocation list says whether a certificate is revoked.
    RevocationUnknown = "revocation_unknown",
    /// A certificate was revoked by its issuer.
    Revoked = "revoked",
    /// The handshake was given up so that newer ones could proceed.
    Shed = "shed",
    /// A credential source has ended, or its runtime has.
    SourceEnded = "source_ended",
    /// Something did not happen in time.
    Timeout = "timeout",
    /// The peer broke the TLS protocol.
    TlsProtocol = "tls_protocol",
    /// A set of files kept changing while it was read.
    UnstableFiles = "unstable_files",
    /// No trust anchor has issued this chain.
    UnknownIssuer = "unknown_issuer",
    /// A client asked for a server name that nobody here has, or for none where it has to.
    UnknownServerName = "unknown_server_name",
    /// A signature algorithm or key kind is not supported.
    UnsupportedAlgorithm = "unsupported_algorithm",
    /// A trust anchor has the issuer's name and another key.
    UntrustedKey = "untrusted_key",
    /// An identity belongs to a trust domain that is not trusted here.
    WrongTrustDomain = "wrong_trust_domain",
    /// A certificate may not be used in this role.
    WrongUsage = "wrong_usage",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn names_are_unique_and_snake_case() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert!(
            names
                .iter()
                .all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
