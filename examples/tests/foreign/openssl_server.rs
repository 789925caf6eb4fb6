//! `openssl s_server`, as a process, and our client that calls it.

use tempfile::TempDir;

use crate::dialing::{self, ATTEMPTS, Marks, Serving};
use crate::door::documented;
use crate::pki::{Ca, Issued, Leaf};
use crate::process::Process;
use crate::tools::Tool::Openssl3;
use crate::tools::{Said, absent, run};

/// A running `openssl s_server`, which wants a client certificate and answers with a page of its own.
#[derive(Debug)]
pub(crate) struct OpensslServer {
    pub(crate) process: Process,
    pub(crate) port: String,
}

impl OpensslServer {
    /// Starts one that presents `leaf` and trusts the clients of `trusted`, at a port of the system's choice.
    pub(crate) async fn start(leaf: &Issued, trusted: &Ca, flags: &[&str]) -> Self {
        let bundle = trusted.bundle();
        let mut arguments = vec!["s_server", "-accept", "127.0.0.1:0", "-www"];
        arguments.extend(["-Verify", "1", "-verify_return_error"]);
        arguments.extend(["-CAfile", bundle.to_str().unwrap()]);
        arguments.extend(["-cert", leaf.chain.to_str().unwrap()]);
        arguments.extend(["-key", leaf.key.to_str().unwrap()]);
        arguments.extend(flags);
        let mut process = Process::start("openssl", arguments);
        let ready = process.stdout.line(&["ACCEPT 127.0.0.1:"]).await;
        let port = ready.rsplit(':').next().unwrap().to_owned();
        Self { process, port }
    }
}

/// Our client gets the page of a server at `https://localhost:port`, with the credentials and trust that `ca` issues.
pub(crate) async fn get(port: &str, ca: &Ca, flags: &[&str]) -> Said {
    let dir = TempDir::new().unwrap();
    let client = Leaf::client("/web").usage("clientAuth");
    ca.issue(&client).await.lay_out(ca, dir.path());
    let url = format!("https://localhost:{port}/");
    let arguments = [&[dir.path().to_str().unwrap(), &url], flags].concat();
    run(
        env!("CARGO_BIN_EXE_reqwest_client"),
        arguments,
        dir.path(),
        "",
    )
    .await
}

/// The client says `why`, and what to do about it.
#[track_caller]
pub(crate) fn assert_explained(said: &Said, why: &[&str]) {
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.stdout.is_empty(), "{said:#?}");
    let line = said.line("error: ");
    assert!(why.iter().all(|why| line.contains(why)), "{said:#?}");
    assert!(said.line("remedy: ").len() > "remedy: ".len());
}

#[tokio::test]
async fn s_server_answers_our_client_and_both_know_each_other() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server()).await;
    let by_id = ["--expect", "spiffe://example.org/api"];
    for expected in [&[][..], &by_id] {
        let mut server = OpensslServer::start(&leaf, &ca, &[]).await;
        let said = get(&server.port, &ca, expected).await;
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.line("status: 200 OK");
        let who = said.line("server: ");
        assert!(who.contains("spiffe://example.org/api"), "{said:#?}");
        assert!(who.contains(&leaf.serial), "{said:#?}");
        // openssl's page tells of the connection.
        said.line("Cipher is TLS_AES_256_GCM_SHA384");
        server.process.stderr.line(&["depth=0 CN = caller"]).await;
    }
}

#[tokio::test]
async fn an_s_server_that_trusts_another_ca_refuses_us_by_an_alert_that_we_name() {
    if absent(&[Openssl3]) {
        return;
    }
    let (ca, other) = (Ca::new("foreign-ca").await, Ca::new("other-ca").await);
    let leaf = ca.issue(&Leaf::server()).await;
    let server = OpensslServer::start(&leaf, &other, &[]).await;
    let mut said = get(&server.port, &ca, &[]).await;
    for _ in 1..ATTEMPTS {
        if !said.has("its alert is lost") {
            break;
        }
        said = get(&server.port, &ca, &[]).await;
    }
    let words = "refused us by the alert unknown_ca";
    assert_explained(&said, &[words]);
    documented("openssl s_server", words);
}

