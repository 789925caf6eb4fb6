//! Servers to connect to: in this process on threads of their own, or in a process of their own, whose CPU counts apart.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use http::Request;
use hyper::body::Incoming;
use mtls_core::rustls::ServerConfig;
use mtls_core::testing::MountedDir;
use mtls_core::{CredentialFiles, CredentialSource, Policy, Resumption, ServerTls};
use mtls_tower::MtlsListener;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower::service_fn;

use crate::answers::{Answer, HELLO, answer};
use crate::ends::{Server, Setting, Tickets};
use crate::requests::tell;
use crate::{bare_server, system};

/// What a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `mtls_tower::serve`.
    Ours,
    /// `bare_server::serve`.
    Bare,
    /// The same, and each request is told whose it is.
    Telling,
    /// `MtlsListener`, and a byte for a byte.
    OurListener,
    /// The same, but the loop is awaited in `main`, beside the workers.
    OurListenerInMain,
    /// `bare_server::accept_loop`, and a byte for a byte.
    BareListener,
    /// The same with a verifier that costs nothing.
    FloorListener,
    /// `mtls_axum::serve`: a handler that says who asks.
    Axum,
    /// `axum::serve` in plaintext: the same by the word of a proxy in front.
    Plaintext,
}

impl Kind {
    const ALL: [(&str, Self); 9] = [
        ("ours", Self::Ours),
        ("bare", Self::Bare),
        ("telling", Self::Telling),
        ("our-listener", Self::OurListener),
        ("our-listener-in-main", Self::OurListenerInMain),
        ("bare-listener", Self::BareListener),
        ("floor-listener", Self::FloorListener),
        ("axum", Self::Axum),
        ("plaintext", Self::Plaintext),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).unwrap().0
    }

    /// As `mtls_tower::serve` is: it finds its way to a task by itself.
    fn is_awaited_in_main(self) -> bool {
        matches!(self, Self::Ours | Self::Axum | Self::OurListenerInMain)
    }
}

/// A server in a process of its own, until it is dropped.
pub struct Process {
    child: Child,
    pub addr: SocketAddr,
}

impl Process {
    /// With the credentials of `dir`, on as many threads as there are cores.
    pub fn start(kind: Kind, dir: &MountedDir) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::run(command.args(Self::arguments(kind, dir.path(), 0)))
    }

    /// Those that make this program a server. With no threads, as many as there are cores.
    pub fn arguments(kind: Kind, dir: &Path, threads: usize) -> [String; 4] {
        let dir = dir.to_str().unwrap().to_owned();
        [
            FLAG.to_owned(),
            kind.name().to_owned(),
            dir,
            threads.to_string(),
        ]
    }

    /// A command that ends in [`arguments`](Self::arguments).
    pub fn run(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut addr = String::new();
        said.read_line(&mut addr).unwrap();
        let addr = addr.trim().parse().expect("a server says where it is");
        Self { child, addr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn cpu(&self) -> Duration {
        system::cpu(self.pid())
    }

    /// Ends it, in order.
    pub fn end(mut self) {
        self.end_in_order();
    }

    fn end_in_order(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_in_order();
    }
}

/// What runs in that process: it says its address, and ends when its input does.
pub fn run(arguments: &[String]) {
    let [kind, dir, threads] = arguments else {
        return;
    };
    let known = Kind::ALL.iter().find(|(name, _)| name == kind).unwrap();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    match threads.parse().unwrap() {
        0 => &mut builder,
        threads => builder.worker_threads(threads),
    };
    let runtime = builder.enable_all().build().unwrap();
    let dir = PathBuf::from(dir);
    runtime.block_on(async {
        let listener = mtls_tower::listen("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let serving = serve(known.1, dir, listener);
        if known.1.is_awaited_in_main() {
            tokio::select! {
                () = serving => {}
                () = told_to_end() => {}
            }
            return;
        }
        tokio::select! {
            ended = tokio::spawn(serving) => ended.unwrap(),
            () = told_to_end() => {}
        }
    });
}

/// Not by tokio's own standard input, whose thread the runtime would wait for.
async fn told_to_end() {
    let (ended, told) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        drop(ended);
    });
    let _ = told.await;
}

