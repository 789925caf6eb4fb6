//! Our example of a server, as a process.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio::time::timeout;

use crate::pki::{Ca, Leaf};
use crate::process::Process;
use crate::tools::Tool::Openssl3;
use crate::tools::{LIMIT, absent, run};

/// A running `axum_server`.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: String,
}

impl Server {
    /// Starts one on the credentials in `dir`, at a port of the system's choice.
    pub(crate) async fn start(dir: &Path, flags: &[&str]) -> Self {
        let dir = dir.to_str().unwrap();
        let arguments = [&[dir, "127.0.0.1:0"], flags].concat();
        let mut process = Process::start(env!("CARGO_BIN_EXE_axum_server"), arguments);
        let ready = process.stdout.line(&["listening on https://"]).await;
        let port = ready.rsplit(':').next().unwrap().to_owned();
        Self { process, port }
    }

    /// The log line about a refusal for `reason`, which has to say what to do about it and hold all of `texts`.
    pub(crate) async fn refusal(&mut self, reason: &str, texts: &[&str]) -> String {
        let reason = format!("mtls.reason=\"{reason}\"");
        let always = ["handshake refused", &reason, "mtls.remedy=\"", "127.0.0.1:"];
        self.process.stderr.line(&[&always, texts].concat()).await
    }
}

/// A certificate authority, and our server with a leaf of its.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) dir: TempDir,
    pub(crate) server: Server,
}

impl World {
    pub(crate) async fn new(flags: &[&str]) -> Self {
        let ca = Ca::new("foreign-ca").await;
        let dir = TempDir::new().unwrap();
        ca.issue(&Leaf::server()).await.lay_out(&ca, dir.path());
        let server = Server::start(dir.path(), flags).await;
        Self { ca, dir, server }
    }
}

#[tokio::test]
async fn sigterm_ends_the_server_in_good_order() {
    if absent(&[Openssl3]) {
        return;
    }
    let mut world = World::new(&[]).await;
    let id = world.server.process.child.id().unwrap().to_string();
    run("kill", ["-TERM", &id], world.dir.path(), "").await;
    let ended = world.server.process.child.wait();
    let ended = timeout(LIMIT, ended).await;
    assert!(ended.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_server_without_its_bundle_does_not_start_and_says_what_is_missing() {
    if absent(&[Openssl3]) {
        return;
    }
    let world = World::new(&[]).await;
    fs::remove_file(world.dir.path().join("ca.crt")).unwrap();
    let dir = world.dir.path().to_str().unwrap();
    let said = run(
        env!("CARGO_BIN_EXE_axum_server"),
        [dir, "127.0.0.1:0"],
        world.dir.path(),
        "",
    )
    .await;
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.line("ERROR").contains("mtls.remedy=\""), "{said:#?}");
    assert!(said.line("ERROR").contains("ca.crt"), "{said:#?}");
}
