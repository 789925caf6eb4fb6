//! Which files make up a set of credentials and trust, and whose habit it is to name them so.

use std::fmt;
use std::path::{Path, PathBuf};

use super::trust_files::TrustFiles;
use crate::error::LoadError;
use crate::identity::TrustDomain;

mod detect;
mod preset;

/// Where credentials and trust are on disk: a chain, its private key and a trust bundle.
///
/// It names files and holds none of their contents; nothing is read until a source watches it.
///
/// | constructor, [`Layout::as_str`] | who writes it | chain | key | bundle |
/// |---|---|---|---|---|
/// | [`kubernetes`], `kubernetes-tls` | a Kubernetes TLS Secret, cert-manager and its CSI drivers, the SPIFFE one included | `tls.crt` | `tls.key` | `ca.crt` |
/// | [`cert_manager_combined`], `cert-manager-combined` | cert-manager with `additionalOutputFormats` | `tls-combined.pem` | the same | `ca.crt` |
/// | [`certbot`], `certbot` | certbot, a directory below `live` | `fullchain.pem` | `privkey.pem` | given |
/// | [`consul`], `consul` | `consul tls cert create` | `<name>.pem` | `<name>-key.pem` | `consul-agent-ca.pem` |
/// | [`gke_workload`], `gke-workload` | GKE workload certificates | `certificates.pem` | `private_key.pem` | `ca_certificates.pem` |
/// | [`istio`], `istio-output-certs` | istio-agent's `OUTPUT_CERTS`, and file-mounted certificates | `cert-chain.pem` | `key.pem` | `root-cert.pem` |
/// | [`linkerd_issuer`], `linkerd-issuer` | a Linkerd issuer Secret | `crt.pem` | `key.pem` | `ca.crt` |
/// | [`pod_certificate`], `pod-certificate` | a Kubernetes `podCertificate` projection | `credentialbundle.pem` | the same | given; detected: `trust-bundle.pem` or `ca.crt` |
/// | [`spiffe_filesystem`], `spiffe-filesystem` | the draft SPIFFE Filesystem Delivery | `credential-bundle.private-key.pem` | the same | `<trust-domain>.spiffe-trust-bundle.pem` |
/// | [`spiffe_helper`], `spiffe-helper` | spiffe-helper | `svid.pem` | `svid_key.pem` | `svid_bundle.pem` |
/// | [`step`], `step` | step autocert | `site.crt` | `site.key` | `root.crt` |
/// | [`vault_agent`], `vault-agent` | Vault Agent, under the names that its templates commonly have | `cert.pem` | `key.pem` | `ca.pem` |
/// | [`paths`], `paths` | anybody else | given | given | given |
///
/// Bundles of other trust domains and revocation lists are said in addition: see
/// [`federated_bundles`](Self::federated_bundles) and [`revocation_lists`](Self::revocation_lists).
///
/// [`detect`] tells them apart by their names. A bundle that is elsewhere is said by [`with_bundle`].
///
/// [`cert_manager_combined`]: Self::cert_manager_combined
/// [`certbot`]: Self::certbot
/// [`consul`]: Self::consul
/// [`detect`]: Self::detect
/// [`gke_workload`]: Self::gke_workload
/// [`istio`]: Self::istio
/// [`kubernetes`]: Self::kubernetes
/// [`linkerd_issuer`]: Self::linkerd_issuer
/// [`paths`]: Self::paths
/// [`pod_certificate`]: Self::pod_certificate
/// [`spiffe_filesystem`]: Self::spiffe_filesystem
/// [`spiffe_helper`]: Self::spiffe_helper
/// [`step`]: Self::step
/// [`vault_agent`]: Self::vault_agent
/// [`with_bundle`]: Self::with_bundle
#[derive(Debug, Clone)]
pub struct CredentialFiles {
    layout: Layout,
    chain: PathBuf,
    key: PathBuf,
    bundle: PathBuf,
    pub(super) trust: TrustFiles,
    chosen: Chosen,
}

