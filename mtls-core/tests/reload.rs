//! Reloading from real directories: what is picked up, what is kept back, and what is told of either.
//!
//! Where there are events they alone carry these tests, since the poll is set to an hour; without the feature `notify` the
//! poll does, every 50 ms.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_core::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mtls_core::rustls::{ClientConfig, RootCertStore};
use mtls_core::testing::{
    Broken, BrokenAt, Issued, LeafOptions, MountedDir, PlainDir, TestCa, handshake,
    handshake_with_foreign,
};
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, Health, LoadError, Policy, PollCause, Reason,
    ServerTls, SourceBuilder, WatchMode,
};
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Changes reach a source by events, or by a poll that is quick.
fn builder() -> SourceBuilder {
    let poll = if cfg!(feature = "notify") {
        HOUR
    } else {
        Duration::from_millis(50)
    };
    CredentialSource::builder()
        .poll_interval(poll)
        .quiet_time(Duration::from_millis(100))
}

async fn watch(dir: &Path) -> CredentialSource {
    watch_with(builder(), dir).await
}

async fn watch_with(builder: SourceBuilder, dir: &Path) -> CredentialSource {
    builder
        .watch(CredentialFiles::kubernetes(dir))
        .await
        .unwrap()
}

fn server(source: &CredentialSource) -> ServerTls {
    ServerTls::builder(source)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build()
        .unwrap()
}

fn client(source: &CredentialSource) -> ClientTls {
    ClientTls::builder(source)
        .verify_server_name()
        .build()
        .unwrap()
}

/// A foreign client that trusts these roots; without credentials it presents no certificate.
fn foreign(server: &ServerTls, roots: &[&TestCa], issued: Option<&Issued>) -> Arc<ClientConfig> {
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
fn lets_in(server: &ServerTls, own: &TestCa, ca: &TestCa) -> Result<(), Reason> {
    let config = foreign(server, &[own], Some(&ca.issue("/peer")));
    handshake_with_foreign(server, config, "localhost")
        .map(drop)
        .map_err(|refused| refused.reason())
}

/// Waits until the source is as it should be.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
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
async fn next(changes: &mut mtls_core::Changes) -> u64 {
    timeout(DEADLINE, changes.changed())
        .await
        .expect("a new snapshot in time")
        .expect("the source is there")
}

async fn refused_reload(source: &CredentialSource) -> LoadError {
    timeout(DEADLINE, source.reload())
        .await
        .expect("an answer in time")
        .unwrap_err()
}

async fn reload(source: &CredentialSource) -> u64 {
    timeout(DEADLINE, source.reload())
        .await
        .expect("an answer in time")
        .unwrap()
}

/// What is logged on this thread. The tests' runtimes have one, on which the reload task runs too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    fn count(&self, level: Level, text: &str) -> usize {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter(|(at, line)| *at == level && line.contains(text))
            .count()
    }

    fn warnings(&self) -> usize {
        self.count(Level::WARN, "") + self.count(Level::ERROR, "")
    }
}

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

#[tokio::test]
async fn a_source_says_how_it_notices_changes() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let source = watch(dir.path()).await;
    let expected = if cfg!(feature = "notify") {
        WatchMode::Events
    } else {
        WatchMode::PollOnly {
            cause: PollCause::Disabled,
        }
    };
    let status = source.status();
    assert_eq!(status.watch, Some(expected));
    assert_eq!(status.health, Health::Healthy);
    assert_eq!((status.generation, status.key_world_readable), (1, false));
}

#[tokio::test]
async fn each_of_three_kubelet_swaps_in_a_row_is_served() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/api"));
    let source = watch(dir.path()).await;
    let (server, client) = (server(&source), client(&ca.source(&ca.issue("/web"))));
    let mut changes = source.subscribe();
    for generation in 2..=4 {
        let api = ca.issue("/api");
        dir.rotate(&api);
        assert_eq!(next(&mut changes).await, generation);
        let met = handshake(&server, &client, "localhost");
        assert_eq!(met.client.unwrap().identity().serial(), api.serial());
        assert_eq!(met.server.unwrap().to_string(), "spiffe://example.org/web");
    }
    assert_eq!(source.status().health, Health::Healthy);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_without_a_pause_are_never_served_mixed() {
    let cas = [TestCa::new("example.org"), TestCa::new("example.org")];
    let sets = cas.each_ref().map(|ca| (ca.root_der(), ca.issue("/api")));
    let dir = MountedDir::new(&sets[0].1);
    let source = watch(dir.path()).await;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopped = StopOnDrop(&stop);
        scope.spawn(|| {
            for (_, issued) in sets.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                dir.rotate(issued);
            }
        });
        let ask = async {
            for _ in 0..200 {
                match source.reload().await {
                    Ok(_) | Err(LoadError::UnstableFiles { .. }) => {}
                    Err(refused) => panic!("{refused:?}"),
                }
                let now = source.current();
                let root = now.trust().bundle().anchors()[0].der().clone();
                let pair = sets.iter().find(|(der, _)| *der == root).unwrap();
                assert_eq!(now.credentials().serial(), pair.1.serial());
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(ask));
        drop(stopped);
    });
    reload(&source).await;
    let status = source.status();
    assert_eq!(status.health, Health::Healthy);
    let expected = cfg!(feature = "notify");
    assert_eq!(status.watch == Some(WatchMode::Events), expected);
}

