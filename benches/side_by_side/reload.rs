//! What a change costs: until a new certificate is served, and until all live peers have an answer under a new trust.

use std::time::{Duration, Instant};

use mtls_core::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use mtls_core::testing::{Issued, KeyKind, MountedDir, TestCa};
use mtls_core::{
    ClientTls, CredentialFiles, CredentialSource, PeerInfo, Policy, Resumption, ServerTls,
    TrustMaterial,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::service_fn;

use benches::answers::answer;
use benches::ends::{Client, Setting, Tickets, peer};
use benches::load::{Dial, Fleet};
use benches::measure::{Samples, Spread, effort, quantile, thread_cpu, turns};
use benches::report::{Bar, Row};

/// From the rename of `..data` to the end of the first handshake that shows the new certificate, by the wall clock. No
/// poll is near: what is measured is the path from the file system's event.
pub(crate) fn swaps() -> Vec<Row> {
    let swaps = effort(1000, 10);
    let mut rows = Vec::new();
    for (load, median, last) in [
        (Load::Idle, Bar::Most(5.0), Bar::Most(20.0)),
        (Load::Busy, Bar::None, Bar::None),
    ] {
        let mut took = Mount::with_anchors(10).swap_and_shake(swaps, load);
        took.sort_by(f64::total_cmp);
        let at = |of| quantile(&took, of);
        let of_all = Spread {
            low: at(0.0),
            median: at(0.99),
            high: at(1.0),
        };
        let name = format!(
            "swap to first new handshake, {swaps} times, {}",
            load.name()
        );
        rows.push(Row::figure(
            format!("{name}: median"),
            "ms",
            Spread::of(took.iter().copied()),
            median,
        ));
        rows.push(Row::figure(
            format!("{name}: 99th percentile, of all"),
            "ms",
            of_all,
            last,
        ));
    }
    rows
}

/// The same with much to read, and what a publisher takes, whose caller waits.
pub(crate) fn growth() -> Vec<Row> {
    let swaps = effort(50, 3);
    let many = effort(1000, 100);
    let of_files = |name: String, mount: Mount| {
        let took = mount.swap_and_shake(swaps, Load::Idle);
        let name = format!("swap to first new handshake, {name}");
        Row::figure(name, "ms", Spread::of(took), Bar::None)
    };
    let mut rows = vec![
        of_files(format!("{many} anchors"), Mount::with_anchors(many)),
        of_files(
            "a list of 100,000".to_owned(),
            Mount::with_anchors(10).listing(100_000),
        ),
    ];
    // More than fit into a file that is read.
    rows.extend([10, effort(10_000, 200)].map(published));
    rows
}

fn published(anchors: usize) -> Row {
    let mount = Mount::with_anchors(anchors);
    let (publisher, _source) = mount.ca.publish(&mount.ca.issue("/api"));
    let mut took = Vec::new();
    for _ in 0..effort(20, 2) {
        let trust = TrustMaterial::new(mount.anchors.clone());
        let leaf = mount.ca.issue("/api").material();
        let began = thread_cpu();
        publisher.publish(leaf, trust).unwrap();
        took.push(millis(thread_cpu() - began));
    }
    let name = format!("published, leaf and {anchors} anchors");
    Row::figure(name, "ms", Spread::of(took), Bar::None)
}

/// What else the source's runtime does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Idle,
    /// It serves clients that ask as fast as they get answers.
    Busy,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "under load",
        }
    }
}

/// A directory of credentials, with a trust of some size.
pub(crate) struct Mount {
    ca: TestCa,
    dir: MountedDir,
    anchors: Vec<CertificateDer<'static>>,
    bundle: String,
    list: Option<CertificateRevocationListDer<'static>>,
}

impl Mount {
    /// One of them is ours.
    pub(crate) fn with_anchors(anchors: usize) -> Self {
        let ca = TestCa::new("example.org");
        let others: Vec<_> = (1..anchors).map(|_| TestCa::new("example.org")).collect();
        let mut all = vec![ca.root_der()];
        all.extend(others.iter().map(TestCa::root_der));
        let bundle: String = others.iter().map(TestCa::root_pem).collect();
        let mount = Self {
            bundle: ca.root_pem() + &bundle,
            dir: MountedDir::empty(),
            anchors: all,
            list: None,
            ca,
        };
        mount.rotate(&mount.ca.issue("/api"));
        mount
    }

    /// With a list that revokes so many strangers.
    pub(crate) fn listing(mut self, entries: u64) -> Self {
        self.list = Some(self.ca.crl().revoke_many(entries).der());
        self.swap();
        self
    }

    pub(crate) async fn watch(&self) -> CredentialSource {
        let mut files = CredentialFiles::detect(self.dir.path()).unwrap();
        if self.list.is_some() {
            files = files.revocation_lists(self.dir.path().join(LIST));
        }
        CredentialSource::watch(files).await.unwrap()
    }

    /// Another leaf of the same name.
    pub(crate) fn swap(&self) {
        self.rotate(&self.ca.issue("/api"));
    }

