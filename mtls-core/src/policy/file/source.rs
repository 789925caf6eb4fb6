//! A policy that follows its file.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::document::PolicyDocument;
use super::error::{PolicyFileError, PolicyFileFault};
use crate::files::{self, CredentialFiles, Subscription, WatchMode};
use crate::identity::{PeerIdentity, Timestamp, TrustDomain};
use crate::policy::access::{AccessPolicy, RequestPolicy};
use crate::policy::authorizer::{Authorizer, Denial, RequestAuthorizer};
use crate::policy::request::RequestFacts;

/// A policy in a file, TOML or JSON by the end of its name.
///
/// ```toml
/// trust_domain = "example.org"      # the local one, for namespaces and service accounts
/// otherwise = "deny"                # required: "deny" or "allow"
/// mode = "enforce"                  # or "dry-run"
///
/// [[deny]]                          # asked first
/// name = "no batch jobs"
/// peer = { service_account = "shop/batch" }
///
/// [[allow]]
/// name = "the shop reads orders"
/// peer = { namespace = ["shop"] }   # facts are all to hold, of each one value
/// not_peer = { spiffe = "spiffe://example.org/ns/shop/sa/canary" }
/// request = { method = "GET", path = ["/orders", "/orders/**"] }
///
/// [[allow]]
/// name = "health"
/// peer = "anyone"                   # or "verified", "anonymous"
/// request = { path = "/healthz" }
/// ```
///
/// The facts are those of [`Fact`](crate::Fact), by their names. An unknown field is an error.
///
/// Whoever writes the file should replace it by renaming. A file that is written in place is taken when it has held the
/// same for the quiet time; a writer that pauses longer, between two rules, is taken at its word.
#[derive(Debug, Clone)]
#[must_use]
pub struct PolicyFile {
    path: PathBuf,
    trust_domain: Option<TrustDomain>,
    poll: Duration,
    quiet: Duration,
}

impl PolicyFile {
    /// The policy in this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            trust_domain: None,
            poll: Duration::from_secs(30),
            quiet: Duration::from_millis(250),
        }
    }

    /// The local trust domain, as the program knows it. A file that names another is refused. Default: what the file says.
    pub fn trust_domain(mut self, domain: TrustDomain) -> Self {
        self.trust_domain = Some(domain);
        self
    }

    /// How often the file is read even if no event told of a change. Default: 30 s; at most 10 s while events are not to be
    /// had. At least 10 ms.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll = interval.max(SHORTEST_POLL);
        self
    }

    /// How long the file must have held the same before it is taken. Default: 250 ms.
    pub fn quiet_time(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Loads a policy about peers and keeps it current: for [`ServerTlsBuilder::authorize`](crate::ServerTlsBuilder::authorize).
    /// Spawns a task on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; a rule about requests is, here and at each reload.
    pub async fn watch(self) -> Result<PolicySource<AccessPolicy>, PolicyFileError> {
        PolicySource::watch(self).await
    }

    /// Loads a policy about requests and keeps it current. Spawns a task on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub async fn watch_requests(self) -> Result<PolicySource<RequestPolicy>, PolicyFileError> {
        PolicySource::watch(self).await
    }

    /// Blocks on the disk.
    fn read(&self) -> Result<Vec<u8>, PolicyFileError> {
        let content = files::read_file(&self.path).map_err(|source| {
            let source = Box::new(source);
            PolicyFileError::of_file(&self.path, PolicyFileFault::Unreadable { source })
        })?;
        Ok(content.bytes().to_vec())
    }

    fn build<P: FromPolicyFile>(&self, bytes: &[u8]) -> Result<P, PolicyFileError> {
        let local = self.trust_domain.as_ref();
        let document = PolicyDocument::from_file(&self.path, bytes, local)?;
        P::from_document(&document).map_err(|error| error.in_file(&self.path))
    }
}

/// A policy that can be made of a file: [`AccessPolicy`] and [`RequestPolicy`].
pub trait FromPolicyFile:
    Clone + Send + Sync + fmt::Debug + fmt::Display + sealed::Sealed + 'static
{
    #[doc(hidden)]
    fn from_document(document: &PolicyDocument) -> Result<Self, PolicyFileError>;
}

impl FromPolicyFile for AccessPolicy {
    fn from_document(document: &PolicyDocument) -> Result<Self, PolicyFileError> {
        document.access_policy()
    }
}