#[tokio::test]
async fn a_rotated_leaf_keeps_the_trust_and_a_rotated_root_does_not() {
    let (ca, added) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ca.issue("/api"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let before = source.current();
    dir.rotate(&ca.issue("/api"));
    next(&mut changes).await;
    let leaf = source.current();
    assert!(std::ptr::eq(before.trust(), leaf.trust()));
    assert!(!std::ptr::eq(before.credentials(), leaf.credentials()));
    dir.write_bundle(ca.root_pem() + &added.root_pem());
    next(&mut changes).await;
    let root = source.current();
    assert!(!std::ptr::eq(leaf.trust(), root.trust()));
    assert!(std::ptr::eq(leaf.credentials(), root.credentials()));
}

#[tokio::test]
async fn what_does_not_verify_leaves_the_last_good_until_it_does() {
    let ca = TestCa::new("example.org");
    let mut good = ca.issue("/web");
    let dir = MountedDir::new(&good);
    let source = watch(dir.path()).await;
    for broken in Broken::ALL {
        if broken.at() == BrokenAt::Handshake {
            continue;
        }
        let before = source.current();
        broken.write(&ca, &dir);
        let refused = refused_reload(&source).await;
        assert_eq!(refused.reason(), broken.expected_reason(), "{broken}");

        let status = source.status();
        assert_eq!(status.health, Health::Degraded, "{broken}");
        let failure = status.last_error.unwrap();
        assert_eq!(failure.reason(), broken.expected_reason(), "{broken}");
        assert_eq!(failure.remedy(), refused.remedy(), "{broken}");
        assert!(!failure.remedy().is_empty() && failure.streak > 0);
        let after = source.current();
        // A fine chain beside a bad bundle is taken; a bad chain never is, nor a bad bundle.
        assert!(std::ptr::eq(before.trust(), after.trust()), "{broken}");
        if !broken.name().starts_with("bundle") {
            assert_eq!(after.credentials().serial(), good.serial(), "{broken}");
        }

        good = ca.issue("/web");
        dir.rotate(&good);
        reload(&source).await;
        let status = source.status();
        assert_eq!(status.health, Health::Healthy, "{broken}");
        assert!(status.last_error.is_none());
        assert_eq!(source.current().credentials().serial(), good.serial());
    }
}

#[tokio::test]
async fn recovery_is_noticed_without_being_asked_for() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    Broken::KeyEncrypted.write(&ca, &dir);
    until("degraded", || source.status().health == Health::Degraded).await;
    dir.rotate(&ca.issue("/web"));
    until("healthy", || source.status().health == Health::Healthy).await;
    assert_eq!(log.count(Level::INFO, "is served again"), 1);
}

#[tokio::test]
async fn who_is_woken_by_a_change_finds_the_status_of_it() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    for _ in 0..10 {
        Broken::KeyMismatch.write(&ca, &dir);
        refused_reload(&source).await;
        dir.rotate(&ca.issue("/web"));
        let generation = next(&mut changes).await;
        let status = source.status();
        assert_eq!(status.generation, generation);
        assert!(status.last_error.is_none(), "{:?}", status.last_error);
    }
}

#[tokio::test]
async fn a_failure_that_lasts_is_warned_of_once() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    for streak in 1..=2 {
        Broken::KeyEncrypted.write(&ca, &dir);
        for _ in 0..30 {
            refused_reload(&source).await;
        }
        // Another failure in the same streak is no news either.
        Broken::KeyMalformed.write(&ca, &dir);
        for _ in 0..10 {
            refused_reload(&source).await;
        }
        assert_eq!(log.warnings(), streak);
        assert_eq!(log.count(Level::WARN, "key_encrypted"), streak);
        assert!(source.status().last_error.unwrap().streak >= 40);
        dir.rotate(&ca.issue("/web"));
        reload(&source).await;
        assert_eq!(log.count(Level::INFO, "is served again"), streak);
    }
}

