//! The only writer of snapshots.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls_pki_types::UnixTime;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::aliases::AliasUses;
use super::credentials::CredentialMaterial;
use super::generation::{Settings, Snapshot};
use super::judge::{self, Offer, Patience, Verdict};
use super::material::TrustMaterial;
use super::status::{Failure, Record};
use super::trust_change::TrustChange;
use crate::clock;
use crate::error::LoadError;
use crate::files::{self, CredentialFiles, FileContent, StuckMount, WatchMode};
use crate::identity::{Timestamp, TrustDomain};
#[cfg(feature = "metrics")]
use crate::metrics;
use crate::metrics::Tally;
use crate::verify::Role;

/// Publishes snapshots to a [`CredentialSource`](crate::CredentialSource): for material that does not come from files.
///
/// Everything is verified before it is published. What fails leaves the last good snapshot in place, and the source's
/// status says so. Dropping the publisher leaves the source serving what was published last.
#[derive(Debug)]
pub struct Publisher {
    pub(super) shared: Arc<Shared>,
}

/// What a publisher made of an offer.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) generation: u64,
    pub(super) errors: Vec<LoadError>,
    pub(super) trust_held: bool,
}

impl Publisher {
    /// Publishes credentials and trust together; returns the generation that is served.
    ///
    /// # Errors
    ///
    /// What was not taken, and why. Credentials and trust are judged apart, so the other half may have been taken: the
    /// source's status tells.
    pub fn publish(
        &self,
        credentials: CredentialMaterial,
        trust: TrustMaterial,
    ) -> Result<u64, LoadError> {
        self.offer_now(Offer {
            credentials: Some(Ok(credentials)),
            trust: Some(trust),
            aliases: None,
        })
    }

    /// Publishes new credentials and keeps the trust; returns the generation that is served.
    ///
    /// # Errors
    ///
    /// When the key does not match, the chain does not verify under the trust, or a role would be lost.
    pub fn publish_credentials(&self, credentials: CredentialMaterial) -> Result<u64, LoadError> {
        self.offer_now(Offer {
            credentials: Some(Ok(credentials)),
            trust: None,
            aliases: None,
        })
    }

    /// Publishes a new trust and keeps the credentials; returns the generation that is served.
    ///
    /// A trust that no longer vouches for our own chain is published all the same: removing a root takes hold.
    ///
    /// # Errors
    ///
    /// When no certificate in it can be a trust anchor; or, after publishing, when our own chain does not verify.
    pub fn publish_trust(&self, trust: TrustMaterial) -> Result<u64, LoadError> {
        self.offer_now(Offer {
            credentials: None,
            trust: Some(trust),
            aliases: None,
        })
    }

    /// Verifies and publishes the first snapshot.
    pub(super) fn open(
        settings: Settings,
        credentials: CredentialMaterial,
        trust: &TrustMaterial,
        now: UnixTime,
    ) -> Result<Self, LoadError> {
        let verdict = judge::first(&settings, credentials, trust, now)?;
        let settings = Arc::new(settings);
        let snapshot = snapshot(verdict, None, FIRST_GENERATION, &settings, now);
        let (generation, announced) = watch::channel(FIRST_GENERATION);
        let record = Record::of(&snapshot);
        let tally = Tally::new(&settings.name, FIRST_GENERATION);
        let current = Current {
            snapshot: ArcSwap::from_pointee(snapshot),
            generation: AtomicU64::new(FIRST_GENERATION),
            announced,
            aliases: AliasUses::default(),
            tally,
        };
        let shared = Shared {
            record: Mutex::new(record),
            current: Arc::new(current),
            generation,
            writer: Mutex::new(()),
            settings,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    fn offer_now(&self, offer: Offer) -> Result<u64, LoadError> {
        let outcome = self.shared.offer(offer, Patience::Exhausted, clock::now());
        let now = clock::now().into();
        self.shared.record(outcome.errors.first(), now);
        self.shared.checked(outcome.errors.first(), now);
        self.shared.announce();
        outcome.into_result()
    }
}

impl Outcome {
    pub(super) fn into_result(self) -> Result<u64, LoadError> {
        self.errors
            .into_iter()
            .next()
            .map_or(Ok(self.generation), Err)
    }
}

/// The snapshot that is served now. Who holds this holds no source: it sees the last one when the source is gone.
#[derive(Debug)]
pub(crate) struct Current {
    snapshot: ArcSwap<Snapshot>,
    /// The snapshot's, to be asked for without touching a count that others touch.
    generation: AtomicU64,
    announced: watch::Receiver<u64>,
    aliases: AliasUses,
    tally: Tally,
}

impl Current {
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells of each new snapshot; ends with the source.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.announced.clone()
    }

    /// Counts those who come by another name of the local trust domain.
    pub(crate) fn aliases(&self) -> &AliasUses {
        &self.aliases
    }

    /// Counts the connections that are open.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn store(&self, next: Arc<Snapshot>) {
        let generation = next.generation;
        self.tally.serve(next.trust_generation);
        self.snapshot.store(next);
        self.generation.store(generation, Ordering::Release);
    }
}