#[tokio::test]
async fn an_s_server_of_tls_1_2_is_not_spoken_to() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server()).await;
    let server = OpensslServer::start(&leaf, &ca, &["-tls1_2"]).await;
    let said = get(&server.port, &ca, &[]).await;
    assert_explained(&said, &["refused us by the alert protocol_version"]);
}

#[tokio::test]
async fn a_strangers_s_server_is_refused() {
    if absent(&[Openssl3]) {
        return;
    }
    let (ca, stranger) = (Ca::new("foreign-ca").await, Ca::new("strange-ca").await);
    let leaf = stranger.issue(&Leaf::server()).await;
    let mut server = OpensslServer::start(&leaf, &ca, &[]).await;
    let said = get(&server.port, &ca, &[]).await;
    let why = [
        "server presented",
        "no trust anchor leads to its issuer",
        "strange-ca",
    ];
    assert_explained(&said, &[&why[..], &[&leaf.serial]].concat());
    // rustls sends this for every error of ours (RFC 8446 §6.2: "some other (unspecified) issue").
    let alert = "alert certificate unknown";
    server.process.stderr.line(&[alert]).await;
}

#[tokio::test]
async fn an_expired_s_server_is_refused() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server().expired()).await;
    let server = OpensslServer::start(&leaf, &ca, &[]).await;
    let said = get(&server.port, &ca, &[]).await;
    let why = ["server presented", "expired at 2021-01-01T00:00:00Z"];
    assert_explained(&said, &[&why[..], &[&leaf.serial]].concat());
}

#[tokio::test]
async fn a_clients_certificate_is_no_s_servers() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let leaf = ca.issue(&Leaf::server().usage("clientAuth")).await;
    let server = OpensslServer::start(&leaf, &ca, &[]).await;
    let said = get(&server.port, &ca, &[]).await;
    assert_explained(&said, &["server presented", "may not be used by a server"]);
}

#[tokio::test]
async fn an_s_server_of_another_name_is_refused() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let names = "DNS:elsewhere.example.org, URI:spiffe://example.org/elsewhere";
    let leaf = ca.issue(&Leaf::server().names(names)).await;
    let by_id = ["--expect", "spiffe://example.org/api"];
    for (flags, expected) in [
        (&[][..], "`localhost`"),
        (&by_id, "`spiffe://example.org/api`"),
    ] {
        let server = OpensslServer::start(&leaf, &ca, &[]).await;
        let said = get(&server.port, &ca, flags).await;
        let why = [
            "server presented",
            "elsewhere.example.org",
            "expected",
            expected,
        ];
        assert_explained(&said, &why);
    }
}

#[tokio::test]
async fn a_common_name_names_no_server() {
    if absent(&[Openssl3]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    let leaf = Leaf::server().subject("localhost").names("IP:192.0.2.1");
    let leaf = ca.issue(&leaf).await;
    let server = OpensslServer::start(&leaf, &ca, &[]).await;
    let said = get(&server.port, &ca, &[]).await;
    assert_explained(
        &said,
        &["server presented", "192.0.2.1", "expected `localhost`"],
    );
}

async fn serving(leaf: &Issued, trusted: &Ca) -> Serving {
    let OpensslServer { process, port } = OpensslServer::start(leaf, trusted, &[]).await;
    Serving::new(process, port)
}

#[tokio::test]
async fn s_server_sees_our_next_certificate_at_the_next_connection() {
    if absent(&[Openssl3]) {
        return;
    }
    dialing::our_rotation_shows(serving).await;
}

#[tokio::test]
async fn s_server_resumes_our_sessions_until_we_rotate() {
    if absent(&[Openssl3]) {
        return;
    }
    let marks = Marks {
        new: "New, TLSv1.3",
        resumed: "Reused, TLSv1.3",
    };
    dialing::sessions_are_resumed_until_we_rotate(serving, marks).await;
}
