//! Kubernetes service accounts, as service meshes write them into certificates.

use super::spiffe::SpiffeId;

/// A Kubernetes service account that a mesh identity names, and the domain whose word that is.
///
/// Two clusters may have the same namespace and account: who decides by these reads [`domain`](Self::domain) too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KubernetesServiceAccount {
    form: MeshForm,
    domain: String,
    control_plane_namespace: Option<String>,
    namespace: String,
    name: String,
}

/// The way in which an identity names a service account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MeshForm {
    /// A SPIFFE ID, `spiffe://<trust-domain>/ns/<namespace>/sa/<name>`, as Istio and cert-manager's CSI driver write it.
    Istio,
    /// A DNS name, `<name>.<namespace>.serviceaccount.identity.<control-plane-namespace>.<identity-domain>`.
    Linkerd,
}

impl KubernetesServiceAccount {
    /// Reads Istio's form: exactly `/ns/<namespace>/sa/<name>`. Anything else is no service account.
    ///
    /// ```
    /// # use mtls_core::{KubernetesServiceAccount, SpiffeId};
    /// let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/web".parse()?;
    /// let account = KubernetesServiceAccount::from_spiffe_id(&id).ok_or("no service account")?;
    /// assert_eq!((account.namespace(), account.name()), ("shop", "web"));
    /// assert_eq!(account.domain(), "cluster.local");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn from_spiffe_id(id: &SpiffeId) -> Option<Self> {
        let mut segments = id.segments();
        let namespace = labelled(&mut segments, "ns")?;
        let name = labelled(&mut segments, "sa")?;
        let whole = segments.next().is_none() && is_label(namespace) && is_subdomain(name);
        whole.then(|| Self {
            form: MeshForm::Istio,
            domain: id.trust_domain_str().to_owned(),
            control_plane_namespace: None,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Reads Linkerd's form, in lowercase. An account with a dot in its name is none here: where it ends cannot be seen.
    ///
    /// The name is only as good as the chain that it comes from: ask this of DNS SANs that were verified.
    #[must_use]
    pub fn from_linkerd_name(dns_name: &str) -> Option<Self> {
        let mut rest = dns_name;
        let mut next_label = || {
            let (label, tail) = rest.split_once('.')?;
            rest = tail;
            is_label(label).then_some(label)
        };
        let (name, namespace) = (next_label()?, next_label()?);
        let marked = next_label()? == MARKER.0 && next_label()? == MARKER.1;
        let control_plane_namespace = next_label()?;
        let domain = rest;
        // Kubernetes allows dots in account names. An account `web.shop.serviceaccount.identity.x` would read here as
        // `web` in `shop`, its true namespace hidden in the domain; the true marker is then in the domain as well.
        let whole = marked
            && dns_name.len() <= MAX_SUBDOMAIN
            && domain.split('.').all(is_label)
            && !has_marker(domain);
        whole.then(|| Self {
            form: MeshForm::Linkerd,
            domain: domain.to_owned(),
            control_plane_namespace: Some(control_plane_namespace.to_owned()),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The account's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The account's name within its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Istio's trust domain, or Linkerd's identity domain: what tells one cluster's accounts from another's.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The namespace of the control plane that issued it; Linkerd's form names it, Istio's does not.
    #[must_use]
    pub fn control_plane_namespace(&self) -> Option<&str> {
        self.control_plane_namespace.as_deref()
    }

    /// The form that it was read from.
    #[must_use]
    pub fn form(&self) -> MeshForm {
        self.form
    }
}

/// The segment after `label`, if `label` is next.
fn labelled<'a>(segments: &mut impl Iterator<Item = &'a str>, label: &str) -> Option<&'a str> {
    (segments.next()? == label).then(|| segments.next())?
}

fn has_marker(domain: &str) -> bool {
    let labels = domain.split('.');
    labels
        .clone()
        .zip(labels.skip(1))
        .any(|pair| pair == MARKER)
}

/// An RFC 1123 label, as Kubernetes has it for namespaces.
fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_word(text)
}

/// An RFC 1123 subdomain, as Kubernetes has it for service accounts: it bounds the whole and not each label.
fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_word)
}

fn is_word(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && bytes.iter().all(|&b| alphanumeric(b) || b == b'-')
}

/// The two labels that follow name and namespace in Linkerd's form.
const MARKER: (&str, &str) = ("serviceaccount", "identity");

/// RFC 1123 §2.1.
const MAX_LABEL: usize = 63;

