//! Alone in its process, because it counts what the process holds.

#![cfg(target_os = "linux")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::convert::Infallible;
use std::future::IntoFuture;
use std::time::Duration;

use common::{client, https, patient, within};
use http::{Request, Response};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mtls_core::testing::{MountedDir, TestCa};
use mtls_core::{CredentialFiles, CredentialSource, Policy, ServerTls};
use mtls_tower::{Connector, serve};
use tokio::net::{TcpListener, TcpStream};
use tower::service_fn;

/// Descriptors and threads of this process.
fn held() -> (usize, usize) {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// What is held once that no longer changes: a thread that was joined is still counted for a moment, and a socket whose
/// task was woken to end.
fn steady() -> (usize, usize) {
    let (mut last, mut same) = (held(), 0);
    while same < 20 {
        std::thread::sleep(Duration::from_millis(10));
        let now = held();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Until no more is held than before.
fn settles(before: (usize, usize)) {
    for _ in 0..3000 {
        let now = held();
        if now.0 <= before.0 && now.1 <= before.1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{before:?} before, {:?} after", held());
}

/// A server from watched files, clients of all sorts, and everything dropped while it is in use.
async fn everything() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let files = CredentialFiles::detect(mount.path()).unwrap();
    let source = CredentialSource::watch(files).await.unwrap();
    let tls = ServerTls::builder(&source)
        .authorize(Policy::trust_domain("example.org").unwrap())
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let hello = service_fn(|_: Request<_>| async {
        Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
    });
    let serving = tokio::spawn(serve(listener, tls, hello).limits(patient()).into_future());

    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(within(TcpStream::connect(addr)).await.unwrap());
    }
    let connector = Connector::new(client(&ca, "/web"));
    let idle = within(connector.connect(&https(addr))).await.unwrap();
    let http = Client::builder(TokioExecutor::new()).build(connector);
    for _ in 0..20 {
        let answer = within(http.get(https(addr))).await.unwrap();
        assert_eq!(answer.status(), 200);
        drop(answer);
    }
    let http: Client<_, Empty<bytes::Bytes>> = http;
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    drop((idle, http, silent, source));
}

#[test]
fn dropping_everything_gives_back_every_thread_and_descriptor() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    };
    // What is opened once for the life of a process is open after the first round.
    runtime().block_on(everything());
    let before = steady();
    for _ in 0..3 {
        runtime().block_on(everything());
        settles(before);
    }

    // Within a runtime that lives on, too.
    let living = runtime();
    living.block_on(everything());
    let before = steady();
    living.block_on(everything());
    settles(before);
}
