//! The reload task: notices changes, reads, offers, retries.
//!
//! One task per source, owned by its handles. Events only make it look sooner: what decides is the content, read whole.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::generation::Snapshot;
use super::judge::{Offer, Patience};
use super::publisher::{Outcome, Shared};
use super::reading::{credentials, trust};
use crate::clock;
use crate::error::{Chained, LoadError};
use crate::files::{
    self, CredentialFiles, FileSet, Fingerprint, Presence, Subscription, WatchMode,
};
use crate::identity::Timestamp;

/// How often, and how patiently, a source reads its files.
#[derive(Debug, Clone)]
pub(super) struct Rhythm {
    pub(super) poll: Duration,
    pub(super) quiet: Duration,
    pub(super) grace: Duration,
}

impl Rhythm {
    /// Noise beside the files may not hold back a reload for longer, unless a longer quiet time was asked for.
    fn quiet_cap(&self) -> Duration {
        self.quiet.max(QUIET_CAP)
    }
}

/// Why the files are read.
enum Occasion {
    /// Somebody wants to know now.
    Asked(Vec<ReloadRequest>),
    /// Something happened near them, and nothing any more for the quiet time.
    Quiet,
    /// Nobody told of anything.
    Timer,
}

/// Somebody's wish to have the files read now, and where to send what came of it.
pub(super) type ReloadRequest = oneshot::Sender<Result<u64, LoadError>>;

/// The state of the task.
pub(super) struct Reloader {
    pub(super) files: CredentialFiles,
    pub(super) shared: Arc<Shared>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) requests: mpsc::Receiver<ReloadRequest>,
    pub(super) rhythm: Rhythm,
    pub(super) progress: Progress,
}

/// What the checks so far have come to.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What was read when it was last judged.
    offered: Option<Fingerprint>,
    /// When it would be judged the same.
    stands: Option<Range<Timestamp>>,
    /// Which other trust domains had a bundle in it.
    federated: Presence,
    unsettled: Option<Unsettled>,
    failures: u32,
    /// How many of them found the same thing: what the next retry waits by.
    unchanged: u32,
    failing_since: Option<Instant>,
    warned: bool,
    trust_held_since: Option<Instant>,
}

/// What was read when nobody had told of a change, or when a trust domain was gone, and has to be the same once more.
#[derive(Debug)]
struct Unsettled {
    found: Fingerprint,
    /// When this was read first.
    seen: Instant,
    /// When what was served was read no more.
    since: Instant,
}

/// What the files held, and whether they are swapped in one step.
struct Reading {
    set: FileSet,
    atomic: bool,
    /// The bundle of another trust domain was there and is gone.
    defederates: bool,
}

impl Reloader {
    /// Runs until the last handle of the source is gone.
    pub(super) async fn run(mut self) {
        // Between the first read and the arming of the watches somebody may have written.
        let mut occasion = Some(Occasion::Timer);
        while let Some(now) = occasion {
            self.look(now).await;
            occasion = self.next_occasion().await;
        }
    }