/// RFC 1123 §2.1, as Kubernetes counts it.
const MAX_SUBDOMAIN: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn istio(text: &str) -> Option<KubernetesServiceAccount> {
        KubernetesServiceAccount::from_spiffe_id(&text.parse().unwrap())
    }

    fn linkerd(text: &str) -> Option<KubernetesServiceAccount> {
        KubernetesServiceAccount::from_linkerd_name(text)
    }

    #[test]
    fn istio_names_account_namespace_and_trust_domain() {
        let account = istio("spiffe://cluster-a/ns/shop/sa/web").unwrap();
        assert_eq!((account.namespace(), account.name()), ("shop", "web"));
        assert_eq!(
            (account.domain(), account.form()),
            ("cluster-a", MeshForm::Istio)
        );
        assert_eq!(account.control_plane_namespace(), None);
        assert_ne!(Some(account), istio("spiffe://cluster-b/ns/shop/sa/web"));
    }

    #[test]
    fn an_account_in_istio_s_form_may_have_dots() {
        let account = istio("spiffe://td/ns/shop/sa/web.v1.blue").unwrap();
        assert_eq!(account.name(), "web.v1.blue");
    }

    #[test]
    fn what_only_resembles_istio_s_form_is_no_account() {
        for path in [
            "",
            "/ns/shop",
            "/ns/shop/sa",
            "/ns/shop/sa/web/x",
            "/x/ns/shop/sa/web",
            "/ns/shop/x/sa/web",
            "/ns/shop/pod/web",
            "/namespace/shop/sa/web",
            "/sa/web/ns/shop",
            "/NS/shop/sa/web",
            "/ns/Shop/sa/web",
            "/ns/shop/sa/Web",
            "/ns/shop.x/sa/web",
            "/ns/sh_op/sa/web",
            "/ns/-shop/sa/web",
            "/ns/shop-/sa/web",
            "/ns/shop/sa/we_b",
            "/ns/shop/sa/.web",
            "/ns/shop/sa/web.",
            "/ns/shop/sa/web..v1",
            "/ns/shop/sa/-web",
        ] {
            assert_eq!(istio(&format!("spiffe://td{path}")), None, "{path}");
        }
    }

    #[test]
    fn names_are_as_long_as_kubernetes_lets_them_be() {
        let id = |ns: usize, sa: usize| {
            istio(&format!(
                "spiffe://td/ns/{}/sa/{}",
                "n".repeat(ns),
                "s".repeat(sa)
            ))
        };
        assert!(id(63, 253).is_some());
        assert_eq!(id(64, 253), None);
        assert_eq!(id(63, 254), None);
    }

    #[test]
    fn linkerd_names_account_namespace_and_identity_domain() {
        let name = "web.shop.serviceaccount.identity.linkerd.cluster.local";
        let account = linkerd(name).unwrap();
        assert_eq!((account.namespace(), account.name()), ("shop", "web"));
        assert_eq!(
            (account.domain(), account.form()),
            ("cluster.local", MeshForm::Linkerd)
        );
        assert_eq!(account.control_plane_namespace(), Some("linkerd"));
        assert!(linkerd("web.shop.serviceaccount.identity.linkerd.local").is_some());
    }

    #[test]
    fn what_only_resembles_linkerd_s_form_is_no_account() {
        for name in [
            "",
            "web",
            "web.shop.svc.cluster.local",
            "web.shop.serviceaccount",
            "web.shop.serviceaccount.identity",
            "web.shop.serviceaccount.identity.linkerd",
            "web.shop.serviceaccount.identity.linkerd.",
            "web.shop.serviceaccount.identity.linkerd.cluster.local.",
            "web.shop.serviceaccount.identity.linkerd.cluster..local",
            ".web.shop.serviceaccount.identity.linkerd.cluster.local",
            "*.shop.serviceaccount.identity.linkerd.cluster.local",
            "*.serviceaccount.identity.linkerd.cluster.local",
            "shop.serviceaccount.identity.linkerd.cluster.local",
            "web.v1.shop.serviceaccount.identity.linkerd.cluster.local",
            "Web.shop.serviceaccount.identity.linkerd.cluster.local",
            "web.SHOP.serviceaccount.identity.linkerd.cluster.local",
            "web.shop.ServiceAccount.identity.linkerd.cluster.local",
            "web.shop.serviceaccounts.identity.linkerd.cluster.local",
            "web.shop.serviceaccount.identities.linkerd.cluster.local",
            "web.shop.identity.serviceaccount.linkerd.cluster.local",
            "web.sh_op.serviceaccount.identity.linkerd.cluster.local",
            "web-.shop.serviceaccount.identity.linkerd.cluster.local",
            "web.shop.serviceaccount.identity.linkerd.cluster.LOCAL",
            "spiffe://td/ns/shop/sa/web",
            "web.shop.serviceaccount.identity.linkerd.cluster.local/",
        ] {
            assert_eq!(linkerd(name), None, "{name}");
        }
    }

    #[test]
    fn an_account_whose_own_name_holds_the_marker_poses_as_nobody() {
        let evil = "web.shop.serviceaccount.identity.linkerd";
        let name = format!("{evil}.attacker.serviceaccount.identity.linkerd.cluster.local");
        assert_eq!(linkerd(&name), None);
        assert!(linkerd(&format!("{evil}.attacker.cluster.local")).is_some());
    }

    #[test]
    fn a_linkerd_name_is_no_longer_than_a_dns_name() {
        let start = "web.shop.serviceaccount.identity.linkerd.";
        let with_len = |len: usize| {
            let labels = "a.".repeat(80);
            let last = "b".repeat(len - start.len() - labels.len());
            linkerd(&format!("{start}{labels}{last}"))
        };
        assert!(with_len(253).is_some());
        assert_eq!(with_len(254), None);
    }
}
