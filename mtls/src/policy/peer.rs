//! A peer that is only named. Policies take verified peers alone, so one is made: a chain of a throw-away CA, presented and
//! verified in a handshake in memory.

use mtls_core::testing::{LeafOptions, TestCa, handshake};
use mtls_core::{
    ClientTls, CredentialSource, PatternError, PeerInfo, Policy, ServerTls, SpiffeId,
    SpiffePattern, TrustDomain, TrustMaterial,
};

/// What a peer's certificate says.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) spiffe: Option<String>,
    pub(super) dns: Vec<String>,
    pub(super) ip: Vec<String>,
    pub(super) common_name: Option<String>,
}

impl Named {
    pub(super) fn is_nobody(&self) -> bool {
        self.spiffe.is_none()
            && self.dns.is_empty()
            && self.ip.is_empty()
            && self.common_name.is_none()
    }

    /// This peer, as a server of the trust domain meets it. Without one it is the peer's own.
    pub(super) fn verified(&self, domain: Option<&str>) -> Result<PeerInfo, String> {
        let id: Option<SpiffeId> = match &self.spiffe {
            Some(text) => Some(text.parse().map_err(|error| format!("`{text}`: {error}"))?),
            None => None,
        };
        let own = id.as_ref().map(|id| id.trust_domain().to_string());
        let local = domain.or(own.as_deref()).unwrap_or(ANY_DOMAIN);
        let local: TrustDomain = local
            .parse()
            .map_err(|error| format!("`{local}` is no trust domain: {error}"))?;
        let theirs = match &id {
            Some(id) => id.trust_domain(),
            None => local.clone(),
        };
        self.meet(id.as_ref(), &local, &theirs)
    }

    fn meet(
        &self,
        id: Option<&SpiffeId>,
        local: &TrustDomain,
        theirs: &TrustDomain,
    ) -> Result<PeerInfo, String> {
        let ca = TestCa::new(local.as_str());
        // A peer of another domain is met by its own CA, as federation has it: then its other names do not count.
        let peers_ca = (theirs != local).then(|| TestCa::new(theirs.as_str()));
        let mut trust = TrustMaterial::new(vec![ca.root_der()]);
        if let Some(other) = &peers_ca {
            trust = trust.federate(theirs.clone(), vec![other.root_der()]);
        }
        let own = ca.issue("/mtls-policy-test");
        let (_server, source) = CredentialSource::builder()
            .publish(own.material(), trust)
            .map_err(|error| error.to_string())?;
        let server = ServerTls::builder(&source)
            .authorize(Policy::any_verified_peer())
            .build()
            .map_err(|error| error.to_string())?;
        let peers_ca = peers_ca.as_ref().unwrap_or(&ca);
        let issued = peers_ca.issue_with(self.leaf(id)?);
        // It trusts the server, whoever it is itself.
        let mut trust = TrustMaterial::new(vec![peers_ca.root_der()]);
        if theirs != local {
            trust = trust.federate(local.clone(), vec![ca.root_der()]);
        }
        let (_peer, source) = CredentialSource::builder()
            .trust_domain(theirs.clone())
            .publish(issued.material(), trust)
            .map_err(|error| format!("no such peer can be: {error}"))?;
        let server_id: SpiffePattern = format!("spiffe://{local}/mtls-policy-test")
            .parse()
            .map_err(|error: PatternError| error.to_string())?;
        let client = ClientTls::builder(&source)
            .expect_server(server_id)
            .and_then(mtls_core::ClientTlsBuilder::build)
            .map_err(|error| format!("no such peer can be: {error}"))?;
        handshake(&server, &client, "localhost")
            .server
            .map_err(|error| format!("no such peer is let in by any policy: {error}"))
    }

    fn leaf(&self, id: Option<&SpiffeId>) -> Result<LeafOptions, String> {
        let mut leaf = LeafOptions::new();
        if let Some(id) = id {
            leaf = leaf.uri(id.to_string());
        }
        for name in &self.dns {
            if name.is_empty() || !name.is_ascii() {
                return Err(format!("`{name}` is no DNS name"));
            }
            leaf = leaf.dns(name.as_str());
        }
        for address in &self.ip {
            let address: std::net::IpAddr = address
                .parse()
                .map_err(|_| format!("`{address}` is no IP address"))?;
            leaf = leaf.ip(address);
        }
        if let Some(name) = &self.common_name {
            leaf = leaf.common_name(name.as_str());
        }
        Ok(leaf)
    }
}

/// Of a peer that has no SPIFFE ID, where nobody says who decides.
const ANY_DOMAIN: &str = "local.invalid";
