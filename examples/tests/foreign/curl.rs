//! curl calls our server: who is let in, and what whoever is refused reads, here and there.

use tempfile::TempDir;

use crate::door::{Caller, documented};
use crate::pki::{Ca, Issued, KeyFile, Leaf};
use crate::server::{Server, World};
use crate::tools::Tool::{CurlWithOpenssl3AndHttp2, Openssl3};
use crate::tools::{Said, absent, run};

/// Calls `/whoami` of `server`, which has to be by `ca`.
pub(crate) async fn curl(
    server: &Server,
    ca: &Ca,
    caller: Option<&Issued>,
    flags: &[&str],
) -> Said {
    let resolve = format!("localhost:{}:127.0.0.1", server.port);
    let url = format!("https://localhost:{}/whoami", server.port);
    let bundle = ca.bundle();
    let mut arguments = vec!["-q", "-sS", "-v", "--noproxy", "*", "--max-time", "25"];
    arguments.extend(["--resolve", &resolve, "--cacert", bundle.to_str().unwrap()]);
    if let Some(caller) = caller {
        arguments.extend(["--cert", caller.chain.to_str().unwrap()]);
        arguments.extend(["--key", caller.key.to_str().unwrap()]);
    }
    arguments.extend(["-w", "HTTP/%{http_version} %{http_code}\n"]);
    arguments.extend(flags);
    arguments.push(&url);
    run("curl", arguments, std::env::temp_dir().as_path(), "").await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::Tls12, Self::Tls13];

    pub(crate) fn of_server(self) -> &'static [&'static str] {
        match self {
            Self::Tls12 => &["--tls12"],
            Self::Tls13 => &[],
        }
    }

    fn of_client(self) -> &'static [&'static str] {
        match self {
            Self::Tls12 => &["--tlsv1.2", "--tls-max", "1.2"],
            Self::Tls13 => &["--tlsv1.3"],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

#[track_caller]
fn assert_let_in(said: &Said, caller: &Issued, version: Version) {
    assert_eq!(said.code, Some(0), "{said:#?}");
    let (serial, version) = (&caller.serial, version.name());
    let expected = format!("spiffe://example.org/web, serial {serial}, TLS {version}\n");
    assert!(said.stdout.starts_with(&expected), "{said:#?}");
    assert!(said.has(&format!("SSL connection using TLSv{version}")));
}

/// In TLS 1.3 the client's handshake is done before it is refused, and curl fails at receiving; in TLS 1.2 at connecting.
#[track_caller]
fn assert_refused(said: &Said, alert: &str, version: Version) {
    let (code, said_by) = match (version, alert) {
        (Version::Tls13, _) => (56, "curl: ("),
        // Of this alert curl makes "failed to verify the legitimacy of the server"; its trace knows better.
        (Version::Tls12, "certificate expired") => (60, "(IN), TLS alert"),
        (Version::Tls12, "certificate required") => (98, "curl: ("),
        (Version::Tls12, _) => (35, "curl: ("),
    };
    assert_eq!(said.code, Some(code), "{said:#?}");
    let line = said.line(said_by).replace(',', "");
    let words = format!("alert {alert}");
    assert!(line.contains(&words), "{said:#?}");
    if Caller::REFUSED.iter().any(|it| it.alert().0 == alert) {
        documented("curl", &words);
    }
    assert!(
        said.stdout.contains("HTTP/0 000"),
        "it was answered: {said:#?}"
    );
}

#[tokio::test]
async fn a_caller_is_known_by_its_certificate_over_http_1_and_2() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let world = World::new(&[]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    for (flag, http) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let said = curl(&world.server, &world.ca, Some(&caller), &[flag]).await;
        assert_let_in(&said, &caller, Version::Tls13);
        assert!(said.stdout.ends_with(&format!("{http}\n")), "{said:#?}");
    }
}

#[tokio::test]
async fn every_kind_of_key_file_serves_us_and_is_let_in() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let ca = Ca::new("foreign-ca").await;
    for key in KeyFile::ALL {
        let dir = TempDir::new().unwrap();
        let leaf = ca.issue(&Leaf::server().key(key)).await;
        leaf.lay_out(&ca, dir.path());
        let server = Server::start(dir.path(), &["--tls12"]).await;
        let caller = ca.issue(&Leaf::client("/web").key(key)).await;
        for version in Version::BOTH {
            let said = curl(&server, &ca, Some(&caller), version.of_client()).await;
            assert_let_in(&said, &caller, version);
        }
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_is_let_in() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let said = curl(&world.server, &world.ca, None, version.of_client()).await;
        // rustls sends it in TLS 1.2, too, where it is not registered (RFC 8446 §6), and openssl reads it.
        assert_refused(&said, "certificate required", version);
        world
            .server
            .refusal(
                "no_peer_certificate",
                &["sent no certificate", "foreign-ca"],
            )
            .await;
    }
}

#[tokio::test]
async fn a_strangers_certificate_is_refused_and_named() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let stranger = Ca::new("strange-ca").await;
    let caller = stranger.issue(&Leaf::client("/web")).await;
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let said = curl(&world.server, &world.ca, Some(&caller), version.of_client()).await;
        assert_refused(&said, "unknown ca", version);
        let who = ["spiffe://example.org/web", &caller.serial, "strange-ca"];
        world.server.refusal("unknown_issuer", &who).await;
    }
}