/// Nothing is looked at by those that name a layout: the mount may appear later.
impl CredentialFiles {
    /// `tls.crt`, `tls.key` and `ca.crt` in `dir`, as a mounted Kubernetes TLS Secret has them, cert-manager's included.
    ///
    /// So do the volumes of cert-manager's csi-driver and csi-driver-spiffe.
    #[must_use]
    pub fn kubernetes(dir: impl AsRef<Path>) -> Self {
        preset::KUBERNETES.within(dir.as_ref())
    }

    /// `tls-combined.pem`, which holds chain and key, and `ca.crt` in `dir`: cert-manager's `additionalOutputFormats`.
    #[must_use]
    pub fn cert_manager_combined(dir: impl AsRef<Path>) -> Self {
        preset::CERT_MANAGER_COMBINED.within(dir.as_ref())
    }

    /// `fullchain.pem` and `privkey.pem` in `dir`, a directory below certbot's `live`, and a bundle from elsewhere.
    ///
    /// Certbot writes none: the CA that issued the chain need not be one that peers are verified by.
    #[must_use]
    pub fn certbot(dir: impl AsRef<Path>, bundle: impl Into<PathBuf>) -> Self {
        preset::CERTBOT.within(dir.as_ref()).with_bundle(bundle)
    }

    /// `<name>.pem`, `<name>-key.pem` and `consul-agent-ca.pem` in `dir`, as `consul tls cert create` writes them.
    ///
    /// The name is that of the pair: `dc1-server-consul-0`.
    #[must_use]
    pub fn consul(dir: impl AsRef<Path>, name: &str) -> Self {
        let dir = dir.as_ref();
        Self {
            layout: Layout::Consul,
            chain: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}-key.pem")),
            bundle: dir.join(preset::CONSUL_BUNDLE),
            trust: TrustFiles::default(),
            chosen: Chosen::Said,
        }
    }

    /// `certificates.pem`, `private_key.pem` and `ca_certificates.pem` in `dir`, as GKE mounts workload certificates.
    #[must_use]
    pub fn gke_workload(dir: impl AsRef<Path>) -> Self {
        preset::GKE_WORKLOAD.within(dir.as_ref())
    }

    /// `cert-chain.pem`, `key.pem` and `root-cert.pem` in `dir`: istio-agent's `OUTPUT_CERTS`, or mounted under its names.
    #[must_use]
    pub fn istio(dir: impl AsRef<Path>) -> Self {
        preset::ISTIO.within(dir.as_ref())
    }

    /// `crt.pem`, `key.pem` and `ca.crt` in `dir`, as a Secret of the type `linkerd.io/tls` has them.
    #[must_use]
    pub fn linkerd_issuer(dir: impl AsRef<Path>) -> Self {
        preset::LINKERD_ISSUER.within(dir.as_ref())
    }

    /// `credentialbundle.pem` in `dir`, which holds key and chain: a Kubernetes `podCertificate` projection.
    ///
    /// It brings no bundle; a ClusterTrustBundle projected beside it is one.
    #[must_use]
    pub fn pod_certificate(dir: impl AsRef<Path>, bundle: impl Into<PathBuf>) -> Self {
        let files = preset::POD_CERTIFICATE.within(dir.as_ref());
        files.with_bundle(bundle)
    }

    /// `credential-bundle.private-key.pem` in `dir`, which holds key and chain, and beside it a
    /// `<trust-domain>.spiffe-trust-bundle.pem` for each trust domain: the draft SPIFFE Filesystem Delivery.
    ///
    /// `trust_domain` is the own one; the others are [`federated_bundles`](Self::federated_bundles).
    #[must_use]
    pub fn spiffe_filesystem(dir: impl AsRef<Path>, trust_domain: &TrustDomain) -> Self {
        let dir = dir.as_ref();
        let files = preset::SPIFFE_FILESYSTEM.within(dir);
        let bundle = preset::bundle_of(dir, trust_domain);
        files.with_bundle(bundle).federated_bundles(dir)
    }

    /// `svid.pem`, `svid_key.pem` and `svid_bundle.pem` in `dir`, as spiffe-helper names them.
    #[must_use]
    pub fn spiffe_helper(dir: impl AsRef<Path>) -> Self {
        preset::SPIFFE_HELPER.within(dir.as_ref())
    }

    /// `site.crt`, `site.key` and `root.crt` in `dir`, as step autocert names them.
    #[must_use]
    pub fn step(dir: impl AsRef<Path>) -> Self {
        preset::STEP.within(dir.as_ref())
    }

    /// `cert.pem`, `key.pem` and `ca.pem` in `dir`: the names that templates for Vault Agent commonly have.
    #[must_use]
    pub fn vault_agent(dir: impl AsRef<Path>) -> Self {
        preset::VAULT_AGENT.within(dir.as_ref())
    }

    /// These three files, wherever they are. Chain and key may be one file, which is then read once.
    #[must_use]
    pub fn paths(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        bundle: impl Into<PathBuf>,
    ) -> Self {
        Self {
            layout: Layout::Paths,
            chain: chain.into(),
            key: key.into(),
            bundle: bundle.into(),
            trust: TrustFiles::default(),
            chosen: Chosen::Said,
        }
    }

    /// The same chain and key, with a trust bundle that is elsewhere: in a ConfigMap of its own, for instance.
    #[must_use]
    pub fn with_bundle(mut self, bundle: impl Into<PathBuf>) -> Self {
        self.bundle = bundle.into();
        self
    }

    /// The layout whose chain and key are in `dir`; `Display` says which it was and by what it was known.
    ///
    /// The files must be there: of an empty directory nobody can tell what it will hold. Where a mount may come after
    /// the process, name its layout instead, as with [`kubernetes`](Self::kubernetes). A trust bundle is not needed to
    /// recognise a layout that names one: if it is missing, that is reported when the files are read.
    ///
    /// A directory that holds several layouts is refused, with one exception: cert-manager writes `tls-combined.pem`
    /// into a Secret beside `tls.crt` and `tls.key`, with the same contents. There the latter two are chosen.
    ///
    /// # Errors
    ///
    /// - [`LoadError::DirectoryUnrecognized`] with the names that were found, if no layout is complete.
    /// - [`LoadError::DirectoryAmbiguous`] with the candidates, if several are.
    /// - [`LoadError::BundleNotNamed`] if the layout brings no trust bundle:
    ///   [`detect_with_bundle`](Self::detect_with_bundle) takes one.
    /// - [`LoadError::FileMissing`] or [`LoadError::FileUnreadable`] if `dir` is absent or may not be entered.
    /// - What is wrong with the chain of [`Layout::SpiffeFilesystem`]: its leaf says which of the bundles is its own, and
    ///   one without a SPIFFE ID has none ([`LoadError::BundleNotNamed`]).
    pub fn detect(dir: impl AsRef<Path>) -> Result<Self, LoadError> {
        detect::detect(dir.as_ref(), None)
    }

    /// As [`detect`](Self::detect), with a trust bundle that is elsewhere. Bundles in `dir` are passed over, those of
    /// other trust domains included: name them with [`federated_bundles`](Self::federated_bundles).
    ///
    /// # Errors
    ///
    /// Those of [`detect`](Self::detect), except [`LoadError::BundleNotNamed`].
    pub fn detect_with_bundle(
        dir: impl AsRef<Path>,
        bundle: impl Into<PathBuf>,
    ) -> Result<Self, LoadError> {
        detect::detect(dir.as_ref(), Some(bundle.into()))
    }

    /// The file that holds the chain: the leaf certificate, then its intermediates.
    #[must_use]
    pub fn chain_path(&self) -> &Path {
        &self.chain
    }

    /// The file that holds the private key.
    #[must_use]
    pub fn key_path(&self) -> &Path {
        &self.key
    }

    /// The file that holds the trust bundle.
    #[must_use]
    pub fn bundle_path(&self) -> &Path {
        &self.bundle
    }

    /// Whose naming this is.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The paths of credentials and own bundle, in the order in which a set is read.
    pub(super) fn all_paths(&self) -> [&Path; 3] {
        [&self.chain, &self.key, &self.bundle]
    }
}