#[tokio::test]
async fn what_may_be_half_written_is_warned_of_after_the_grace_and_once() {
    let ca = TestCa::new("example.org");
    for (grace, warnings) in [(HOUR, 0), (Duration::ZERO, 1)] {
        let (log, _guard) = Log::start();
        let dir = MountedDir::new(&ca.issue("/web"));
        let source = watch_with(builder().grace(grace), dir.path()).await;
        Broken::KeyMismatch.write(&ca, &dir);
        for _ in 0..30 {
            let refused = refused_reload(&source).await;
            assert_eq!(refused.reason(), Reason::KeyMismatch);
        }
        assert_eq!(log.warnings(), warnings);
        assert_eq!(source.status().health, Health::Degraded);
    }
}

/// While everything that can break does, nobody without a certificate gets in, and the trust is never empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_no_moment_of_any_reload_is_a_client_without_a_certificate_let_in() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch_with(builder().grace(Duration::ZERO), dir.path()).await;
    let server = server(&source);
    let anonymous = foreign(&server, &[&ca], None);
    let stop = AtomicBool::new(false);
    let attempts = AtomicUsize::new(0);
    let hammer = || {
        while !stop.load(Ordering::Relaxed) {
            let snapshot = server.source().current();
            assert!(!snapshot.trust().bundle().anchors().is_empty());
            let refused =
                handshake_with_foreign(&server, Arc::clone(&anonymous), "localhost").unwrap_err();
            assert_eq!(refused.reason(), Reason::NoPeerCertificate);
            attempts.fetch_add(1, Ordering::Relaxed);
        }
    };
    let stopped = StopOnDrop(&stop);
    std::thread::scope(|scope| {
        let hammers = [scope.spawn(hammer), scope.spawn(hammer)];
        let stopped = stopped;
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for broken in Broken::ALL {
                    if broken.at() == BrokenAt::Handshake {
                        continue;
                    }
                    let before = attempts.load(Ordering::Relaxed);
                    broken.write(&ca, &dir);
                    refused_reload(&source).await;
                    dir.rotate(&ca.issue("/web"));
                    reload(&source).await;
                    until("attempts during each change", || {
                        attempts.load(Ordering::Relaxed) > before
                            || hammers.iter().any(|hammer| hammer.is_finished())
                    })
                    .await;
                }
            });
        });
        drop(stopped);
    });
    assert!(attempts.load(Ordering::Relaxed) > 30);
}

/// A scope waits for its threads even when its body has panicked.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_root_that_is_removed_beside_our_own_takes_hold_without_any_grace() {
    let (ours, gone) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    dir.write_bundle(ours.root_pem() + &gone.root_pem());
    let source = watch_with(builder().grace(HOUR), dir.path()).await;
    let server = server(&source);
    assert_eq!(lets_in(&server, &ours, &gone), Ok(()));
    let mut changes = source.subscribe();
    dir.write_bundle(ours.root_pem());
    next(&mut changes).await;
    assert_eq!(lets_in(&server, &ours, &gone), Err(Reason::UnknownIssuer));
    assert_eq!(lets_in(&server, &ours, &ours), Ok(()));
    assert_eq!(source.status().health, Health::Healthy);
}

#[tokio::test]
async fn our_own_root_that_is_removed_takes_hold_when_the_grace_is_over() {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    dir.write_bundle(ours.root_pem() + &other.root_pem());
    let grace = Duration::from_millis(500);
    let source = watch_with(builder().grace(grace), dir.path()).await;
    let server = server(&source);
    let serial = source.current().credentials().serial().to_owned();
    let mut changes = source.subscribe();
    dir.write_bundle(other.root_pem());
    next(&mut changes).await;
    assert_eq!(lets_in(&server, &ours, &ours), Err(Reason::UnknownIssuer));
    assert_eq!(lets_in(&server, &ours, &other), Ok(()));
    assert_eq!(source.current().credentials().serial(), serial);
    let status = source.status();
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.last_error.unwrap().reason(), Reason::UnknownIssuer);

    // The chain that fits heals it.
    let api = other.issue("/api");
    dir.rotate(&api);
    next(&mut changes).await;
    assert_eq!(source.current().credentials().serial(), api.serial());
    assert_eq!(source.status().health, Health::Healthy);
}

