//! Which section of the runbook a rule of `mtls check` belongs to.

use mtls_core::check::CheckRule;

/// `None` for what is no way to fail: advice.
pub(super) fn section(rule: CheckRule) -> Option<&'static str> {
    SECTIONS.iter().find_map(|(section, rules)| {
        rules
            .split_whitespace()
            .any(|name| name == rule.as_str())
            .then_some(*section)
    })
}

/// By section, so that what goes wrong alike stands together. A test has each rule in here or in `ADVICE`, once.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("ambiguous_identity", "spiffe-count"),
    (
        "ca_constraint",
        "bc-missing bundle-leaf bundle-may-not-sign ku-cert-sign pathlen chain-too-deep",
    ),
    ("crl_stale", "crl-soon crl-stale"),
    (
        "crl_unusable",
        "crl-none crl-signature crl-unsupported ku-crl-sign",
    ),
    ("empty_bundle", "bundle-empty"),
    (
        "expired",
        "bundle-expired expired expires-soon outlives-issuer",
    ),
    ("file_missing", "file-missing layout-unknown"),
    ("file_unreadable", "file-unreadable"),
    ("invalid_identity", "spiffe-ca-path spiffe-uri svid-profile"),
    ("key_encrypted", "key-encrypted"),
    ("key_mismatch", "key-mismatch"),
    ("key_unusable", "key-many key-missing key-unsupported"),
    (
        "malformed_certificate",
        "bundle-unparsable cert-malformed cert-v1 critical-unknown",
    ),
    (
        "malformed_file",
        "file-empty pem-base64 pem-bom pem-escaped-newlines pem-indented pem-label pem-none pem-truncated",
    ),
    ("name_constraint", "name-constraint"),
    ("name_mismatch", "san-server-name"),
    ("no_common_parameters", "key-interop"),
    ("no_san", "san-missing"),
    (
        "not_authorized",
        "identity-unmatched policy-never-allows policy-never-matches policy-shadowed policy-unreadable",
    ),
    ("not_end_entity", "leaf-is-ca leaf-may-sign"),
    ("not_yet_valid", "bundle-not-yet-valid not-yet-valid"),
    ("refused_by_peer", "handshake-refused"),
    ("revocation_unknown", "crl-issuer"),
    ("revoked", "crl-revokes-self"),
    (
        "unknown_issuer",
        "bundle-intermediate bundle-missing-own chain-incomplete chain-order",
    ),
    ("unsupported_algorithm", "sig-provider sig-weak"),
    ("untrusted_key", "bundle-same-name issuer-other-key"),
    (
        "wrong_trust_domain",
        "bundle-federated spiffe-mixed spiffe-trust-domain",
    ),
    (
        "wrong_usage",
        "eku-any eku-missing-role eku-no-role ku-digital-signature",
    ),
    ("not_reloaded", "mount-subpath"),
];

/// Nothing fails by these today.
#[cfg(test)]
pub(super) const ADVICE: &str = "bundle-duplicate bundle-public chain-extra chain-root-included chain-too-large dev-ca \
    hints-large key-in-bundle key-in-public-file key-permissions leaf-self-signed lifetime-long ski-aki";