    fn rotate(&self, leaf: &Issued) {
        let chain = leaf.chain_pem();
        let mut files = vec![
            ("tls.crt", chain.as_bytes()),
            ("tls.key", leaf.key_pem().as_bytes()),
            ("ca.crt", self.bundle.as_bytes()),
        ];
        files.extend(self.list.as_deref().map(|list| (LIST, list)));
        self.dir.rotate_files(&files);
    }

    fn swap_and_shake(&self, swaps: usize, load: Load) -> Vec<f64> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let source = runtime.block_on(async { self.watch().await });
        let server = ServerTls::builder(&source)
            .authorize(Policy::any_verified_peer())
            .build()
            .unwrap();
        let busy = (load == Load::Busy).then(|| Busy::start(&runtime, &self.ca, server.clone()));
        let client = ClientTls::builder(&self.ca.source(&self.ca.issue("/web")))
            .verify_server_name()
            .build()
            .unwrap();
        let mut took = Vec::new();
        for _ in 0..swaps {
            let next = self.ca.issue("/api");
            let expected = next.chain_der().remove(0);
            let mut changes = source.subscribe();
            let began = Instant::now();
            self.rotate(&next);
            loop {
                let shaken = mtls_core::testing::handshake(&server, &client, "localhost");
                let served = shaken.client.unwrap();
                if served.identity().chain().first() == Some(&expected) {
                    break;
                }
                runtime.block_on(changes.changed()).unwrap();
            }
            took.push(millis(began.elapsed()));
        }
        drop(busy);
        took
    }
}

/// Clients on threads of their own, while it is there.
struct Busy(#[expect(dead_code, reason = "held")] Runtime);

impl Busy {
    fn start(serving: &Runtime, ca: &TestCa, tls: ServerTls) -> Self {
        let asking = Runtime::new().unwrap();
        let listener = serving.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        serving.spawn(async move { mtls_tower::serve(listener, tls, service_fn(answer)).await });
        let dial = Dial::of_source(&ca.source(&ca.issue("/web")), "h2");
        let mut fleet = asking.block_on(Fleet::connect(&dial, addr, "h2", CLIENTS));
        asking.spawn(async move {
            loop {
                fleet.ask(CLIENTS).await;
            }
        });
        Self(asking)
    }
}

/// Live connections of few or many peers, when a root is added: the publishing, which verifies each peer once, and then one
/// question of each connection. A tenth of the connections stands beside them.
pub(crate) fn trust_changes() -> Vec<Row> {
    [10, effort(1000, 20)]
        .into_iter()
        .flat_map(trust_change)
        .collect()
}

fn trust_change(peers: usize) -> [Row; 2] {
    let connections = effort(10_000, 200);
    let mut many = Live::of(peers, connections);
    let mut few = Live::of(peers, connections / 10);
    let (mut many, mut few) = (|| many.change(), || few.change());
    let [many, few] = turns(effort(10, 3), [&mut many, &mut few]);
    let samples = |figure: fn(&Change) -> f64| {
        let of = |changes: &[Change]| changes.iter().map(figure).collect();
        Samples::beside_each_other(of(&many), of(&few))
    };
    let (published, asked) = (samples(|it| it.published), samples(|it| it.asked));
    let name = format!("{connections} connections of {peers} peers beside a tenth, a new root:");
    [
        Row::pair(
            format!("{name} published"),
            "ms",
            &published,
            Bar::Ratio(1.1),
        ),
        Row::pair(format!("{name} each asked again"), "ns", &asked, Bar::None),
    ]
}

/// Connections that are open, as their server knows them.
struct Live {
    setting: Setting,
    publisher: mtls_core::Publisher,
    connections: Vec<PeerInfo>,
}

impl Live {
    fn of(peers: usize, connections: usize) -> Self {
        let setting = Setting::new(KeyKind::EcdsaP256);
        let (publisher, source) = setting.publish();
        let server = ServerTls::builder(&source)
            .authorize(Policy::any_verified_peer())
            .resumption(Resumption::Off)
            .build()
            .unwrap();
        let clients: Vec<Client> = (0..peers)
            .map(|_| setting.bare_client(&setting.issue("/web"), Tickets::None))
            .collect();
        let connections = clients.iter().cycle().take(connections.max(peers));
        Self {
            connections: connections.map(|client| peer(client, &server)).collect(),
            publisher,
            setting,
        }
    }

    fn change(&mut self) -> Change {
        let roots = vec![
            self.setting.root_der(),
            TestCa::new("example.org").root_der(),
        ];
        let began = thread_cpu();
        self.publisher
            .publish_trust(TrustMaterial::new(roots))
            .unwrap();
        let published = thread_cpu();
        for peer in &self.connections {
            peer.check().unwrap();
        }
        let asked = thread_cpu() - published;
        Change {
            published: millis(published - began),
            asked: millis(asked) * 1e6 / self.connections.len() as f64,
        }
    }
}

/// What a new trust took: to be published, in milliseconds, and then each connection's question, in nanoseconds.
struct Change {
    published: f64,
    asked: f64,
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

const CLIENTS: usize = 8;
const LIST: &str = "ca.crl";