async fn serve(kind: Kind, dir: PathBuf, listener: TcpListener) {
    match kind {
        Kind::Ours => {
            let serve = mtls_tower::serve(listener, tls(&dir).await, service_fn(answer));
            serve.await.unwrap();
        }
        Kind::Bare => {
            let config = bare_server::config(&dir);
            bare_server::serve(listener, config, answer, std::future::pending()).await;
        }
        Kind::Telling => {
            let config = bare_server::config(&dir);
            let never = std::future::pending();
            bare_server::serve(listener, config, told_and_answered, never).await;
        }
        Kind::OurListener | Kind::OurListenerInMain => {
            our_listener(listener, tls(&dir).await).await;
        }
        Kind::BareListener => bytes(listener, bare_server::config(&dir)).await,
        Kind::FloorListener => bytes(listener, bare_server::floor(&dir)).await,
        Kind::Axum => {
            let app = Router::new().route("/", get(whoami));
            let serve = mtls_axum::serve(listener, tls(&dir).await, app);
            serve.await.unwrap();
        }
        Kind::Plaintext => {
            let app = Router::new().route("/", get(whom_the_proxy_names));
            axum::serve(listener, app).await.unwrap();
        }
    }
}

async fn told_and_answered(mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    tell(&mut request);
    answer(request).await
}

async fn tls(dir: &Path) -> ServerTls {
    let files = CredentialFiles::detect(dir).unwrap();
    let source = CredentialSource::watch(files).await.unwrap();
    ServerTls::builder(&source)
        .authorize(Policy::pattern("spiffe://example.org/**").unwrap())
        .resumption(Resumption::Off)
        .build()
        .unwrap()
}

async fn our_listener(listener: TcpListener, tls: ServerTls) {
    let mut listener = MtlsListener::new(listener, tls);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                connections.spawn(echo(stream));
            }
            Some(()) = async { connections.join_next().await.map(drop) } => {}
        }
    }
}

async fn bytes(listener: TcpListener, config: Arc<ServerConfig>) {
    let never = std::future::pending();
    bare_server::accept_loop(listener, config, never, |tls, _| echo(tls)).await;
}

/// A byte for a byte, and then the end.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(byte) = stream.read_u8().await else {
        return;
    };
    let _ = stream.write_u8(byte).await;
    let _ = stream.shutdown().await;
}

async fn whoami(mtls_axum::Peer(peer): mtls_axum::Peer) -> String {
    format!("{HELLO} {peer}")
}

async fn whom_the_proxy_names(headers: HeaderMap) -> String {
    let named = headers.get("x-client").and_then(|it| it.to_str().ok());
    format!("{HELLO} {}", named.unwrap_or_default())
}

/// A server on threads of its own in this process, until it is dropped.
pub struct Running {
    pub addr: SocketAddr,
    _runtime: Runtime,
}

pub fn ours(setting: &Setting, tickets: Tickets) -> Running {
    let Server::Ours(tls) = setting.ours(tickets) else {
        panic!("ours is ours")
    };
    let (runtime, listener, addr) = bound();
    runtime.spawn(async move { mtls_tower::serve(listener, tls, service_fn(answer)).await });
    Running {
        addr,
        _runtime: runtime,
    }
}

pub fn bare(setting: &Setting, tickets: Tickets) -> Running {
    let Server::Bare(config) = setting.bare(tickets) else {
        panic!("bare is bare")
    };
    let (runtime, listener, addr) = bound();
    runtime.spawn(bare_server::serve(
        listener,
        config,
        answer,
        std::future::pending(),
    ));
    Running {
        addr,
        _runtime: runtime,
    }
}

fn bound() -> (Runtime, TcpListener, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    (runtime, listener, addr)
}

/// The argument that makes this program a server; after it the kind, the directory of credentials, the threads.
pub const FLAG: &str = "--server";
