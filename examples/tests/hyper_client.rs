//! The example of hyper-util's client, as a process, against the server of another.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use mtls_core::testing::{MountedDir, TestCa};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running `axum_server` that lets in one peer.
async fn server(dir: &Path, allow: &str) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_axum_server"))
        .args([dir.to_str().unwrap(), "127.0.0.1:0", "--allow", allow])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
    let (_, url) = ready.as_deref().unwrap().split_once("on ").unwrap();
    (process, url.to_owned())
}

async fn get(dir: &Path, url: &str) -> (Output, String, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_hyper_client"))
        .args([dir.to_str().unwrap(), url])
        .kill_on_drop(true)
        .output();
    let said = timeout(LIMIT, command).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&said.stdout), text(&said.stderr));
    (said, out, err)
}

#[tokio::test]
async fn it_says_who_answered() {
    let ca = TestCa::new("example.org");
    let (api, web) = (ca.issue("/api"), ca.issue("/web"));
    let (mount, client) = (MountedDir::new(&api), MountedDir::new(&web));
    let (_process, url) = server(mount.path(), &ca.spiffe_id("/web")).await;
    let (said, out, _) = get(client.path(), &format!("{url}/whoami")).await;
    assert!(said.status.success(), "{said:?}");
    for part in [
        "status: 200",
        &format!("server: spiffe://example.org/api, serial {}", api.serial()),
        &format!("spiffe://example.org/web, serial {}", web.serial()),
    ] {
        assert!(out.contains(part), "{out}");
    }
}

#[tokio::test]
async fn it_explains_why_it_was_refused_and_what_to_do() {
    let ca = TestCa::new("example.org");
    let mount = MountedDir::new(&ca.issue("/api"));
    let (_process, url) = server(mount.path(), &ca.spiffe_id("/web")).await;

    let batch = MountedDir::new(&ca.issue("/batch"));
    let (said, out, err) = get(batch.path(), &format!("{url}/whoami")).await;
    assert!(!said.status.success() && out.is_empty(), "{said:?}");
    assert!(err.contains("access_denied"), "{err}");
    assert!(err.contains("remedy: "), "{err}");

    let other = TestCa::new("example.org");
    let stranger = MountedDir::new(&other.issue("/web"));
    let (said, _, err) = get(stranger.path(), &url).await;
    assert!(!said.status.success(), "{said:?}");
    assert!(err.contains("no trust anchor leads to its issuer"), "{err}");

    let (_, _, err) = get(batch.path(), &url.replace("https", "http")).await;
    assert!(err.contains("remedy: write https://"), "{err}");
}

const LIMIT: Duration = Duration::from_secs(30);
