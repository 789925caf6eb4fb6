//! A server whose trust and policy can be changed under its connections.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{IntoFuture, pending};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use mtls_core::testing::{Issued, TestCa};
use mtls_core::{
    Authorizer, CredentialSource, Denial, PeerIdentity, PeerInfo, Publisher, ServerTls,
    TrustMaterial,
};
use mtls_tower::serve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tower::{Service, service_fn};

use crate::common::{HOUR, listen, patient};

/// The CAs of a server's peers, and the domain that it federates with.
#[derive(Debug)]
pub(crate) struct Authorities {
    pub(crate) ca: TestCa,
    /// A second CA of the same trust domain.
    pub(crate) second: TestCa,
    /// The trust domain's name of before.
    pub(crate) alias: TestCa,
    pub(crate) partner: TestCa,
    /// Of the first CA, which will revoke it.
    pub(crate) doomed: Arc<Issued>,
}

impl Authorities {
    pub(crate) fn new() -> Self {
        let ca = TestCa::new("example.org");
        Self {
            doomed: Arc::new(ca.issue("/doomed")),
            ca,
            second: TestCa::new("example.org"),
            alias: TestCa::new("before.example"),
            partner: TestCa::new("partner.example"),
        }
    }
}

/// A running server, and what it lets in by.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) addr: SocketAddr,
    pub(crate) authorities: Authorities,
    pub(crate) policy: Arc<Switch>,
    source: CredentialSource,
    publisher: Publisher,
    with_second: bool,
    with_partner: bool,
    revoked: bool,
    /// Heard when a request to `/hold` is there.
    pub(crate) holding: Arc<Notify>,
    /// Lets the answers to `/hold` go.
    pub(crate) release: Arc<Notify>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
}

/// How it serves; the rest is as by default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) lost_peer_deadline: Duration,
    pub(crate) drain_deadline: Duration,
    pub(crate) max_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lost_peer_deadline: HOUR,
            drain_deadline: HOUR,
            max_age: None,
        }
    }
}

impl Live {
    pub(crate) fn start(lost_peer_deadline: Duration) -> Self {
        Self::with(Options {
            lost_peer_deadline,
            ..Options::default()
        })
    }

    pub(crate) fn with(options: Options) -> Self {
        let authorities = Authorities::new();
        let (publisher, source) = CredentialSource::builder()
            .publish(
                authorities.ca.issue("/api").material(),
                trust(&authorities, true, true, false),
            )
            .unwrap();
        source.set_trust_domain_aliases(["before.example".parse().unwrap()]);
        let policy = Arc::new(Switch::default());
        let tls = ServerTls::builder(&source)
            .authorize(Arc::clone(&policy))
            .build()
            .unwrap();
        let (holding, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (stop, stopped) = oneshot::channel();
        let listener = listen();
        let addr = listener.local_addr().unwrap();
        let mut serve = serve(
            listener,
            tls,
            app(Arc::clone(&holding), Arc::clone(&release)),
        )
        .limits(patient())
        .lost_peer_deadline(options.lost_peer_deadline)
        .drain_deadline(options.drain_deadline)
        .with_graceful_shutdown(async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        });
        if let Some(age) = options.max_age {
            serve = serve.max_age(age);
        }
        let serving = tokio::spawn(serve.into_future());
        Self {
            addr,
            authorities,
            policy,
            source,
            publisher,
            with_second: true,
            with_partner: true,
            revoked: false,
            holding,
            release,
            stop: Some(stop),
            serving,
        }
    }

    pub(crate) fn remove_second_ca(&mut self) {
        self.with_second = false;
        self.publish_trust();
    }

    pub(crate) fn remove_partner(&mut self) {
        self.with_partner = false;
        self.publish_trust();
    }

    pub(crate) fn revoke(&mut self) {
        self.revoked = true;
        self.publish_trust();
    }

    pub(crate) fn remove_alias(&mut self) {
        self.source.set_trust_domain_aliases([]);
    }