    /// Checks, and tells who asked. A panic in it is a failure like others: told of, and followed by the next look.
    async fn look(&mut self, occasion: Occasion) {
        let result = match caught(self.check(&occasion)).await {
            Some(Some(result)) => result,
            Some(None) => return,
            None => {
                // Told without the log, whose subscriber may be what panicked, and carefully to the metrics, whose recorder may
                // be.
                self.progress.unsettled = None;
                self.progress.count(&LoadError::ReloadPanicked);
                let now = clock::now().into();
                self.shared.record(Some(&LoadError::ReloadPanicked), now);
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    self.shared.checked(Some(&LoadError::ReloadPanicked), now);
                    self.shared.announce();
                }));
                Err(LoadError::ReloadPanicked)
            }
        };
        if let Occasion::Asked(requests) = occasion {
            for request in requests {
                // Whoever asked may have gone away.
                let _ = request.send(result.clone());
            }
        }
    }

    /// `None` when the last handle of the source is gone.
    async fn next_occasion(&mut self) -> Option<Occasion> {
        tokio::select! {
            () = self.subscription.changed() => self.settle().await,
            () = sleep(self.pause()) => Some(Occasion::Timer),
            request = self.requests.recv() => request.map(|request| self.asked(request)),
        }
    }

    /// Waits until nothing has changed for the quiet time, but not longer than the cap: a writer that is not atomic
    /// deserves to finish, and noise beside the files must not hold back a reload. Nor is who asks kept waiting.
    async fn settle(&mut self) -> Option<Occasion> {
        let files = self.files.clone();
        if spawn_blocking(move || files::is_atomic(&files))
            .await
            .unwrap_or(false)
        {
            return Some(Occasion::Quiet);
        }
        let cap = Instant::now() + self.rhythm.quiet_cap();
        loop {
            let quiet = Instant::now() + self.rhythm.quiet;
            tokio::select! {
                biased;
                request = self.requests.recv() => return request.map(|request| self.asked(request)),
                () = sleep_until(quiet.min(cap)) => return Some(Occasion::Quiet),
                () = self.subscription.changed() => {}
            }
        }
    }

    fn asked(&mut self, first: ReloadRequest) -> Occasion {
        let mut requests = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            requests.push(request);
        }
        Occasion::Asked(requests)
    }

    /// The time until the next look without any event.
    fn pause(&self) -> Duration {
        if self.progress.unsettled.is_some() {
            return self.rhythm.quiet;
        }
        let poll = match self.subscription.mode() {
            WatchMode::Events => self.rhythm.poll,
            WatchMode::PollOnly { .. } => self.rhythm.poll.min(POLL_WHEN_DEAF),
        };
        jitter(poll).min(self.progress.pause(self.rhythm.grace, Instant::now()))
    }

    /// `None` if what was read may be half written.
    async fn check(&mut self, occasion: &Occasion) -> Option<Result<u64, LoadError>> {
        let read = self.read().await;
        if let Ok(reading) = &read
            && self.is_unsettled(reading, occasion)
        {
            return None;
        }
        self.progress.unsettled = None;
        let outcome = match read {
            Ok(Reading { set, .. }) if self.is_served(&set) => Ok(Outcome {
                generation: self.shared.current().generation(),
                errors: Vec::new(),
                trust_held: false,
            }),
            Ok(Reading { set, .. }) => self.offer(set).await,
            Err(error) => Err(error),
        };
        self.note(match &outcome {
            Ok(outcome) => &outcome.errors,
            Err(error) => std::slice::from_ref(error),
        });
        let result = outcome.and_then(Outcome::into_result);
        self.shared.look_around(&self.files).await;
        self.shared.announce();
        Some(result)
    }

    /// Whether what was read is new and perhaps half written. No event told of it, so nobody has waited for its writer:
    /// it has to be the same once more, a quiet time later. A bundle that was cut between two certificates is a bundle.
    ///
    /// A domain whose bundle is gone is refused from then on, so that is seen twice however it came about: whoever
    /// writes a directory anew may have emptied it first. Who asks gets what is there.
    fn is_unsettled(&mut self, reading: &Reading, occasion: &Occasion) -> bool {
        let (found, now) = (reading.set.fingerprint, Instant::now());
        let waits = match occasion {
            Occasion::Asked(_) => false,
            Occasion::Quiet => reading.defederates,
            Occasion::Timer => reading.defederates || !reading.atomic,
        };
        let quiet = self.rhythm.quiet;
        if !waits || quiet.is_zero() || self.progress.offered == Some(found) {
            return false;
        }
        match &mut self.progress.unsettled {
            Some(before) if now - before.since >= self.rhythm.quiet_cap() => false,
            // Events may have had us look sooner.
            Some(before) if before.found == found => {
                reading.defederates && now - before.seen < quiet
            }
            Some(before) => {
                (before.found, before.seen) = (found, now);
                true
            }
            None => {
                let (seen, since) = (now, now);
                self.progress.unsettled = Some(Unsettled { found, seen, since });
                true
            }
        }
    }

    /// Nothing is wrong, what was read is what is served, and no certificate has begun or ceased to be valid since.
    fn is_served(&self, set: &FileSet) -> bool {
        let progress = &self.progress;
        progress.failures == 0
            && progress.offered == Some(set.fingerprint)
            && progress
                .stands
                .as_ref()
                .is_some_and(|span| span.contains(&clock::now().into()))
    }

    async fn read(&self) -> Result<Reading, LoadError> {
        let (files, subscription) = (self.files.clone(), Arc::clone(&self.subscription));
        let (offered, federated) = (self.progress.offered, self.progress.federated.clone());
        let read = spawn_blocking(move || {
            let before = subscription.mode();
            let mode = arm(&subscription, &files);
            let set = files::read_set(&files);
            let reading = set.map(|set| Reading {
                defederates: offered != Some(set.fingerprint)
                    && files::presence(&set).lacks_any_of(&federated),
                set,
                atomic: files::is_atomic(&files),
            });
            (before, mode, reading)
        });
        let (before, mode, reading) = read.await.map_err(unfinished)?;
        let directory = self.directory();
        if before != mode && mode.is_degraded() {
            warn!(mtls.watch_mode = %mode, mtls.source = %directory.display(), "changes are noticed late");
        } else if before != mode {
            info!(mtls.watch_mode = %mode, mtls.source = %directory.display(), "changes are noticed at once again");
        }
        self.shared.set_watch_mode(mode);
        // Apart from the contents: a mode changes without them.
        if let Ok(key) = reading.as_ref().map(|reading| &reading.set.key)
            && let Ok(key) = key
        {
            self.shared.set_key_world_readable(key);
        }
        reading
    }

    async fn offer(&mut self, set: FileSet) -> Result<Outcome, LoadError> {
        let now = Instant::now();
        let patience = self.progress.patience(self.rhythm.grace, now);
        let fingerprint = set.fingerprint;
        let shared = Arc::clone(&self.shared);
        let judged = spawn_blocking(move || {
            let (credentials, trust, federated) =
                (credentials(&set), trust(&set), files::presence(&set));
            let offer = Offer {
                credentials: Some(credentials),
                trust: Some(trust),
                aliases: None,
            };
            let now = clock::now();
            let outcome = shared.offer(offer, patience, now);
            (outcome, shared.current().stands(now.into()), federated)
        });
        let (outcome, stands, federated) = judged.await.map_err(unfinished)?;
        let progress = &mut self.progress;
        progress.federated = federated.after(&progress.federated);
        if progress.offered != Some(fingerprint) {
            progress.unchanged = 0;
        }
        progress.offered = Some(fingerprint);
        progress.stands = Some(stands);
        progress.trust_held_since = outcome
            .trust_held
            .then(|| progress.trust_held_since.unwrap_or(now));
        Ok(outcome)
    }

    /// Keeps the streak, and warns once in it: at once about what will not heal by itself, after the grace about what
    /// may be half written.
    fn note(&mut self, errors: &[LoadError]) {
        let now = clock::now().into();
        self.shared.record(errors.first(), now);
        self.shared.checked(errors.first(), now);
        let progress = &mut self.progress;
        let Some((error, others)) = errors.split_first() else {
            progress.failures = 0;
            progress.unchanged = 0;
            progress.failing_since = None;
            progress.warned = false;
            return;
        };
        let since = progress.count(error);
        let lasting = !error.is_transient() || since.elapsed() >= self.rhythm.grace;
        let generation = self.shared.current().generation();
        if lasting && !progress.warned {
            progress.warned = true;
            warn!(
                mtls.reason = error.reason().as_str(),
                mtls.source = %self.directory().display(),
                mtls.generation = generation,
                mtls.remedy = error.remedy(),
                mtls.findings = %findings(others),
                error = %Chained(error),
                "what is on disk does not hold; the last good snapshot is served"
            );
        } else {
            debug!(
                mtls.reason = error.reason().as_str(),
                mtls.checks = progress.failures,
                error = %Chained(error),
                "reload failed"
            );
        }
    }

    fn directory(&self) -> PathBuf {
        let chain = self.files.chain_path();
        chain.parent().unwrap_or(chain).to_owned()
    }
}