/// What the publisher and the readers of a source share.
#[derive(Debug)]
pub(super) struct Shared {
    current: Arc<Current>,
    generation: watch::Sender<u64>,
    record: Mutex<Record>,
    /// One writer at a time: an offer is judged against the snapshot that it would replace.
    writer: Mutex<()>,
    settings: Arc<Settings>,
}

impl Shared {
    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.current.load()
    }

    pub(super) fn cell(&self) -> &Arc<Current> {
        &self.current
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    pub(super) fn status(&self, now: Timestamp) -> super::Status {
        let snapshot = self.current();
        lock(&self.record).status(&snapshot, now)
    }

    pub(super) fn set_watch_mode(&self, mode: WatchMode) {
        let before = lock(&self.record).watch.replace(mode);
        #[cfg(feature = "metrics")]
        if before != Some(mode) {
            metrics::watch_failed(&self.settings.name, mode);
        }
        #[cfg(not(feature = "metrics"))]
        let _ = before;
    }

    /// Notes whether every user can read the key; warns when that begins.
    pub(super) fn set_key_world_readable(&self, key: &FileContent) {
        let before = std::mem::replace(
            &mut lock(&self.record).key_world_readable,
            key.is_world_readable(),
        );
        if key.is_world_readable() && !before {
            warn!(
                mtls.source = %key.path().display(),
                mtls.remedy = "chmod o-r, or `defaultMode: 0400` and an fsGroup on the volume",
                "every user of the machine can read the private key"
            );
        }
    }

    /// Looks at what no reading of the files tells: whether they are mounted so that they never change, and whether a
    /// renewal is late. Warns when that begins.
    pub(super) async fn look_around(&self, files: &CredentialFiles) {
        let files = files.clone();
        // If this fails the runtime is going down.
        if let Ok(mounts) = spawn_blocking(move || files::stuck_mounts(&files)).await {
            self.set_stuck_mounts(mounts);
        }
        let now = clock::now().into();
        self.warn_of_late_renewal(now);
        self.warn_of_lists_that_are_due(now);
    }

    /// Once for each list, when a third of its life is left.
    fn warn_of_lists_that_are_due(&self, now: Timestamp) {
        let mut due = self.current().trust.revocation_lists();
        due.retain(|list| list.is_due(now));
        let marks = due.iter().map(|list| (list.path.clone(), list.this_update));
        let before = std::mem::replace(&mut lock(&self.record).lists_due, marks.collect());
        for list in due {
            if before.contains(&(list.path.clone(), list.this_update)) {
                continue;
            }
            warn!(
                mtls.crl = %list.path.display(),
                mtls.crl_issuer = list.issuer,
                mtls.crl_next_update = %list.next_update,
                mtls.remedy = "find out why the authority's next list has not come; when this one is stale, new handshakes are refused",
                "a revocation list should have been renewed by now"
            );
        }
    }

    fn set_stuck_mounts(&self, mounts: Vec<StuckMount>) {
        let before = std::mem::replace(&mut lock(&self.record).stuck_mounts, mounts.clone());
        let is_new = |mount: &&StuckMount| before.iter().all(|known| known.path != mount.path);
        let mut new = mounts.iter().filter(is_new);
        if let Some(first) = new.next() {
            let others = new.map(|mount| format!(", {mount}"));
            warn!(
                mtls.mounts = %others.fold(first.to_string(), |all, other| all + &other),
                mtls.remedy = first.remedy(),
                "files that are replaced will not be seen"
            );
        }
    }

    fn warn_of_late_renewal(&self, now: Timestamp) {
        let leaf = self.current().credentials.leaf_summary();
        let late = lock(&self.record).late_to_warn_of(&leaf, now);
        if let Some(late) = late {
            warn!(
                mtls.serial = leaf.serial,
                mtls.not_after = %late.not_after,
                mtls.renewal_expected = %late.expected,
                mtls.renewals_seen = late.renewals_seen,
                mtls.remedy = late.remedy(),
                "our certificate should have been renewed by now"
            );
        }
    }

    /// Judges an offer and publishes what of it holds, if that changes anything. Who made it records how it went, and
    /// then announces it.
    pub(super) fn offer(&self, offer: Offer, patience: Patience, now: UnixTime) -> Outcome {
        let _writer = lock(&self.writer);
        let current = self.current();
        let found = offer
            .credentials
            .as_ref()
            .and_then(|found| found.as_ref().ok());
        let found = found.and_then(CredentialMaterial::leaf_summary);
        let mut verdict = judge::next(&self.settings, &current, offer, patience, now);
        let errors = std::mem::take(&mut verdict.errors);
        let trust_held = verdict.trust_held;
        lock(&self.record).find(
            found,
            &verdict.credentials.leaf_summary(),
            &errors,
            now.into(),
        );
        let unchanged = Arc::ptr_eq(&verdict.credentials, &current.credentials)
            && Arc::ptr_eq(&verdict.trust, &current.trust)
            && verdict.own_chain.is_ok() == current.own_chain.is_ok();
        if unchanged {
            return Outcome {
                generation: current.generation,
                errors,
                trust_held,
            };
        }
        let generation = current.generation + 1;
        let next = snapshot(verdict, Some(&current), generation, &self.settings, now);
        log_rotation(&current, &next);
        if !Arc::ptr_eq(&current.trust, &next.trust) {
            next.trust.verify_live_peers_of(&current.trust, now);
        }
        let change = trust_change(&current, &next);
        if let Some(change) = &change {
            change.log();
        }
        let is_new_leaf = !Arc::ptr_eq(&next.credentials, &current.credentials);
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        let mut record = lock(&self.record);
        if is_new_leaf {
            record.serve(&next);
        }
        if change.is_some() {
            record.last_trust_change = change;
        }
        Outcome {
            generation,
            errors,
            trust_held,
        }
    }

    pub(super) fn set_aliases(&self, aliases: BTreeSet<TrustDomain>) {
        self.current.aliases.keep(&aliases);
        let offer = Offer {
            credentials: None,
            trust: None,
            aliases: Some(aliases),
        };
        // Nothing in it can be unsound, and what was wrong before is not mended by it.
        let _ = self.offer(offer, Patience::Exhausted, clock::now());
        self.announce();
    }

    /// Wakes who waits for a snapshot that is newer than the last announced. Whoever is woken by a number finds the
    /// snapshot of that number, or a later one, and a status that has heard of it.
    pub(super) fn announce(&self) {
        self.measure();
        let newest = self.current().generation;
        self.generation.send_if_modified(|announced| {
            let is_newer = newest > *announced;
            *announced = newest.max(*announced);
            is_newer
        });
    }

    /// The first snapshot is served.
    pub(super) fn opened(&self) {
        #[cfg(feature = "metrics")]
        metrics::checked(&self.settings.name, true, None, clock::now().into());
        self.measure();
    }

    /// Counts a check, before what came of it is announced.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "nothing is counted")
    )]
    pub(super) fn checked(&self, error: Option<&LoadError>, now: Timestamp) {
        #[cfg(feature = "metrics")]
        {
            let is_new = self.current().generation() > *self.generation.borrow();
            metrics::checked(&self.settings.name, is_new, error, now);
        }
    }

    #[cfg_attr(
        not(feature = "metrics"),
        expect(clippy::unused_self, reason = "nothing is measured")
    )]
    fn measure(&self) {
        #[cfg(feature = "metrics")]
        {
            let (now, is_fips) = (clock::now().into(), self.settings.provider.fips());
            metrics::measure(&self.status(now), is_fips, now);
        }
    }

    /// Notes how a check went. One warning per streak, however long it lasts; its end is told too.
    pub(super) fn record(&self, error: Option<&LoadError>, now: Timestamp) {
        let mut record = lock(&self.record);
        record.last_check = Some(now);
        match (error, record.failure.take()) {
            (None, None) => {}
            (None, Some(ended)) => info!(
                mtls.reason = ended.reason().as_str(),
                mtls.checks = ended.streak,
                "what is on disk is served again"
            ),
            (Some(error), before) => {
                let since = before.as_ref().map_or(now, |failure| failure.since);
                let streak = before.as_ref().map_or(0, |failure| failure.streak) + 1;
                let error = Arc::new(error.clone());
                record.failure = Some(Failure {
                    error,
                    since,
                    streak,
                });
            }
        }
    }
}