/// The same files under the same layout are equal, whether they were named or detected.
impl PartialEq for CredentialFiles {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
            && self.all_paths() == other.all_paths()
            && self.trust == other.trust
    }
}

impl Eq for CredentialFiles {}

impl fmt::Display for CredentialFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layout {} (", self.layout)?;
        match self.chosen {
            Chosen::Said => f.write_str("as configured")?,
            Chosen::Detected if self.chain == self.key => {
                f.write_str("chosen because the file of its chain and key is there")?;
            }
            Chosen::Detected => f.write_str("chosen because its chain and key are there")?,
            Chosen::DetectedBeside(other) => write!(
                f,
                "chosen because its chain and key are there, of which {other} is a copy"
            )?,
        }
        let [chain, key, bundle] = self.all_paths().map(Path::display);
        let trust = &self.trust;
        write!(
            f,
            "): chain `{chain}`, key `{key}`, bundle `{bundle}`{trust}"
        )
    }
}

/// Whose habit of naming files a set follows; [`CredentialFiles`] has a table of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// cert-manager's additional output: `tls-combined.pem`, `ca.crt`.
    CertManagerCombined,
    /// A directory below certbot's `live`: `fullchain.pem`, `privkey.pem`.
    Certbot,
    /// `consul tls cert create`: `dc1-server-consul-0.pem`, `dc1-server-consul-0-key.pem`, `consul-agent-ca.pem`.
    Consul,
    /// GKE workload certificates: `certificates.pem`, `private_key.pem`, `ca_certificates.pem`.
    GkeWorkload,
    /// Istio's `OUTPUT_CERTS`: `cert-chain.pem`, `key.pem`, `root-cert.pem`.
    Istio,
    /// A Kubernetes TLS Secret: `tls.crt`, `tls.key`, `ca.crt`.
    Kubernetes,
    /// A Linkerd issuer Secret: `crt.pem`, `key.pem`, `ca.crt`.
    LinkerdIssuer,
    /// Nobody's: each path was given.
    Paths,
    /// A Kubernetes `podCertificate` projection: `credentialbundle.pem`.
    PodCertificate,
    /// SPIFFE Filesystem Delivery, a draft: `credential-bundle.private-key.pem`, a bundle for each trust domain.
    SpiffeFilesystem,
    /// spiffe-helper: `svid.pem`, `svid_key.pem`, `svid_bundle.pem`.
    SpiffeHelper,
    /// step autocert: `site.crt`, `site.key`, `root.crt`.
    Step,
    /// Vault Agent's common names: `cert.pem`, `key.pem`, `ca.pem`.
    VaultAgent,
}

impl Layout {
    /// The stable name, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertManagerCombined => "cert-manager-combined",
            Self::Certbot => "certbot",
            Self::Consul => "consul",
            Self::GkeWorkload => "gke-workload",
            Self::Istio => "istio-output-certs",
            Self::Kubernetes => "kubernetes-tls",
            Self::LinkerdIssuer => "linkerd-issuer",
            Self::Paths => "paths",
            Self::PodCertificate => "pod-certificate",
            Self::SpiffeFilesystem => "spiffe-filesystem",
            Self::SpiffeHelper => "spiffe-helper",
            Self::Step => "step",
            Self::VaultAgent => "vault-agent",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decided on the layout.
#[derive(Debug, Clone, Copy)]
enum Chosen {
    Said,
    Detected,
    /// Another layout is there too, whose files are copies of these.
    DetectedBeside(Layout),
}

#[cfg(test)]
mod tests;
