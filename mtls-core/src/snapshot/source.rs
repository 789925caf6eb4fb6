//! The reader of snapshots, and how one is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::UnixTime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::aliases::AliasUse;
use super::credentials::CredentialMaterial;
use super::generation::{DEFAULT_NAME, OwnChain, Settings, Snapshot};
use super::material::TrustMaterial;
use super::publisher::{Current, Publisher, Shared};
use super::reading;
use super::reload::{self, Progress, ReloadRequest, Reloader, Rhythm};
use super::status::Status;
use super::trust::CaHints;
use crate::clock;
use crate::error::LoadError;
use crate::files::{self, CredentialFiles, FileSet, Subscription};
use crate::identity::TrustDomain;
use crate::tls::provider;
use crate::verify::Revocation;

/// Where credentials and trust come from, kept up to date.
///
/// A clone is another handle on the same source. Reading [`current`](Self::current) costs a few nanoseconds. When the
/// last handle is dropped, those inside [`ServerTls`](crate::ServerTls) and [`ClientTls`](crate::ClientTls) included, the
/// watcher and its task end.
#[derive(Debug, Clone)]
pub struct CredentialSource {
    shared: Arc<Shared>,
    task: Option<Arc<ReloadTask>>,
}

/// Ends the reload task when the last handle goes.
#[derive(Debug)]
struct ReloadTask {
    requests: mpsc::Sender<ReloadRequest>,
    handle: JoinHandle<()>,
}

impl Drop for ReloadTask {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl CredentialSource {
    /// Loads `files` and keeps watching them, with every setting at its default: see [`SourceBuilder`].
    ///
    /// This spawns the reload task on the current tokio runtime; it is the one constructor that spawns.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the files. Nothing is served from a source that did not verify once.
    pub fn watch(files: CredentialFiles) -> impl Future<Output = Result<Self, LoadError>> + Send {
        Self::builder().watch(files)
    }

    /// Says how a source verifies, and how it reads.
    pub fn builder() -> SourceBuilder {
        SourceBuilder::default()
    }

    /// The snapshot that is served now.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current()
    }

    /// Where the current snapshot is found, for whoever must not keep the source alive.
    pub(crate) fn cell(&self) -> &Arc<Current> {
        self.shared.cell()
    }

    /// Tells of each new snapshot by its generation.
    #[must_use]
    pub fn subscribe(&self) -> Changes {
        Changes(self.shared.subscribe())
    }

    /// How the source is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status(clock::now().into())
    }

    /// Sets the other names of the local trust domain, for a migration from one name to the next: a SPIFFE ID of one of
    /// these is verified with the local bundle, and is the same ID in the local trust domain for every policy. Default:
    /// none. They take hold at the next handshake, and on live connections.
    ///
    /// A rule that names an alias matches nobody any more, a denying one neither: write rules for the local trust domain.
    /// Of a trust domain that has a bundle of its own the members stay foreigners, whatever is set here.
    ///
    /// The peers of live connections are verified anew before this returns: some milliseconds, where there are many.
    pub fn set_trust_domain_aliases(&self, aliases: impl IntoIterator<Item = TrustDomain>) {
        self.shared.set_aliases(aliases.into_iter().collect());
    }

    /// Who still uses another name of the local trust domain: one row for each that was
    /// [set](Self::set_trust_domain_aliases). What nobody has used for as long as certificates live may go.
    ///
    /// Counted are connections whose handshake was asked for its peer ([`ServerHandshake::established`] and
    /// [`ClientHandshake::established`], as `mtls-tower` and `mtls-axum` do), resumed or not.
    ///
    /// [`ServerHandshake::established`]: crate::rustls::ServerHandshake::established
    /// [`ClientHandshake::established`]: crate::rustls::ClientHandshake::established
    #[must_use]
    pub fn alias_uses(&self) -> Vec<AliasUse> {
        let snapshot = self.current();
        self.cell().aliases().of(snapshot.trust().aliases())
    }

    /// Reads the files now, without waiting for an event or a quiet time; returns the generation that is served.
    ///
    /// Concurrent calls share one reading. For a source that is published to, there is nothing to read.
    ///
    /// # Errors
    ///
    /// What is wrong with the files; the last good snapshot is served on.
    pub async fn reload(&self) -> Result<u64, LoadError> {
        let Some(task) = &self.task else {
            return Ok(self.current().generation());
        };
        let (request, answer) = oneshot::channel();
        task.requests
            .send(request)
            .await
            .map_err(|_| LoadError::SourceEnded)?;
        answer.await.unwrap_or(Err(LoadError::SourceEnded))
    }

    /// Reloads at every SIGHUP, until the last handle of the source is gone. What it returns is none: it keeps no source
    /// alive, and ends with it.
    ///
    /// A library installs no signal handler by itself: spawn this if you want one.
    ///
    /// # Errors
    ///
    /// When the handler cannot be installed.
    #[cfg(all(unix, feature = "signal"))]
    #[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
    pub fn reload_on_hangup(
        &self,
    ) -> std::io::Result<impl Future<Output = ()> + Send + 'static + use<>> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        let requests = self.task.as_ref().map(|task| task.requests.downgrade());
        let mut changes = self.subscribe();
        Ok(async move {
            // A source that is published to has nothing to read.
            let Some(requests) = requests else { return };
            loop {
                tokio::select! {
                    told = changes.changed() => match told {
                        Some(_) => continue,
                        None => return,
                    },
                    signal = hangup.recv() => if signal.is_none() {
                        return;
                    },
                }
                let Some(requests) = requests.upgrade() else {
                    return;
                };
                let (request, answer) = oneshot::channel();
                if requests.send(request).await.is_err() {
                    return;
                }
                // The status and the log tell what came of it.
                let _ = answer.await;
            }
        })
    }
}

