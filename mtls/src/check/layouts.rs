//! The names that credentials have in a Secret, as the library knows them on disk.

/// Chain, key and bundle.
pub(super) struct Names {
    pub(super) chain: &'static str,
    pub(super) key: &'static str,
    pub(super) bundle: &'static str,
}

const fn names(chain: &'static str, key: &'static str, bundle: &'static str) -> Names {
    Names { chain, key, bundle }
}

/// The first that fits. A Secret of cert-manager's may hold both of the first two, which are copies.
pub(super) const LAYOUTS: &[Names] = &[
    names("tls.crt", "tls.key", "ca.crt"),
    names("tls-combined.pem", "tls-combined.pem", "ca.crt"),
    names("crt.pem", "key.pem", "ca.crt"),
    names("cert-chain.pem", "key.pem", "root-cert.pem"),
    names("certificates.pem", "private_key.pem", "ca_certificates.pem"),
    names("svid.pem", "svid_key.pem", "svid_bundle.pem"),
    names("site.crt", "site.key", "root.crt"),
    names("cert.pem", "key.pem", "ca.pem"),
    names("credentialbundle.pem", "credentialbundle.pem", "ca.crt"),
];