impl Progress {
    /// The time until what is unfinished is looked at again; for ever, if nothing is.
    ///
    /// Who finds something else than last time, or files that change while they are read, has met a writer at work, and
    /// its end may be near: only what stays the same is asked for less and less often.
    fn pause(&self, grace: Duration, now: Instant) -> Duration {
        let retry = match self.unchanged.checked_sub(1) {
            None => Duration::MAX,
            Some(doublings) => RETRY_FIRST
                .saturating_mul(1 << doublings.min(16))
                .min(RETRY_LAST),
        };
        // Not at once, even if the grace is over: while the files cannot be read nothing would come of it but a spin.
        let held = self.trust_held_since.map_or(Duration::MAX, |since| {
            (since + grace)
                .saturating_duration_since(now)
                .max(RETRY_FIRST)
        });
        retry.min(held)
    }

    /// Counts a failure; since when there have been any.
    fn count(&mut self, error: &LoadError) -> Instant {
        self.failures = self.failures.saturating_add(1);
        if matches!(error, LoadError::UnstableFiles { .. }) {
            self.unchanged = 0;
        }
        self.unchanged = self.unchanged.saturating_add(1);
        *self.failing_since.get_or_insert_with(Instant::now)
    }

    fn patience(&self, grace: Duration, now: Instant) -> Patience {
        let waited = self
            .trust_held_since
            .map_or(Duration::ZERO, |since| now - since);
        if waited >= grace {
            Patience::Exhausted
        } else {
            Patience::Wait
        }
    }