fn snapshot(
    verdict: Verdict,
    before: Option<&Snapshot>,
    generation: u64,
    settings: &Arc<Settings>,
    now: UnixTime,
) -> Snapshot {
    let (own, plays) = (verdict.credentials.chain(), verdict.plays);
    let role = if plays.server {
        Role::Server
    } else {
        Role::Client
    };
    let own_revoked = verdict.trust.own_revocation(own, role, now);
    // Once: a source may be given another list every hour, for as long as its own leaf is on each.
    let is_told = before.is_some_and(|before| {
        before.own_revoked.is_some() && Arc::ptr_eq(&before.credentials, &verdict.credentials)
    });
    if let Some(revoked) = &own_revoked
        && !is_told
    {
        warn!(
            mtls.serial = verdict.credentials.serial(),
            error = %revoked,
            mtls.remedy = revoked.remedy(),
            "our own certificate is revoked: peers that have the list refuse us"
        );
    }
    let same_trust = before.filter(|before| Arc::ptr_eq(&before.trust, &verdict.trust));
    Snapshot {
        own_revoked,
        generation,
        trust_generation: same_trust.map_or(generation, |before| before.trust_generation),
        loaded_at: now.into(),
        credentials: verdict.credentials,
        trust: verdict.trust,
        settings: Arc::clone(settings),
        own_chain: verdict.own_chain,
        plays: verdict.plays,
    }
}

fn log_rotation(old: &Snapshot, new: &Snapshot) {
    info!(
        mtls.name = &*new.settings.name,
        mtls.generation = new.generation,
        mtls.serial = new.credentials.serial(),
        mtls.not_before = %new.credentials.validity().not_before,
        mtls.not_after = %new.credentials.validity().not_after,
        mtls.previous_serial = old.credentials.serial(),
        mtls.previous_not_after = %old.credentials.validity().not_after,
        mtls.trust_changed = !Arc::ptr_eq(&old.trust, &new.trust),
        "rotated"
    );
}

fn trust_change(old: &Snapshot, new: &Snapshot) -> Option<TrustChange> {
    if Arc::ptr_eq(&old.trust, &new.trust) {
        return None;
    }
    let anchors = |snapshot: &Snapshot| snapshot.trust.anchors().cloned().collect::<Vec<_>>();
    TrustChange::between(&anchors(old), &anchors(new), new.generation, new.loaded_at)
}

/// A panic while a lock was held cannot leave these values half written: each is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FIRST_GENERATION: u64 = 1;