/// Wakes when a new snapshot is published.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<u64>);

impl Changes {
    /// Waits for a snapshot that this has not told of, and returns its generation; `None` when the source is gone.
    ///
    /// Cancel safe. Several changes between two calls are told as one.
    pub async fn changed(&mut self) -> Option<u64> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }
}

/// How a source verifies, and how it reads.
#[derive(Debug, Clone)]
#[must_use]
pub struct SourceBuilder {
    name: Arc<str>,
    provider: Option<Arc<CryptoProvider>>,
    trust_domain: Option<TrustDomain>,
    own_chain: OwnChain,
    hints: CaHints,
    names_from: BTreeSet<TrustDomain>,
    revocation: Revocation,
    revocation_of: BTreeMap<TrustDomain, Revocation>,
    rhythm: Rhythm,
    wait: Duration,
}

impl Default for SourceBuilder {
    fn default() -> Self {
        Self {
            name: DEFAULT_NAME.into(),
            provider: None,
            trust_domain: None,
            own_chain: OwnChain::default(),
            hints: CaHints::default(),
            names_from: BTreeSet::new(),
            revocation: Revocation::new(),
            revocation_of: BTreeMap::new(),
            rhythm: Rhythm {
                poll: Duration::from_secs(30),
                quiet: Duration::from_millis(250),
                grace: Duration::from_secs(10),
            },
            wait: Duration::ZERO,
        }
    }
}

impl SourceBuilder {
    /// What to call the source in metrics and in its status, where there are several: `ingress`, `mesh`. Default: `default`.
    /// Two sources of one name overwrite each other's metrics.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The crypto provider. Default: the process's default if one is installed, else aws-lc-rs, else ring, as far as
    /// their features are on.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The trust domain that the trust bundle belongs to. Default: the one of our own SPIFFE ID; without either, peers
    /// are verified by name only and a SPIFFE ID is refused.
    pub fn trust_domain(mut self, trust_domain: TrustDomain) -> Self {
        self.trust_domain = Some(trust_domain);
        self
    }

    /// Whether our own chain has to verify under our own trust bundle. Default: it has to.
    pub fn own_chain(mut self, own_chain: OwnChain) -> Self {
        self.own_chain = own_chain;
        self
    }

    /// Whether servers name the CAs that they accept. Default: yes, up to 8 KiB of names.
    pub fn ca_hints(mut self, hints: CaHints) -> Self {
        self.hints = hints;
        self
    }

    /// Lets the bundle of a foreign trust domain vouch for DNS names, IP and e-mail addresses too. Default: only the local
    /// bundle does; of a peer of another trust domain its SPIFFE ID counts, and nothing else.
    ///
    /// Whoever runs that domain's CA can then pose as any server that a client of this source expects by name.
    pub fn names_from(mut self, trust_domain: TrustDomain) -> Self {
        self.names_from.insert(trust_domain);
        self
    }