#[tokio::test]
async fn within_the_grace_a_bundle_without_our_own_root_waits_for_the_chain_that_fits() {
    let (ours, other) = (TestCa::new("example.org"), TestCa::new("example.org"));
    let dir = MountedDir::new(&ours.issue("/api"));
    let source = watch_with(builder().grace(HOUR), dir.path()).await;
    let server = server(&source);
    dir.write_bundle(other.root_pem());
    for _ in 0..3 {
        let refused = refused_reload(&source).await;
        assert_eq!(refused.reason(), Reason::UnknownIssuer);
    }
    assert_eq!(source.status().generation, 1);
    assert_eq!(lets_in(&server, &ours, &ours), Ok(()));
    assert_eq!(lets_in(&server, &ours, &other), Err(Reason::UnknownIssuer));
    dir.rotate(&other.issue("/api"));
    assert_eq!(reload(&source).await, 2);
    assert_eq!(lets_in(&server, &other, &other), Ok(()));
    assert_eq!(lets_in(&server, &other, &ours), Err(Reason::UnknownIssuer));
}

#[tokio::test]
async fn chain_and_key_may_come_one_after_the_other_in_either_order() {
    let ca = TestCa::new("example.org");
    for order in [["tls.crt", "tls.key"], ["tls.key", "tls.crt"]] {
        let old = ca.issue("/web");
        let dir = PlainDir::new(&old);
        let source = watch(dir.path()).await;
        let mut changes = source.subscribe();
        let new = ca.issue("/web");
        let bytes = |name| match name {
            "tls.crt" => new.chain_pem(),
            _ => new.key_pem().to_owned(),
        };
        let [first, second] = order;
        dir.rename_over(first, bytes(first));
        // Looked at between the two: nothing of it is served.
        let refused = refused_reload(&source).await;
        assert_eq!(refused.reason(), Reason::KeyMismatch);
        assert_eq!(source.current().credentials().serial(), old.serial());
        dir.rename_over(second, bytes(second));
        assert_eq!(next(&mut changes).await, 2);
        assert_eq!(source.current().credentials().serial(), new.serial());
    }
}

#[tokio::test]
async fn a_file_that_is_truncated_and_written_later_is_never_served_half() {
    let ca = TestCa::new("example.org");
    let (old, new) = (ca.issue("/web"), ca.issue("/web"));
    let dir = PlainDir::new(&old);
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let bundle = old.bundle_pem();
    let files = [
        ("tls.crt", old.chain_pem(), new.chain_pem()),
        ("tls.key", old.key_pem().into(), new.key_pem().into()),
        ("ca.crt", bundle.into(), bundle.into()),
    ];
    for (name, before, _) in &files {
        dir.truncate(name);
        let refused = refused_reload(&source).await;
        assert!(refused.to_string().contains(name), "{refused}");
        dir.write_in_place(name, before);
        assert_eq!(reload(&source).await, 1);
    }
    for (name, ..) in &files {
        dir.truncate(name);
        refused_reload(&source).await;
    }
    for (name, _, after) in &files {
        assert_eq!(source.current().generation(), 1);
        dir.write_in_place(name, after);
    }
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(source.current().credentials().serial(), new.serial());
}

#[tokio::test]
async fn a_file_that_is_removed_and_made_again_is_picked_up() {
    let ca = TestCa::new("example.org");
    let (old, new) = (ca.issue("/web"), ca.issue("/web"));
    let dir = PlainDir::new(&old);
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    dir.remove("tls.crt");
    let refused = refused_reload(&source).await;
    assert_eq!(refused.reason(), Reason::FileMissing);
    assert_eq!(source.current().credentials().serial(), old.serial());
    dir.rename_over("tls.key", new.key_pem());
    dir.write_in_place("tls.crt", new.chain_pem());
    assert_eq!(next(&mut changes).await, 2);
    assert_eq!(source.current().credentials().serial(), new.serial());
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_followed_and_the_one_before_is_not() {
    let ca = TestCa::new("example.org");
    let outer = PlainDir::empty();
    let write = |name: &str, issued: &Issued| {
        let dir = outer.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("tls.crt"), issued.chain_pem()).unwrap();
        fs::write(dir.join("tls.key"), issued.key_pem()).unwrap();
        fs::write(dir.join("ca.crt"), issued.bundle_pem()).unwrap();
    };
    let certs = outer.path().join("certs");
    write("certs", &ca.issue("/web"));
    let source = watch(&certs).await;
    let mut changes = source.subscribe();
    for generation in 2..=3 {
        let old = outer.path().join(format!("old-{generation}"));
        let new = ca.issue("/web");
        write("next", &new);
        fs::rename(&certs, &old).unwrap();
        fs::rename(outer.path().join("next"), &certs).unwrap();
        assert_eq!(next(&mut changes).await, generation);
        assert_eq!(source.current().credentials().serial(), new.serial());
        write(&format!("old-{generation}"), &ca.issue("/web"));
        assert_eq!(reload(&source).await, generation);
    }
    // Removed and made again, too.
    let new = ca.issue("/web");
    fs::remove_dir_all(&certs).unwrap();
    assert_eq!(refused_reload(&source).await.reason(), Reason::FileMissing);
    write("certs", &new);
    assert_eq!(next(&mut changes).await, 4);
    assert_eq!(source.current().credentials().serial(), new.serial());
}

