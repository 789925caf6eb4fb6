//! Sources of real directories, peers that try to get in, and a log that is listened to.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::rustls::{ClientConfig, RootCertStore};
use mtls_core::testing::{Issued, TestCa, handshake_with_foreign};
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, LoadError, Policy, Reason, ServerTls,
    SourceBuilder,
};
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Changes reach a source by events, or by a poll that is quick.
pub(crate) fn builder() -> SourceBuilder {
    let poll = if cfg!(feature = "notify") {
        HOUR
    } else {
        Duration::from_millis(50)
    };
    CredentialSource::builder()
        .poll_interval(poll)
        .quiet_time(Duration::from_millis(100))
}

pub(crate) async fn watch(dir: &Path) -> CredentialSource {
    watch_with(builder(), dir).await
}

pub(crate) async fn watch_with(builder: SourceBuilder, dir: &Path) -> CredentialSource {
    builder
        .watch(CredentialFiles::kubernetes(dir))
        .await
        .unwrap()
}

pub(crate) fn server(source: &CredentialSource) -> ServerTls {
    ServerTls::builder(source)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build()
        .unwrap()
}

pub(crate) fn client(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .build()
        .unwrap()
}

/// A foreign client that trusts these roots; without credentials it presents no certificate.
pub(crate) fn foreign(
    server: &ServerTls,
    roots: &[&TestCa],
    issued: Option<&Issued>,
) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for ca in roots {
        store.add(ca.root_der()).unwrap();
    }
    let provider = Arc::clone(server.handshake().config().crypto_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> =
        issued.map(|issued| (issued.chain_der(), issued.key_der()));
    Arc::new(match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// Whether a peer of `ca` is let in by `server`, whose own chain is by `own`.
pub(crate) fn lets_in(server: &ServerTls, own: &TestCa, ca: &TestCa) -> Result<(), Reason> {
    let config = foreign(server, &[own], Some(&ca.issue("/peer")));
    handshake_with_foreign(server, config, "localhost")
        .map(drop)
        .map_err(|refused| refused.reason())
}

/// Waits until the source is as it should be.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// Waits for the next snapshot.
pub(crate) async fn next(changes: &mut mtls_core::Changes) -> u64 {
    timeout(DEADLINE, changes.changed())
        .await
        .expect("a new snapshot in time")
        .expect("the source is there")
}

pub(crate) async fn refused_reload(source: &CredentialSource) -> LoadError {
    timeout(DEADLINE, source.reload())
        .await
        .expect("an answer in time")
        .unwrap_err()
}

pub(crate) async fn reload(source: &CredentialSource) -> u64 {
    timeout(DEADLINE, source.reload())
        .await
        .expect("an answer in time")
        .unwrap()
}

/// What is logged on this thread. The tests' runtimes have one, on which the reload task runs too.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    pub(crate) fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is but one subscriber, tracing asks the current thread's whether a line is of interest, and keeps the
        // answer: the tests beside this one, which have none, would turn the line off for it.
        LazyLock::force(&SECOND);
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    pub(crate) fn count(&self, level: Level, text: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter(|(at, line)| *at == level && line.contains(text))
            .count()
    }

    /// The lines at this level with this text in them.
    pub(crate) fn at(&self, level: Level, text: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        let found = lines.iter();
        let found = found.filter(|(at, line)| *at == level && line.contains(text));
        found.map(|(_, line)| line.clone()).collect()
    }

    pub(crate) fn warnings(&self) -> usize {
        self.count(Level::WARN, "") + self.count(Level::ERROR, "")
    }
}

static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Log::default()));

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mtls_core")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        let level = *event.metadata().level();
        self.0.lock().unwrap().push((level, line.0));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A scope waits for its threads even when its body has panicked.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

/// Far beyond what anything here takes, so that a loaded machine is no failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