#[tokio::test]
async fn another_ca_under_our_cas_name_is_refused_and_told_apart() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let impostor = Ca::new("foreign-ca").await;
    let caller = impostor.issue(&Leaf::client("/web")).await;
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let said = curl(&world.server, &world.ca, Some(&caller), version.of_client()).await;
        assert_refused(&said, "unknown ca", version);
        let who = ["spiffe://example.org/web", &caller.serial];
        world.server.refusal("untrusted_key", &who).await;
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_end() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let caller = world.ca.issue(&Leaf::client("/web").expired()).await;
        let said = curl(&world.server, &world.ca, Some(&caller), version.of_client()).await;
        assert_refused(&said, "certificate expired", version);
        let who = [
            "spiffe://example.org/web",
            &caller.serial,
            "2021-01-01T00:00:00Z",
        ];
        world.server.refusal("expired", &who).await;
    }
}

#[tokio::test]
async fn a_proper_certificate_that_is_not_authorized_is_refused_and_its_neighbour_let_in() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    for version in Version::BOTH {
        let allowed = ["--allow", "spiffe://example.org/web"];
        let mut world = World::new(&[version.of_server(), &allowed].concat()).await;
        let web = world.ca.issue(&Leaf::client("/web")).await;
        let said = curl(&world.server, &world.ca, Some(&web), version.of_client()).await;
        assert_let_in(&said, &web, version);

        let other = world.ca.issue(&Leaf::client("/web/other")).await;
        let said = curl(&world.server, &world.ca, Some(&other), version.of_client()).await;
        assert_refused(&said, "access denied", version);
        let who = ["mtls.peer_id=spiffe://example.org/web/other", &other.serial];
        world.server.refusal("not_authorized", &who).await;
    }
}

#[tokio::test]
async fn a_servers_certificate_is_no_clients() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let leaf = Leaf::client("/web").usage("serverAuth");
        let caller = world.ca.issue(&leaf).await;
        let said = curl(&world.server, &world.ca, Some(&caller), version.of_client()).await;
        assert_refused(&said, "unsupported certificate", version);
        let who = ["spiffe://example.org/web", &caller.serial];
        world.server.refusal("wrong_usage", &who).await;
    }
}

#[tokio::test]
async fn two_identities_in_one_certificate_are_refused() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let names = "URI:spiffe://example.org/web, URI:spiffe://example.org/admin";
        let caller = world.ca.issue(&Leaf::client("/web").names(names)).await;
        let said = curl(&world.server, &world.ca, Some(&caller), version.of_client()).await;
        assert_refused(&said, "bad certificate", version);
        world
            .server
            .refusal("ambiguous_identity", &[&caller.serial])
            .await;
    }
}

#[tokio::test]
async fn tls_1_2_is_refused_unless_it_is_switched_on() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let mut world = World::new(&[]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    let said = curl(
        &world.server,
        &world.ca,
        Some(&caller),
        Version::Tls12.of_client(),
    )
    .await;
    assert_refused(&said, "protocol version", Version::Tls12);
    world.server.refusal("no_common_parameters", &[]).await;

    let world = World::new(&["--tls12"]).await;
    let caller = world.ca.issue(&Leaf::client("/web")).await;
    let said = curl(
        &world.server,
        &world.ca,
        Some(&caller),
        Version::Tls12.of_client(),
    )
    .await;
    assert_let_in(&said, &caller, Version::Tls12);
}

#[tokio::test]
async fn a_client_that_refuses_us_leaves_its_reason_in_our_log() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let stranger = Ca::new("strange-ca").await;
    for version in Version::BOTH {
        let mut world = World::new(version.of_server()).await;
        let caller = world.ca.issue(&Leaf::client("/web")).await;
        let said = curl(&world.server, &stranger, Some(&caller), version.of_client()).await;
        assert_eq!(said.code, Some(60), "{said:#?}");
        world
            .server
            .refusal("refused_by_peer", &["unknown_ca"])
            .await;
    }
}

#[tokio::test]
async fn a_plaintext_client_is_told_apart() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let mut world = World::new(&[]).await;
    let url = format!("http://127.0.0.1:{}/health", world.server.port);
    let arguments = ["-q", "-sS", "--noproxy", "*", "--max-time", "25", &url];
    let said = run("curl", arguments, world.dir.path(), "").await;
    assert_ne!(said.code, Some(0), "{said:#?}");
    world.server.refusal("plaintext_peer", &[]).await;
}

#[tokio::test]
async fn a_hostile_name_stays_on_its_line_of_the_log() {
    if absent(&[Openssl3, CurlWithOpenssl3AndHttp2]) {
        return;
    }
    let mut world = World::new(&[]).await;
    // In openssl's configuration `\n` is a line feed; the escape character begins a terminal's colours.
    let name = "x\\n2026-01-01T00:00:00Z  INFO forged: \u{1b}[31mall is well";
    let stranger = Ca::new(name).await;
    let leaf = Leaf::client("/web").names(&format!("DNS:{name}"));
    let caller = stranger.issue(&leaf).await;
    let said = curl(&world.server, &world.ca, Some(&caller), &[]).await;
    assert_refused(&said, "unknown ca", Version::Tls13);
    let line = world
        .server
        .refusal("unknown_issuer", &[&caller.serial])
        .await;
    assert!(!line.contains('\u{1b}'), "{line:?}");
    assert!(line.contains("u{a}2026-01-01T00:00:00Z"), "{line:?}");
    // It is there three times: as the name, as the issuer, and in the error.
    assert!(line.matches("all is well").count() >= 3, "{line:?}");
    world.server.process.stderr.never("2026-01-01T00:00:00Z");
}
