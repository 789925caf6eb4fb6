//! Credentials that openssl made are swapped as the kubelet does it, by a shell; the server goes on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::curl::curl;
use crate::openssl_client::s_client;
use crate::pki::{Ca, Issued, Leaf, serial_of};
use crate::server::Server;
use crate::tools::Tool::{CurlWithOpenssl3AndHttp2, Openssl3};
use crate::tools::{absent, run};

/// A mounted volume: `tls.crt` is a link through `..data` to the directory of one generation.
pub(crate) struct Mount(TempDir);

impl Mount {
    pub(crate) async fn new(leaf: &Issued, ca: &Ca) -> Self {
        let mount = Self(TempDir::new().unwrap());
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            symlink(Path::new("..data").join(name), mount.path().join(name)).unwrap();
        }
        mount.swap("..1", leaf, ca).await;
        mount
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Lays a generation out beside the current one, and makes it current in one step.
    pub(crate) async fn swap(&self, generation: &str, leaf: &Issued, ca: &Ca) {
        leaf.lay_out(ca, &self.path().join(generation));
        let script = "ln -sfn \"$0\" ..data_tmp && mv -T ..data_tmp ..data";
        let said = run("sh", ["-c", script, generation], self.path(), "").await;
        assert_eq!(said.code, Some(0), "{said:#?}");
    }
}

/// The serial number of the server's leaf, as a new connection of openssl's sees it.
async fn served_serial(server: &Server, ca: &Ca, caller: &Issued) -> String {
    let said = s_client(&server.port, ca, caller, &[]).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let dir = TempDir::new().unwrap();
    let leaf = dir.path().join("leaf.crt");
    fs::write(&leaf, said.stdout).unwrap();
    serial_of(dir.path(), &leaf).await
}

#[tokio::test]
async fn a_new_leaf_is_served_without_a_restart() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let (old, new) = (
        ca.issue(&Leaf::server()).await,
        ca.issue(&Leaf::server()).await,
    );
    let caller = ca.issue(&Leaf::client("/web")).await;
    let mount = Mount::new(&old, &ca).await;
    let mut server = Server::start(mount.path(), &[]).await;
    assert_eq!(served_serial(&server, &ca, &caller).await, old.serial);

    mount.swap("..2", &new, &ca).await;
    server
        .process
        .stderr
        .line(&["rotated", &new.serial, &old.serial])
        .await;
    assert_eq!(served_serial(&server, &ca, &caller).await, new.serial);
    let said = curl(&server, &ca, Some(&caller), &[]).await;
    assert!(said.stdout.contains(&caller.serial), "{said:#?}");
    assert!(
        server.process.child.try_wait().unwrap().is_none(),
        "it has ended"
    );
}

#[tokio::test]
async fn a_new_ca_takes_the_place_of_the_old() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let (old, new) = (Ca::new("old-ca").await, Ca::new("new-ca").await);
    let (old_caller, new_caller) = (
        old.issue(&Leaf::client("/web")).await,
        new.issue(&Leaf::client("/web")).await,
    );
    let mount = Mount::new(&old.issue(&Leaf::server()).await, &old).await;
    let mut server = Server::start(mount.path(), &[]).await;
    let said = curl(&server, &old, Some(&old_caller), &[]).await;
    assert!(said.stdout.contains(&old_caller.serial), "{said:#?}");

    mount
        .swap("..2", &new.issue(&Leaf::server()).await, &new)
        .await;
    server
        .process
        .stderr
        .line(&["trust changed", "new-ca"])
        .await;
    let said = curl(&server, &new, Some(&new_caller), &[]).await;
    assert!(said.stdout.contains(&new_caller.serial), "{said:#?}");
    let said = curl(&server, &new, Some(&old_caller), &[]).await;
    assert!(
        said.line("curl: (").contains("alert unknown ca"),
        "{said:#?}"
    );
    server
        .refusal("unknown_issuer", &[&old_caller.serial])
        .await;
    assert!(
        server.process.child.try_wait().unwrap().is_none(),
        "it has ended"
    );
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_not_served_and_the_next_that_does_is() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let (old, new) = (
        ca.issue(&Leaf::server()).await,
        ca.issue(&Leaf::server()).await,
    );
    let caller = ca.issue(&Leaf::client("/web")).await;
    let mount = Mount::new(&old, &ca).await;
    let mut server = Server::start(mount.path(), &[]).await;

    let mixed = Issued {
        chain: new.chain.clone(),
        key: old.key.clone(),
        serial: new.serial.clone(),
    };
    mount.swap("..2", &mixed, &ca).await;
    server
        .process
        .stderr
        .line(&["mtls.reason=\"key_mismatch\""])
        .await;
    assert_eq!(served_serial(&server, &ca, &caller).await, old.serial);

    mount.swap("..3", &new, &ca).await;
    server.process.stderr.line(&["rotated", &new.serial]).await;
    assert_eq!(served_serial(&server, &ca, &caller).await, new.serial);
}
