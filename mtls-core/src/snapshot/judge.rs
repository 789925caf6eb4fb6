//! What of an offer is published: credentials and trust, judged apart.
//!
//! Pure: an offer, the current snapshot, a time; out comes the pair to serve and what was held back.
//!
//! * Credentials are taken only if their chain verifies, and plays every role that the current one does.
//! * Trust is taken if its anchors are sound. That it no longer vouches for our own chain is no reason to keep a removed
//!   root: such a trust waits while [`Patience`] lasts, since the chain that fits it may be on its way, and then is taken
//!   with the last good credentials.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use super::credentials::{CredentialMaterial, Credentials};
use super::generation::{Plays, Roles, Settings, Snapshot};
use super::material::TrustMaterial;
use super::trust::Trust;
use crate::error::LoadError;
use crate::identity::TrustDomain;
use crate::verify::ChainError;

/// What a source found, each half with its own success. `None` keeps the half that is served.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) credentials: Option<Result<CredentialMaterial, LoadError>>,
    pub(crate) trust: Option<TrustMaterial>,
    /// Other names of the local trust domain.
    pub(crate) aliases: Option<BTreeSet<TrustDomain>>,
}

/// Whether a trust that does not vouch for our own chain is worth waiting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Wait,
    Exhausted,
}

/// What to serve from now on.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) own_chain: Result<(), ChainError>,
    pub(crate) plays: Plays,
    /// What was not taken, or is wrong with what is served.
    pub(crate) errors: Vec<LoadError>,
    /// A sound trust waits for credentials that fit it.
    pub(crate) trust_held: bool,
}

/// Judges the first offer of a source: all of it has to hold.
pub(crate) fn first(
    settings: &Settings,
    credentials: CredentialMaterial,
    trust: &TrustMaterial,
    now: UnixTime,
) -> Result<Verdict, LoadError> {
    let credentials = Arc::new(Credentials::new(credentials, &settings.provider)?);
    let (parts, errors) = trust.build(settings, &credentials, None, now.into())?;
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    let trust = Arc::new(Trust::new(parts, settings));
    let roles = settings.judge_own_chain(&credentials, &trust, now);
    roles.any().map_err(not_trusted)?;
    Ok(Verdict {
        credentials,
        trust,
        own_chain: Ok(()),
        plays: roles.plays(),
        errors: Vec::new(),
        trust_held: false,
    })
}

/// Judges an offer against what is served now.
pub(crate) fn next(
    settings: &Settings,
    current: &Snapshot,
    offer: Offer,
    patience: Patience,
    now: UnixTime,
) -> Verdict {
    let mut errors = Vec::new();
    let credentials = offer
        .credentials
        .map(|found| found.and_then(|material| Credentials::new(material, &settings.provider)));
    let credentials = match credentials {
        Some(Ok(new)) if !new.same_as(&current.credentials) => Arc::new(new),
        Some(Ok(_)) | None => Arc::clone(&current.credentials),
        Some(Err(error)) => {
            errors.push(error);
            Arc::clone(&current.credentials)
        }
    };
    let scene = Scene {
        settings,
        current,
        material: offer.trust.as_ref(),
        aliases: offer.aliases.map(Arc::new),
        now,
    };
    scene.judge(credentials, patience, errors)
}

struct Scene<'a> {
    settings: &'a Settings,
    current: &'a Snapshot,
    material: Option<&'a TrustMaterial>,
    aliases: Option<Arc<BTreeSet<TrustDomain>>>,
    now: UnixTime,
}

impl Scene<'_> {
    fn judge(
        &self,
        offered: Arc<Credentials>,
        patience: Patience,
        mut errors: Vec<LoadError>,
    ) -> Verdict {
        let current = &self.current.credentials;
        // A bundle belongs to the trust domain of the credentials that it is served with.
        let (for_offered, unsound) = self.trust(&offered);
        errors.extend(unsound);
        let refused = match self.accept(&offered, &for_offered) {
            Ok(()) => return self.verdict(offered, for_offered, errors, false),
            Err(error) => error,
        };
        errors.push(refused);
        // The offered credentials do not go with the offered trust; do the current ones?
        let (for_current, unsound) = self.trust(current);
        let told = |error: &LoadError| {
            errors
                .iter()
                .any(|told| told.to_string() == error.to_string())
        };
        let unsound: Vec<_> = unsound.into_iter().filter(|error| !told(error)).collect();
        errors.extend(unsound);
        if self.roles(current, &for_current).any().is_ok() {
            return self.verdict(Arc::clone(current), for_current, errors, false);
        }
        // Nothing of ours goes with it. The best that we have under the trust of today is what we present.
        let best = match self.accept(&offered, &self.current.trust) {
            Ok(()) => offered,
            Err(_) => Arc::clone(current),
        };
        let trust_is_why = self.roles(&best, &self.current.trust).any().is_ok();
        let trust_changed = !Arc::ptr_eq(&for_current, &self.current.trust);
        if trust_changed && trust_is_why && patience == Patience::Wait {
            return self.verdict(best, Arc::clone(&self.current.trust), errors, true);
        }
        self.verdict(best, for_current, errors, false)
    }

    /// The offered trust beside these credentials, and what of it is not sound. Where none is offered it is the current
    /// one, as it is: built anew it would be another one, of the offered leaf's trust domain, and would not know what it
    /// skipped.
    fn trust(&self, credentials: &Credentials) -> (Arc<Trust>, Vec<LoadError>) {
        let current = &self.current.trust;
        let before = current.parts();
        let now = self.now.into();
        let build = |m: &TrustMaterial| m.build(self.settings, credentials, Some(before), now);
        let (mut parts, errors) = match self.material.map(build) {
            None => (before.clone(), Vec::new()),
            Some(Ok(built)) => built,
            Some(Err(error)) => (before.clone(), vec![error]),
        };
        if let Some(aliases) = &self.aliases {
            parts.aliases = Arc::clone(aliases);
        }
        if parts.same_as(before) {
            return (Arc::clone(current), errors);
        }
        (Arc::new(Trust::new(parts, self.settings)), errors)
    }

    fn roles(&self, credentials: &Credentials, trust: &Trust) -> Roles {
        self.settings.judge_own_chain(credentials, trust, self.now)
    }

    /// Whether `offered` can replace the current credentials under `trust`.
    fn accept(&self, offered: &Arc<Credentials>, trust: &Trust) -> Result<(), LoadError> {
        let new = self.roles(offered, trust);
        new.any().map_err(not_trusted)?;
        if Arc::ptr_eq(offered, &self.current.credentials) {
            return Ok(());
        }
        let old = self.current.plays;
        let lost = |role| {
            move |source| LoadError::RoleLost {
                role,
                source: Box::new(source),
            }
        };
        if old.server {
            new.server.map_err(lost("server"))?;
        }
        if old.client {
            new.client.map_err(lost("client"))?;
        }
        Ok(())
    }

    fn verdict(
        &self,
        credentials: Arc<Credentials>,
        trust: Arc<Trust>,
        errors: Vec<LoadError>,
        trust_held: bool,
    ) -> Verdict {
        let roles = self.roles(&credentials, &trust);
        // New credentials were accepted, so they play every role of those before.
        let plays = self.current.plays.or(roles.plays());
        Verdict {
            credentials,
            trust,
            own_chain: roles.any(),
            plays,
            errors,
            trust_held,
        }
    }
}

fn not_trusted(source: ChainError) -> LoadError {
    LoadError::ChainNotTrusted {
        source: Box::new(source),
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
