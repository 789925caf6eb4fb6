//! Lists that `openssl ca` writes, and what the tools are told when they are on them. The server goes on meanwhile.

use tempfile::TempDir;

use crate::curl::curl;
use crate::openssl_client::s_client;
use crate::openssl_server::{OpensslServer, assert_explained, get};
use crate::pki::{Ca, Leaf};
use crate::server::Server;
use crate::tools::Tool::{CurlWithOpenssl3AndHttp2, Openssl3};
use crate::tools::absent;

const DAY: u32 = 24 * 60 * 60;

/// A server that was told of the list of its CA, which revokes nobody yet.
struct Listed {
    ca: Ca,
    dir: TempDir,
    server: Server,
}

impl Listed {
    async fn new(seconds: u32) -> Self {
        let ca = Ca::new("foreign-ca").await;
        let dir = TempDir::new().unwrap();
        ca.issue(&Leaf::server()).await.lay_out(&ca, dir.path());
        let list = dir.path().join("ca.crl");
        ca.write_list(&list, seconds).await;
        let flags = ["--tls12", "--crl", list.to_str().unwrap()];
        let server = Server::start(dir.path(), &flags).await;
        Self { ca, dir, server }
    }

    async fn write_list(&mut self, generation: u32) {
        self.ca
            .write_list(&self.dir.path().join("ca.crl"), DAY)
            .await;
        let generation = format!("mtls.generation={generation}");
        self.server
            .process
            .stderr
            .line(&["rotated", &generation])
            .await;
    }
}

#[tokio::test]
async fn s_client_is_told_that_its_certificate_was_revoked_and_its_session_is_of_no_use() {
    if absent(&[Openssl3]) {
        return;
    }
    let mut site = Listed::new(DAY).await;
    let (good, bad) = (
        site.ca.issue(&Leaf::client("/good")).await,
        site.ca.issue(&Leaf::client("/bad")).await,
    );
    let versions = ["-tls1_3", "-tls1_2"];
    let session = |version: &str| site.dir.path().join(format!("session{version}"));
    let sessions = versions.map(|version| session(version).to_str().unwrap().to_owned());
    for (version, session) in versions.into_iter().zip(&sessions) {
        let flags = [version, "-sess_out", session];
        let said = s_client(&site.server.port, &site.ca, &bad, &flags).await;
        said.line("HTTP/1.1 200 OK");
        let flags = [version, "-sess_in", session];
        let said = s_client(&site.server.port, &site.ca, &bad, &flags).await;
        said.line("HTTP/1.1 200 OK");
        said.line("Reused, TLSv1.");
    }
    site.ca.revoke(&bad).await;
    site.write_list(2).await;
    for (version, session) in versions.into_iter().zip(&sessions) {
        for flags in [&[version][..], &[version, "-sess_in", session]] {
            let said = s_client(&site.server.port, &site.ca, &bad, flags).await;
            assert_eq!(said.code, Some(1), "{said:#?}");
            said.line("alert certificate revoked");
            assert!(!said.has("HTTP/1.1 200 OK"), "{said:#?}");
        }
        let said = s_client(&site.server.port, &site.ca, &good, &[version]).await;
        said.line("HTTP/1.1 200 OK");
    }
    site.server.refusal("revoked", &[&bad.serial]).await;
}

#[tokio::test]
async fn curl_is_told_that_its_certificate_was_revoked() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let mut site = Listed::new(DAY).await;
    let caller = site.ca.issue(&Leaf::client("/web")).await;
    let said = curl(&site.server, &site.ca, Some(&caller), &[]).await;
    assert!(said.stdout.contains(&caller.serial), "{said:#?}");
    site.ca.revoke(&caller).await;
    site.write_list(2).await;
    let said = curl(&site.server, &site.ca, Some(&caller), &[]).await;
    let refused = said.line("curl: (");
    assert!(refused.contains("alert certificate revoked"), "{said:#?}");
    site.server.refusal("revoked", &[&caller.serial]).await;
}

#[tokio::test]
async fn while_the_list_is_late_nobody_new_is_let_in_and_the_next_one_ends_that() {
    if absent(&[Openssl3]) {
        return;
    }
    let mut site = Listed::new(8).await;
    let caller = site.ca.issue(&Leaf::client("/web")).await;
    let said = s_client(&site.server.port, &site.ca, &caller, &[]).await;
    said.line("HTTP/1.1 200 OK");
    let mut tries = 0;
    let refused = loop {
        let said = s_client(&site.server.port, &site.ca, &caller, &[]).await;
        if !said.has("HTTP/1.1 200 OK") {
            break said;
        }
        tries += 1;
        assert!(tries < 2000, "it is never late");
    };
    // The words are openssl's, for the alert unknown_ca: what rustls sends for a list that is late.
    refused.line("alert unknown ca");
    site.server.refusal("crl_stale", &[&caller.serial]).await;
    site.write_list(2).await;
    let said = s_client(&site.server.port, &site.ca, &caller, &[]).await;
    said.line("HTTP/1.1 200 OK");
}

#[tokio::test]
async fn an_s_server_whose_certificate_was_revoked_is_refused() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server()).await;
    let dir = TempDir::new().unwrap();
    let list = dir.path().join("ca.crl");
    ca.write_list(&list, DAY).await;
    let flags = ["--crl", list.to_str().unwrap()];
    let server = OpensslServer::start(&leaf, &ca, &[]).await;
    let said = get(&server.port, &ca, &flags).await;
    said.line("status: 200 OK");
    ca.revoke(&leaf).await;
    ca.write_list(&list, DAY).await;
    let said = get(&server.port, &ca, &flags).await;
    assert_explained(&said, &["server presented", "revoked", &leaf.serial]);
}