#[cfg(unix)]
#[tokio::test]
async fn new_modes_and_times_are_no_new_snapshot() {
    use std::os::unix::fs::PermissionsExt;
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let before = source.current();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        fs::set_permissions(dir.file(name), fs::Permissions::from_mode(0o400)).unwrap();
        fs::set_permissions(dir.file(name), fs::Permissions::from_mode(0o600)).unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(dir.file(name))
            .unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(reload(&source).await, 1);
    }
    // The same bytes in another file are no news either.
    let bundle = ca.root_pem();
    dir.rename_over("ca.crt", bundle);
    assert_eq!(reload(&source).await, 1);
    assert!(Arc::ptr_eq(&before, &source.current()));
}

#[tokio::test]
async fn files_that_are_not_there_yet_are_waited_for() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let (dir, web) = (MountedDir::empty(), ca.issue("/web"));
    let files = CredentialFiles::kubernetes(dir.path());
    let waiting = tokio::spawn(builder().wait_for_files(Duration::MAX).watch(files));
    until("a first look", || {
        log.count(Level::DEBUG, "waiting for files") > 0
    })
    .await;
    // One file of three is not enough.
    dir.rotate_files(&[("tls.crt", web.chain_pem().as_bytes())]);
    until("a look at that", || log.count(Level::DEBUG, "tls.key") > 0).await;
    assert!(!waiting.is_finished());
    dir.rotate(&web);
    let source = timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(source.current().credentials().serial(), web.serial());
    assert_eq!(source.status().generation, 1);
    assert_eq!(log.warnings(), 0);
}

#[tokio::test]
async fn a_wait_that_is_over_says_what_was_wrong_last() {
    let dir = MountedDir::empty();
    let files = || CredentialFiles::kubernetes(dir.path());
    let at_once = builder().watch(files()).await.unwrap_err();
    assert!(matches!(at_once, LoadError::FileMissing { .. }));
    let wait = Duration::from_millis(150);
    let waited = builder().wait_for_files(wait).watch(files()).await;
    let refused = waited.unwrap_err();
    let LoadError::WaitTimeout { after, source } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(*after, wait);
    assert!(matches!(**source, LoadError::FileMissing { .. }));
    assert_eq!(refused.reason(), Reason::FileMissing);
    let text = mtls_core::Chained(&refused).to_string();
    assert!(text.contains("tls.crt"), "{text}");
}

#[tokio::test]
async fn everybody_who_asks_at_once_is_answered() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let ask = || {
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let source = source.clone();
                tokio::spawn(async move { source.reload().await })
            })
            .collect();
        async {
            let mut answers = Vec::new();
            for one in asking {
                answers.push(timeout(DEADLINE, one).await.unwrap().unwrap());
            }
            answers
        }
    };
    dir.rotate(&ca.issue("/web"));
    assert!(ask().await.iter().all(|answer| matches!(answer, Ok(2))));
    Broken::KeyMismatch.write(&ca, &dir);
    let refused = |answer: &Result<u64, LoadError>| {
        answer.as_ref().unwrap_err().reason() == Reason::KeyMismatch
    };
    assert!(ask().await.iter().all(refused));
}

#[tokio::test]
async fn a_reload_does_not_wait_for_the_quiet_time_that_an_event_has_begun() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let source = watch_with(builder().quiet_time(HOUR), dir.path()).await;
    for generation in 2..10 {
        let new = ca.issue("/web");
        dir.rename_over("tls.crt", new.chain_pem());
        tokio::task::yield_now().await;
        dir.rename_over("tls.key", new.key_pem());
        assert_eq!(reload(&source).await, generation);
        assert_eq!(source.current().credentials().serial(), new.serial());
    }
}