    /// How revocation lists are judged, where there are any. Default: [`Revocation::new`], which refuses whoever no list
    /// speaks of, and everybody new when a list is stale. OCSP is not asked.
    pub fn revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = revocation;
        self
    }

    /// How the revocation lists of this trust domain are judged. Default: as [`revocation`](Self::revocation) says.
    pub fn revocation_of(mut self, trust_domain: TrustDomain, revocation: Revocation) -> Self {
        self.revocation_of.insert(trust_domain, revocation);
        self
    }

    /// How often the files are read even if no event told of a change. Default: 30 s, ±10 %; at most 10 s while events
    /// are not to be had. At least 10 ms.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.rhythm.poll = interval.clamp(SHORTEST_POLL, LONGEST);
        self
    }

    /// How long files that are not swapped atomically must have been quiet before what they hold is used. Default:
    /// 250 ms. Noise delays it to 2 s at most, or to this time if that is longer.
    pub fn quiet_time(mut self, quiet: Duration) -> Self {
        self.rhythm.quiet = quiet.min(LONGEST);
        self
    }

    /// How long a new trust bundle that does not vouch for our own chain waits for a chain that fits, before it is used
    /// all the same; and how long half-written files may take before a warning. Default: 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.rhythm.grace = grace.min(LONGEST);
        self
    }

    /// Waits up to this long for the files to appear and verify, for a start before the first issuance. Default: does
    /// not wait.
    pub fn wait_for_files(mut self, timeout: Duration) -> Self {
        self.wait = timeout.min(LONGEST);
        self
    }

    /// Loads `files` and keeps watching them. Spawns the reload task on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the files, [`LoadError::WaitTimeout`] if it stayed so for as long as
    /// [`wait_for_files`](Self::wait_for_files) said.
    pub async fn watch(self, files: CredentialFiles) -> Result<CredentialSource, LoadError> {
        let (publisher, set) = self.load(&files).await?;
        let shared = publisher.shared;
        if let Ok(key) = &set.key {
            shared.set_key_world_readable(key);
        }
        let (sender, requests) = mpsc::channel(REQUESTS);
        let reloader = Reloader {
            progress: Progress::loaded(&set, &shared.current()),
            files,
            shared: Arc::clone(&shared),
            subscription: Arc::new(Subscription::new()),
            requests,
            rhythm: self.rhythm,
        };
        // The watches are armed before the source is handed out, so that its status tells how changes are noticed.
        let (armed, files) = (Arc::clone(&reloader.subscription), reloader.files.clone());
        let mode = spawn_blocking(move || reload::arm(&armed, &files)).await;
        shared.set_watch_mode(mode.map_err(reload::unfinished)?);
        shared.look_around(&reloader.files).await;
        shared.opened();
        let handle = tokio::spawn(reloader.run());
        Ok(CredentialSource {
            shared,
            task: Some(Arc::new(ReloadTask {
                requests: sender,
                handle,
            })),
        })
    }

    /// A source that is published to: its first snapshot, and the publisher of the next ones.
    ///
    /// # Errors
    ///
    /// What does not verify.
    pub fn publish(
        self,
        credentials: CredentialMaterial,
        trust: TrustMaterial,
    ) -> Result<(Publisher, CredentialSource), LoadError> {
        self.publish_at(credentials, trust, clock::now())
    }

    /// As [`publish`](Self::publish), verified at `now`.
    pub(crate) fn publish_at(
        self,
        credentials: CredentialMaterial,
        trust: TrustMaterial,
        now: UnixTime,
    ) -> Result<(Publisher, CredentialSource), LoadError> {
        let publisher = Publisher::open(self.settings()?, credentials, &trust, now)?;
        publisher.shared.opened();
        let source = CredentialSource {
            shared: Arc::clone(&publisher.shared),
            task: None,
        };
        Ok((publisher, source))
    }

    async fn load(&self, files: &CredentialFiles) -> Result<(Publisher, FileSet), LoadError> {
        let deadline = Instant::now() + self.wait;
        loop {
            let (this, files) = (self.clone(), files.clone());
            let loaded = spawn_blocking(move || this.load_once(&files)).await;
            let error = match loaded.map_err(reload::unfinished)? {
                Ok(loaded) => return Ok(loaded),
                Err(error) => error,
            };
            if self.wait.is_zero() {
                return Err(error);
            }
            if Instant::now() >= deadline {
                return Err(LoadError::WaitTimeout {
                    after: self.wait,
                    source: Box::new(error),
                });
            }
            debug!(mtls.reason = error.reason().as_str(), %error, "waiting for files");
            sleep_until(deadline.min(Instant::now() + WAIT_STEP)).await;
        }
    }

    fn load_once(&self, files: &CredentialFiles) -> Result<(Publisher, FileSet), LoadError> {
        let set = files::read_set(files)?;
        let (credentials, trust) = (reading::credentials(&set)?, reading::first_trust(&set)?);
        let publisher = Publisher::open(self.settings()?, credentials, &trust, clock::now())?;
        Ok((publisher, set))
    }

    fn settings(&self) -> Result<Settings, LoadError> {
        Ok(Settings {
            name: Arc::clone(&self.name),
            provider: provider::resolve(self.provider.clone())?,
            trust_domain: self.trust_domain.clone(),
            own_chain: self.own_chain,
            hints: self.hints,
            names_from: self.names_from.clone(),
            revocation: self.revocation,
            revocation_of: self.revocation_of.clone(),
        })
    }
}

/// Reload requests that may wait for the one that is being served.
const REQUESTS: usize = 16;

/// How often the files are looked for while waiting for them to appear.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// More often than this is a busy loop.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// Whoever says `Duration::MAX` means "never", and adding that to an instant panics. A year is as good.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
