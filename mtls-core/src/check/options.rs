//! What the files are for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::rule::CheckRule;
use super::who::{Caller, TlsStack};
use crate::error::LoadError;
use crate::identity::{Timestamp, TrustDomain};
use crate::snapshot::{OwnChain, Settings};
use crate::tls::resolve_provider;
use crate::verify::{Revocation, Role};

/// What the files are for, and who asks.
#[derive(Debug, Clone)]
#[must_use]
pub struct CheckOptions {
    pub(super) now: Timestamp,
    pub(super) caller: Caller,
    pub(super) role: CheckRole,
    pub(super) server_name: Option<String>,
    pub(super) trust_domain: Option<TrustDomain>,
    pub(super) peers: BTreeSet<TlsStack>,
    pub(super) allow: BTreeMap<CheckRule, String>,
    pub(super) development: DevelopmentCa,
    pub(super) own_chain: OwnChain,
    pub(super) revocation: Revocation,
    provider: Option<Arc<CryptoProvider>>,
}

/// In which roles the credentials will be presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CheckRole {
    /// As a server and as a client. The default.
    #[default]
    Both,
    /// As a client alone.
    Client,
    /// As a server alone.
    Server,
}

/// Whether a CA that was made for development will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DevelopmentCa {
    /// It is an error. The default.
    #[default]
    Refused,
    /// It is fine: this is a development machine.
    Allowed,
}

impl CheckRole {
    pub(super) fn roles(self) -> &'static [Role] {
        match self {
            Self::Both => &[Role::Server, Role::Client],
            Self::Client => &[Role::Client],
            Self::Server => &[Role::Server],
        }
    }
}

impl CheckOptions {
    /// Judged at this time, by somebody about to deploy, for both roles.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            caller: Caller::default(),
            role: CheckRole::default(),
            server_name: None,
            trust_domain: None,
            peers: BTreeSet::new(),
            allow: BTreeMap::new(),
            development: DevelopmentCa::default(),
            own_chain: OwnChain::default(),
            revocation: Revocation::new(),
            provider: None,
        }
    }

    /// Who asks, which decides how bad each finding is. Default: [`Caller::Command`].
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// In which roles the credentials will be presented. Default: both.
    pub fn role(mut self, role: CheckRole) -> Self {
        self.role = role;
        self
    }

    /// A name that clients dial, DNS or IP. Default: none, and then no name is asked for.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The local trust domain. Default: that of the leaf.
    pub fn trust_domain(mut self, trust_domain: TrustDomain) -> Self {
        self.trust_domain = Some(trust_domain);
        self
    }

    /// Whose TLS stacks are at the other end. Default: nobody's in particular.
    pub fn peers(mut self, peers: impl IntoIterator<Item = TlsStack>) -> Self {
        self.peers.extend(peers);
        self
    }

    /// What this rule finds is fine, and why. It is told apart, and never an error.
    pub fn allow(mut self, rule: CheckRule, reason: impl Into<String>) -> Self {
        self.allow.insert(rule, reason.into());
        self
    }

    /// Whether a CA that was made for development will do. Default: it will not.
    pub fn development_ca(mut self, choice: DevelopmentCa) -> Self {
        self.development = choice;
        self
    }

    /// As [`SourceBuilder::own_chain`](crate::SourceBuilder::own_chain) will be set.
    pub fn own_chain(mut self, own_chain: OwnChain) -> Self {
        self.own_chain = own_chain;
        self
    }

    /// As [`SourceBuilder::revocation`](crate::SourceBuilder::revocation) will be set.
    pub fn revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = revocation;
        self
    }

    /// The crypto provider that will be used. Default: as a source finds its own.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// As a source would be told.
    pub(super) fn settings(&self) -> Result<Settings, LoadError> {
        let mut settings = Settings::of(resolve_provider(self.provider.clone())?);
        settings.trust_domain.clone_from(&self.trust_domain);
        settings.own_chain = self.own_chain;
        settings.revocation = self.revocation;
        Ok(settings)
    }
}