impl FromPolicyFile for RequestPolicy {
    fn from_document(document: &PolicyDocument) -> Result<Self, PolicyFileError> {
        document.request_policy()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AccessPolicy {}
    impl Sealed for super::RequestPolicy {}
}

/// A policy that follows its file: checked before it is used, and while the file does not hold, the last good one.
///
/// A clone is another handle. When the last is dropped, the task and its watch end.
#[derive(Clone)]
pub struct PolicySource<P> {
    shared: Arc<Shared<P>>,
    task: Arc<Task>,
}

struct Shared<P> {
    current: ArcSwap<P>,
    version: AtomicU64,
    changes: watch::Sender<u64>,
    failure: Mutex<Option<PolicyFailure>>,
}

/// How a policy source is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// The version of the policy that decides, from 1.
    pub version: u64,
    /// The policy that decides, in a sentence; it says so if it is a dry run.
    pub policy: String,
    /// What is wrong with the file now, if anything.
    pub failure: Option<PolicyFailure>,
}

/// That a policy file does not hold.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyFailure {
    /// What is wrong with it now.
    pub error: Arc<PolicyFileError>,
    /// When it began not to hold.
    pub since: Timestamp,
}

type Reload = oneshot::Sender<Result<u64, Arc<PolicyFileError>>>;

/// Ends the task when the last handle goes.
#[derive(Debug)]
struct Task {
    requests: mpsc::Sender<Reload>,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl<P: FromPolicyFile> PolicySource<P> {
    async fn watch(file: PolicyFile) -> Result<Self, PolicyFileError> {
        let first = file.clone();
        let loaded = spawn_blocking(move || {
            let bytes = first.read()?;
            Ok((first.build::<P>(&bytes)?, bytes))
        });
        let (policy, bytes) = loaded.await.unwrap_or_else(|_| Err(ended(&file)))?;
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(policy),
            version: AtomicU64::new(1),
            changes: watch::Sender::new(1),
            failure: Mutex::new(None),
        });
        let (requests, inbox) = mpsc::channel(16);
        let follower = Follower {
            watched: CredentialFiles::paths(&file.path, &file.path, &file.path),
            file,
            shared: Arc::clone(&shared),
            subscription: Arc::new(Subscription::new()),
            inbox,
            judged: Ok(bytes),
        };
        let handle = tokio::spawn(follower.run());
        Ok(Self {
            shared,
            task: Arc::new(Task { requests, handle }),
        })
    }

    /// The policy that decides now.
    #[must_use]
    pub fn current(&self) -> P {
        P::clone(&self.shared.current.load())
    }

    /// How the source is doing.
    #[must_use]
    pub fn status(&self) -> PolicyStatus {
        PolicyStatus {
            version: self.version(),
            policy: self.shared.current.load().to_string(),
            failure: self.shared.lock_failure().clone(),
        }
    }

    /// The version of the policy that decides; it grows with each that is published.
    #[must_use]
    pub fn version(&self) -> u64 {
        // Paired with the store after the policy's: whoever sees a version sees its policy, or a later one.
        self.shared.version.load(Ordering::Acquire)
    }

    /// Tells of each new version, and of a failure that begins or ends by the same version once more.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Reads the file now, without waiting for an event or a quiet time; returns the version that decides.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; the last good policy decides on.
    pub async fn reload(&self) -> Result<u64, Arc<PolicyFileError>> {
        let (request, answer) = oneshot::channel();
        // The task ends with the last handle, and this is one; or with the runtime, when nobody asks any more.
        let _ = self.task.requests.send(request).await;
        answer.await.unwrap_or_else(|_| Ok(self.version()))
    }
}

impl Authorizer for PolicySource<AccessPolicy> {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        self.shared.current.load().decide(Some(peer))
    }

    fn version(&self) -> u64 {
        Self::version(self)
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.subscribe())
    }
}

impl<P: FromPolicyFile + RequestAuthorizer> RequestAuthorizer for PolicySource<P> {
    fn authorize_request(
        &self,
        peer: Option<&PeerIdentity>,
        request: &RequestFacts<'_>,
    ) -> Result<(), Denial> {
        self.shared.current.load().authorize_request(peer, request)
    }

    fn version(&self) -> u64 {
        Self::version(self)
    }
}

impl<P> Shared<P> {
    fn lock_failure(&self) -> std::sync::MutexGuard<'_, Option<PolicyFailure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: fmt::Display> fmt::Debug for PolicySource<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySource")
            .field("policy", &self.shared.current.load().to_string())
            .field("version", &self.shared.version)
            .finish_non_exhaustive()
    }
}

/// What the file held when it was read: its bytes, or why there were none, as it prints.
type Content = Result<Vec<u8>, String>;

