//! The server and its clients: each a mounted directory and its source; and how they rotate.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{ClientTls, CredentialFiles, CredentialSource, Observer, Policy, ServerTls};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::load::Load;

/// One identity.
pub struct Party {
    path: &'static str,
    pub name: String,
    dir: Arc<MountedDir>,
    source: CredentialSource,
    /// Of all leaves that it has had.
    serials: Mutex<HashSet<String>>,
}

impl Party {
    async fn new(path: &'static str, ca: &TestCa) -> Self {
        let leaf = ca.issue(path);
        let dir = MountedDir::new(&leaf);
        let files = CredentialFiles::detect(dir.path()).unwrap();
        Self {
            path,
            name: ca.spiffe_id(path),
            dir: Arc::new(dir),
            source: CredentialSource::watch(files).await.unwrap(),
            serials: Mutex::new(HashSet::from([leaf.serial()])),
        }
    }

    pub fn tls(&self) -> ClientTls {
        let builder = ClientTls::builder(&self.source).verify_server_name();
        builder.build().unwrap()
    }

    /// Whether this is its name, and the serial of one of its leaves.
    pub fn is(&self, name: &str, serial: &str) -> bool {
        name == self.name && self.serials.lock().unwrap().contains(serial)
    }

    /// Swaps a new leaf in, and waits until it is served.
    async fn rotate(&self, ca: &TestCa, bundle: &str) {
        let leaf = ca.issue(self.path);
        let serial = leaf.serial();
        self.serials.lock().unwrap().insert(serial.clone());
        let mut changes = self.source.subscribe();
        let (dir, bundle) = (Arc::clone(&self.dir), bundle.to_owned());
        let swap = move || dir.rotate_with(leaf.chain_pem(), leaf.key_pem(), bundle);
        tokio::task::spawn_blocking(swap).await.unwrap();
        let served = async {
            while self.source.current().credentials().serial() != serial {
                changes.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, served)
            .await
            .expect("a rotation is noticed");
    }
}

/// All of them, and the CA of the moment.
pub struct Parties {
    ca: TestCa,
    pub server: Arc<Party>,
    pub clients: Vec<Arc<Party>>,
}

/// How long a soak lasts, and how fast it rotates.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// One CA, as fast as it goes.
    Fast,
    /// A leaf every 200 ms and a CA every two seconds, for so long.
    For(Duration),
}

/// How a CA is replaced.
#[derive(Debug, Clone, Copy)]
pub enum Steps {
    /// All trust both, all present the new one, nobody trusts the old one; each waits for all to have moved.
    Three,
    /// All at once, which locks out whoever comes a moment later: to see that a soak can fail.
    One,
}

#[derive(Debug, Default)]
pub struct Rotated {
    pub leaves: u32,
    pub cas: u32,
}

impl Parties {
    pub async fn new() -> Self {
        let ca = TestCa::new("example.org");
        let server = Arc::new(Party::new("/api", &ca).await);
        let mut clients = Vec::new();
        for path in CLIENTS {
            clients.push(Arc::new(Party::new(path, &ca).await));
        }
        Self {
            ca,
            server,
            clients,
        }
    }

    pub fn server_tls(&self, observer: impl Observer) -> ServerTls {
        ServerTls::builder(&self.server.source)
            .authorize(Policy::trust_domain("example.org").unwrap())
            .audit(observer)
            .build()
            .unwrap()
    }

    /// Rotates until the time is over, and finishes what it has begun of a CA.
    pub async fn rotate_under(&mut self, load: &Load, pace: Pace, steps: Steps) -> Rotated {
        let (lasts, every) = match pace {
            Pace::Fast => (Duration::ZERO, Duration::from_millis(1)),
            Pace::For(time) => (time, LEAF_EVERY),
        };
        let begun = Instant::now();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rotated = Rotated::default();
        while rotated.cas == 0 || begun.elapsed() < lasts {
            for _ in 0..LEAVES_OF_A_CA {
                ticks.tick().await;
                self.leaves(&self.ca, &self.ca.bundle_pem()).await;
                rotated.leaves += 1;
            }
            // Each step waits for the handshakes that began before it.
            let next = TestCa::new("example.org");
            let both = format!("{}{}", self.ca.bundle_pem(), next.bundle_pem());
            let alone = next.bundle_pem();
            let three = [(&self.ca, &both), (&next, &both), (&next, &alone)];
            let taken = match steps {
                Steps::Three => &three[..],
                Steps::One => &three[2..],
            };
            for (issuer, bundle) in taken {
                ticks.tick().await;
                self.leaves(issuer, bundle).await;
                load.settle().await;
                rotated.leaves += 1;
            }
            rotated.cas += 1;
            self.ca = next;
        }
        rotated
    }

    async fn leaves(&self, ca: &TestCa, bundle: &str) {
        self.server.rotate(ca, bundle).await;
        for client in &self.clients {
            client.rotate(ca, bundle).await;
        }
    }
}

const CLIENTS: [&str; 3] = ["/web", "/batch", "/report"];
const LEAF_EVERY: Duration = Duration::from_millis(200);
/// Seven, and three steps of 200 ms: two seconds.
const LEAVES_OF_A_CA: u32 = 7;
pub const PATIENCE: Duration = Duration::from_secs(30);
