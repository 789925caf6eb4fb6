//! The names of each layout that has fixed ones.

use std::path::{Path, PathBuf};

use super::{Chosen, CredentialFiles, Layout, TrustFiles};
use crate::files::trust_files::BUNDLE_SUFFIX;
use crate::identity::TrustDomain;

/// The names of one layout, all in one directory.
pub(super) struct Preset {
    pub(super) layout: Layout,
    pub(super) chain: &'static str,
    /// The chain's own name, where one file holds both.
    pub(super) key: &'static str,
    pub(super) bundle: Bundle,
}

/// Where a layout has its trust bundle.
#[derive(Clone, Copy)]
pub(super) enum Bundle {
    /// Under this name, whether it is there yet or not.
    Named(&'static str),
    /// The layout has none. One under these names may be there all the same.
    Beside(&'static [&'static str]),
    /// Under the name of the trust domain that the leaf belongs to, among those of others.
    OfOwnDomain,
}

impl Preset {
    /// These names in a directory. A layout without a bundle is given one by the caller.
    pub(super) fn within(&self, dir: &Path) -> CredentialFiles {
        let bundle = match self.bundle {
            Bundle::Named(name) => name,
            Bundle::Beside(_) | Bundle::OfOwnDomain => "",
        };
        CredentialFiles {
            layout: self.layout,
            chain: dir.join(self.chain),
            key: dir.join(self.key),
            bundle: dir.join(bundle),
            trust: TrustFiles::default(),
            chosen: Chosen::Said,
        }
    }
}

/// Where the bundle of a trust domain is in the draft SPIFFE Filesystem Delivery.
pub(super) fn bundle_of(dir: &Path, trust_domain: &TrustDomain) -> PathBuf {
    dir.join(format!("{trust_domain}{BUNDLE_SUFFIX}"))
}

pub(super) const CERT_MANAGER_COMBINED: Preset = Preset {
    layout: Layout::CertManagerCombined,
    chain: "tls-combined.pem",
    key: "tls-combined.pem",
    bundle: Bundle::Named("ca.crt"),
};

pub(super) const CERTBOT: Preset = Preset {
    layout: Layout::Certbot,
    chain: "fullchain.pem",
    key: "privkey.pem",
    bundle: Bundle::Beside(&[]),
};

pub(super) const GKE_WORKLOAD: Preset = Preset {
    layout: Layout::GkeWorkload,
    chain: "certificates.pem",
    key: "private_key.pem",
    bundle: Bundle::Named("ca_certificates.pem"),
};

pub(super) const ISTIO: Preset = Preset {
    layout: Layout::Istio,
    chain: "cert-chain.pem",
    key: "key.pem",
    bundle: Bundle::Named("root-cert.pem"),
};

pub(super) const KUBERNETES: Preset = Preset {
    layout: Layout::Kubernetes,
    chain: "tls.crt",
    key: "tls.key",
    bundle: Bundle::Named("ca.crt"),
};

pub(super) const LINKERD_ISSUER: Preset = Preset {
    layout: Layout::LinkerdIssuer,
    chain: "crt.pem",
    key: "key.pem",
    bundle: Bundle::Named("ca.crt"),
};

pub(super) const POD_CERTIFICATE: Preset = Preset {
    layout: Layout::PodCertificate,
    chain: "credentialbundle.pem",
    key: "credentialbundle.pem",
    bundle: Bundle::Beside(&["trust-bundle.pem", "ca.crt"]),
};

pub(super) const SPIFFE_FILESYSTEM: Preset = Preset {
    layout: Layout::SpiffeFilesystem,
    chain: "credential-bundle.private-key.pem",
    key: "credential-bundle.private-key.pem",
    bundle: Bundle::OfOwnDomain,
};

pub(super) const SPIFFE_HELPER: Preset = Preset {
    layout: Layout::SpiffeHelper,
    chain: "svid.pem",
    key: "svid_key.pem",
    bundle: Bundle::Named("svid_bundle.pem"),
};

pub(super) const STEP: Preset = Preset {
    layout: Layout::Step,
    chain: "site.crt",
    key: "site.key",
    bundle: Bundle::Named("root.crt"),
};

pub(super) const VAULT_AGENT: Preset = Preset {
    layout: Layout::VaultAgent,
    chain: "cert.pem",
    key: "key.pem",
    bundle: Bundle::Named("ca.pem"),
};

/// What `detect` looks for. The order is that of messages: no match wins over another.
pub(super) const PRESETS: &[Preset] = &[
    KUBERNETES,
    CERT_MANAGER_COMBINED,
    CERTBOT,
    GKE_WORKLOAD,
    ISTIO,
    LINKERD_ISSUER,
    POD_CERTIFICATE,
    SPIFFE_FILESYSTEM,
    SPIFFE_HELPER,
    STEP,
    VAULT_AGENT,
];

/// What `consul tls ca create` names its CA, unless told of another domain.
pub(super) const CONSUL_BUNDLE: &str = "consul-agent-ca.pem";