    fn publish_trust(&self) {
        let (second, partner) = (self.with_second, self.with_partner);
        let trust = trust(&self.authorities, second, partner, self.revoked);
        self.publisher.publish_trust(trust).unwrap();
    }

    /// Presents this from the next handshake on.
    pub(crate) fn rotate(&self, issued: &Issued) {
        self.publisher
            .publish_credentials(issued.material())
            .unwrap();
    }

    pub(crate) fn issue(&self, path: &str) -> Issued {
        self.authorities.ca.issue(path)
    }
}

/// Each of the CAs has a list, for whoever no list speaks of is refused.
fn trust(
    from: &Authorities,
    with_second: bool,
    with_partner: bool,
    revoked: bool,
) -> TrustMaterial {
    let mut anchors = vec![from.ca.root_der(), from.alias.root_der()];
    if with_second {
        anchors.push(from.second.root_der());
    }
    let ours = from.ca.crl();
    let ours = match revoked {
        true => ours.number(2).revoke(&from.doomed),
        false => ours.number(1),
    };
    let others = [&from.alias, &from.second].map(|ca| ca.crl().number(1).der());
    let lists = std::iter::once(ours.der()).chain(others);
    let trust = TrustMaterial::new(anchors).revoke(lists);
    if with_partner {
        let domain = from.partner.trust_domain().parse().unwrap();
        trust.federate(domain, vec![from.partner.root_der()])
    } else {
        trust
    }
}

/// Who may connect: everybody but the banned.
#[derive(Debug)]
pub(crate) struct Switch {
    banned: Mutex<BTreeSet<String>>,
    version: watch::Sender<u64>,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            banned: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Switch {
    pub(crate) fn ban(&self, id: impl Into<String>) {
        self.banned.lock().unwrap().insert(id.into());
        self.version.send_modify(|version| *version += 1);
    }
}

impl Authorizer for Switch {
    fn authorize(&self, peer: &PeerIdentity) -> Result<(), Denial> {
        let id = peer.spiffe_id().map(ToString::to_string);
        let banned = self.banned.lock().unwrap();
        match id {
            Some(id) if !banned.contains(&id) => Ok(()),
            _ => Err(Denial::expected("somebody who is not banned")),
        }
    }

    fn version(&self) -> u64 {
        *self.version.borrow()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.version.subscribe())
    }
}

type Answer = Response<Either<Full<Bytes>, Incoming>>;

/// `/echo` returns what it is sent, as it comes; `/hold` answers when it is told to; `/upgrade` speaks another protocol
/// from there on, which echoes; anything else tells the serial of who asked.
fn app(
    holding: Arc<Notify>,
    release: Arc<Notify>,
) -> impl Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |mut request: Request<Incoming>| {
        let (holding, release) = (Arc::clone(&holding), Arc::clone(&release));
        async move {
            let peer: &PeerInfo = request.extensions().get().unwrap();
            let serial = Bytes::from(peer.identity().serial().to_owned());
            let whoami = Response::new(Either::Left(Full::new(serial)));
            Ok(match request.uri().path() {
                "/echo" => Response::new(Either::Right(request.into_body())),
                "/hold" => {
                    holding.notify_one();
                    release.notified().await;
                    whoami
                }
                "/upgrade" => {
                    let upgraded = hyper::upgrade::on(&mut request);
                    tokio::spawn(echo(upgraded));
                    Response::builder()
                        .status(101)
                        .header("upgrade", "echo")
                        .header("connection", "upgrade")
                        .body(Either::Left(Full::default()))
                        .unwrap()
                }
                _ => whoami,
            })
        }
    })
}

/// Reading and writing in a task each, as a proxy would.
async fn echo(upgraded: hyper::upgrade::OnUpgrade) {
    let upgraded = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
    let (mut from, mut to) = tokio::io::split(upgraded);
    let (tell, mut told) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    tokio::spawn(async move {
        while let Some(bytes) = told.recv().await {
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    });
    let mut buf = [0; 64];
    while let Ok(read @ 1..) = from.read(&mut buf).await {
        tell.send(buf[..read].to_vec()).await.unwrap();
    }
}