    /// The source has just loaded this.
    pub(super) fn loaded(set: &FileSet, snapshot: &Snapshot) -> Self {
        Self {
            stands: Some(snapshot.stands(snapshot.loaded_at)),
            offered: Some(set.fingerprint),
            federated: files::presence(set),
            ..Self::default()
        }
    }
}

/// Watches what decides what the files hold. Blocking.
///
/// A swap may take away the directory that a link has just led to. That is no loss of events: followed anew, the link
/// leads to the next one.
pub(super) fn arm(subscription: &Subscription, files: &CredentialFiles) -> WatchMode {
    let mut mode = subscription.arm(files);
    for _ in 1..ARMINGS {
        if !mode.is_degraded() {
            break;
        }
        mode = subscription.arm(files);
    }
    mode
}

/// What is wrong beside the first thing, a line for each; empty if nothing is.
fn findings(others: &[LoadError]) -> String {
    let lines: Vec<_> = others.iter().map(|it| Chained(it).to_string()).collect();
    lines.join("\n")
}

/// Why work on another thread has no result.
pub(super) fn unfinished(error: JoinError) -> LoadError {
    if error.is_panic() {
        LoadError::ReloadPanicked
    } else {
        // The runtime is going down: nobody will ask again.
        LoadError::SourceEnded
    }
}

/// `None` if the future panicked.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

/// Spreads polls by ±10 %, so that a fleet that started together does not read together.
fn jitter(interval: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 2001;
    let factor = 0.9 + f64::from(u32::try_from(random).unwrap_or(1000)) / 10_000.0;
    interval.mul_f64(factor)
}

/// A writer that takes longer than this to finish is unlikely, and noise that does is not.
const QUIET_CAP: Duration = Duration::from_secs(2);

/// A swap takes away one directory, and nobody swaps as fast as we look.
const ARMINGS: usize = 3;

/// Without events the poll is all there is.
const POLL_WHEN_DEAF: Duration = Duration::from_secs(10);

/// Failures are retried after 100, 200, 400 ms and so on, up to five seconds, while the files stay the same.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