#[tokio::test]
async fn settings_that_mean_never_are_no_reason_to_panic() {
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let never = CredentialSource::builder()
        .poll_interval(Duration::MAX)
        .quiet_time(Duration::MAX)
        .grace(Duration::MAX)
        .wait_for_files(Duration::MAX);
    let source = watch_with(never, dir.path()).await;
    dir.rotate(&ca.issue("/web"));
    assert_eq!(reload(&source).await, 2);
    dir.rename_over("ca.crt", TestCa::new("example.org").root_pem());
    let held = refused_reload(&source).await;
    assert_eq!(held.reason(), Reason::UnknownIssuer);
    assert_eq!(refused_reload(&source).await.reason(), held.reason());
    assert_eq!(source.status().generation, 2);
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_everybody_can_read_is_told_of_once_until_it_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let dir = PlainDir::new(&ca.issue("/web"));
    let mode = |mode| {
        fs::set_permissions(dir.file("tls.key"), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let source = watch(dir.path()).await;
    for warnings in 1..=3 {
        for _ in 0..5 {
            reload(&source).await;
        }
        assert!(source.status().key_world_readable);
        assert_eq!(log.count(Level::WARN, "can read the private key"), warnings);
        assert_eq!(log.count(Level::WARN, "tls.key"), warnings);
        mode(0o640);
        reload(&source).await;
        assert!(!source.status().key_world_readable);
        mode(0o644);
        reload(&source).await;
    }
    assert_eq!(source.status().generation, 1);
    assert_eq!(log.warnings(), 4);
}

#[tokio::test]
async fn a_leaf_that_expires_while_it_is_served_is_told_of() {
    let (log, _guard) = Log::start();
    let ca = TestCa::new("example.org");
    let short = LeafOptions::service("/web").expires_in(Duration::from_secs(3));
    let dir = MountedDir::new(&ca.issue_with(short));
    let rhythm = builder()
        .poll_interval(Duration::from_millis(50))
        .grace(Duration::ZERO);
    let source = watch_with(rhythm, dir.path()).await;
    assert_eq!(source.status().health, Health::Healthy);
    until("expired", || source.status().health == Health::Expired).await;
    until("an error", || source.status().last_error.is_some()).await;
    let failure = source.status().last_error.unwrap();
    assert_eq!(failure.reason(), Reason::Expired);
    assert_eq!(log.count(Level::WARN, "mtls.reason=\"expired\""), 1);

    dir.rotate(&ca.issue("/web"));
    until("healthy", || source.status().health == Health::Healthy).await;
    assert!(source.status().last_error.is_none());
    assert_eq!(log.warnings(), 1);
}

#[tokio::test]
async fn changes_are_told_once_and_their_end_too() {
    let ca = TestCa::new("example.org");
    let (publisher, source) = ca.publish(&ca.issue("/web"));
    let mut changes = source.subscribe();
    let told = |changes: &mut mtls_core::Changes| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(changes.changed())
            .as_mut()
            .poll(&mut context)
    };
    assert!(told(&mut changes).is_pending());
    for generation in 2..=4 {
        let published = publisher.publish_credentials(ca.issue("/web").material());
        assert_eq!(published.unwrap(), generation);
    }
    assert_eq!(told(&mut changes), std::task::Poll::Ready(Some(4)));
    assert!(told(&mut changes).is_pending());
    assert!(told(&mut source.subscribe()).is_pending());
    drop(source);
    assert!(told(&mut changes).is_pending(), "it is still published to");
    drop(publisher);
    assert_eq!(told(&mut changes), std::task::Poll::Ready(None));
}

#[tokio::test]
async fn the_last_handle_ends_the_source_of_files() {
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch(dir.path()).await;
    let mut changes = source.subscribe();
    let server = server(&source);
    drop(source);
    // The one inside the server is a handle.
    dir.rotate(&ca.issue("/web"));
    next(&mut changes).await;
    assert_eq!(reload(server.source()).await, 2);
    drop(server);
    let end = timeout(DEADLINE, changes.changed()).await;
    assert_eq!(end.expect("an end in time"), None);
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Far beyond what anything here takes, so that a loaded machine is no failure.
const DEADLINE: Duration = Duration::from_secs(20);