struct Follower<P> {
    file: PolicyFile,
    watched: CredentialFiles,
    shared: Arc<Shared<P>>,
    subscription: Arc<Subscription>,
    inbox: mpsc::Receiver<Reload>,
    /// What the file held when it was last judged.
    judged: Content,
}

impl<P: FromPolicyFile> Follower<P> {
    /// Runs until it is aborted by its owner, or the runtime goes down.
    async fn run(mut self) {
        // Before the first read nothing was watched.
        let mut asked = None;
        loop {
            if self.check(asked.take()).await.is_none() {
                return;
            }
            tokio::select! {
                () = self.subscription.changed() => {}
                () = sleep(self.pause()) => {}
                request = self.inbox.recv() => match request {
                    Some(request) => asked = Some(request),
                    None => return,
                },
            }
        }
    }

    fn pause(&self) -> Duration {
        match self.subscription.mode() {
            WatchMode::Events => self.file.poll,
            WatchMode::PollOnly { .. } => self.file.poll.min(POLL_WHEN_DEAF),
        }
    }

    /// `None` when the runtime is going down.
    async fn check(&mut self, asked: Option<Reload>) -> Option<()> {
        let mut read = self.read().await?;
        let mut rounds = 0;
        while asked.is_none() && content(&read) != self.judged {
            // Somebody may be writing: it has to be the same once more. A policy that was cut between two rules is a
            // policy, and perhaps without what it denies.
            sleep(self.file.quiet).await;
            let again = self.read().await?;
            let same = content(&again) == content(&read);
            read = again;
            if same {
                break;
            }
            rounds += 1;
            if rounds == MAX_ROUNDS {
                debug!("policy file does not come to rest");
                return Some(());
            }
        }
        let found = content(&read);
        let result = if found == self.judged {
            match &*self.shared.lock_failure() {
                Some(failure) => Err(Arc::clone(&failure.error)),
                None => Ok(self.shared.version.load(Ordering::Acquire)),
            }
        } else {
            self.judged = found;
            let file = self.file.clone();
            let built = spawn_blocking(move || file.build(&read?)).await.ok()?;
            self.take(built)
        };
        if let Some(asked) = asked {
            // Whoever asked may have gone away.
            let _ = asked.send(result);
        }
        Some(())
    }

    async fn read(&self) -> Option<Result<Vec<u8>, PolicyFileError>> {
        let (file, watched) = (self.file.clone(), self.watched.clone());
        let subscription = Arc::clone(&self.subscription);
        let read = spawn_blocking(move || {
            let mode = subscription.arm(&watched);
            (mode, file.read())
        });
        let (mode, read) = read.await.ok()?;
        if mode.is_degraded() {
            debug!(mtls.watch_mode = %mode, "policy changes are noticed late");
        }
        Some(read)
    }

    fn take(&self, built: Result<P, PolicyFileError>) -> Result<u64, Arc<PolicyFileError>> {
        let path = self.file.path.display();
        match built {
            Ok(policy) => {
                info!(mtls.policy = %policy, mtls.source = %path, "policy published");
                self.shared.current.store(Arc::new(policy));
                *self.shared.lock_failure() = None;
                let version = self.shared.version.load(Ordering::Acquire) + 1;
                self.shared.version.store(version, Ordering::Release);
                self.shared.changes.send_replace(version);
                Ok(version)
            }
            Err(error) => {
                let error = Arc::new(error);
                warn!(mtls.remedy = error.remedy(), %error, "policy file does not hold; the last good policy decides");
                let failure = &mut *self.shared.lock_failure();
                let since = failure
                    .as_ref()
                    .map_or_else(Timestamp::now, |before| before.since);
                *failure = Some(PolicyFailure {
                    error: Arc::clone(&error),
                    since,
                });
                self.shared.changes.send_modify(|_| {});
                Err(error)
            }
        }
    }
}

fn content(read: &Result<Vec<u8>, PolicyFileError>) -> Content {
    read.clone().map_err(|error| error.to_string())
}

fn ended(file: &PolicyFile) -> PolicyFileError {
    let source = Box::new(crate::error::LoadError::SourceEnded);
    PolicyFileError::of_file(&file.path, PolicyFileFault::Unreadable { source })
}

/// Without events the poll is all there is.
const POLL_WHEN_DEAF: Duration = Duration::from_secs(10);

/// A file that changes all the time is left for the next look: meanwhile somebody may ask.
const MAX_ROUNDS: u32 = 8;

const SHORTEST_POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;
